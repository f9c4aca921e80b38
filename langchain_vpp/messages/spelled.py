"""Pictures that are spelled out inside text: base64, data URLs, hex, escapes, lists of numbers.

Text holds a picture by one of two rules:

- The header of a picture, a video or a PDF stands anywhere inside a run of base64 or hex (any alignment, standard
  or URL-safe alphabet, wrapped lines, JSON or percent escapes, base64 within base64), with at least 40 bytes from
  the header on. The bare word "iVBORw0KGgo" in a question about PNG is no picture.
- A run without a known header is too long for anything but data: 2,048 characters of base64 (1.5 kB) in one piece,
  or 8,192 over wrapped lines, unless it decodes to text. Hashes (128 characters), UUIDs (36), keys (716), signatures
  (683), PEM blocks (3,300, wrapped) and the parts of a JWT (which decode to text) stay below. Fields that are known
  to hold long opaque tokens, such as signatures of reasoning, are exempt from this rule only.

Not found: other encodings (base32, base85, yEnc), base64 broken into lines under 32 characters, and encrypted or
compressed data under the lengths above.
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Collection

SHORTEST_SPELLING: Final = 40
"""Shortest text, or list of numbers, that can spell a picture: fewer than 40 bytes of a file show nothing."""

_STRIDE: Final = 32
_OPAQUE_RUN: Final = 2_048
_OPAQUE_WRAPPED: Final = 8_192
_MAX_LAYERS: Final = 4

_FILE_HEADER: Final = re.compile(
    rb"(?s)\x89PNG\r\n\x1a\n"
    rb"|\xff\xd8\xff[\xc0-\xcf\xdb\xdd\xe0-\xef\xfe]"  # JPEG, by its second marker
    rb"|GIF8[79]a.{6}[\0\x31]"  # with its pixel aspect ratio, so that prose about GIF89a is none
    rb"|RIFF.{4}(?:WEBP|AVI )"
    rb"|BM.{4}\0{4}.{2}\0\0[\x0c\x28\x34\x38\x40\x6c\x7c]\0{3}"  # BMP, by the size of its second header
    rb"|II[\x2a\x2b]\0|MM\0[\x2a\x2b]"  # TIFF, BigTIFF
    rb"|\0\0[\0-\x02].ftyp[0-9A-Za-z ]{4}"  # AVIF, HEIC, MP4, QuickTime
    rb"|\0\0\0\x0c(?:jP  |JXL )\r\n\x87\n|\xff\x4f\xff\x51\0"  # JPEG 2000, JPEG XL
    rb"|\x1aE\xdf\xa3|8BPS\0[\x01\x02]|qoif.{8}[\x03\x04]|%PDF-\d\.\d[\r\n]"
)
# Possessive, and only from the start of a run: a failing tail that is retried at every character is quadratic.
_RUN: Final = re.compile(r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{64,}+")
_WRAPPED_RUN: Final = re.compile(
    r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{32,}+(?:\s++[A-Za-z0-9+/_-]{32,}+)++(?:\s++[A-Za-z0-9+/_-]++)?"
)
_HEX_RUN: Final = re.compile(r"(?<![0-9A-Fa-f])[0-9A-Fa-f]{80,}+")
_HEX_DUMP: Final = re.compile(r"(?:(?:0x|\\x)?[0-9A-Fa-f]{2}[\s,:]*+){40,}+", re.ASCII)
_NUMBERS: Final = re.compile(r"(?:\d{1,3}\s*,\s*+){40,}+", re.ASCII)
_DATA_URL: Final = re.compile(
    r"data:(?:image/(?!svg)|video/|application/pdf)[^,]{0,256};base64,\s*[A-Za-z0-9+/_-]{64}", re.IGNORECASE
)
# Escapes of JSON, Python, C and URLs. Quoted-printable has its own, because "=" also stands in URLs.
_ESCAPE: Final = re.compile(r"(?:\\+(?:x|u00)|%)([0-9A-Fa-f]{2})|\\+([0-3][0-7]{2})|\\+([/abfnrtv])")
_QUOTED: Final = re.compile(r"=([0-9A-F]{2})()()|=\n")
_CONTROL: Final = {"/": "/", "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
# Parts of file headers that survive decoding as Latin-1, CP-1252 or with surrogates; cheap to look for.
_RAW_HINTS: Final = (
    "PNG\r\n",
    "ÿØÿ",
    "\udcff\udcd8\udcff",
    "GIF8",
    "RIFF",
    "ftyp",
    "BM",
    "II*",
    "MM\0",
    "%PDF-",
)
_ESCAPED_BYTE: Final = re.compile("[\udc80-\udcff]")
_NUMERIC: Final = "0123456789abcdefABCDEFx,:\\ \t\r\n"
_URL_SAFE: Final = str.maketrans("-_", "+/")


def find_file_header(data: bytes) -> int | None:
    """Return the offset at which a picture, a video or a PDF of at least 40 bytes begins in ``data``."""
    for match in _FILE_HEADER.finditer(data):
        if len(data) - match.start() >= SHORTEST_SPELLING:
            return match.start()
    return None


def numbers_spell_file(numbers: Collection[Any]) -> bool:
    """Say whether a collection of integers from 0 to 255 holds the header of a picture, a video or a PDF."""
    return (
        len(numbers) >= SHORTEST_SPELLING
        and all(type(number) is int and 0 <= number < 256 for number in numbers)
        and find_file_header(bytes(numbers)) is not None
    )


def holds_pixels(text: str, *, opaque: bool = False) -> bool:
    """Say whether a picture is spelled out in ``text``.

    Args:
        text: Any text. Ordinary prose is searched in a few nanoseconds per character.
        opaque: Whether long base64 without a known file header is expected, as in a signature.
    """
    # Methods of a subclass are not asked: serializers read the characters that it holds.
    plain = text if type(text) is str else str.__str__(text)
    return len(plain) >= SHORTEST_SPELLING and _holds_pixels(plain, opaque=opaque, layers=_MAX_LAYERS)


def _holds_pixels(text: str, *, opaque: bool, layers: int) -> bool:
    if len(text) < SHORTEST_SPELLING:
        return False
    if (not text.isascii() or "\0" in text) and _raw(text):
        return True
    # Every run of 63 characters contains one of these stretches whole, and hardly any prose does: most text costs
    # one look per 32 characters, and the regular expressions search the rest.
    unbroken = numeric = False
    for start in range(0, len(text) - _STRIDE + 1, _STRIDE):
        stretch = text[start : start + _STRIDE]
        if stretch[0] in _NUMERIC and not stretch.strip(_NUMERIC):
            numeric = True
        if " " not in stretch and "\n" not in stretch and stretch.isascii():
            unbroken = True
    return (numeric and _numbers(text)) or (unbroken and _spelled(text, opaque=opaque, layers=layers))


def _spelled(text: str, *, opaque: bool, layers: int) -> bool:
    unescaped = _ESCAPE.sub(_unescape, text)
    unquoted = _QUOTED.sub(_unescape, text)
    return (
        _raw(unescaped)
        or _raw(unquoted)
        or _DATA_URL.search(unescaped) is not None
        or any(
            _runs_hold_pixels(variant, opaque=opaque, layers=layers)
            for variant in {unescaped, unquoted, text}
        )
    )


def _runs_hold_pixels(text: str, *, opaque: bool, layers: int) -> bool:
    return (
        any(_hex_has_header(run.group()) for run in _HEX_RUN.finditer(text))
        or any(
            _base64_holds_pixels(run.group(), longest=None if opaque else _OPAQUE_RUN, layers=layers)
            for run in _RUN.finditer(text)
        )
        or any(
            _base64_holds_pixels(joined, longest=None if opaque else _OPAQUE_WRAPPED, layers=layers)
            for joined in ("".join(run.group().split()) for run in _WRAPPED_RUN.finditer(text))
        )
    )


def _base64_holds_pixels(run: str, *, longest: int | None, layers: int) -> bool:
    run = run.translate(_URL_SAFE)
    # Text before the run can shift its phase, so all four are tried. In each, the file may begin at any byte.
    for phase in range(4):
        end = len(run) - (len(run) - phase) % 4
        decoded = base64.b64decode(run[phase:end])
        if find_file_header(decoded) is not None:
            return True
        inner = _as_text(decoded) if phase == 0 else None
        if inner is not None:
            return layers == 0 or _holds_pixels(inner, opaque=False, layers=layers - 1)
    return longest is not None and len(run) >= longest and not _monotonous(run)


def _as_text(data: bytes) -> str | None:
    # A token is cut to whole groups of four, which can split the last character of its text.
    text = data.decode("utf-8", errors="ignore")
    printable = sum(character.isprintable() or character.isspace() for character in text)
    return text if len(text.encode()) >= len(data) - 3 and printable == len(text) else None


def _monotonous(run: str) -> bool:
    """Say whether a run is a ruler ("-----"), hex digits, or letters of one case as in a genome."""
    return (
        len(set(run)) <= 4
        or (run.isalpha() and (run.isupper() or run.islower()))
        or _HEX_RUN.fullmatch(run) is not None
    )


def _raw(text: str) -> bool:
    if not any(hint in text for hint in _RAW_HINTS):
        return False
    # os.fsdecode() and errors="surrogateescape" keep byte 0x89 as U+DC89.
    latin = _ESCAPED_BYTE.sub(lambda character: chr(ord(character.group()) - 0xDC00), text)
    return find_file_header(latin.encode("latin-1", errors="replace")) is not None


def _numbers(text: str) -> bool:
    for run in _HEX_DUMP.finditer(text):
        if _hex_has_header(re.sub(r"0x|\\x|[\s,:]", "", run.group())):
            return True
    for run in _NUMBERS.finditer(text):
        values = [int(number) for number in run.group().split(",") if number.strip()]
        if max(values) <= 255 and find_file_header(bytes(values)) is not None:
            return True
    return False


def _hex_has_header(digits: str) -> bool:
    return any(
        find_file_header(bytes.fromhex(digits[start : len(digits) - (len(digits) - start) % 2])) is not None
        for start in (0, 1)
    )


def _unescape(escape: re.Match[str]) -> str:
    digits, octal, control = escape.groups()
    if digits:
        return chr(int(digits, 16))
    if octal:
        return chr(int(octal, 8))
    return _CONTROL.get(control, "")
