"""Bytes to picture and back: decode, orient, strip, bound, encode. Pillow only.

The header is read before any pixel: format, size and number of frames are judged first, so a bomb is cheap.
What comes out of :func:`decode_image` is built from pixels alone: no EXIF, ICC profile, comment, thumbnail or
hidden colour under a transparent pixel can travel on. No global Pillow setting is read or changed, so both
functions may run in several threads.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
from typing import IO, Final

from PIL import ExifTags, Image, ImageCms

from langchain_vpp.errors import ProtectionError

ENCODED_MIME_TYPE: Final = "image/jpeg"
"""The MIME type of what :func:`encode_image` returns."""

MAX_PIXELS: Final = 64_000_000
"""Default bound on width x height: above the 50 MP of a telephone, below Pillow's own warning at 89 MP."""

# An allow-list: Pillow would otherwise hand PostScript to Ghostscript and try forty rarely used parsers.
_FORMATS: Final = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "AVIF")
# A progressive JPEG is decoded once per scan; encoders write about ten, an attacker thousands.
_MAX_SCANS: Final = 100
_JPEG_SCAN: Final = b"\xff\xda"
_GIF_END: Final = b";"
_PNG_END: Final = b"IEND\xaeB`\x82"
_HEIF_HEADER: Final = re.compile(rb"(?s)\A.{4}ftyp(?:hei[cxms]|hev[cxms]|mif1|msf1)")
_GRAY_MODES: Final = ("L", "LA", "I;16", "I;16B", "I;16L")
_WHITE: Final = (255, 255, 255)
_UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

_REFUSED: Final = "The picture was not protected: "
_TOO_LARGE: Final = _REFUSED + "it has more than {:,} pixels. Make it smaller, or raise the limit."
_SEVERAL_FRAMES: Final = (
    _REFUSED + "it has several frames (animation, MPO or pages). Send the one that is meant."
)
_UNDECODABLE: Final = (
    _REFUSED + "it is cut off, corrupt or of an unknown format. Send a JPEG, PNG, WebP or GIF."
)
_HEIC: Final = _REFUSED + "HEIC needs pillow-heif; call pillow_heif.register_heif_opener(), or send a JPEG."
_DEEP_GRAY: Final = _REFUSED + "32-bit gray has no defined range. Scale it to 8 or 16 bits."


def decode_image(data: bytes, *, max_pixels: int = MAX_PIXELS, max_side: int | None = None) -> Image.Image:
    """Decode one still picture into upright RGB pixels and nothing else.

    EXIF orientation is applied, transparency is composited on white, 16-bit gray is scaled to 8 bits, and an
    embedded ICC profile is converted to sRGB (one that LittleCMS can't read is ignored, as browsers do).

    Args:
        data: The encoded file: JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF, one frame; HEIC where ``pillow-heif``
            is registered as Pillow's opener.
        max_pixels: Bound on width x height, judged from the header. Pillow's own bound of 178,956,970 stays.
        max_side: How many pixels of the longest side the caller needs. A JPEG may then be decoded at 1/2, 1/4
            or 1/8 scale, which is several times cheaper; the result is never smaller than ``max_side``
            (unless the file is), and often larger. Other formats come at full size.

    Returns:
        A new image in mode ``RGB`` with an empty ``info``.

    Raises:
        ProtectionError: If the data are no such picture, are cut off or corrupt, hold several frames, or
            exceed ``max_pixels``. The error carries nothing of the data.
    """
    refusal: ProtectionError
    try:
        with Image.open(io.BytesIO(data), formats=_formats()) as opened:
            _check_header(opened, data, max_pixels)
            if max_side is not None:
                _draft(opened, max_side)
            return _upright_rgb(opened)
    except ProtectionError as ours:
        refusal = ours
    except Image.DecompressionBombError:
        refusal = ProtectionError(_TOO_LARGE.format(max_pixels))
    except Exception:  # noqa: BLE001 - Pillow raises a dozen types, some with content; ours is raised outside
        refusal = ProtectionError(_HEIC if _HEIF_HEADER.match(data) else _UNDECODABLE)
    raise refusal


def encode_image(image: Image.Image, *, quality: int = 85) -> bytes:
    """Encode pixels as a baseline JPEG without metadata; the same pixels give the same bytes.

    Args:
        image: Any mode; transparency is composited on white. Nothing of ``image.info`` is written.
        quality: JPEG quality in [1, 95].

    Raises:
        ProtectionError: If the picture has no pixels, a side above 65,500, or a mode without an RGB meaning.
    """
    refusal: ProtectionError
    try:
        with _memory_file() as encoded:
            _flat_rgb(image).save(encoded, "JPEG", quality=quality)
            encoded.seek(0)
            return encoded.read()
    except ProtectionError as ours:
        refusal = ours
    except Exception:  # noqa: BLE001 - as in decode_image
        refusal = ProtectionError("The picture was not encoded: its size or mode doesn't fit JPEG.")
    raise refusal


