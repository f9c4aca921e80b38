"""What a protector remembers: pictures that it has protected, and what it has put out."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter, OrderedDict
from typing import TYPE_CHECKING, Final, NamedTuple

from langchain_vpp.images.fast import fast_module

if TYPE_CHECKING:
    from langchain_vpp.guard.receipt import SentImage

# A digest and a few numbers each. One that is pushed out costs a second protection, never a leak.
_REMEMBERED_OUTPUTS: Final = 16_384
# What an entry of the memo takes beside its encoded pictures: measured at about 700 bytes.
_ENTRY_BYTES: Final = 1_024

Key = tuple[bytes, float, bool]


class Output(NamedTuple):
    """An encoded protected picture, and its record."""

    encoded: bytes
    sent: SentImage


class Memo:
    """Least recently used protected pictures, bounded by the bytes that they take."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._entries: OrderedDict[Key, tuple[Output, ...]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Key) -> tuple[Output, ...] | None:
        """Return what is kept for a key."""
        with self._lock:
            outputs = self._entries.get(key)
            if outputs is not None:
                self._entries.move_to_end(key)
            return outputs

    def put(self, key: Key, outputs: tuple[Output, ...]) -> tuple[Output, ...]:
        """Keep ``outputs``, unless another thread was faster: then its outputs, so that all callers agree."""
        size = _entry_size(outputs)
        with self._lock:
            if key in self._entries:
                return self._entries[key]
            if size > self._max_bytes:
                return outputs
            self._entries[key] = outputs
            self._bytes += size
            while self._bytes > self._max_bytes:
                _, dropped = self._entries.popitem(last=False)
                self._bytes -= _entry_size(dropped)
            return outputs


def content_digest(data: bytes) -> bytes:
    """What the memo knows a file by: BLAKE3 (extra ``fast``), a tenth of SHA-256's time, else SHA-256."""
    if blake3 := fast_module("blake3"):
        return bytes(blake3.blake3(data).digest())
    return hashlib.sha256(data).digest()


def _entry_size(outputs: tuple[Output, ...]) -> int:
    return sum(_ENTRY_BYTES + len(output.encoded) for output in outputs)


class Produced:
    """Digests of what this protector has put out, so that its own pictures are known again."""

    def __init__(self) -> None:
        self._entries: OrderedDict[tuple[int, str], dict[float, SentImage]] = OrderedDict()
        # A file of another length need not be digested: that costs as much as a tenth of all that is done to it.
        self._lengths: Counter[int] = Counter()
        self._lock = threading.Lock()

    def add(self, outputs: tuple[Output, ...]) -> None:
        """Remember what was put out."""
        with self._lock:
            for output in outputs:
                key = (len(output.encoded), output.sent.sha256)
                if key not in self._entries:
                    self._entries[key] = {}
                    self._lengths[key[0]] += 1
                self._entries[key][output.sent.level] = output.sent
                self._entries.move_to_end(key)
            while len(self._entries) > _REMEMBERED_OUTPUTS:
                (length, _), _ = self._entries.popitem(last=False)
                self._lengths[length] -= 1
                if not self._lengths[length]:
                    del self._lengths[length]

    def find(self, data: bytes, level: float, *, at_least: float) -> SentImage | None:
        """The record of a picture of ours that is private enough: at ``level``, else the strongest."""
        if len(data) not in self._lengths:
            return None
        key = (len(data), hashlib.sha256(data).hexdigest())
        with self._lock:
            levels = self._entries.get(key)
            if levels is None or max(levels) < at_least:
                return None
            self._entries.move_to_end(key)
            return levels[level] if level in levels else levels[max(levels)]
