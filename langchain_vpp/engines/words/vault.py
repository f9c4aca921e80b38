"""The vault: the local map between the hidden values of a conversation and their tokens."""

from __future__ import annotations

import hashlib
import re
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final, NoReturn

from langchain_vpp.engines.words.folding import plain, trimmed
from langchain_vpp.engines.words.hidden import HiddenValues
from langchain_vpp.engines.words.mentions import Mentions, MentionStream
from langchain_vpp.errors import ProtectionError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_MOST_VALUES: Final = 10_000
_MOST_ANSWERS: Final = 1_000
_KIND: Final = re.compile(r"[^A-Z]+")
_UNPICKLABLE: Final = "A vault can't be pickled or serialized: it holds what was hidden"
_FULL: Final = (
    f"Nothing was sent: the conversation hides more than {_MOST_VALUES:,} values. "
    "Begin another one, with a thread_id of its own."
)
_OTHERS: Final = (
    "Nothing was sent: another process has changed the vault of this conversation meanwhile. Try again."
)


class Vault:
    """Hidden values of one conversation, each with its token. Thread-safe.

    The same value has the same token throughout, whatever its kind, case, accents, spaces, hyphens and grouping. Tokens
    are numbered in the order in which their values come, so the same conversation gives the same tokens.

    A vault is never copied, compared, pickled or shown with its content.

    Example:
        >>> vault = Vault()
        >>> vault.token("NAME", "Ada Lovelace")
        'NAME_1'
        >>> vault.hidden("Did ada-lovelace write?")
        'Did NAME_1 write?'
        >>> vault.restored("**Name_1's** letter")
        "**Ada Lovelace's** letter"
        >>> vault
        Vault(1 value)
    """

    __slots__ = (
        "__weakref__",
        "_answers",
        "_counts",
        "_lock",
        "_mentions",
        "_sought",
        "_tokens",
        "_values",
        "_version",
    )

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._tokens: dict[str, str] = {}  # by what spellings of a value share
        self._values: dict[str, tuple[str, str]] = {}  # kind and value, by token
        self._counts: dict[str, int] = {}
        self._sought = HiddenValues()
        self._mentions: Mentions | None = None
        self._answers: OrderedDict[bytes, str] = OrderedDict()
        self._version = 0

    def __repr__(self) -> str:
        count = len(self._values)
        return f"Vault({count} value{'' if count == 1 else 's'})"

    def __copy__(self) -> Vault:
        return self

    def __deepcopy__(self, memo: Any) -> Vault:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError(_UNPICKLABLE)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is hidden."""
        return not self._values

    @property
    def version(self) -> int:
        """Number of changes so far."""
        return self._version

    def token(self, kind: str, value: str) -> str:
        """Return the token of a value, a new one for a new value.

        Args:
            kind: A word in capitals.
            value: The private text. Quotes, brackets and punctuation around it don't count.

        Raises:
            ProtectionError: If the conversation hides too many values.
        """
        value = _written(kind, trimmed(value))
        with self._lock:
            known = self._tokens.get(plain(value))
            if known is not None:
                return known
            if len(self._values) >= _MOST_VALUES:
                raise ProtectionError(_FULL)
            kind = _KIND.sub("", kind.upper()) or "TEXT"
            self._counts[kind] = self._counts.get(kind, 0) + 1
            token = f"{kind}_{self._counts[kind]}"
            self._put(token, kind, value)
            return token

    def hidden(self, text: str) -> str:
        """Return a text with tokens in the places of hidden values; the text itself if it holds none.

        An answer that was restored here becomes what the model had said, to the letter.

        Args:
            text: Text that is about to leave.
        """
        if not self._values:
            return text
        with self._lock:
            text = self._answers.get(_digest(text), text)
            return "".join(self._tokenised(text)) if text else text

    def restored(self, text: str, *, json_text: bool = False) -> str:
        """Return a text with hidden values in the places of their tokens; see :class:`Mentions`.

        In JSON they are escaped, so that it stays JSON.

        Args:
            text: What a model said.
            json_text: Whether the text is JSON for certain. Else that is told by how it begins, or by a fence.
        """
        restored = self._current_mentions().restored(text, json_text=json_text)
        self.remember(restored, text)
        return text if restored == text else restored

    def stream(self, *, json_text: bool = False) -> MentionStream:
        """Return what restores a text that comes in pieces."""
        return MentionStream(self._current_mentions(), json_text=json_text)

    def remember(self, given: str, said: str) -> None:
        """Remember what a restored answer was before: it may come back in the history of the conversation."""
        if given == said:
            return
        with self._lock:
            self._version += self._answers.get(_digest(given)) != said
            self._answers[_digest(given)] = said
            self._answers.move_to_end(_digest(given))
            if len(self._answers) > _MOST_ANSWERS:
                self._answers.popitem(last=False)

    def state(self) -> dict[str, Any]:
        """Return the content, for a store that encrypts it."""
        with self._lock:
            return {
                "values": [[token, kind, value] for token, (kind, value) in self._values.items()],
                "answers": [[digest.hex(), said] for digest, said in self._answers.items()],
            }

    def absorb(self, state: Mapping[str, Any]) -> None:
        """Add the content of a vault of the same conversation.

        Args:
            state: Result of :meth:`state`.

        Raises:
            ProtectionError: If a token stands for different values in the two.
        """
        with self._lock:
            for token, kind, value in state["values"]:
                known = self._tokens.get(plain(value))
                if known == token:
                    continue
                if known is not None or token in self._values:
                    raise ProtectionError(_OTHERS)
                self._counts[kind] = max(self._counts.get(kind, 0), int(token.rpartition("_")[2]))
                self._put(token, kind, value)
            for digest, said in state["answers"]:
                self._answers.setdefault(bytes.fromhex(digest), said)

    def _put(self, token: str, kind: str, value: str) -> None:
        self._tokens[plain(value)] = token
        self._values[token] = kind, value
        self._sought.add(kind, value)
        self._mentions = None
        self._version += 1

    def _current_mentions(self) -> Mentions:
        with self._lock:
            if self._mentions is None:
                self._mentions = Mentions({token: value for token, (_, value) in self._values.items()})
            return self._mentions

    def _tokenised(self, text: str) -> Iterator[str]:
        """Yield a text in pieces: what stands between hidden values, and their tokens. Tokens stay as they are."""
        last = 0
        for start, end, _ in [*self._current_mentions().spans(text), (len(text), len(text), "")]:
            for spot in [*self._sought.find(text, last, start)]:
                yield text[last : spot.start]
                # Glued to letters or digits, a token could not be told from another one.
                yield "_" * (spot.start > 0 and text[spot.start - 1].isalnum())
                yield self.token(spot.kind, spot.value)
                yield "_" * text[spot.end : spot.end + 1].isdigit()
                last = spot.end
            yield text[last:end]
            last = end


def _written(kind: str, value: str) -> str:
    """Write an account number in groups of four if it has groups: a reader may miss the space between two of them."""
    if kind != "IBAN" or " " not in value:
        return value
    letters = "".join(value.split())
    return " ".join(letters[start : start + 4] for start in range(0, len(letters), 4))


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