def bare(image: Image.Image) -> Image.Image:
    """Give the pixels of an RGB image without anything that is attached to it, such as ``info``; they are shared.

    Pillow has no public way but to copy the pixels, which would hold up every other thread for long on a large picture.
    """
    image.load()
    return Image.Image()._new(image.im)  # noqa: SLF001


def _memory_file() -> IO[bytes]:
    """A file in memory, with a descriptor where there are such: only then Pillow encodes beside other threads."""
    if hasattr(os, "memfd_create"):
        with contextlib.suppress(OSError):
            return os.fdopen(os.memfd_create("vpp"), "w+b")
    return io.BytesIO()


def _formats() -> tuple[str, ...]:
    """Name the formats to try. Pillow fails on one that no plugin opens, and only pillow-heif opens HEIF."""
    return ("HEIF", *_FORMATS) if "HEIF" in Image.OPEN else _FORMATS


def _check_header(image: Image.Image, data: bytes, max_pixels: int) -> None:
    """Refuse by what is known before the first pixel is decoded."""
    width, height = image.size
    if width < 1 or height < 1:
        raise ProtectionError(_UNDECODABLE)
    if width * height > max_pixels:
        raise ProtectionError(_TOO_LARGE.format(max_pixels))
    if getattr(image, "is_animated", False):
        raise ProtectionError(_SEVERAL_FRAMES)
    # Pillow is content with a file that ends after its last pixel. Cut off is cut off, wherever that is.
    if image.format == "PNG" and _PNG_END not in data:
        raise ProtectionError(_UNDECODABLE)
    if image.format == "GIF" and not data.rstrip(b"\0").endswith(_GIF_END):
        raise ProtectionError(_UNDECODABLE)
    if image.format == "JPEG" and image.info.get("progressive") and data.count(_JPEG_SCAN) > _MAX_SCANS:
        raise ProtectionError(_UNDECODABLE)


def _draft(image: Image.Image, max_side: int) -> None:
    """Ask a JPEG for the smallest DCT scale that keeps the longest side at ``max_side`` or more."""
    longest = max(image.size)
    if 0 < max_side < longest:
        wanted = (-(-image.width * max_side // longest), -(-image.height * max_side // longest))
        image.draft(None, wanted)


def _upright_rgb(image: Image.Image) -> Image.Image:
    image.load()
    # Read after load(): the EXIF of a PNG may follow its pixels, and load() itself turns a TIFF.
    orientation = image.getexif().get(ExifTags.Base.Orientation)
    turn = _UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    upright = _srgb(image)
    return upright if turn is None else upright.transpose(turn)


def _srgb(image: Image.Image) -> Image.Image:
    """Make an RGB image of the visible pixels, through the embedded ICC profile if it is usable."""
    embedded = image.info.get("icc_profile")
    if not embedded:
        return _flat_rgb(image)
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(embedded))
    except (ImageCms.PyCMSError, OSError):
        return _flat_rgb(image)
    colours = profile.profile.xcolor_space.strip()
    if colours == "CMYK" and image.mode == "CMYK":
        pixels = image
    elif colours == "GRAY" and image.mode in _GRAY_MODES:
        pixels = _flat_rgb(image).convert("L")
    elif (
        colours == "RGB"
        and image.mode != "CMYK"
        and "sRGB" not in (profile.profile.profile_description or "")
    ):
        pixels = _flat_rgb(image)
    else:
        return _flat_rgb(image)
    try:
        converted = ImageCms.profileToProfile(
            pixels, profile, ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    except (ImageCms.PyCMSError, OSError):
        return _flat_rgb(image)
    # Once more, because the conversion put the new profile into `info`.
    return _flat_rgb(converted or pixels)


def _flat_rgb(image: Image.Image) -> Image.Image:
    """Make an RGB image of the visible pixels, over white, with nothing attached."""
    if image.mode in ("I", "F"):
        raise ProtectionError(_DEEP_GRAY)
    if image.mode.startswith("I;16"):
        image = _gray_from_16_bits(image)
    alpha: Image.Image | None = None
    if image.has_transparency_data:
        image = image.convert("RGBA")
        alpha = image.getchannel("A")
    rgb = image if image.mode == "RGB" else image.convert("RGB")
    if alpha is None:
        return bare(rgb)
    flat = Image.new("RGB", image.size, _WHITE)
    flat.paste(rgb, mask=alpha)
    return flat


def _gray_from_16_bits(image: Image.Image) -> Image.Image:
    """Scale 16-bit gray to 8 bits (Pillow's own conversion saturates); its transparent value turns white."""
    bits = image.tag_v2.get(258, (16,))[0] if hasattr(image, "tag_v2") else 16
    peak = (1 << bits) - 1
    table = [min(255, round(value * 255 / peak)) for value in range(65_536)]
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        table[transparent] = 255
    # Only mode I takes a table of 65,536 entries.
    return image.convert("I").point(table, "L")
