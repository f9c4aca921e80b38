"""Structure of an encoded picture: a cheap look at a file, before any decoder sees it.

A decoder's work follows from the structure of a file, not from its length: eight kilobytes may ask for 64 million
pixels, for a thousand passes over them, or for a directory that names one megabyte ten thousand times. The look is
linear in the number of parts, which is bounded. It keeps only the parts that make pixels, so that decoders never see
metadata, previews behind a picture or further frames.

Formats whose work can't be told from outside are decoded in another process: see
:mod:`langchain_vpp.images.isolated`.
"""

from __future__ import annotations

import contextlib
import re
import struct
import zlib
from typing import TYPE_CHECKING, Final, NamedTuple

from langchain_vpp.errors import ProtectionError
from langchain_vpp.images.pace import PIECE, give_way

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REFUSED: Final = "The picture was not protected: "
UNDECODABLE: Final = (
    REFUSED + "it is cut off, corrupt or of an unknown format. Send a JPEG, PNG, WebP or GIF."
)
SEVERAL_FRAMES: Final = (
    REFUSED + "it has several frames (animation, stereo, panorama or pages). Send the one that is meant."
)

# Encoders write some dozens of segments and about ten scans; attackers write as many as fit.
_MOST_SEGMENTS: Final = 10_000
_MOST_SCANS: Final = 100
# Encoders write chunks of 8 kB and more, and blocks of 255 bytes.
_MOST_SMALL_CHUNKS: Final = 2_000
_FEWEST_BYTES_OF_A_CHUNK: Final = 1_024
_MOST_SMALL_BLOCKS: Final = 4_096
_FEWEST_BYTES_OF_A_BLOCK: Final = 32
# Printers' profiles have up to three megabytes. A larger one is ignored, as one that can't be read.
_LARGEST_PROFILE: Final = 4_000_000
_MOST_ENTRIES: Final = 1_000
_LARGEST_XMP: Final = 65_536
_PARTS_AT_ONCE: Final = 256

_XMP_ORIENTATION: Final = re.compile(rb'tiff:Orientation(?:="|>)([1-8])')
_PNG_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"


class Structure(NamedTuple):
    """A picture as it is stored.

    Attributes:
        kind: Name of the format, as Pillow calls it.
        size: Width and height as stored, before the picture is turned upright.
        pixel_file: A file of the same format that holds what makes pixels, and nothing else.
        passes: How often a decoder goes over all pixels: the scans of a JPEG.
        is_scalable: Whether the decoder can skip detail, so that a smaller copy takes less memory.
        orientation: EXIF orientation, 1 to 8.
        profile: ICC profile.
    """

    kind: str
    size: tuple[int, int]
    pixel_file: bytes
    passes: int = 1
    is_scalable: bool = False
    orientation: int = 1
    profile: bytes | None = None


def look_at(data: bytes) -> Structure | None:
    """Return the structure of a JPEG, PNG, GIF or WebP; ``None`` for every other format.

    Raises:
        ProtectionError: If the file is cut off, holds several frames, or is built to keep a decoder busy.
    """
    look = next((look for signature, look in _LOOKS if data.startswith(signature)), None)
    if look is None:
        return None
    with contextlib.suppress(IndexError, struct.error):
        structure = look(data)
        if structure is None or min(structure.size) > 0:
            return structure
    raise _unreadable()


def exif_orientation(data: bytes) -> int:
    """Return the orientation that EXIF names, or 1. Only the first directory is looked at, and no value followed."""
    data = data.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None or len(data) < 8:
        return 1
    (start,) = struct.unpack_from(f"{order}I", data, 4)
    if start + 2 > len(data):
        return 1
    (count,) = struct.unpack_from(f"{order}H", data, start)
    for entry in range(start + 2, min(start + 2 + 12 * min(count, _MOST_ENTRIES), len(data) - 11), 12):
        tag, kind, values = struct.unpack_from(f"{order}HHI", data, entry)
        if tag == 0x0112:
            form = {3: "H", 4: "I"}.get(kind)
            if form is None or values != 1:
                return 1
            (orientation,) = struct.unpack_from(f"{order}{form}", data, entry + 8)
            return int(orientation) if 1 <= orientation <= 8 else 1
    return 1


