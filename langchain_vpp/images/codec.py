"""Bytes to pixels and back: decode, orient, strip, bound, encode.

Format, size and number of frames are judged from the header, before any pixel is decoded, so a decompression bomb is
cheap to refuse. The result of :func:`decode_image` is built from pixels alone: no EXIF, ICC profile, comment, thumbnail
or hidden colour under a transparent pixel can travel on. No global setting of Pillow is read or changed, so all
functions may run in several threads, and their long parts let other threads run.

Pillow reads every header and decides what is refused. With simplejpeg (extra ``fast``) the pixels of plain JPEGs are
decoded and encoded without copies between Pillow and numpy; everything else goes through Pillow.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
from typing import IO, TYPE_CHECKING, Final, NamedTuple, TypeVar

from PIL import Image

from langchain_vpp.errors import ProtectionError
from langchain_vpp.images.fast import decode_jpeg, encode_jpeg
from langchain_vpp.images.sizes import bounded, resized, swaps_sides, turn_of, upright
from langchain_vpp.images.srgb import flat_rgb, strip_metadata, to_srgb

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "ENCODED_MIME_TYPE",
    "MAX_PIXELS",
    "ScaledImage",
    "decode_image",
    "decode_scaled",
    "encode_image",
    "encode_scaled",
    "resized",
    "strip_metadata",
]

_T = TypeVar("_T")

ENCODED_MIME_TYPE: Final = "image/jpeg"
"""The MIME type of what :func:`encode_image` returns."""

MAX_PIXELS: Final = 64_000_000
"""Default bound on width x height: above the 50 MP of a telephone, below Pillow's own warning at 89 MP."""

# An allow-list: without it Pillow hands PostScript to Ghostscript and tries forty rarely used parsers.
_FORMATS: Final = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "AVIF")
_SIGNATURES: Final = ((b"\xff\xd8\xff", "JPEG"), (b"\x89PNG\r\n\x1a\n", "PNG"))
# A progressive JPEG is decoded once per scan; encoders write about ten, an attacker thousands.
_MAX_SCANS: Final = 100
_JPEG_SCAN: Final = b"\xff\xda"
_GIF_END: Final = b";"
_PNG_END: Final = b"IEND\xaeB`\x82"
_HEIF_HEADER: Final = re.compile(rb"(?s)\A.{4}ftyp(?:hei[cxms]|hev[cxms]|mif1|msf1)")
_REFUSED: Final = "The picture was not protected: "
_TOO_LARGE: Final = _REFUSED + "it has more than {:,} pixels. Make it smaller, or raise the limit."
_SEVERAL_FRAMES: Final = (
    _REFUSED + "it has several frames (animation, MPO or pages). Send the one that is meant."
)
_UNDECODABLE: Final = (
    _REFUSED + "it is cut off, corrupt or of an unknown format. Send a JPEG, PNG, WebP or GIF."
)
_HEIC: Final = (
    _REFUSED + "HEIC needs pillow-heif (extra heic); call pillow_heif.register_heif_opener(), or send a JPEG."
)


class ScaledImage(NamedTuple):
    """A picture that was made smaller while it was decoded."""

    image: Image.Image
    """Upright RGB, with an empty ``info``."""
    original_size: tuple[int, int]
    """Width and height of the whole picture, upright."""


def decode_image(data: bytes, *, max_pixels: int = MAX_PIXELS, max_side: int | None = None) -> Image.Image:
    """Decode one still picture into upright RGB pixels, and nothing else.

    EXIF orientation is applied, transparency is composited on white, 16-bit gray is scaled to 8 bits, and an
    embedded ICC profile is converted to sRGB (one that LittleCMS can't read is ignored, as browsers do).

    Args:
        data: The encoded file: JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF, one frame; HEIC where ``pillow-heif``
            is registered as Pillow's opener.
        max_pixels: Bound on width x height, judged from the header. Pillow's own bound of 178,956,970 stays.
        max_side: Pixels of the longest side that the caller needs. A JPEG may then be decoded at 1/2, 1/4
            or 1/8 scale, which is several times cheaper; the result is never smaller than ``max_side``
            (unless the file is), and often larger. Other formats come at full size.

    Returns:
        A new image in mode ``RGB`` with an empty ``info``.

    Raises:
        ProtectionError: If the data are no such picture, are cut off or corrupt, hold several frames, or
            exceed ``max_pixels``. The error carries nothing of the data.
    """

    def decode(opened: Image.Image) -> Image.Image:
        if max_side is not None and 0 < max_side < max(opened.size):
            opened.draft(None, bounded(opened.size, max_side))
        opened.load()
        return upright(to_srgb(opened), turn_of(opened))

    return _opened(data, max_pixels, decode)


def decode_scaled(
    data: bytes, size: Callable[[int, int], tuple[int, int]], *, max_pixels: int = MAX_PIXELS
) -> ScaledImage:
    """Decode one still picture at a smaller size.

    The result has the orientation, transparency and colours that :func:`decode_image` gives, and costs less: a JPEG is
    decoded at a reduced scale, every picture is scaled to its size in one step, in which each pixel becomes the mean of
    those that it stands for, and colours and orientation are corrected at the small size.

    Args:
        data: The encoded file, of a format that :func:`decode_image` takes.
        size: Function from the width and height of the upright picture to those that are wanted.
        max_pixels: Bound on width x height, judged from the header.

    Raises:
        ProtectionError: If :func:`decode_image` would refuse the data.
    """

    def decode(opened: Image.Image) -> ScaledImage:
        is_jpeg = opened.format == "JPEG"
        if not is_jpeg:
            opened.load()
        turn = turn_of(opened)
        on_its_side = swaps_sides(turn)
        original = opened.size[::-1] if on_its_side else opened.size
        wanted = size(*original)[::-1] if on_its_side else size(*original)
        image = decode_jpeg(opened, data, wanted) if is_jpeg else opened
        if image is None:
            opened.draft(None, wanted)
            opened.load()
            image = opened
        return ScaledImage(upright(to_srgb(resized(image, wanted)), turn), original)

    return _opened(data, max_pixels, decode)


