"""Headers of pictures, videos and PDFs: how a file is known by its first bytes.

Each pattern asks for no more than a decoder does. Pillow opens a JPEG after three bytes and a GIF after six, whatever
follows, so a stricter pattern would let files pass that can be opened. Where a decoder asks for less than four bytes,
the pattern goes on with the fields that it reads next, because two bytes turn up by chance in every larger blob.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

SHORTEST_SPELLING: Final = 40
"""Shortest text, or list of numbers, that can spell a picture: fewer than 40 bytes of a file show nothing."""

SHORTEST_WIDE: Final = SHORTEST_SPELLING // 3
"""The same for text beyond ASCII, whose characters may stand for three bytes each."""

_DEPTH: Final = rb"[\x01\x04\x08\x10\x18\x20]"
_FILE_HEADER: Final = re.compile(
    rb"(?s)\x89PNG\r\n\x1a\n|\x8a[MJ]NG\r\n\x1a\n"
    # JPEG, with any marker, or fill bytes, or bytes to skip behind the first one
    rb"|\xff\xd8\xff[\0\xc0-\xff]"
    rb"|GIF8[79]a"
    rb"|RIFF.{4}(?:WEBP|AVI |ACON)"
    rb"|BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0{3}"  # BMP, by the size of its second header
    rb"|[\x28\x34\x38\x40\x6c\x7c]\0{3}.{3}[\0\xff].{3}[\0\xff]\x01\0"
    + _DEPTH
    + rb"\0"  # BMP without its first header
    rb"|II[\x2a\x2b]\0|MM\0[\x2a\x2b]|MM\x2a\0|II\0\x2a"  # TIFF and BigTIFF, and two misspellings that Pillow reads
    rb"|ftyp[0-9A-Za-z ]{4}"  # AVIF, HEIC, MP4, QuickTime
    rb"|\0\0\0\x0c(?:jP  |JXL )\r\n\x87\n|\xff\x4f\xff\x51"  # JPEG 2000, JPEG XL
    rb"|\0\0[\1\2]\0[^\0]\0.{16}"  # ICO, CUR: fewer than 256 pictures
    rb"|\x01\xda[\0\1][\1\2]\0[\1-\3]"  # SGI
    rb"|\x0a(?:[\0\2\3\5][\0\1]\x01.{60}\0[\1\2\4]|\x05[\0\1]\x08.{60}\0[\1\3])"  # PCX
    rb"|[\x11\x12]\xaf.{2}(?:.[\0-\x0f]){2}[\0\x08]\0[\0\3]\0"  # FLI
    rb"|P(?:[4-6f]|0CMYK|yP|yRGBA?|yCMYK)\s(?:\#[^\n]{0,200}\n)?\s{0,9}\d{1,6}\s{1,9}\d{1,6}\s|P7 332"  # PPM, XV
    rb"|\x1aE\xdf\xa3|8BPS\0[\1\2]|qoif|DDS \x7c\0|icns|BLP[12]|FTEX|FTU\0|DanM|LinS|\xb1\x68\xde\x3a"
    rb"|\x59\xa6\x6a\x95|\xd7\xcd\xc6\x9a\0\0|\x01\0\0\0.{36}\x20EMF|\x80\xe8\0\0|\xc5\xd0\xd3\xc6|SIMPLE\ \ ="
    rb"|GRIB.{3}[\1\2]|\x89HDF\r\n\x1a\n|BUFR.{3}[\2-\4]|[Ii]mage\ type:[^\r\n]{1,40}\ image\r?\n|\0{3}[\1\4]GIMP"
    rb"|\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1|\0{7}\x04.{34}\0{3}[\1\2\4]|%!PS-Adobe-\d|%PDF-\d\.\d[\r\n]"
)
# These have no magic number: only at the start of data does a match mean anything. TARGA, and SPIDER's floats.
_AT_START: Final = re.compile(
    rb"(?s)[\0-\x40](?:\x01[\1\x09].{4}[\x10\x18\x20].{4}|\0[\2\3\x0a\x0b].{9})(?!\0\0).[\0-\x3f](?!\0\0).[\0-\x3f]"
    rb"[\x08\x10\x18\x20][\0-\x2f]"
    rb"|\0\0\x80\x3f(?:\0.{2}[\x3f-\x46]){2}|\x3f\x80\0\0(?:[\x3f-\x46].{2}\0){2}"
)
# Every header has one of these in it, so many bytes from its start. To look for each is faster than the pattern alone.
_MAGIC: Final = {
    **dict.fromkeys(
        (
            b"\xff\xd8\xff", b"GIF8", b"RIFF", b"BM", b"(\0\0\0", b"4\0\0\0", b"8\0\0\0", b"@\0\0\0", b"l\0\0\0",
            b"|\0\0\0", b"II*\0", b"II+\0", b"MM\0*", b"MM\0+", b"MM*\0", b"II\0*", b"ftyp", b"\xff\x4f\xff\x51",
            b"\0\0\1\0", b"\0\0\2\0", b"\x01\xda", b"\n\0", b"\n\2", b"\n\3", b"\n\5", b"\x11\xaf", b"\x12\xaf", b"P4",
            b"P5", b"P6", b"Pf", b"P0CMYK", b"Py", b"P7 332", b"\x1aE\xdf\xa3", b"8BPS", b"qoif", b"DDS |", b"icns",
            b"BLP", b"FTEX", b"FTU\0", b"DanM", b"LinS", b"\xb1\x68\xde\x3a", b"\x59\xa6\x6a\x95", b"\xd7\xcd\xc6\x9a",
            b"\x80\xe8\0\0", b"\xc5\xd0\xd3\xc6", b"SIMPLE", b"GRIB", b"BUFR", b"\xd0\xcf\x11\xe0", b"%!PS",
            b"%PDF-",
        ),
        0,
    ),
    b"HDF\r\n": 1, b"mage type:": 1, b"NG\r\n": 2, b"jP  ": 4, b"JXL ": 4, b"GIMP": 4, b"\0\0\0\x04": 4, b" EMF": 40,
}  # fmt: skip
_ANY_MAGIC: Final = re.compile(b"|".join(map(re.escape, _MAGIC)))
_PRINTABLE: Final = (
    rb"GIF|qoif|icns|BLP|FTEX|DanM|LinS|SIMPLE|GRIB|BUFR|[Ii]mage type|P[4-6f0y7]|%!PS|RIFF|ftyp"
)
_LEADING: Final = {b"ftyp": 4, b"\0\0\0\1": 16, b"\0\0\0\4": 16}
_ICONS: Final = (b"\0\0\1\0", b"\0\0\2\0")
_ICON_ENTRY: Final = 16
_ICON: Final = re.compile(rb"\x89PNG|[\x28\x34\x38\x40\x6c\x7c]\0{3}")
_TARGA_HEADER: Final = 18
_MOST_PIXELS_A_BYTE: Final = 1_024  # 8 in a bit picture, times 128 in runs
_NAMED: Final = re.compile(_PRINTABLE)
_CONTROL: Final = re.compile(rb"[\0-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x80-\x9f]")

# Pictures that are text.
_TEXT_PICTURE: Final = re.compile(
    r"(?<![A-Za-z0-9])P[1-3]\s(?:\#[^\n]{0,200}\n)?\s{0,9}\d{1,6}\s{1,9}\d{1,6}(?=\s[\s01]{60}|(?:\s{1,9}\d{1,5}){30})"
    r"|/\* XPM \*/[^\"]{0,200}\"\s{0,9}\d{1,5}\s{1,9}\d{1,5}\s{1,9}\d{1,5}\s{1,9}\d"
    r"|\#define[ \t]{1,9}\w{0,99}_width[ \t]{1,9}\d{1,6}\s{1,9}\#define[ \t]{1,9}\w{0,99}_height[ \t]{1,9}\d"
    r"|%!PS-Adobe-\d\.\d EPSF-\d\.\d\s{1,9}%%|%PDF-\d\.\d[\r\n]"
)


def find_file_header(data: bytes) -> int | None:
    """Return the offset at which a picture, a video or a PDF of at least 40 bytes begins in ``data``.

    A header that is made of letters alone counts only with bytes behind it that no text has: "a GIF89a and a RIFF file"
    is a sentence.
    """
    if len(data) < SHORTEST_SPELLING:
        return None
    match = _AT_START.match(data)
    if match is not None and _is_varied(data, 0) and _is_possible(data, 0, match.group()):
        return 0
    if _ANY_MAGIC.search(data) is None:
        return None
    present = [magic for magic in _MAGIC if magic in data]
    return min((start for magic in present for start in _starts(data, magic, _MAGIC[magic])), default=None)


def _starts(data: bytes, magic: bytes, lead: int) -> Iterator[int]:
    """Yield the first place of a file whose header has ``magic`` in it, ``lead`` bytes from its start."""
    last_control: int | None = None
    place = data.find(magic)
    while place >= 0:
        match = _FILE_HEADER.match(data, max(place - lead, 0))
        if match is not None:
            # Some formats begin with the length of the file or of a box.
            before = _LEADING.get(match.group()[:4], 4 if match.group()[1:2] == b"\xaf" else 0)
            start = max(match.start() - before, 0)
            if len(data) - start < SHORTEST_SPELLING:
                return
            is_text = False
            if _NAMED.match(match.group()) is not None:
                last_control = _last_control(data) if last_control is None else last_control
                is_text = last_control < match.end()
            if not is_text and _is_varied(data, start) and _is_possible(data, match.start(), match.group()):
                yield start
                return
        place = data.find(magic, place + 1)


def _is_possible(data: bytes, start: int, header: bytes) -> bool:
    """Say whether data can hold the picture that a header of small numbers announces; ``True`` for other headers.

    Code and tables are full of small numbers. For a picture that was cut off, a part is enough.
    """
    if len(header) == _TARGA_HEADER and header[1] <= 1:
        width, height = (int.from_bytes(data[at : at + 2], "little") for at in (12, 14))
        return _fits(width, height, data, 0)
    if header[:4] in _ICONS:
        entries = start + 6
        end = entries + _ICON_ENTRY * header[4]
        places = (
            start + int.from_bytes(data[entry + 12 : entry + 16], "little")
            for entry in range(entries, end, _ICON_ENTRY)
        )
        return any(_ICON.match(data, place) for place in places if end <= place)
    if header[:1] == b"\x0a":
        left, top, right, bottom = (
            int.from_bytes(data[start + at : start + at + 2], "little") for at in range(4, 12, 2)
        )
        return right >= left and bottom >= top and _fits(right - left + 1, bottom - top + 1, data, start)
    if header[:2] == b"\x01\xda":
        width, height = (int.from_bytes(data[start + at : start + at + 2], "big") for at in (6, 8))
        return width > 0 and height > 0 and _fits(width, height, data, start)
    return True


def _fits(width: int, height: int, data: bytes, start: int) -> bool:
    return width * height <= _MOST_PIXELS_A_BYTE * (len(data) - start)


def _is_varied(data: bytes, start: int) -> bool:
    """Say whether bytes are more than a list of small numbers, in which a header turns up by chance."""
    return len(set(data[start : start + SHORTEST_SPELLING])) > 3 and max(data[start : start + 1_024]) >= 64


def spells_text_picture(text: str) -> bool:
    """Say whether a text holds a picture in a format that is text itself: PBM, PGM, PPM, XPM, XBM, EPS; or a PDF."""
    if not (
        "P1" in text
        or "P2" in text
        or "P3" in text
        or "XPM" in text
        or "_width" in text
        or "%!PS" in text
        or "%PDF" in text
    ):
        return False
    return _TEXT_PICTURE.search(text) is not None


def _last_control(data: bytes) -> int:
    """Return the last place of a byte that no text has, or -1."""
    end = len(data)
    while end > 0:
        start = max(0, end - 4096)
        found = [match.start() for match in _CONTROL.finditer(data, start, end)]
        if found:
            return found[-1]
        end = start
    return -1
