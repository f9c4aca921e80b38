"""An assertion for your own tests: a picture does not turn up where it must not.

::

    assert_no_leak(canary, recorded_requests, Path("checkpoints.sqlite"), caplog.text)

The best canary is a small picture of random pixels: nothing that protection derives from it resembles it by chance.

The search shares no code with the protection, on purpose. It looks into everything that it can reach, whether or not
:mod:`langchain_vpp.messages.registry` knows its class: a type that it misjudges must not be overlooked here as well.
"""

from __future__ import annotations

import binascii
import dataclasses
import hashlib
import io
import re
from collections import deque
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from PIL import Image, ImageStat
from pydantic import BaseModel

_PROBE: Final = 24
_PROBES: Final = 16
_ENCODINGS: Final = 3
"""Encodings within each other that are undone."""
_MAX_DEPTH: Final = 256
_SHORTEST_PICTURE: Final = 60
_TOLERANCE: Final = 3.0
_LEAST_CONTRAST: Final = 8.0

_SHORTEST_BASE64: Final = 32
_BASE64_RUN: Final = re.compile(rb"[A-Za-z0-9+/]{32,}={0,2}")
_URL_SAFE: Final = bytes.maketrans(b"-_", b"+/")
_HEX_RUN: Final = re.compile(rb"(?:(?:0x|\\x)?[0-9a-fA-F]{2}[\s,:]*){24,}")
_NUMBERS_RUN: Final = re.compile(rb"(?:\d{1,3}\s*,\s*){24,}\d{1,3}")
_ESCAPE_MARKS: Final = (b"\\", b"%", b"=")
# A run of backslashes is tried once, not again at each of them.
_BREAKS: Final = re.compile(rb"(?:(?<!\\)\\++[rn]|[\s\"',+])+")
_ESCAPES: Final = re.compile(
    rb"(?<!\\)\\++(?:(?:x|u00)([0-9a-fA-F]{2})|([0-7]{3})|([abfnrtv'\"/]))|%([0-9a-fA-F]{2})|=([0-9A-F]{2})"
)
_CONTROLS: Final = {
    b"a": b"\a", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v",
}  # fmt: skip
_PICTURE_START: Final = re.compile(rb"\x89PNG\r\n\x1a\n|\xff\xd8\xff|GIF8[79]a|RIFF.{4}WEBP|BM", re.DOTALL)


class _Canary(NamedTuple):
    probes: tuple[bytes, ...]
    pixels: Image.Image | None


def assert_no_leak(canary: bytes | Image.Image, *sinks: Any) -> None:
    """Fail if a picture, or a part of it, is found in a sink.

    The search finds the bytes of the picture, as they are or as base64 at any alignment (standard or URL-safe,
    wrapped), hex, a list of numbers, or escaped (Python, JSON, URL, quoted-printable), up to three of these within
    each other. If the canary can be decoded, it also finds the same pixels in another file format.

    Args:
        canary: The original: the bytes of a file, or a picture.
        *sinks: Text, bytes, arrays, files, folders, exceptions, and any nesting of collections, pydantic models,
            dataclasses and other objects.

    Raises:
        AssertionError: If the picture is found. The message names the place, and quotes nothing.
        ValueError: If the canary is too short or too uniform to be recognized, or there is no sink.
        TypeError: If a sink can't be searched.

    Example:
        >>> import random
        >>> canary = Image.frombytes("RGB", (8, 8), random.Random(0).randbytes(192))
        >>> assert_no_leak(canary, {"body": "nothing to see"})
        >>> assert_no_leak(canary, [canary.tobytes()])
        Traceback (most recent call last):
        AssertionError: The picture leaked: found in sink 0[0]
    """
    if not sinks:
        msg = "assert_no_leak() needs at least one sink"
        raise ValueError(msg)
    search = _Search(_prepare(canary))
    for position, sink in enumerate(sinks):
        for place, data in _leaves(sink, f"sink {position}"):
            if search.finds(data):
                msg = f"The picture leaked: found in {place}"
                raise AssertionError(msg)