def encode_image(image: Image.Image, *, quality: int = 85) -> bytes:
    """Encode pixels as a baseline JPEG without metadata; the same pixels give the same bytes.

    Args:
        image: Any mode; transparency is composited on white. Nothing of ``image.info`` is written.
        quality: JPEG quality in [1, 95].

    Raises:
        ProtectionError: If the picture has no pixels, a side above 65,500, or a mode without an RGB meaning.
    """
    return _encoded(lambda: _pillow_jpeg(flat_rgb(image), quality))


def encode_scaled(image: Image.Image, size: tuple[int, int], *, quality: int = 85) -> bytes:
    """Scale an image linearly and encode it as a baseline JPEG without metadata.

    With simplejpeg, luma and the chroma that a JPEG keeps are scaled separately, so no image of three colours is
    made at the new size. The bytes differ from those without simplejpeg; on one installation they are always the same.

    Args:
        image: Any mode; transparency is composited on white. Nothing of ``image.info`` is written.
        size: Width and height of the JPEG.
        quality: JPEG quality in [1, 95].

    Raises:
        ProtectionError: If the picture has no pixels, a side above 65,500, or a mode without an RGB meaning.
    """

    def encode() -> bytes:
        flat = flat_rgb(image)
        fast = encode_jpeg(flat, size, quality)
        if fast is not None:
            return fast
        return _pillow_jpeg(
            flat if size == flat.size else flat.resize(size, Image.Resampling.BILINEAR), quality
        )

    return _encoded(encode)


def _opened(data: bytes, max_pixels: int, decode: Callable[[Image.Image], _T]) -> _T:
    """Open a picture, judge its header, and decode it; every failure becomes a :class:`ProtectionError`."""
    refusal: ProtectionError
    try:
        with Image.open(io.BytesIO(data), formats=_formats(data)) as opened:
            _check_header(opened, data, max_pixels)
            return decode(opened)
    except ProtectionError as ours:
        refusal = ours
    except Image.DecompressionBombError:
        refusal = ProtectionError(_TOO_LARGE.format(max_pixels))
    except Exception:  # noqa: BLE001 - Pillow raises a dozen types, some with content; ours is raised outside
        refusal = ProtectionError(_HEIC if _HEIF_HEADER.match(data) else _UNDECODABLE)
    raise refusal


def _encoded(encode: Callable[[], bytes]) -> bytes:
    """Encode a picture; every failure becomes a :class:`ProtectionError`."""
    refusal: ProtectionError
    try:
        return encode()
    except ProtectionError as ours:
        refusal = ours
    except Exception:  # noqa: BLE001 - as in _opened
        refusal = ProtectionError("The picture was not encoded: its size or mode doesn't fit JPEG.")
    raise refusal


def _pillow_jpeg(flat: Image.Image, quality: int) -> bytes:
    with _memory_file() as encoded:
        flat.save(encoded, "JPEG", quality=quality)
        encoded.seek(0)
        return encoded.read()


def _memory_file() -> IO[bytes]:
    """Make a file in memory, with a descriptor where the system can: only then Pillow lets other threads run."""
    if hasattr(os, "memfd_create"):
        with contextlib.suppress(OSError):
            return os.fdopen(os.memfd_create("vpp"), "w+b")
    return io.BytesIO()


def _formats(data: bytes) -> tuple[str, ...]:
    """Name the formats to try.

    The commonest are told by their first bytes, because Pillow imports all its plugins to try other formats. Pillow
    fails on a format that no plugin opens, and only pillow-heif opens HEIF.
    """
    for signature, name in _SIGNATURES:
        if data.startswith(signature):
            return (name,)
    return ("HEIF", *_FORMATS) if "HEIF" in Image.OPEN else _FORMATS


def _check_header(image: Image.Image, data: bytes, max_pixels: int) -> None:
    """Refuse a picture by its header and its bytes, before the first pixel is decoded."""
    width, height = image.size
    if width < 1 or height < 1:
        raise ProtectionError(_UNDECODABLE)
    if width * height > max_pixels:
        raise ProtectionError(_TOO_LARGE.format(max_pixels))
    if getattr(image, "is_animated", False):
        raise ProtectionError(_SEVERAL_FRAMES)
    # Pillow accepts a file that ends after its last pixel. It was cut off all the same.
    if image.format == "PNG" and _PNG_END not in data:
        raise ProtectionError(_UNDECODABLE)
    if image.format == "GIF" and not data.rstrip(b"\0").endswith(_GIF_END):
        raise ProtectionError(_UNDECODABLE)
    if image.format == "JPEG" and image.info.get("progressive") and data.count(_JPEG_SCAN) > _MAX_SCANS:
        raise ProtectionError(_UNDECODABLE)
