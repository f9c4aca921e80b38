"""The gate's memory of pictures: those that it protected, and those that it has put out.

Pictures are known by digests of their bytes, never by a mark that a message could carry: a digest can't be forged from
outside, and a picture that was changed has another one.
"""

from __future__ import annotations

import hashlib
import threading
from collections import Counter, OrderedDict
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

from langchain_vpp.images.fast import fast_module

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from langchain_vpp.guard.receipt import SentImage
    from langchain_vpp.messages.plan import PixelSource

# One that is pushed out costs a second protection, never a leak.
_REMEMBERED_OUTPUTS: Final = 16_384
# Bound on the memory of an entry beside its encoded pictures.
_ENTRY_BYTES: Final = 1_024


FileKind: TypeAlias = Literal["image", "document", "video", "film"]
"""Kinds of originals."""

Values: TypeAlias = "tuple[tuple[str, str], ...]"
"""Kind and text of the private values of a picture or a document, in reading order."""


class Recipe(NamedTuple):
    """An encoded original, and everything else on which its protected pictures depend.

    Attributes:
        digest: Digest of the original.
        level: Level of protection.
        kind: What the original is: of a document each page is wanted, of a video some frames, of a film all.
        tokens: Names of its private values, which are those of a conversation.
    """

    digest: bytes
    level: float
    kind: FileKind
    tokens: tuple[str, ...] = ()


class OutputKey(NamedTuple):
    """The length and the SHA-256, in hex, of an encoded protected picture."""

    length: int
    sha256: str


class Record(NamedTuple):
    """The record of a picture that the gate has put out, and the key by which it is known again."""

    key: OutputKey
    sent: SentImage


class Output(NamedTuple):
    """An encoded protected picture, or a film.

    Attributes:
        encoded: The picture.
        sent: What its receipt says.
        is_frame: Whether it is one of a video's frames.
    """

    encoded: bytes
    sent: SentImage
    is_frame: bool = False

    @property
    def record(self) -> Record:
        """The record of the picture."""
        return Record(OutputKey(len(self.encoded), self.sent.sha256), self.sent)


class PictureMemo:
    """Least recently used protected pictures, by recipe, bounded by the bytes that they take.

    Args:
        max_bytes: The bound.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._entries: OrderedDict[Recipe, tuple[Output, ...]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, recipe: Recipe) -> tuple[Output, ...] | None:
        """Return the protected pictures of ``recipe``, if they are kept."""
        with self._lock:
            outputs = self._entries.get(recipe)
            if outputs is not None:
                self._entries.move_to_end(recipe)
            return outputs

    def put(self, recipe: Recipe, outputs: tuple[Output, ...]) -> tuple[Output, ...]:
        """Keep ``outputs`` and return them; or those of another thread that was faster, so that all agree."""
        size = _entry_size(outputs)
        with self._lock:
            if recipe in self._entries:
                return self._entries[recipe]
            if size > self._max_bytes:
                return outputs
            self._entries[recipe] = outputs
            self._bytes += size
            while self._bytes > self._max_bytes:
                _, dropped = self._entries.popitem(last=False)
                self._bytes -= _entry_size(dropped)
            return outputs


class FoundValues:
    """Private values of pictures, by recipe without tokens: with them, a picture that comes again needs no reading.

    What they are named is the affair of each conversation. Thread-safe.

    Args:
        most: Bound on the pictures.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._entries: OrderedDict[Recipe, Values] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, recipe: Recipe) -> Values | None:
        """Return the values of a picture, if they are known."""
        with self._lock:
            return self._entries.get(recipe)

    def put(self, recipe: Recipe, values: Values) -> Values:
        """Keep the values of a picture and return them; or those of another thread that was faster."""
        with self._lock:
            known = self._entries.setdefault(recipe, values)
            self._entries.move_to_end(recipe)
            while len(self._entries) > self._most:
                self._entries.popitem(last=False)
            return known


class ProducedPictures:
    """Digests of the pictures that the protector has put out, by which it knows them again."""

    def __init__(self) -> None:
        self._entries: OrderedDict[OutputKey, dict[float, SentImage]] = OrderedDict()
        # Files of other lengths need no digest, which takes long enough to be felt.
        self._lengths: Counter[int] = Counter()
        self._lock = threading.Lock()

    def add(self, outputs: tuple[Output, ...]) -> None:
        """Remember pictures that are put out now."""
        with self._lock:
            for output in outputs:
                key, sent = output.record
                if key not in self._entries:
                    self._entries[key] = {}
                    self._lengths[key.length] += 1
                self._entries[key][sent.level] = sent
                self._entries.move_to_end(key)
            while len(self._entries) > _REMEMBERED_OUTPUTS:
                (length, _), _ = self._entries.popitem(last=False)
                self._lengths[length] -= 1
                if not self._lengths[length]:
                    del self._lengths[length]

    def find(self, data: bytes, level: float) -> SentImage | None:
        """Return the record of an encoded picture, if the protector has put it out at ``level`` or a stronger one.

        What was put out at a weaker level is protected again like any original.

        Args:
            data: Any encoded picture.
            level: The level of the request: of several records with the same bytes, this one is preferred.
        """
        if len(data) not in self._lengths:
            return None
        key = OutputKey(len(data), hashlib.sha256(data).hexdigest())
        record = self.recall(key, level)
        return None if record is None else record.sent

    def hold(self, sources: Iterable[PixelSource], level: float) -> bool:
        """Say whether all pictures of messages were put out at ``level`` or a stronger one."""
        return all(
            source.data is not None and self.find(source.data, level) is not None for source in sources
        )

    def recall_all(self, keys: Sequence[OutputKey] | None, level: float) -> Sequence[Record] | None:
        """Return the records of the pictures in a message.

        Args:
            keys: Keys of the pictures in a known message; ``None`` for an unknown one.
            level: See :meth:`find`.

        Returns:
            The records; ``None`` if the message is unknown, or not private enough.
        """
        if not keys:
            return None if keys is None else ()
        records = [self.recall(key, level) for key in keys]
        found = [record for record in records if record is not None]
        return found if len(found) == len(keys) else None

    def recall(self, key: OutputKey, level: float) -> Record | None:
        """Return the record of a picture by its key; see :meth:`find`."""
        with self._lock:
            levels = self._entries.get(key)
            if levels is None or max(levels) < level:
                return None
            self._entries.move_to_end(key)
            return Record(key, levels[level] if level in levels else levels[max(levels)])


def content_digest(data: bytes) -> bytes:
    """Return the digest by which the memo knows a file: BLAKE3 (extra ``fast``), which is faster, or SHA-256."""
    if blake3 := fast_module("blake3"):
        return bytes(blake3.blake3(data).digest())
    return hashlib.sha256(data).digest()


def _entry_size(outputs: tuple[Output, ...]) -> int:
    return sum(_ENTRY_BYTES + len(output.encoded) for output in outputs)
