"""Sizes and orientation: which way is up, and how large a picture is wanted."""

from __future__ import annotations

from typing import Final

from PIL import ExifTags, Image

from langchain_vpp.images.srgb import flat_rgb, gray_from_16_bits

_UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

_FLIPS: Final = (
    Image.Transpose.FLIP_LEFT_RIGHT,
    Image.Transpose.ROTATE_180,
    Image.Transpose.FLIP_TOP_BOTTOM,
)


def resized(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Scale an image, each pixel the mean of those that it stands for.

    Args:
        image: A loaded image of any mode.
        size: Width and height.

    Returns:
        The image itself, if it has that size. Otherwise a new one in a mode in which the mean of values looks like the
        mean of colours, with the profile of the image.
    """
    if image.size == size:
        return image
    if image.mode.startswith("I;16"):
        image = gray_from_16_bits(image)
    if image.has_transparency_data:
        image = image if image.mode == "RGBA" else image.convert("RGBA")
    elif image.mode not in ("RGB", "L", "CMYK"):
        profile = image.info.get("icc_profile")
        image = flat_rgb(image)
        image.info["icc_profile"] = profile
    return image.resize(size, Image.Resampling.BOX, reducing_gap=3.0)


def bounded(size: tuple[int, int], max_side: int) -> tuple[int, int]:
    """Return the size of the same aspect ratio whose longest side is ``max_side``, rounded up."""
    longest = max(size)
    return -(-size[0] * max_side // longest), -(-size[1] * max_side // longest)


def turn_for(orientation: object) -> Image.Transpose | None:
    """Return the transposition that makes a picture of an EXIF orientation upright, or ``None``."""
    return _UPRIGHT.get(orientation) if isinstance(orientation, int) else None


def turn_of(image: Image.Image) -> Image.Transpose | None:
    """Return the transposition that makes a loaded image upright, or ``None``.

    Call it after ``load()``, which turns a TIFF.
    """
    return turn_for(image.getexif().get(ExifTags.Base.Orientation))


def upright(image: Image.Image, turn: Image.Transpose | None) -> Image.Image:
    """Turn an image by a transposition of :func:`turn_for` or :func:`turn_of`."""
    return image if turn is None else image.transpose(turn)


def swaps_sides(turn: Image.Transpose | None) -> bool:
    """Say whether a transposition turns width into height."""
    return turn is not None and turn not in _FLIPS
