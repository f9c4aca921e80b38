"""Finds pictures as a receiver would: decodes whatever it can, and lets Pillow open the result at every offset.

Shares no code with the protection: every codec is one of the standard library, or a few lines of its own.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import html
import io
import re
import struct
import urllib.parse
import warnings
from typing import TYPE_CHECKING, Any

from PIL import Image
from pydantic import BaseModel

if TYPE_CHECKING:
    from collections.abc import Iterator

Image.init()
# The bytes with which the files of all formats that are fuzzed begin; Pillow decides.
_STARTS = re.compile(
    rb"\x89P|\xff\xd8|GIF8|RIFF|BM|II[*+]|MM\0|....ftyp|\0\0\x01\0|P[1-6][ \n]|qoif|/\* XPM|#define|%!PS",
    re.DOTALL,
)
_SHORTEST = 40
_LAYERS = 2


def find_picture(value: Any, harmless: frozenset[bytes] = frozenset()) -> str | None:
    """Return what Pillow could open in a value, and where it stands; ``None`` if there is nothing.

    Args:
        value: Anything that messages are made of.
        harmless: Files that may be there: the protected pictures.
    """
    for place, data in _leaves(value, ""):
        layer = {data}
        for _ in range(_LAYERS + 1):
            for form in layer:
                for start in _STARTS.finditer(form):
                    file = form[start.start() :]
                    if len(file) < _SHORTEST or any(_is_same(file, known) for known in harmless):
                        continue
                    if name := _opened(file):
                        return f"{name} at {place}"
            layer = {form for data in layer for form in _decodings(data) if len(form) >= _SHORTEST}
    return None


def _is_same(file: bytes, known: bytes) -> bool:
    # Base64 without its padding loses the last bytes, and another decoder on top changes some in between.
    pieces = [known[start : start + 16] for start in range(0, len(known) - 16, 16)]
    return sum(piece in file for piece in pieces) > 0.8 * len(pieces)


def _opened(file: bytes) -> str | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(file)) as picture:
                picture.load()
                return f"{picture.format} of {picture.size}"
        except Exception:  # noqa: BLE001  whatever a decoder says of junk
            return None


def _leaves(value: Any, place: str) -> Iterator[tuple[str, bytes]]:
    if isinstance(value, str):
        yield place, value.encode("utf-8", "surrogatepass")
        if not value.isascii():
            yield place, value.encode("latin-1", "replace")
            yield place, value.encode("utf-16-le", "surrogatepass")
            yield place, bytes(ord(character) & 0xFF for character in value)
    elif isinstance(value, bytes | bytearray | memoryview):
        yield place, bytes(value)
    elif isinstance(value, dict):
        yield from _sequence(list(value.values()), place)
        for key, item in value.items():
            yield from _leaves(key, f"{place}.key")
            yield from _leaves(item, f"{place}.{key}"[:60])
    elif isinstance(value, list | tuple | set | frozenset):
        yield from _sequence(list(value), place)
        for number, item in enumerate(value):
            yield from _leaves(item, f"{place}[{number}]")
    elif isinstance(value, BaseModel):
        for name in ("__dict__", "__pydantic_extra__", "__pydantic_private__"):
            yield from _leaves(getattr(value, name), place)


def _sequence(items: list[Any], place: str) -> Iterator[tuple[str, bytes]]:
    """Yield what the items are together: the bytes of a file, or pieces of a text."""
    if len(items) >= _SHORTEST and all(isinstance(item, int | float) for item in items):
        with contextlib.suppress(ValueError, OverflowError):
            yield place, bytes(round(item) % 256 for item in items)
            yield place, bytes(min(255, max(0, round(item * 255))) for item in items)
    texts = [item for item in items if isinstance(item, str)]
    if len(texts) > 1:
        yield place, "".join(texts).encode("utf-8", "surrogatepass")
    pieces = [bytes(item) for item in items if isinstance(item, bytes)]
    if len(pieces) > 1:
        yield place, b"".join(pieces)
    inner = [part for item in items if isinstance(item, list) for part in item]
    if inner and all(isinstance(part, int | float) for part in inner):
        yield from _sequence(inner, place)


def _decodings(data: bytes) -> Iterator[bytes]:
    text = data.decode("latin-1")
    for plain in {
        text,
        html.unescape(text),
        re.sub(r"(?m)^\s*[\w .-]+: ", "", text),
        re.sub(r"[^\w+/=-]", "", text),
    }:
        yield plain.encode("latin-1", "replace")
        yield urllib.parse.unquote_to_bytes(plain)
        with contextlib.suppress(ValueError, binascii.Error):
            yield binascii.a2b_qp(plain.encode("latin-1"))
        for run in re.findall(r"[A-Za-z0-9+/_-]{48,}", re.sub(r"[\s,\"']", "", plain)):
            digits = run.translate(str.maketrans("-_", "+/"))
            for start in range(4):
                yield base64.b64decode(digits[start : start + (len(digits) - start) // 4 * 4])
        for run in re.findall(r"[A-Z2-7]{64,}", re.sub(r"\s", "", plain)):
            yield base64.b32decode(run[: len(run) // 8 * 8])
        for run in re.findall(r"[!-~]{40,}", re.sub(r"\s", "", plain)):
            for decode in (base64.b85decode, base64.a85decode):
                with contextlib.suppress(ValueError, struct.error):
                    yield decode(run)
        digits = re.sub(r"0x|\\x|[\s,:;]", "", plain)
        for run in re.findall(r"[0-9a-fA-F]{80,}", digits):
            for start in (0, 1):
                yield bytes.fromhex(run[start : start + (len(run) - start) // 2 * 2])
        for run in re.findall(r"(?:[+-]?\d{1,3}[^\w+-]{1,4}){40,}", plain):
            yield bytes(int(number) % 256 for number in re.findall(r"[+-]?\d+", run))
    with contextlib.suppress(ValueError), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of escapes that mean nothing
        yield data.decode("unicode_escape").encode("latin-1", "replace")