def _xmp_orientation(data: bytes) -> int:
    found = _XMP_ORIENTATION.search(data, 0, _LARGEST_XMP)
    return int(found[1]) if found else 1


def _unreadable() -> ProtectionError:
    return ProtectionError(UNDECODABLE)


def _give_way_after(number: int) -> None:
    """Let other threads run after every so many parts of a file."""
    if number % _PARTS_AT_ONCE == _PARTS_AT_ONCE - 1:
        give_way()


# -- JPEG ----------------------------------------------------------------------------------------------------

_SOS: Final = 0xDA
_EOI: Final = 0xD9
# Among the values of pixels, 0xFF is followed by zero or by the number of a restart.
_MARKER: Final = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_END: Final = re.compile(rb"\xff\xd9")
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE: Final = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_TABLES: Final = frozenset({0xC4, 0xCC, 0xDB, 0xDD})
_WITHOUT_LENGTH: Final = frozenset({0x01, *range(0xD0, 0xDA)})


def _look_at_jpeg(data: bytes) -> Structure:
    kept = [b"\xff\xd8"]
    frame = b""
    seen: set[int] = set()
    orientations: list[int] = []
    profile: dict[int, bytes] = {}
    for marker, start, end in _segments(data):
        body = data[start + 4 : end]
        if marker == _SOS:
            return _jpeg(data, start, frame, kept, orientations, profile)
        if marker in _FRAMES:
            if frame:
                break
            frame = data[start:end]
        if marker in _TABLES or marker in _FRAMES or _tells_colours(marker, body, seen):
            kept.append(b"\xff" + data[start + 1 : end])
        elif marker == 0xE1 and body.startswith(b"Exif\0\0"):
            orientations.append(exif_orientation(body))
        elif marker == 0xE1 and body.startswith(b"http://ns.adobe.com/xap/1.0/\0"):
            orientations.append(_xmp_orientation(body))
        elif marker == 0xE2 and body.startswith(b"ICC_PROFILE\0"):
            profile[body[12]] = body[14:]
        elif marker == 0xE2 and body.startswith(b"MPF\0") and _are_views(body[4:]):
            raise ProtectionError(SEVERAL_FRAMES)
    raise _unreadable()


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield marker, start and end of every segment up to the first scan. Bytes between them are passed over."""
    position = 2
    for number in range(_MOST_SEGMENTS):
        _give_way_after(number)
        start = data.find(b"\xff", position)
        while start >= 0 and data[start + 1] == 0xFF:
            start += 1
        if start < 0:
            return
        marker = data[start + 1]
        position = start + 2
        if marker == 0 or marker in _WITHOUT_LENGTH:
            continue
        (length,) = struct.unpack_from(">H", data, position)
        position += length
        if length < 2 or position > len(data):
            return
        yield marker, start, position
        if marker == _SOS:
            return


def _tells_colours(marker: int, body: bytes, seen: set[int]) -> bool:
    """Say whether a segment is the first that says how colours are stored."""
    name = {0xE0: b"JFIF\0", 0xEE: b"Adobe"}.get(marker)
    if name is None or marker in seen or not body.startswith(name):
        return False
    seen.add(marker)
    return True


def _jpeg(  # noqa: PLR0917
    data: bytes,
    scan: int,
    frame: bytes,
    kept: list[bytes],
    orientations: list[int],
    profile: dict[int, bytes],
) -> Structure:
    if not frame:
        raise _unreadable()
    height, width, components = struct.unpack_from(">HHB", frame, 5)
    is_progressive = frame[1] in _PROGRESSIVE
    # A decoder that finds all components in the first scan reads no other.
    has_scans = is_progressive or data[scan + 4] < components
    scans, end = _scans(data, scan) if has_scans else (1, _end_of_image(data, scan))
    if scans > _MOST_SCANS:
        raise _unreadable()
    whole = b"".join(part for _, part in sorted(profile.items()))
    return Structure(
        "JPEG",
        (width, height),
        b"".join([*kept, data[scan:end] if end > scan else data[scan:]]),
        passes=scans,
        is_scalable=not has_scans,
        orientation=next((each for each in orientations if each != 1), 1),
        profile=whole if len(whole) <= _LARGEST_PROFILE else None,
    )


def _scans(data: bytes, position: int) -> tuple[int, int]:
    """Return the number of scans from a position on, and where the last one ends."""
    scans = 0
    for number in range(_MOST_SEGMENTS):
        _give_way_after(number)
        found = _found(_MARKER, data, position)
        if found is None:
            return scans, len(data)
        marker, position = found[0][1], found.end()
        if marker == _EOI:
            return scans, position
        scans += marker == _SOS
        if marker not in _WITHOUT_LENGTH:
            position += struct.unpack_from(">H", data, position)[0]
    raise _unreadable()


def _end_of_image(data: bytes, position: int) -> int:
    found = _found(_END, data, position)
    return 0 if found is None else found.end()


def _found(marker: re.Pattern[bytes], data: bytes, position: int) -> re.Match[bytes] | None:
    """Find a marker of two bytes from a position on, in pieces so that other threads can run."""
    while position < len(data):
        found = marker.search(data, position, position + PIECE)
        if found is not None:
            return found
        position += PIECE - 1
        give_way()
    return None


def _are_views(index: bytes) -> bool:
    """Say whether the pictures of a multi-picture file are views of equal rank: a panorama, or one for each eye.

    Others are previews of the first, or its gain map.
    """
    order = {b"II": "<", b"MM": ">"}.get(index[:2])
    if order is None:
        return False
    (start,) = struct.unpack_from(f"{order}I", index, 4)
    (count,) = struct.unpack_from(f"{order}H", index, start)
    for place in range(start + 2, start + 2 + 12 * min(count, 16), 12):
        tag, _, length, offset = struct.unpack_from(f"{order}HHII", index, place)
        if tag == 0xB002:
            entries = range(offset, min(offset + length, len(index)) - 15, 16)
            kinds = [struct.unpack_from(f"{order}I", index, entry)[0] >> 16 & 0xFF for entry in entries[:64]]
            return 2 in kinds
    return False


# -- PNG -----------------------------------------------------------------------------------------------------


def _look_at_png(data: bytes) -> Structure:
    kept = [_PNG_SIGNATURE]
    orientations: list[int] = []
    profile: bytes | None = None
    size = (0, 0)
    for kind, start, end in _chunks(data, 8, ">I4s", padded=False):
        body = slice(start + 8, end - 4)
        if kind in (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"):
            kept.append(data[start:end])
        if kind == b"IHDR":
            size = struct.unpack_from(">II", data, start + 8)
        elif kind == b"acTL" and struct.unpack_from(">I", data, start + 8)[0] > 1:
            raise ProtectionError(SEVERAL_FRAMES)
        elif kind == b"eXIf":
            orientations.append(exif_orientation(data[body]))
        elif kind == b"iTXt" and data.startswith(b"XML:com.adobe.xmp\0\0", start + 8):
            orientations.append(_xmp_orientation(data[body]))
        elif kind == b"iCCP":
            profile = _inflated(data[body].partition(b"\0")[2][1:])
        elif kind == b"IEND":
            orientation = next((each for each in orientations if each != 1), 1)
            return Structure("PNG", size, b"".join(kept), orientation=orientation, profile=profile)
    raise _unreadable()


def _chunks(data: bytes, position: int, head: str, *, padded: bool) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, start and end of every chunk of a PNG or a WebP.

    Raises:
        ProtectionError: If a chunk is cut off, or there are more than any encoder writes.
    """
    most = _MOST_SMALL_CHUNKS + len(data) // _FEWEST_BYTES_OF_A_CHUNK
    while position + 8 <= len(data):
        first, second = struct.unpack_from(head, data, position)
        kind, length = (first, second) if padded else (second, first)
        end = position + 8 + length + (0 if padded else 4)
        most -= 1
        _give_way_after(most)
        if most < 0 or end > len(data):
            raise _unreadable()
        yield kind, position, end
        position = end + (length & 1 if padded else 0)


