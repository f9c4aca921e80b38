"""Small files that ask a decoder for much: pixels, passes, parts, directories, profiles, processes."""

from __future__ import annotations

import functools
import io
import struct
import zlib
from typing import TYPE_CHECKING, Any

from PIL import Image

from tests.unit.marked_pictures import chunk

if TYPE_CHECKING:
    from collections.abc import Callable

SIDE = 8_000
"""Pixels of a side of the largest picture that is allowed by default: 64 million."""


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


# -- JPEG ----------------------------------------------------------------------------------------------------


def _jpeg_parts(side: int, mode: str = "L", **options: Any) -> tuple[bytearray, int]:
    """A JPEG of eight by eight pixels that says that it is larger, and where its scan begins."""
    small = bytearray(encoded(Image.new(mode, (8, 8), 128 if mode == "L" else None), "JPEG", **options))
    frame = max(small.find(b"\xff\xc0"), small.find(b"\xff\xc2"))
    small[frame + 5 : frame + 9] = struct.pack(">HH", side, side)
    return small, small.index(b"\xff\xda")


def flat_jpeg(side: int = SIDE) -> bytes:
    """Gray, whole and valid: each block takes the same six bits."""
    small, scan = _jpeg_parts(side)
    blocks = (-(-side // 8)) ** 2
    return bytes(small[: scan + 10]) + b"\x28\xa2\x8a" * (blocks // 4 + 1) + b"\xff\xd9"


def jpeg_of_scans(scans: int, side: int, *, progressive: bool) -> bytes:
    """Many scans of the same component that hold next to nothing."""
    small, scan = _jpeg_parts(side, "RGB", progressive=progressive)
    if progressive:
        last = small.rindex(b"\xff\xda")
        return bytes(small[:-2] + small[last:-2] * (scans - small.count(b"\xff\xda")) + small[-2:])
    frame = small.index(b"\xff\xc0")
    first = small[frame + 10]
    one = b"\xff\xda\x00\x08\x01" + bytes([first]) + b"\x00\x00\x3f\x00\x28\xa2"
    return bytes(small[:scan]) + one * scans + b"\xff\xd9"


def honest_progressive(side: int) -> bytes:
    """As an encoder writes it."""
    return encoded(Image.new("RGB", (side, side), (90, 120, 50)), "JPEG", progressive=True)


def jpeg_of_segments(count: int, marker: int, body: bytes) -> bytes:
    """Many small segments before the picture."""
    small = encoded(Image.new("RGB", (8, 8)), "JPEG")
    segment = b"\xff" + bytes([marker]) + struct.pack(">H", len(body) + 2) + body
    return small[:2] + segment * count + small[2:]


def directory_bomb(entries: int, length: int) -> bytes:
    """EXIF whose entries all name the same long stretch of bytes."""
    head = b"II*\0" + struct.pack("<IH", 8, entries)
    return (
        head
        + b"".join(struct.pack("<HHII", (1_000 + number) % 65_536, 7, length, 8) for number in range(entries))
        + b"\0" * 4
    )


def jpeg_with_exif(exif: bytes) -> bytes:
    small = encoded(Image.new("RGB", (8, 8)), "JPEG")
    parts = [exif[at : at + 65_000] for at in range(0, len(exif), 65_000)]
    segments = [b"\xff\xe1" + struct.pack(">H", len(part) + 8) + b"Exif\0\0" + part for part in parts]
    return small[:2] + b"".join(segments) + small[2:]


def jpeg_with_profile(size: int) -> bytes:
    """A profile as large as a JPEG can hold."""
    small = encoded(Image.new("RGB", (8, 8)), "JPEG")
    profile = large_profile(size)
    parts = [profile[at : at + 65_000] for at in range(0, size, 65_000)]
    segments = [
        b"\xff\xe2"
        + struct.pack(">H", len(part) + 16)
        + b"ICC_PROFILE\0"
        + bytes([number + 1, len(parts)])
        + part
        for number, part in enumerate(parts)
    ]
    return small[:2] + b"".join(segments) + small[2:]


def large_profile(size: int) -> bytes:
    """A profile whose table of colours fills so many bytes."""
    grid = 2
    while 3 * (grid + 1) ** 3 + 400 < size and grid < 254:
        grid += 1
    table = (
        b"mft1\0\0\0\0" + bytes([3, 3, grid, 0]) + struct.pack(">9i", 65_536, 0, 0, 0, 65_536, 0, 0, 0, 65_536)
        + bytes(range(256)) * 3 + bytes(3 * grid**3) + bytes(range(256)) * 3
    )  # fmt: skip
    tags = struct.pack(">I4sII", 1, b"A2B0", 144, len(table))
    head = (
        struct.pack(">I4sI4s4s4s", 144 + len(table), b"lcms", 0x02400000, b"mntr", b"RGB ", b"Lab ")
        + bytes(12)
        + b"acsp"
        + bytes(28)
        + struct.pack(">3i", 63_190, 65_536, 54_061)
        + bytes(48)
    )
    return (head + tags + table).ljust(size, b"\0")


def jpeg_of_restarts(side: int) -> bytes:
    """A marker behind every block."""
    small, scan = _jpeg_parts(side)
    blocks = (-(-side // 8)) ** 2
    markers = b"".join(b"\x2b\xff" + bytes([0xD0 + number % 8]) for number in range(8))
    body = markers * (blocks // 8)
    return (
        bytes(small[:scan])
        + b"\xff\xdd\x00\x04\x00\x01"
        + bytes(small[scan : scan + 10])
        + body
        + b"\xff\xd9"
    )


def jpeg_without_height() -> bytes:
    """Its height comes behind the first scan (DNL)."""
    small, _ = _jpeg_parts(SIDE)
    frame = small.index(b"\xff\xc0")
    small[frame + 5 : frame + 7] = b"\0\0"
    return bytes(small[:-2]) + b"\xff\xdc\x00\x04" + struct.pack(">H", SIDE) + b"\xff\xd9"


# -- PNG -----------------------------------------------------------------------------------------------------


def png(side: int, depth: int, colours: int, *, interlaced: bool = False, between: bytes = b"") -> bytes:
    """A whole PNG of zeros."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colours]
    deflate = zlib.compressobj(9)
    rows = []
    if interlaced:
        passes = (
            (0, 0, 8, 8),
            (4, 0, 8, 8),
            (0, 4, 4, 8),
            (2, 0, 4, 4),
            (0, 2, 2, 4),
            (1, 0, 2, 2),
            (0, 1, 1, 2),
        )
        shapes = [(-(-(side - x) // dx), -(-(side - y) // dy)) for x, y, dx, dy in passes]
    else:
        shapes = [(side, side)]
    for wide, high in shapes:
        row = bytes(1 + -(-wide * depth * channels // 8))
        rows += [deflate.compress(row * 100) for _ in range(high // 100)] + [
            deflate.compress(row * (high % 100))
        ]
    pixels = b"".join(rows) + deflate.flush()
    header = struct.pack(">IIBBBBB", side, side, depth, colours, 0, 0, int(interlaced))
    palette = chunk(b"PLTE", bytes(range(256)) * 3) + chunk(b"tRNS", bytes(256)) if colours == 3 else b""
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + between
        + palette
        + chunk(b"IDAT", pixels)
        + chunk(b"IEND", b"")
    )


def png_of_chunks(count: int, name: bytes, body: bytes) -> bytes:
    """Many small chunks before the pixels."""
    return png(8, 8, 0, between=chunk(name, body) * count)


def png_of_small_pixels(side: int) -> bytes:
    """Pixels in chunks of one byte."""
    whole = png(side, 1, 0)
    start = whole.index(b"IDAT") - 4
    (length,) = struct.unpack_from(">I", whole, start)
    pixels = whole[start + 8 : start + 8 + length]
    pieces = b"".join(chunk(b"IDAT", pixels[at : at + 1]) for at in range(length))
    return whole[:start] + pieces + chunk(b"IEND", b"")


# -- the others ----------------------------------------------------------------------------------------------


def gif_of_small_blocks(count: int) -> bytes:
    """Pixels in blocks of one byte."""
    whole = encoded(Image.new("P", (8, 8)), "GIF")
    image = whole.index(b",")
    return whole[: image + 11] + b"\x01\x00" * count + b"\0;"


def gif_of_comments(count: int) -> bytes:
    whole = encoded(Image.new("P", (8, 8)), "GIF")
    image = whole.index(b",")
    return whole[:image] + b"!\xfe\x01x\0" * count + whole[image:]


def gif_of_frames(count: int) -> bytes:
    whole = encoded(Image.new("P", (8, 8)), "GIF")
    image = whole.index(b",")
    return whole[:image] + whole[image:-1] * count + b";"


def bmp_of_runs(side: int) -> bytes:
    """Runs of 255 pixels, which Pillow decodes in Python."""
    runs = (b"\xff\x01" * (side // 255) + bytes([side % 255, 1]) + b"\0\0") * side + b"\0\1"
    palette = bytes(1024)
    info = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 8, 1, len(runs), 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", 54 + 1024 + len(runs), 0, 0, 54 + 1024) + info + palette + runs


def tiff(entries: list[tuple[int, int, int, int]], body: bytes = b"") -> bytes:
    """A little-endian TIFF of one directory: tag, type, count and value; the body stands at byte 8."""
    start = 8 + len(body)
    directory = b"".join(struct.pack("<HHII", *entry) for entry in sorted(entries))
    return (
        b"II*\0" + struct.pack("<I", start) + body + struct.pack("<H", len(entries)) + directory + b"\0" * 4
    )


def tiff_of_shared_values(entries: int, length: int) -> bytes:
    """Entries that all name the same long stretch of bytes."""
    shape = [
        (256, 4, 1, 8),
        (257, 4, 1, 8),
        (258, 3, 1, 8),
        (259, 3, 1, 1),
        (262, 3, 1, 1),
        (273, 4, 1, 8),
        (278, 4, 1, 8),
        (279, 4, 1, 64),
    ]
    return tiff(
        shape + [((1_000 + number) % 65_536, 7, length, 8) for number in range(entries)], bytes(length)
    )


def tiff_of_tiles(side: int) -> bytes:
    """Tiles of sixteen pixels that all stand at the same place."""
    count = (side // 16) ** 2
    tile = zlib.compress(bytes(256))
    offsets = struct.pack("<I", 8) * count
    lengths = struct.pack("<I", len(tile)) * count
    places = 8 + len(tile)
    return tiff(
        [
            (256, 4, 1, side), (257, 4, 1, side), (258, 3, 1, 8), (259, 3, 1, 8), (262, 3, 1, 1), (322, 4, 1, 16),
            (323, 4, 1, 16), (324, 4, count, places), (325, 4, count, places + 4 * count),
        ],
        tile + offsets + lengths,
    )  # fmt: skip


def tiff_that_names_itself() -> bytes:
    """Its next directory is its first."""
    whole = bytearray(encoded(Image.new("L", (8, 8)), "TIFF"))
    (start,) = struct.unpack_from("<I", whole, 4)
    (count,) = struct.unpack_from("<H", whole, start)
    struct.pack_into("<I", whole, start + 2 + 12 * count, start)
    return bytes(whole)


def pdf_of_nested_forms(depth: int = 12, width: int = 10) -> bytes:
    """Forms that each draw the next one several times."""
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 600]/Contents 4 0 R/Resources<</XObject<</F 5 0 R>>>>>>",
        b"<</Length 4>>stream\n/F Do\nendstream",
    ]
    for level in range(depth):
        draw = b"/F Do " * width if level < depth - 1 else b"0 0 500 500 re f "
        resources = f"/Resources<</XObject<</F {6 + level} 0 R>>>>".encode() if level < depth - 1 else b""
        objects.append(
            b"<</Type/XObject/Subtype/Form/BBox[0 0 600 600]" + resources
            + f"/Length {len(draw)}>>stream\n".encode() + draw + b"\nendstream"
        )  # fmt: skip
    file = b"%PDF-1.7\n"
    places = []
    for number, each in enumerate(objects, 1):
        places.append(len(file))
        file += f"{number} 0 obj\n".encode() + each + b"\nendobj\n"
    table = f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode()
    table += b"".join(f"{place:010} 00000 n \n".encode() for place in places)
    return (
        file
        + table
        + f"trailer<</Size {len(objects) + 1}/Root 1 0 R>>\nstartxref\n{len(file)}\n%%EOF".encode()
    )


HOSTILE: dict[str, Callable[[], bytes]] = {
    "jpeg, 64 MP of gray": flat_jpeg,
    "jpeg, 250 MP of gray": functools.partial(flat_jpeg, 15_800),
    "jpeg, 10,000 scans": functools.partial(jpeg_of_scans, 300, SIDE, progressive=False),
    "jpeg, 99 baseline scans": functools.partial(jpeg_of_scans, 99, SIDE, progressive=False),
    "jpeg, 99 progressive scans": functools.partial(jpeg_of_scans, 99, SIDE, progressive=True),
    "jpeg, 30 scans of 64 MP": functools.partial(jpeg_of_scans, 30, SIDE, progressive=True),
    "jpeg, progressive, 64 MP": functools.partial(honest_progressive, SIDE),
    "jpeg, 400,000 comments": functools.partial(jpeg_of_segments, 400_000, 0xFE, b""),
    "jpeg, 9,900 EXIF segments": functools.partial(jpeg_of_segments, 9_900, 0xE1, b"Exif\0\0" + b"x" * 200),
    "jpeg, 25,000 EXIF of 64 kB": functools.partial(jpeg_of_segments, 25, 0xE1, b"Exif\0\0" + b"x" * 65_000),
    "jpeg, EXIF names 780 kB 65,000 times": lambda: jpeg_with_exif(directory_bomb(65_000, 780_000)),
    "jpeg, profile of 3.9 MB": functools.partial(jpeg_with_profile, 3_900_000),
    "jpeg, profile of 15 MB": functools.partial(jpeg_with_profile, 15_000_000),
    "jpeg, a marker behind every block": functools.partial(jpeg_of_restarts, 4_000),
    "jpeg, height behind the scan": jpeg_without_height,
    "png, 64 MP RGB": functools.partial(png, SIDE, 8, 2),
    "png, 64 MP RGBA": functools.partial(png, SIDE, 8, 6),
    "png, 64 MP RGBA interlaced": functools.partial(png, SIDE, 8, 6, interlaced=True),
    "png, 64 MP RGBA of 16 bits": functools.partial(png, SIDE, 16, 6),
    "png, 64 MP gray of 16 bits": functools.partial(png, SIDE, 16, 0),
    "png, 64 MP palette": functools.partial(png, SIDE, 8, 3),
    "png, 64 MP of one bit": functools.partial(png, SIDE, 1, 0),
    "png, text of 100 MB": lambda: png(8, 8, 0, between=chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(10**8), 9))),
    "png, profile of 100 MB": lambda: png(8, 8, 0, between=chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(10**8), 9))),
    "png, profile of 3.9 MB": lambda: png(
        64, 8, 2, between=chunk(b"iCCP", b"a\0\0" + zlib.compress(large_profile(3_900_000), 9))
    ),
    "png, 100,000 texts": functools.partial(png_of_chunks, 100_000, b"tEXt", b"a\0b"),
    "png, 64 MP in pieces of a byte": functools.partial(png_of_small_pixels, SIDE),
    "png, EXIF names 780 kB 65,000 times": lambda: png(
        8, 8, 0, between=chunk(b"eXIf", directory_bomb(65_000, 780_000))
    ),
    "gif, 64 MP": lambda: encoded(Image.new("P", (SIDE, SIDE)), "GIF"),
    "gif, 64 MP, transparent": lambda: encoded(Image.new("P", (SIDE, SIDE)), "GIF", transparency=0),
    "gif, 800,000 blocks of a byte": functools.partial(gif_of_small_blocks, 800_000),
    "gif, 300,000 comments": functools.partial(gif_of_comments, 300_000),
    "gif, 100,000 frames": functools.partial(gif_of_frames, 100_000),
    "webp, 64 MP lossless": lambda: encoded(Image.new("RGB", (SIDE, SIDE)), "WEBP", lossless=True, method=0, quality=0),
    "webp, 64 MP lossy": lambda: encoded(Image.new("RGB", (SIDE, SIDE)), "WEBP", method=0),
    "webp, 64 MP transparent": lambda: encoded(Image.new("RGBA", (SIDE, SIDE)), "WEBP", method=0),
    "avif, 64 MP": lambda: encoded(Image.new("RGB", (SIDE, SIDE)), "AVIF", speed=10),
    "tiff, 64 MP deflate": lambda: encoded(Image.new("RGB", (SIDE, SIDE)), "TIFF", compression="tiff_adobe_deflate"),
    "tiff, 64 MP lzma": lambda: encoded(Image.new("RGB", (SIDE, SIDE)), "TIFF", compression="lzma"),
    "tiff, 64 MP in tiles of 16": functools.partial(tiff_of_tiles, SIDE),
    "tiff, 60,000 values of 1 MB": functools.partial(tiff_of_shared_values, 60_000, 1_000_000),
    "tiff, a directory that is its own next": tiff_that_names_itself,
    "bmp, 64 MP in runs": functools.partial(bmp_of_runs, SIDE),
    "pdf, nested forms": pdf_of_nested_forms,
}  # fmt: skip
"""Name -> function that makes the file."""
