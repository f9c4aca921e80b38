"""Bytes to pixels and back: decode, orient, strip, bound, encode.

Format, size, frames and passes are judged from the structure of a file, before any pixel is decoded, so a
decompression bomb is cheap to refuse. The result of :func:`decode_image` is built from pixels alone: no EXIF, ICC
profile, comment, thumbnail or hidden colour under a transparent pixel can travel on. No global setting of Pillow is
read or changed, so all functions may run in several threads, and their long parts let other threads run.

JPEG, PNG, GIF and WebP are decoded here: their work is bounded by their structure, and stops at a deadline. With
simplejpeg (extra ``fast``) the pixels of plain JPEGs are decoded and encoded without copies between Pillow and numpy.
Other formats are decoded in another process: see :mod:`langchain_vpp.images.isolated`.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple

from PIL import GifImagePlugin, Image, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from langchain_vpp.errors import ProtectionError
from langchain_vpp.images.bounds import MAX_PIXELS, TOO_LARGE, Bounds, TimedFile
from langchain_vpp.images.fast import decode_jpeg, encode_jpeg
from langchain_vpp.images.isolated import IsolatedError, run_isolated
from langchain_vpp.images.sizes import bounded, resized, swaps_sides, turn_for, upright
from langchain_vpp.images.srgb import DEEP_GRAY, flat_rgb, strip_metadata, to_srgb
from langchain_vpp.images.structure import REFUSED, SEVERAL_FRAMES, UNDECODABLE, Structure, look_at

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

ENCODED_MIME_TYPE: Final = "image/jpeg"
"""The MIME type of what :func:`encode_image` returns."""

# An allow-list: without it Pillow hands PostScript to Ghostscript and tries forty rarely used parsers.
_OPENERS: Final[dict[str, Any]] = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
}
# Other signatures of formats that the other process decodes.
_ISOLATED: Final = re.compile(rb"(?s)\A(?:BM|II[*+]\0|MM\0[*+]|.{4}ftyp)")
# A JPEG that is decoded at a reduced scale may be so many times larger: decoders pass over what they need not show.
_SCALED_DOWN: Final = 4
_HERE_AT_MOST: Final = {"PNG": 16_000_000, "GIF": 16_000_000, "WEBP": 2_000_000}
# So many pixels on average are decoded between two looks at the clock, and no fewer bytes are read.
_PIXELS_PER_READ: Final = 1_000_000
_FEWEST_BYTES_PER_READ: Final = 64
# simplejpeg can't be stopped. So many pixels, times the passes over them, take it a second.
_UNINTERRUPTED: Final = 100_000_000
_HEIF_HEADER: Final = re.compile(rb"(?s)\A.{4}ftyp(?:hei[cxms]|hev[cxms]|mif1|msf1)")
_HEIC: Final = (
    REFUSED + "HEIC needs pillow-heif (extra heic); call pillow_heif.register_heif_opener(), or send a JPEG."
)
_TOO_MUCH: Final = REFUSED + "decoding it takes too long, or too much memory. Send a JPEG, PNG, WebP or GIF."


class ScaledImage(NamedTuple):
    """A picture that was made smaller while it was decoded."""

    image: Image.Image
    """Upright RGB, with an empty ``info``."""
    original_size: tuple[int, int]
    """Width and height of the whole picture, upright."""


def decode_image(
    data: bytes,
    *,
    max_pixels: int = MAX_PIXELS,
    max_side: int | None = None,
    bounds: Bounds | None = None,
) -> Image.Image:
    """Decode one still picture into upright RGB pixels, and nothing else.

    EXIF orientation is applied, transparency is composited on white, 16-bit gray is scaled to 8 bits, and an
    embedded ICC profile is converted to sRGB (one that LittleCMS can't read is ignored, as browsers do).

    Args:
        data: The encoded file: JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF, one frame; HEIC where ``pillow-heif``
            is registered as Pillow's opener. Of the pictures in a camera's file (MPO) the first is meant, and the
            others are its previews.
        max_pixels: Bound on width x height, judged from the header.
        max_side: Pixels of the longest side that the caller needs. A JPEG may then be decoded at 1/2, 1/4
            or 1/8 scale, which is several times cheaper; the result is never smaller than ``max_side``
            (unless the file is), and often larger. Other formats come at full size.
        bounds: What decoding may cost, in the place of ``max_pixels``; by default a minute.

    Returns:
        A new image in mode ``RGB`` with an empty ``info``.

    Raises:
        ProtectionError: If the data are no such picture, are cut off or corrupt, hold several frames, exceed
            ``max_pixels``, or take too long. The error carries nothing of the data.
    """

    def size(width: int, height: int) -> tuple[int, int]:
        if max_side is not None and 0 < max_side < max(width, height):
            return bounded((width, height), max_side)
        return width, height

    bounds = bounds or Bounds(max_pixels=max_pixels)
    return _decoded(data, size, bounds, look_at(data), exactly=False).image


def decode_scaled(
    data: bytes,
    size: Callable[[int, int], tuple[int, int]],
    *,
    max_pixels: int = MAX_PIXELS,
    bounds: Bounds | None = None,
    structure: Structure | None = None,
) -> ScaledImage:
    """Decode one still picture at a smaller size.

    The result has the orientation, transparency and colours that :func:`decode_image` gives, and costs less: a JPEG is
    decoded at a reduced scale, every picture is scaled to its size in one step, in which each pixel becomes the mean of
    those that it stands for, and colours and orientation are corrected at the small size.

    Args:
        data: The encoded file, of a format that :func:`decode_image` takes.
        size: Function from the width and height of the upright picture to those that are wanted.
        max_pixels: Bound on the width x height that is decoded, judged from the header. A JPEG of which a smaller copy
            is wanted may be four times larger.
        bounds: What decoding may cost, in the place of ``max_pixels``; by default a minute.
        structure: The structure of the file, if it was looked at already.

    Raises:
        ProtectionError: If :func:`decode_image` would refuse the data.
    """
    bounds = bounds or Bounds(max_pixels=max_pixels)
    return _decoded(data, size, bounds, structure or look_at(data), exactly=True)


def decoding_work(structure: Structure, size: Callable[[int, int], tuple[int, int]]) -> int:
    """Return the number of pixels that a decoder goes over to make a picture at a size.

    Args:
        structure: The picture as it is stored.
        size: Function from the width and height of the upright picture to those that are wanted.
    """
    width, height = structure.size
    scale = _draft_scale(structure.size, _wanted(structure, size)) if structure.kind == "JPEG" else 1
    # Skipping what is not needed costs about an eighth of decoding it.
    return max(-(-width // scale) * -(-height // scale), width * height * structure.passes // 8)


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


def _decoded(
    data: bytes,
    size: Callable[[int, int], tuple[int, int]],
    bounds: Bounds,
    structure: Structure | None,
    *,
    exactly: bool,
) -> ScaledImage:
    """Decode here or in another process; every failure becomes a :class:`ProtectionError`."""
    bounds.check()
    if structure is None or is_isolated(structure):
        return _decoded_elsewhere(data, size, bounds, structure, exactly=exactly)
    refusal: ProtectionError
    try:
        return decode_here(structure, size, bounds, exactly=exactly)
    except ProtectionError as ours:
        refusal = ours
    except Exception:  # noqa: BLE001 - Pillow raises a dozen types, some with content; ours is raised outside
        refusal = ProtectionError(UNDECODABLE)
    bounds.check()  # Pillow has its own words for a file whose reader was stopped
    raise refusal


def is_isolated(structure: Structure | None) -> bool:
    """Say whether a picture is decoded in another process.

    Besides formats whose work can't be told, these are pictures that come at full size and are large. They would take
    the memory of this process, and hold up its other threads: the decoder for WebP never lets them run.
    """
    if structure is None:
        return True
    most = _HERE_AT_MOST.get(structure.kind)
    return most is not None and structure.size[0] * structure.size[1] > most


def decode_here(
    structure: Structure, size: Callable[[int, int], tuple[int, int]], bounds: Bounds, *, exactly: bool
) -> ScaledImage:
    """Decode in this process; :func:`decode_scaled` does so where it may.

    Args:
        structure: The picture as it is stored.
        size: Function from the width and height of the upright picture to those that are wanted.
        bounds: What decoding may cost.
        exactly: Whether the result must have the wanted size, or may be larger.

    Raises:
        Exception: Whatever a decoder raises; it may hold content.
    """
    width, height = structure.size
    if width * height > bounds.max_pixels * (_SCALED_DOWN if structure.is_scalable else 1):
        raise ProtectionError(TOO_LARGE.format(bounds.max_pixels))
    work = decoding_work(structure, size)
    if work > bounds.max_pixels and structure.passes == 1:
        raise ProtectionError(TOO_LARGE.format(bounds.max_pixels))
    bounds.spend(work)
    wanted = _wanted(structure, size)
    image = _pixels(structure, wanted, bounds, exactly=exactly)
    image.info["icc_profile"] = structure.profile
    turn = turn_for(structure.orientation)
    original = structure.size[::-1] if swaps_sides(turn) else structure.size
    return ScaledImage(upright(to_srgb(resized(image, wanted) if exactly else image), turn), original)


def _wanted(structure: Structure, size: Callable[[int, int], tuple[int, int]]) -> tuple[int, int]:
    """Return the size that is wanted, of the picture as it is stored."""
    if swaps_sides(turn_for(structure.orientation)):
        return size(*structure.size[::-1])[::-1]
    return size(*structure.size)


def _pixels(structure: Structure, wanted: tuple[int, int], bounds: Bounds, *, exactly: bool) -> Image.Image:
    """Decode what a structure holds; a JPEG at the smallest scale that is not below what is wanted."""
    width, height = structure.size
    work = width * height * structure.passes
    file = TimedFile(structure.pixel_file, bounds.check)
    with _OPENERS[structure.kind](file) as opened:
        if opened.size != structure.size:
            raise ProtectionError(UNDECODABLE)
        if structure.kind == "JPEG" and exactly and work <= _UNINTERRUPTED:
            fast = decode_jpeg(opened, structure.pixel_file, wanted)
            if fast is not None:
                return fast
        if structure.kind == "JPEG":
            opened.draft(None, wanted)
        if structure.kind != "WEBP":  # which is decoded at once
            per_read = len(structure.pixel_file) * _PIXELS_PER_READ // work
            opened.decodermaxblock = max(_FEWEST_BYTES_PER_READ, min(per_read, opened.decodermaxblock))
        opened.load()
        image: Image.Image = opened
        return image


def _draft_scale(stored: tuple[int, int], wanted: tuple[int, int]) -> int:
    """Return by how much a JPEG can be reduced while it is decoded, without falling below what is wanted."""
    for scale in (8, 4, 2):
        if all(have // scale >= need for have, need in zip(stored, wanted, strict=True)):
            return scale
    return 1


def _decoded_elsewhere(
    data: bytes,
    size: Callable[[int, int], tuple[int, int]],
    bounds: Bounds,
    structure: Structure | None,
    *,
    exactly: bool,
) -> ScaledImage:
    """Decode a TIFF, AVIF, HEIC or BMP, or a large picture."""
    reason = "damaged"
    if structure is not None and structure.size[0] * structure.size[1] > bounds.max_pixels:
        raise ProtectionError(TOO_LARGE.format(bounds.max_pixels))
    if _HEIF_HEADER.match(data) and "HEIF" not in Image.OPEN:
        raise ProtectionError(_HEIC)
    if structure is not None or _ISOLATED.match(data):
        task = {"task": "decode", "heif": "HEIF" in Image.OPEN}
        wanted = size if exactly else lambda width, height: (width, height)
        try:
            (decoded,) = run_isolated(task, data, bounds, wanted)
            return ScaledImage(decoded.image, decoded.size)
        except (IsolatedError, ValueError) as error:
            if isinstance(error, ProtectionError):
                raise
            reason = getattr(error, "reason", reason)
    known = {
        "too large": TOO_LARGE.format(bounds.max_pixels),
        "several frames": SEVERAL_FRAMES,
        "deep gray": DEEP_GRAY,
        "damaged": UNDECODABLE,
    }
    raise ProtectionError(known.get(reason, _TOO_MUCH))


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