def _inflated(compressed: bytes) -> bytes | None:
    """Return a profile; ``None`` if it is damaged, or larger than any is."""
    unpacking = zlib.decompressobj()
    try:
        profile = unpacking.decompress(compressed, _LARGEST_PROFILE)
    except zlib.error:
        return None
    return profile if unpacking.eof else None


# -- GIF -----------------------------------------------------------------------------------------------------


def _look_at_gif(data: bytes) -> Structure:
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    head = 13 + _colour_table(flags)
    control, first, position = b"", b"", head
    blocks = _MOST_SMALL_BLOCKS + len(data) // _FEWEST_BYTES_OF_A_BLOCK
    while position < len(data):
        start, kind = position, data[position]
        if kind == 0x21:
            position, blocks = _behind_blocks(data, position + 2, blocks)
            if data[start + 1] == 0xF9 and not first:
                control = data[start:position]
        elif kind == 0x2C and not first:
            left, top, wide, high, flags = struct.unpack_from("<HHHHB", data, position + 1)
            width, height = max(width, left + wide), max(height, top + high)
            position, blocks = _behind_blocks(data, position + 11 + _colour_table(flags), blocks)
            first = data[start:position]
        elif kind == 0x2C:
            raise ProtectionError(SEVERAL_FRAMES)
        else:
            break  # the end, or bytes that viewers pass over
    if not first:
        raise _unreadable()
    return Structure("GIF", (width, height), b"".join((data[:head], control, first, b";")))


