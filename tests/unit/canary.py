"""Looks for a picture in what comes out: as bytes, base64 at any alignment, hex, escapes or numbers."""

from __future__ import annotations

import base64
import io
import pickle
import re
from typing import Any

_LENGTH = 48


def spellings(canary: bytes) -> dict[str, bytes]:
    """Name every spelling of three pieces of ``canary`` that are looked for."""
    found: dict[str, bytes] = {}
    for start in (0, len(canary) // 2, len(canary) - _LENGTH):
        piece = canary[start : start + _LENGTH]
        found[f"bytes at {start}"] = piece
        found[f"hex at {start}"] = piece.hex().encode()
        found[f"numbers at {start}"] = ",".join(map(str, piece)).encode()
        found[f"escapes at {start}"] = "".join(f"\\x{byte:02x}" for byte in piece).encode()
        found[f"percent at {start}"] = "".join(f"%{byte:02x}" for byte in piece).encode()
        found[f"Latin-1 at {start}"] = piece.decode("latin-1").encode()
        for alignment in range(3):
            encoded = base64.b64encode(piece[alignment:])
            found[f"base64 at {start} + {alignment}"] = encoded[: len(encoded) // 4 * 4 - 4]
    return found


class _Dumper(pickle.Pickler):
    """Pickles whatever a message may hold by its bytes."""

    def reducer_override(self, thing: Any) -> Any:
        return (bytes, (thing.tobytes(),)) if isinstance(thing, memoryview) else NotImplemented


def find_canary(canary: bytes, things: list[Any]) -> str | None:
    """Return the name of the first spelling of ``canary`` in ``things``, however they are nested."""
    dump = io.BytesIO()
    _Dumper(dump).dump([getattr(thing, "__dict__", thing) for thing in things])
    text = re.sub(r"\s|\\n", "", repr([getattr(thing, "__dict__", thing) for thing in things]))
    haystacks = [
        dump.getvalue(),
        text.encode("utf-8", "backslashreplace"),
        text.lower().encode("utf-8", "backslashreplace"),
    ]
    haystacks.append(haystacks[1].replace(b"-", b"+").replace(b"_", b"/").replace(b"\\\\/", b"/"))
    for name, spelling in spellings(canary).items():
        if any(spelling in haystack for haystack in haystacks):
            return name
    return None
