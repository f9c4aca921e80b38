"""The gate's memory of messages: it knows those that it has put out, and does not walk them again.

A call passes the gate several times: where messages enter a chain, where they enter the model, and right before they
are sent. In between, functions and callbacks may change them. So a message is known by a digest of all that it holds,
never by its identity or by a mark: one that anybody changed has another digest, and is walked.

This is sound because a walk judges nothing but the content of a message: equal content is judged equally.
"""

from __future__ import annotations

import hashlib
import marshal
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar

from langchain_core.messages import BaseMessage

from langchain_vpp.errors import ProtectionError
from langchain_vpp.images.pace import PIECE, give_way
from langchain_vpp.messages.extent import extent, is_plain
from langchain_vpp.messages.shielded import shielded
from langchain_vpp.messages.tree import Finding, TreeWalk

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from langchain_vpp.guard.memo import OutputKey

# One that is pushed out costs a second walk, never a leak.
_REMEMBERED_MESSAGES: Final = 16_384
_REMEMBERED_LISTS: Final = 1_024
_HELD: Final = ("__dict__", "__pydantic_extra__", "__pydantic_private__")


@dataclass(frozen=True, slots=True)
class State:
    """The class of a message, and all that it holds.

    Attributes:
        kind: The class.
        written: What the message holds, and the digests of its long texts in the place of these.
        texts: The long texts themselves. They can't be changed, so copies share them.
    """

    kind: type
    written: bytes
    texts: tuple[str | bytes, ...] = field(default=(), compare=False, repr=False)


Pictures = tuple["OutputKey", ...]
"""Keys of the protected pictures in a message, in their order."""

_Key = tuple[tuple[type, ...], bytes]
_V = TypeVar("_V")


@shielded("reading a message")
def message_state(message: BaseMessage) -> State | None:
    """Return the state of a message; ``None`` if it holds anything but values of built-in classes.

    :mod:`marshal` writes exact built-in types by their own content, so no method of a subclass is asked, and different
    contents never give the same bytes.
    """
    if not isinstance(message, BaseMessage):
        return None
    held = (message.__dict__, message.__pydantic_extra__, message.__pydantic_private__)
    # It would write a buffer as bytes, and what is shared as often as it is referred to, which has no end if much is.
    if not is_plain(held):
        return None
    texts: list[str | bytes] = []
    try:
        # Written in one piece, they would keep all other threads waiting.
        if extent(held) > PIECE:
            held = _with_marks(held, texts)
        # Version 2, because later versions also write who else refers to a value.
        written = marshal.dumps(held, 2)
    except ValueError:
        return None
    return State(type(message), b"".join((written, *map(_text_digest, texts))), tuple(texts))


def _with_marks(value: Any, texts: list[str | bytes]) -> Any:
    """Copy a value with a mark, which no message holds, in the place of each long text; ``texts`` receives them."""
    kind = type(value)
    if kind is dict:
        return {key: _with_marks(item, texts) for key, item in {**value}.items()}
    if kind in (list, tuple):
        return kind([_with_marks(item, texts) for item in (*value,)])
    if kind not in (str, bytes) or len(value) < PIECE:
        return value
    texts.append(value)
    return ...


def _without_marks(value: Any, texts: Iterator[str | bytes]) -> Any:
    """Put the long texts back."""
    kind = type(value)
    if kind is dict:
        return {key: _without_marks(item, texts) for key, item in value.items()}
    if kind in (list, tuple):
        return kind([_without_marks(item, texts) for item in value])
    return next(texts) if value is ... else value


def _text_digest(text: str | bytes) -> bytes:
    digest = hashlib.sha256(type(text).__name__.encode())
    for start in range(0, len(text), PIECE):
        piece = text[start : start + PIECE]
        digest.update(piece.encode("utf-8", "surrogatepass") if isinstance(piece, str) else piece)
        give_way()
    return digest.digest()