def _colour_table(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _behind_blocks(data: bytes, position: int, most: int) -> tuple[int, int]:
    """Return the position behind a row of blocks, and how many more there may be."""
    while length := data[position]:
        position += length + 1
        most -= 1
        _give_way_after(most)
        if most < 0:
            raise _unreadable()
    return position + 1, most


# -- WebP ----------------------------------------------------------------------------------------------------


def _look_at_webp(data: bytes) -> Structure | None:
    if data[8:12] != b"WEBP":
        return None
    sizes: list[tuple[int, int]] = []
    kept: list[bytes] = []
    orientations: list[int] = []
    profile: bytes | None = None
    for kind, start, end in _chunks(data, 12, "<4sI", padded=True):
        body = data[start + 8 : end]
        if kind == b"VP8X":
            canvas = int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1
            sizes.append(canvas)
            # Of the flags, those for transparency and for an animation stay: one may have a single frame.
            kept.append(data[start : start + 8] + bytes([body[0] & 0x12]) + body[1:])
        elif kind == b"ANMF" and kind in (part[:4] for part in kept):
            raise ProtectionError(SEVERAL_FRAMES)
        elif kind in (b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF"):
            sizes += _webp_size(kind, body)
            kept.append(data[start:end] + b"\0" * (len(body) & 1))
        elif kind == b"EXIF":
            orientations.append(exif_orientation(body))
        elif kind == b"XMP ":
            orientations.append(_xmp_orientation(body))
        elif kind == b"ICCP" and len(body) <= _LARGEST_PROFILE:
            profile = body
    if not sizes:
        raise _unreadable()
    pixels = b"WEBP" + b"".join(kept)
    return Structure(
        "WEBP",
        (max(width for width, _ in sizes), max(height for _, height in sizes)),
        b"RIFF" + struct.pack("<I", len(pixels)) + pixels,
        orientation=next((each for each in orientations if each != 1), 1),
        profile=profile,
    )


def _webp_size(kind: bytes, body: bytes) -> list[tuple[int, int]]:
    if kind == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        return [((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)]
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", body, 6)
        return [(width & 0x3FFF, height & 0x3FFF)]
    return []


_LOOKS: Final[tuple[tuple[bytes, Callable[[bytes], Structure | None]], ...]] = (
    (b"\xff\xd8\xff", _look_at_jpeg),
    (_PNG_SIGNATURE, _look_at_png),
    (b"GIF8", _look_at_gif),
    (b"RIFF", _look_at_webp),
)