def _prepare(canary: bytes | Image.Image) -> _Canary:
    if isinstance(canary, Image.Image):
        pixels: Image.Image | None = _rgb(canary)
        data = canary.tobytes()
    else:
        pixels = _decode(canary)
        data = canary[_header_length(canary) :]
    # Stretches from all over the file also find a part that was cut out, or a file whose metadata were stripped.
    step = max(1, (len(data) - _PROBE) // (_PROBES - 1))
    stretches = {data[start : start + _PROBE] for start in range(0, max(1, len(data) - _PROBE + 1), step)}
    probes = tuple(part for part in stretches if len(part) == _PROBE and len(set(part)) > _PROBE // 2)
    if pixels is not None and max(ImageStat.Stat(pixels).stddev) < _LEAST_CONTRAST:
        pixels = None
    if not probes and pixels is None:
        msg = "The canary is too short or too uniform to be recognized; use a picture of random pixels"
        raise ValueError(msg)
    return _Canary(probes, pixels)


def _header_length(data: bytes) -> int:
    """Return the number of bytes at the start of a file that other pictures share: sizes and coding tables."""
    if data.startswith(b"\x89PNG"):
        return data.find(b"IDAT") + 16
    if data.startswith(b"\xff\xd8\xff"):
        return data.rfind(b"\xff\xda") + 14
    return 64 if _PICTURE_START.match(data) else 0


class _Search:
    """Search of many data for one canary. Traces repeat the same texts many times; each is searched once.

    Args:
        canary: The picture to find.
    """

    def __init__(self, canary: _Canary) -> None:
        self._canary = canary
        self._searched: dict[bytes, int] = {}
        """Digest of what was searched -> encodings within it that were searched too."""

    def finds(self, data: bytes) -> bool:
        """Search ``data`` and everything that it encodes, three encodings deep."""
        layer = [data]
        for left in range(_ENCODINGS, -1, -1):
            following: list[bytes] = []
            for form in layer:
                if self._is_searched(form, left):
                    continue
                if any(probe in form for probe in self._canary.probes) or _shows(self._canary, form):
                    return True
                if left:
                    following.extend(_decodings(form))
            layer = following
        return False

    def _is_searched(self, form: bytes, encodings: int) -> bool:
        """Say whether there is nothing left to search, and note that it will be searched now."""
        # No decoding is longer than what it was decoded from, and no probe shorter than this.
        if len(form) < _PROBE:
            return True
        digest = hashlib.sha256(form).digest()
        if self._searched.get(digest, -1) >= encodings:
            return True
        self._searched[digest] = encodings
        return False


def _decodings(data: bytes) -> Iterator[bytes]:
    """Yield everything that ``data`` may be an encoding of."""
    if any(mark in data for mark in _ESCAPE_MARKS):
        unescaped = _ESCAPES.sub(_unescape, data)
        if unescaped != data:
            yield unescaped
    if len(data) < _SHORTEST_BASE64:  # traces are full of identifiers, and of what they seem to encode
        return
    joined = _BREAKS.sub(b"", data.replace(b"-", b"+").replace(b"_", b"/"))
    unbroken = data.translate(_URL_SAFE)
    texts = {joined, unbroken, _BREAKS.sub(b"", unbroken)}
    for digits in {run.rstrip(b"=") for text in texts for run in _BASE64_RUN.findall(text)}:
        for phase in range(4):
            usable = digits[phase : phase + (len(digits) - phase) // 4 * 4]
            rest = digits[phase + len(usable) :]
            tail = rest + b"=" * (-len(rest) % 4) if len(rest) > 1 else b""
            yield binascii.a2b_base64(usable + tail)
    for run in _HEX_RUN.findall(data):
        digits = re.sub(rb"0x|\\x|[\s,:]", b"", run)
        for phase in (0, 1):
            usable = digits[phase : phase + (len(digits) - phase) // 2 * 2]
            yield binascii.unhexlify(usable)
    for run in _NUMBERS_RUN.findall(data):
        numbers = [int(number) for number in run.split(b",")]
        if max(numbers) < 256:
            yield bytes(numbers)


def _unescape(match: re.Match[bytes]) -> bytes:
    hexadecimal = match.group(1) or match.group(4) or match.group(5)
    if hexadecimal is not None:
        return bytes([int(hexadecimal, 16)])
    if match.group(2) is not None:
        return bytes([int(match.group(2), 8) & 0xFF])
    return _CONTROLS.get(match.group(3), match.group(3))


def _shows(canary: _Canary, data: bytes) -> bool:
    """Say whether ``data`` holds a picture file with the pixels of the canary."""
    if canary.pixels is None:
        return False
    for start in _PICTURE_START.finditer(data):
        if len(data) - start.start() < _SHORTEST_PICTURE:
            continue
        picture = _decode(data[start.start() :])
        if picture is not None and picture.size == canary.pixels.size:
            differences = zip(picture.tobytes(), canary.pixels.tobytes(), strict=True)
            if sum(abs(one - other) for one, other in differences) <= _TOLERANCE * len(picture.tobytes()):
                return True
    return False


def _rgb(picture: Image.Image) -> Image.Image:
    # Pillow converts this mode to one other only.
    return (picture.convert("LA") if picture.mode == "La" else picture).convert("RGB")


def _decode(data: bytes) -> Image.Image | None:
    try:
        with Image.open(io.BytesIO(data)) as picture:
            return picture.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None


def _leaves(value: Any, place: str) -> Iterator[tuple[str, bytes]]:
    """Yield everything in ``value`` that can hold bytes, with the place where it was found.

    Args:
        value: Anything.
        place: The place of ``value`` among the sinks.
    """
    seen: dict[int, Any] = {}  # objects by id; kept alive, so that no other object gets the id
    waiting = [(value, place, 0)]
    while waiting:
        value, place, depth = waiting.pop()
        if depth > _MAX_DEPTH:
            msg = f"{place} is nested too deeply to be searched"
            raise TypeError(msg)
        if isinstance(value, str):
            yield from ((place, form) for form in _text_forms(value))
        elif isinstance(value, (bytes, bytearray, memoryview)):
            yield place, bytes(value)
        elif isinstance(value, Path):
            yield from _file_leaves(value, place)
        elif isinstance(value, (int, float, complex, type(None), type)) or id(value) in seen:
            continue
        elif isinstance(value, Image.Image):
            yield from _picture_leaves(value, place)
        elif (data := _array_bytes(value)) is not None:
            yield f"{place} (array)", data
        else:
            seen[id(value)] = value
            parts = [(part, place + name, depth + 1) for name, part in _parts(value, place)]
            waiting.extend(reversed(parts))


def _picture_leaves(picture: Image.Image, place: str) -> Iterator[tuple[str, bytes]]:
    buffer = io.BytesIO()
    _rgb(picture).save(buffer, "PNG")
    yield f"{place} (picture)", buffer.getvalue()
    yield f"{place} (picture)", picture.tobytes()


def _parts(value: Any, place: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for position, (key, item) in enumerate(value.items()):
            yield f".key[{position}]", key
            yield f"[{key!r}]" if isinstance(key, str) and len(key) < 64 else f"[{position}]", item
        return
    if isinstance(value, (list, tuple, AbstractSet, deque)):
        numbers = [item for item in value if isinstance(item, int)]
        if len(numbers) == len(value) and numbers and 0 <= min(numbers) <= max(numbers) < 256:
            yield " (numbers)", bytes(numbers)
            return
        yield from ((f"[{position}]", item) for position, item in enumerate(value))
        return
    if isinstance(value, Iterator):
        msg = f"{place} is an iterator; collect it first"
        raise TypeError(msg)
    if isinstance(value, BaseException):
        yield from (
            (".args", value.args),
            (".__cause__", value.__cause__),
            (".__context__", value.__context__),
        )
        yield ".str", str(value)
    if isinstance(value, BaseModel):
        yield ".extra", value.__pydantic_extra__ or {}
        yield ".private", value.__pydantic_private__ or {}
    if dataclasses.is_dataclass(value):
        yield from ((f".{field.name}", getattr(value, field.name)) for field in dataclasses.fields(value))
    slots = (name for part in type(value).__mro__ for name in getattr(part, "__slots__", ()))
    yield from ((f".{name}", getattr(value, name)) for name in slots if hasattr(value, name))
    yield from ((f".{name}", part) for name, part in dict(getattr(value, "__dict__", {})).items())


def _array_bytes(value: Any) -> bytes | None:
    """Return the bytes of an array, a tensor or another buffer; ``None`` if ``value`` is none of these.

    Numbers of more than a byte come as one byte each, too: the values of pixels, whatever type they were made into.
    """
    if hasattr(type(value), "__array__"):
        array = np.asarray(value)
        narrow = array.astype(np.uint8, casting="unsafe").tobytes() if array.dtype.kind in "iuf" else b""
        return array.tobytes() + narrow
    try:
        return memoryview(value).tobytes()
    except TypeError:
        return None


def _file_leaves(path: Path, place: str) -> Iterator[tuple[str, bytes]]:
    if path.is_dir():
        for child in sorted(path.rglob("*")):
            if child.is_file():
                yield f"{place} ({child.relative_to(path)})", child.read_bytes()
    else:
        yield f"{place} ({path.name})", path.read_bytes()


def _text_forms(text: str) -> Iterator[bytes]:
    """Yield the bytes that a text may stand for: as UTF-8, and character by character."""
    yield (
        text.encode("utf-8", errors="surrogateescape")
        if text.isascii()
        else text.encode("utf-8", errors="replace")
    )
    if not text.isascii():
        yield text.encode("latin-1", errors="replace")
        yield text.encode("ascii", errors="surrogateescape") if _is_escaped(text) else b""


def _is_escaped(text: str) -> bool:
    return all(ord(character) < 128 or 0xDC80 <= ord(character) <= 0xDCFF for character in text)
