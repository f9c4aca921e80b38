"""Sealed pictures: originals in a store, and handles that stand for them in prompts, traces and checkpoints."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from PIL import Image

from langchain_vpp.errors import ProtectionError
from langchain_vpp.guard.foreign import call_foreign
from langchain_vpp.images.given import image_bytes
from langchain_vpp.messages.base64 import opened
from langchain_vpp.messages.file_headers import find_file_header

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_core.messages import BaseMessage
    from langchain_core.stores import ByteStore

_HANDLE: Final = re.compile(r"\Avpp://([0-9a-f]{64})\Z")
_IN_TEXT: Final = re.compile(r"vpp://([0-9a-f]{64})")
_STORE_PREFIX: Final = "vpp-"
# One that is pushed out is refused where it is needed, never sent.
_HELD_BYTES: Final = 256 * 2**20
# Bound on the memory of an entry beside its value.
_ENTRY_BYTES: Final = 1_024


class Held(NamedTuple):
    """A value that a handle stands for.

    Attributes:
        value: The value, as it stood in an input or in the output of a function.
        size: Bytes that it takes, about.
        is_given: Whether the caller gave it. What a function made goes back to the caller at the end of a chain.
    """

    value: Any
    size: int
    is_given: bool


class Sealing:
    """Puts originals into a store under keyed digests, and finds them again by their handles.

    Args:
        store: Where originals are kept. Without one, nothing can be sealed by name, and values that are sealed on
            their way are kept in memory only.
    """

    def __init__(self, store: ByteStore | None) -> None:
        self._store = store
        self._key = secrets.token_bytes(32)
        self._held = _HeldValues(_HELD_BYTES)

    def seal(self, data: bytes) -> str:
        """Store an original and return its handle, ``vpp://<64 hex digits>``.

        The digest is keyed, so a handle tells nothing about the picture to anyone without the store.

        Raises:
            ProtectionError: If there is no store, or it fails.
        """
        if self._store is None:
            raise ProtectionError(
                "There is no store for sealed pictures. Build the protector with one: store=..."
            )
        return self._stored(self._digest(data), data)

    def seal_value(self, value: Any) -> str | None:
        """Seal a picture that the caller put into an input, and return its handle; ``None`` if it is no picture.

        The value is kept in memory, so that a function can get it back (:meth:`held`). Its bytes go into the store
        too, if there is one, so that handles in checkpoints outlive the process.

        Args:
            value: Pictures and PDFs are sealed as encoded bytes, as text that is nothing but base64 or a data URL, or
                as a PIL image.

        Raises:
            ProtectionError: If the store fails, or the picture can't be encoded.
        """
        value = _frozen(value)
        data = _file_of(value)
        return None if data is None else self._hold_picture(value, data, is_given=True)

    def hold(self, value: Any) -> str:
        """Keep a value that a function made, whatever it is, and return a handle for it.

        Raises:
            ProtectionError: If the store fails, or a picture can't be encoded.
        """
        value = _frozen(value)
        data = _file_of(value)
        if data is not None:
            return self._hold_picture(value, data, is_given=False)
        digest = secrets.token_hex(32)
        size = getattr(value, "nbytes", None) or (len(value) if isinstance(value, str | bytes | list) else 0)
        self._held.put(digest, Held(value, int(size), is_given=False))
        return f"vpp://{digest}"

    def held(self, handle: str) -> Held | None:
        """Return the value that a handle of :meth:`seal_value` or :meth:`hold` stands for, if it is still in memory."""
        match = _HANDLE.match(handle)
        return None if match is None else self._held.get(match.group(1))

    def refuse_in_text(self, messages: Sequence[BaseMessage]) -> None:
        """Refuse a handle of a value in memory where a model would read it as text.

        Raises:
            ProtectionError: If there is one.
        """
        for message in messages:
            content: Any = message.content
            blocks = content if issubclass(type(content), list) else [content]
            # Not `isinstance`, which asks the object for its class: that and methods of subclasses may do anything.
            texts: list[Any] = [
                dict.get(block, "text") if issubclass(type(block), dict) else block for block in blocks
            ]
            if any(issubclass(type(text), str) and self._held_in(text) for text in texts):
                raise ProtectionError(
                    "Nothing was sent: a picture stands in the text of a message (or text that holds one, from a "
                    "variable or a function). Put it into an image block: a data URL, or base64."
                )

    def unseal(self, handle: str) -> bytes:
        """Return the original that a handle stands for.

        Raises:
            ProtectionError: If the handle is malformed or unknown, there is no store, or it fails.
        """
        match = _HANDLE.match(handle)
        if match is None:
            raise ProtectionError(
                "A vpp:// handle is malformed, so nothing was sent. Use the block that seal() gave."
            )
        held = self._held.get(match.group(1))
        if held is not None:
            return self._file_of_held(held)
        store = self._store
        if store is None:
            raise ProtectionError(
                "A vpp:// handle is unknown, so nothing was sent. Give the protector the store that has it "
                "(store=...); without one, handles are kept in memory, and the oldest are forgotten."
            )
        key = _STORE_PREFIX + match.group(1)
        data = call_foreign("store", lambda: store.mget([key])[0])
        if not isinstance(data, bytes):
            raise ProtectionError(
                "A vpp:// handle is unknown to the store, so nothing was sent. Seal the picture again."
            )
        return data

    def _file_of_held(self, held: Held) -> bytes:
        data = _file_of(held.value)
        if data is None:
            raise ProtectionError(
                "Nothing was sent: a value that a function made stands where a picture is expected, and is none."
            )
        return data

    def _hold_picture(self, value: Any, data: bytes, *, is_given: bool) -> str:
        digest = self._digest(type(value).__name__.encode() + b"\0" + _identity(value, data))
        self._held.put(digest, Held(value, len(data), is_given))
        return self._stored(digest, data)

    def _held_in(self, text: str) -> bool:
        return "vpp://" in text and any(
            self._held.get(match.group(1)) is not None for match in _IN_TEXT.finditer(text)
        )

    def _digest(self, data: bytes) -> str:
        return hmac.new(self._key, data, hashlib.sha256).hexdigest()

    def _stored(self, digest: str, data: bytes) -> str:
        store = self._store
        if store is not None:
            call_foreign("store", lambda: store.mset([(_STORE_PREFIX + digest, data)]))
        return f"vpp://{digest}"


class _HeldValues:
    """Least recently used values by their digests, bounded by the bytes that they take. Thread-safe."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._entries: OrderedDict[str, Held] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, digest: str) -> Held | None:
        with self._lock:
            held = self._entries.get(digest)
            if held is not None:
                self._entries.move_to_end(digest)
            return held

    def put(self, digest: str, held: Held) -> None:
        with self._lock:
            known = self._entries.get(digest)
            # What the caller once gave stays so, when a function hands it on.
            self._entries[digest] = (
                held if known is None else known._replace(is_given=known.is_given or held.is_given)
            )
            self._entries.move_to_end(digest)
            self._bytes += 0 if known is not None else held.size + _ENTRY_BYTES
            # The newest stays, however large: the request that brought it needs it.
            while self._bytes > self._max_bytes and len(self._entries) > 1:
                _, dropped = self._entries.popitem(last=False)
                self._bytes -= dropped.size + _ENTRY_BYTES


def _frozen(value: Any) -> Any:
    """Return a value that nobody else can change, as far as it is a picture."""
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    return value.copy() if isinstance(value, Image.Image) else value


def _file_of(value: Any) -> bytes | None:
    """Return the file of a picture or a PDF; ``None`` if the value is anything else."""
    if isinstance(value, Image.Image):
        return image_bytes(value)
    if isinstance(value, bytes) and find_file_header(value) == 0:
        return value
    text = value.decode("latin-1") if isinstance(value, bytes) else value
    data = opened(text).data if isinstance(text, str) else None
    return data if data is not None and find_file_header(data) == 0 else None


def _identity(value: Any, data: bytes) -> bytes:
    """Return bytes that differ for values that a function would tell apart."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    return data if isinstance(value, bytes) else value.mode.encode() + data
