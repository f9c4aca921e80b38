"""JPEGs by simplejpeg, where the extra ``fast`` is installed; whatever it can't do, Pillow does."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from langchain_vpp import extras

if TYPE_CHECKING:
    from types import ModuleType

_Plane: TypeAlias = npt.NDArray[np.uint8]
_PIECE_VALUES: Final = 131_072


@functools.cache
def fast_module(name: str) -> Any:
    """Return the module of that name, or ``None`` where it isn't installed: callers know a slower way."""
    return extras.find(name)


def decode_jpeg(opened: Image.Image, data: bytes, wanted: tuple[int, int]) -> Image.Image | None:
    """Decode a plain JPEG at the cheapest scale that is not below a size.

    Args:
        opened: The picture, its header read by Pillow.
        data: The encoded file.
        wanted: Width and height that are needed, as the pixels are stored.

    Returns:
        The image, or ``None`` if Pillow has to decode it.
    """
    simplejpeg = fast_module("simplejpeg")
    if simplejpeg is None or opened.mode != "RGB":
        return None
    eighths = _cheapest_scale(opened.size, wanted)
    width, height = _at_scale(opened.size, eighths)
    try:
        pixels = simplejpeg.decode_jpeg(
            data,
            min_width=width,
            min_height=height,
            min_factor=8 // eighths,
            fastdct=True,
            fastupsample=True,
        )
    except ValueError:
        # It refuses files that are only untidy. Pillow, which tells those from files that are cut off, decides.
        return None
    if pixels.shape != (height, width, 3):
        return None
    return Image.fromarray(pixels)


def encode_jpeg(image: Image.Image, size: tuple[int, int], quality: int) -> bytes | None:
    """Encode an RGB image as a JPEG of another size, scaled linearly.

    Args:
        image: The pixels.
        size: Width and height of the JPEG.
        quality: JPEG quality in [1, 95].

    Returns:
        The encoded file, or ``None`` if Pillow has to encode it.
    """
    simplejpeg: ModuleType | None = fast_module("simplejpeg")
    if simplejpeg is None:
        return None
    options = {"quality": quality, "fastdct": True}
    # simplejpeg reads an even number of rows and columns of planes, and so past the end of odd ones: it would send
    # whatever lies there in memory.
    if size == image.size or size[0] % 2 or size[1] % 2:
        scaled = image if size == image.size else image.resize(size, Image.Resampling.BILINEAR)
        return bytes(simplejpeg.encode_jpeg(np.asarray(scaled), colorsubsampling="420", **options))
    return bytes(simplejpeg.encode_jpeg_yuv_planes(*_scaled_planes(image, size), **options))


def _cheapest_scale(size: tuple[int, int], wanted: tuple[int, int]) -> int:
    """Choose at how many eighths of its size a JPEG is decoded.

    Powers of two are the fastest, but a scale that gives exactly the wanted size saves scaling afterwards.
    """
    for eighths in range(1, 8):
        reached = _at_scale(size, eighths)
        if reached == wanted:
            return eighths
        if eighths in (1, 2, 4) and reached[0] >= wanted[0] and reached[1] >= wanted[1]:
            return eighths
    return 8


def _at_scale(size: tuple[int, int], eighths: int) -> tuple[int, int]:
    return -(-size[0] * eighths // 8), -(-size[1] * eighths // 8)


def _scaled_planes(image: Image.Image, size: tuple[int, int]) -> list[_Plane]:
    """Scale luma to an even ``size`` and chroma to half of it.

    A JPEG keeps no more, and this is half the work of scaling three colours.
    """
    width, height = size
    half = (width // 2, height // 2)
    planes = image.convert("YCbCr").split()
    return [_scaled_plane(plane, wanted) for plane, wanted in zip(planes, (size, half, half), strict=True)]


def _scaled_plane(plane: Image.Image, size: tuple[int, int]) -> _Plane:
    """Scale linearly, first along rows, then along columns; numpy mixes rows in half of Pillow's time."""
    width, height = size
    if height < plane.height or width < plane.width:
        return np.asarray(plane.resize(size, Image.Resampling.BILINEAR))
    return np.ascontiguousarray(_more_rows(_more_rows(np.asarray(plane).T, width).T, height))


def _more_rows(plane: _Plane, count: int) -> _Plane:
    """Mix the rows of a plane linearly into as many or more, in pieces that stay in the cache."""
    if count == len(plane):
        return plane
    rows = plane.astype(np.int16, order="C")
    last, width = rows.shape[0] - 1, rows.shape[1]
    position = np.clip((np.arange(count) + 0.5) * (len(rows) / count) - 0.5, 0, last)
    above = np.minimum(position.astype(np.intp), max(last - 1, 0))
    # Seven bits: 255 * 128 + 64 is the largest sum, and fits 16 bits with a sign.
    weights = np.rint((position - above) * 128).astype(np.int16)[:, None]
    steps = np.diff(rows, axis=0, append=rows[-1:])
    rows *= np.int16(128)
    rows += np.int16(64)
    scaled = np.empty((count, width), np.uint8)
    piece = max(1, _PIECE_VALUES // width)
    mixed, base = np.empty((2, min(piece, count), width), np.int16)
    for start in range(0, count, piece):
        part = slice(start, start + piece)
        chosen = above[part]
        mixed, base = mixed[: len(chosen)], base[: len(chosen)]
        # The mode says what can't happen; without it numpy would copy the result once more.
        np.take(steps, chosen, axis=0, out=mixed, mode="clip")
        np.take(rows, chosen, axis=0, out=base, mode="clip")
        mixed *= weights[part]
        mixed += base
        mixed >>= 7
        scaled[part] = mixed
    return scaled
