"""Pictures of every format, with a mark in each place that can hold something other than pixels.

Where Pillow writes a kind of metadata, Pillow does it; the rest is put in by hand: private chunks and segments, an EXIF
thumbnail, bytes behind the end. Bombs are made without ever being held: a few bytes describe each.
"""

from __future__ import annotations

import functools
import io
import random
import struct
import zlib
from typing import TYPE_CHECKING, Any

from PIL import ExifTags, Image, ImageCms, PngImagePlugin

if TYPE_CHECKING:
    from collections.abc import Iterator

MARK = b"MARK-OF-THE-OWNER-7f3a"
SIZE = (48, 32)


def encoded(image: Image.Image, file_format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def noise(mode: str = "RGB", size: tuple[int, int] = SIZE) -> Image.Image:
    """Pixels that no encoder makes small, so that a cut or a flipped byte always hits something."""
    bands = Image.new(mode, (1, 1)).getbands()
    if mode == "I;16":
        return Image.frombytes(mode, size, random.Random(3).randbytes(size[0] * size[1] * 2))
    picture = Image.frombytes(
        "RGBA" if len(bands) == 4 else "RGB",
        size,
        random.Random(3).randbytes(size[0] * size[1] * max(3, len(bands))),
    )
    if mode == "P":
        return picture.quantize(64)
    if mode == "CMYK":
        return Image.frombytes("CMYK", size, picture.tobytes())
    if mode == "LA":
        return Image.merge("LA", picture.split()[:2])
    return picture.convert(mode)


def exif_with_thumbnail(orientation: int = 1) -> bytes:
    """EXIF with an owner, and with a thumbnail: a small JPEG that has a comment of its own."""
    thumbnail = encoded(noise(size=(16, 8)), "JPEG", comment=MARK)
    owner = MARK + b"\0"
    first, entry = 8, 12
    behind_first = first + 2 + 2 * entry + 4
    second = behind_first + len(owner) + len(owner) % 2
    behind_second = second + 2 + 3 * entry + 4
    return b"".join((
        b"Exif\0\0II*\0", struct.pack("<I", first),
        struct.pack("<H", 2),
        struct.pack("<HHIHH", ExifTags.Base.Orientation, 3, 1, orientation, 0),
        struct.pack("<HHII", ExifTags.Base.Artist, 2, len(owner), behind_first),
        struct.pack("<I", second),
        owner, b"\0" * (len(owner) % 2),
        struct.pack("<H", 3),
        struct.pack("<HHIHH", ExifTags.Base.Compression, 3, 1, 6, 0),
        struct.pack("<HHII", ExifTags.Base.JpegIFOffset, 4, 1, behind_second),
        struct.pack("<HHII", ExifTags.Base.JpegIFByteCount, 4, 1, len(thumbnail)),
        struct.pack("<I", 0),
        thumbnail,
    ))  # fmt: skip


def profile() -> bytes:
    """An sRGB profile with a mark behind its last tag."""
    made = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    made += MARK + b"\0" * (-(len(made) + len(MARK)) % 4)
    made[:4] = struct.pack(">I", len(made))
    return bytes(made)


def segment(marker: int, data: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def jpeg(image: Image.Image | None = None, *, orientation: int = 1, **options: Any) -> bytes:
    """A JPEG with a comment, EXIF and its thumbnail, XMP, a profile, IPTC, C2PA, unknown segments and a tail."""
    data = encoded(
        image or noise(), "JPEG", quality=90, comment=MARK, icc_profile=profile(),
        xmp=b"<x:xmpmeta>" + MARK + b"</x:xmpmeta>", exif=exif_with_thumbnail(orientation), **options,
    )  # fmt: skip
    planted = (
        segment(0xED, b"Photoshop 3.0\x008BIM\x04\x04\0\0" + struct.pack(">I", len(MARK)) + MARK)
        + segment(0xEB, b"JP\0\1" + MARK)
        + segment(0xEF, MARK)
        + segment(0xFE, MARK)
    )
    return data[:2] + planted + data[2:] + MARK


def png(image: Image.Image | None = None, **options: Any) -> bytes:
    """A PNG with every textual chunk, EXIF, a profile, a private chunk and a tail."""
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", MARK.decode())
    text.add_text("Author", MARK.decode(), zip=True)
    text.add_itxt("XML:com.adobe.xmp", MARK.decode())
    data = encoded(
        image or noise(), "PNG", pnginfo=text, icc_profile=profile(), exif=exif_with_thumbnail(), **options
    )
    end = data.index(chunk(b"IEND", b""))
    return (
        data[:33]
        + chunk(b"vpPp", MARK)
        + data[33:end]
        + chunk(b"tIME", b"\x07\xe9\1\1\1\1\1")
        + data[end:]
        + MARK
    )


def webp(image: Image.Image | None = None, **options: Any) -> bytes:
    """A WebP with EXIF, XMP, a profile and an unknown chunk."""
    options = {"quality": 90, "exif": exif_with_thumbnail(), "xmp": MARK, "icc_profile": profile()} | options
    data = encoded(image or noise(), "WEBP", **options) + b"VPPX" + struct.pack("<I", len(MARK)) + MARK
    return data[:4] + struct.pack("<I", len(data) - 8) + data[8:]


def gif(**options: Any) -> bytes:
    """A GIF with a comment and an application's extension."""
    data = encoded(noise("P"), "GIF", comment=MARK, **options)
    application = b"\x21\xff\x0bXMP DataXMP" + bytes([len(MARK)]) + MARK + b"\0"
    image = data.index(b"\x2c", 13 + 3 * (2 << (data[10] & 7)))
    return data[:image] + application + data[image:]


def tiff(image: Image.Image | None = None, **options: Any) -> bytes:
    """A TIFF with descriptions, XMP, a private tag and a profile."""
    tags = {270: MARK.decode(), 315: MARK.decode(), 700: MARK, 33723: MARK, 65000: MARK.decode()}
    return encoded(image or noise(), "TIFF", tiffinfo=tags, icc_profile=profile(), **options)


def avif() -> bytes:
    """An AVIF with EXIF, XMP and a profile."""
    return encoded(noise(), "AVIF", speed=10, exif=exif_with_thumbnail(), xmp=MARK, icc_profile=profile())


def bmp(image: Image.Image | None = None) -> bytes:
    """A BMP with bytes between its header and its pixels, and behind them."""
    data = encoded(image or noise(), "BMP")
    offset = struct.unpack("<I", data[10:14])[0]
    return data[:10] + struct.pack("<I", offset + len(MARK)) + data[14:offset] + MARK + data[offset:] + MARK


def still_pictures() -> dict[str, bytes]:
    """One frame each: these are protected. All are of :data:`SIZE`."""
    hidden = noise("RGBA")
    hidden.putalpha(Image.new("L", SIZE, 0))
    return {
        "jpeg": jpeg(),
        "jpeg, progressive": jpeg(progressive=True),
        "jpeg, gray": jpeg(noise("L")),
        "jpeg, cmyk": jpeg(noise("CMYK")),
        "jpeg, 4:2:0 with restarts": jpeg(subsampling=2, restart_marker_blocks=1),
        "png": png(),
        "png, alpha": png(hidden),
        "png, gray and alpha": png(noise("LA")),
        "png, 16-bit gray": png(noise("I;16")),
        "png, palette": png(noise("P"), transparency=3),
        "png, 1 bit": png(noise("1")),
        "webp": webp(),
        "webp, lossless alpha": webp(hidden, lossless=True, exact=True),
        "gif": gif(),
        "tiff": tiff(),
        "tiff, lzw": tiff(compression="tiff_lzw"),
        "tiff, deflate": tiff(compression="tiff_adobe_deflate"),
        "tiff, jpeg": tiff(compression="jpeg"),
        "tiff, cmyk": tiff(noise("CMYK")),
        "tiff, 16-bit gray": tiff(noise("I;16")),
        "bmp": bmp(),
        "bmp, palette": bmp(noise("P")),
        "avif": avif(),
        "mpo with a preview": encoded(
            noise(), "MPO", comment=MARK, exif=exif_with_thumbnail(), save_all=True, append_images=[noise()]
        ),
    }


def moving_pictures() -> dict[str, bytes]:
    """Several frames each: these are refused."""
    frames = [noise(), noise().transpose(Image.Transpose.ROTATE_180)]
    options: dict[str, Any] = {"save_all": True, "append_images": frames[1:]}
    return {
        "gif, animated": gif(**options),
        "webp, animated": encoded(frames[0], "WEBP", exif=exif_with_thumbnail(), **options),
        "png, animated": png(**options),
        "avif, animated": encoded(frames[0], "AVIF", speed=10, exif=exif_with_thumbnail(), **options),
        "tiff, pages": encoded(frames[0], "TIFF", description=MARK.decode(), **options),
    }


def png_bomb(side: int) -> bytes:
    """A whole and valid PNG of one bit per pixel."""
    row = zlib.compressobj(9)
    rows = b"".join(row.compress(bytes(1 + -(-side // 8))) for _ in range(side)) + row.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def jpeg_bomb(side: int) -> bytes:
    """A whole and valid JPEG, gray: in mid-gray each block of 8x8 pixels takes the same six bits, 00 1010."""
    small = bytearray(encoded(Image.new("L", (8, 8), 128), "JPEG"))
    frame = small.index(b"\xff\xc0")
    small[frame + 5 : frame + 9] = struct.pack(">HH", side, side)
    scan = small.index(b"\xff\xda")
    blocks = (-(-side // 8)) ** 2
    whole, rest = divmod(blocks, 4)
    bits = "001010" * rest
    tail = int(bits.ljust(24, "1"), 2).to_bytes(3, "big")[: -(-len(bits) // 8)]
    return bytes(small[: scan + 10]) + b"\x28\xa2\x8a" * whole + tail + b"\xff\xd9"


@functools.cache
def bombs() -> dict[str, bytes]:
    """Files that are small, and pictures or metadata that are not. Making them takes seconds, so only who asks does."""
    tiff_like = bytearray(encoded(Image.new("1", (8, 8)), "TIFF"))
    for at, tag in _tiff_entries(tiff_like):
        if tag in (256, 257):
            struct.pack_into("<HII", tiff_like, at + 2, 4, 1, 60_000)
    bmp_like = bytearray(encoded(Image.new("L", (8, 8)), "BMP"))
    struct.pack_into("<ii", bmp_like, 18, 30_000, 30_000)
    gif_like = bytearray(encoded(Image.new("P", (8, 8)), "GIF"))
    struct.pack_into("<HH", gif_like, 6, 65_535, 65_535)
    webp_like = bytearray(encoded(Image.new("RGB", (8, 8)), "WEBP", lossless=True))
    struct.pack_into("<I", webp_like, 21, 16_382 | 16_382 << 14)
    pixels = encoded(Image.new("L", (8, 8)), "PNG")
    flood = zlib.compress(bytes(200_000_000), 9)
    return {
        "png of 400 megapixels": png_bomb(20_000),
        "jpeg of 169 megapixels": jpeg_bomb(13_000),
        "tiff of 3,600 megapixels": bytes(tiff_like),
        "bmp of 900 megapixels": bytes(bmp_like),
        "gif of 4,294 megapixels": bytes(gif_like),
        "webp of 268 megapixels": bytes(webp_like),
        "png with 200 MB of text": pixels[:33] + chunk(b"zTXt", b"Comment\0\0" + flood) + pixels[33:],
        "png with a profile of 200 MB": pixels[:33] + chunk(b"iCCP", b"icc\0\0" + flood) + pixels[33:],
        "png with pixels of 200 MB": pixels[:33] + chunk(b"IDAT", flood) + chunk(b"IEND", b""),
    }  # fmt: skip


def _tiff_entries(data: bytes | bytearray) -> Iterator[tuple[int, int]]:
    """Where the entries of the first directory stand, and their tags."""
    start = struct.unpack_from("<I", data, 4)[0]
    for number in range(struct.unpack_from("<H", data, start)[0]):
        at = start + 2 + 12 * number
        yield at, struct.unpack_from("<H", data, at)[0]


def jpeg_segments(data: bytes) -> list[int]:
    """The markers of a JPEG up to its scan, in order.

    Raises:
        AssertionError: If it isn't one scan between SOI and EOI with nothing behind.
    """
    assert data[:2] == b"\xff\xd8"
    markers, at = [], 2
    while True:
        assert data[at] == 0xFF
        marker, length = data[at + 1], struct.unpack_from(">H", data, at + 2)[0]
        markers.append(marker)
        at += 2 + length
        if marker == 0xDA:
            break
    end = at
    while (end := data.index(b"\xff", end)) and data[end + 1] == 0:
        end += 2
    assert data[end:] == b"\xff\xd9"
    return markers


# JFIF, tables, a baseline frame, its scan. No APP1 and above, no comment.
PLAIN_SEGMENTS = frozenset({0xE0, 0xDB, 0xC0, 0xC4, 0xDA})


def check_output(data: bytes) -> Image.Image:
    """Check that an output is a plain baseline JPEG: pixels, their tables and nothing else."""
    assert MARK not in data
    assert set(jpeg_segments(data)) == PLAIN_SEGMENTS
    assert data[2:11] == b"\xff\xe0\x00\x10JFIF\0"
    assert data[18:20] == b"\0\0"  # no thumbnail
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        assert (image.format, image.mode) == ("JPEG", "RGB")
        assert not image.getexif()
    return image