@shielded("copying a message")
def isolated(message: BaseMessage, state: State | None) -> BaseMessage:
    """Return a copy of a message that nobody else can change.

    Another thread may change a message while it is walked, while its pictures are protected, and while it is sent. So
    nothing that it holds goes on by reference.

    Args:
        message: The message.
        state: Its state. The copy is made of it, so that it holds exactly what the state is the digest of.

    Raises:
        ProtectionError: If it holds an object of which no copy can be made.
    """
    if state is None:
        return _Copying().message(message)
    held = marshal.loads(state.written)  # noqa: S302  written by this process
    return _with_state(message, _without_marks(held, iter(state.texts)) if state.texts else held)


def _with_state(message: BaseMessage, held: tuple[Any, Any, Any]) -> BaseMessage:
    copied = type(message).__new__(type(message))
    for name, value in zip(_HELD, held, strict=True):
        object.__setattr__(copied, name, value)
    object.__setattr__(copied, "__pydantic_fields_set__", set(message.model_fields_set))
    return copied


class _Copying(TreeWalk):
    """Copies everything in a message, and judges nothing: the walk does."""

    copies = True
    judges = False

    def message(self, message: BaseMessage) -> BaseMessage:
        if not isinstance(message, BaseMessage):
            return message  # the walk refuses it
        copies = [self.value(getattr(message, name)) for name in _HELD]
        return _with_state(message, (copies[0], copies[1], copies[2]))

    def refuse(self, finding: Finding, value: Any) -> Any:
        if finding.kind in ("whole", "deep"):
            raise ProtectionError(f"Nothing was sent: in a message, {finding.reason}.")
        return value


class AdmittedMessages:
    """Messages, and whole lists of them, that the gate has put out. Thread-safe."""

    def __init__(self) -> None:
        self._messages: OrderedDict[_Key, Pictures] = OrderedDict()
        self._lists: OrderedDict[_Key, tuple[Pictures, ...]] = OrderedDict()
        self._lock = threading.Lock()

    def recall(self, states: Sequence[State | None]) -> Sequence[Pictures | None]:
        """Return, for each message, the pictures in it if the gate has put it out; else ``None``."""
        whole = _key(states)
        with self._lock:
            if whole is not None and whole in self._lists:
                self._lists.move_to_end(whole)
                return self._lists[whole]
        keys = [_key([state]) for state in states]
        with self._lock:
            for key in keys:
                if key is not None and key in self._messages:
                    self._messages.move_to_end(key)
            return [None if key is None else self._messages.get(key) for key in keys]

    def add(
        self,
        states: Sequence[State | None],
        walked: Sequence[int],
        admitted: Sequence[BaseMessage],
        pictures: Sequence[Pictures],
    ) -> None:
        """Remember messages that are put out now.

        Args:
            states: The states of the given messages. One without a state is not remembered, whatever is put out for it.
            walked: Places of those that had to be walked.
            admitted: The messages that are put out for them.
            pictures: The pictures in each of these.
        """
        states = [*states]
        for place in walked:
            states[place] = states[place] and message_state(admitted[place])
        whole = _key(states)
        remembered = [(_key([states[place]]), pictures[place]) for place in walked]
        with self._lock:
            for key, each in remembered:
                _remember(self._messages, key, each, _REMEMBERED_MESSAGES)
            _remember(self._lists, whole, tuple(pictures), _REMEMBERED_LISTS)


def _key(states: Sequence[State | None]) -> _Key | None:
    digest = hashlib.sha256()
    classes = []
    for state in states:
        if state is None:
            return None
        classes.append(state.kind)
        digest.update(state.written)  # which says by itself where it ends
    return tuple(classes), digest.digest()


def _remember(entries: OrderedDict[_Key, _V], key: _Key | None, value: _V, most: int) -> None:
    if key is None:
        return
    entries[key] = value
    entries.move_to_end(key)
    if len(entries) > most:
        entries.popitem(last=False)
