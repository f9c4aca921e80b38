"""Colours: whatever a picture's mode and profile, plain sRGB pixels come out."""

from __future__ import annotations

import io
from typing import Final

from PIL import Image

from langchain_vpp.errors import ProtectionError

_GRAY_MODES: Final = ("L", "LA", "I;16", "I;16B", "I;16L")
_WHITE: Final = (255, 255, 255)
# Copies of a whole picture would take as much memory as the picture once more.
_BAND_PIXELS: Final = 1_000_000
DEEP_GRAY: Final = (
    "The picture was not protected: 32-bit gray has no defined range. Scale it to 8 or 16 bits."
)


def to_srgb(image: Image.Image) -> Image.Image:
    """Make an RGB image of the visible pixels, through the embedded ICC profile if it is usable.

    Args:
        image: A loaded image of any mode.

    Raises:
        ProtectionError: If the mode has no RGB meaning.
    """
    embedded = image.info.get("icc_profile")
    if not embedded:
        return flat_rgb(image)
    from PIL import ImageCms  # noqa: PLC0415  LittleCMS, which few pictures need

    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(embedded))
    except (ImageCms.PyCMSError, OSError):
        return flat_rgb(image)
    colours = profile.profile.xcolor_space.strip()
    if colours == "CMYK" and image.mode == "CMYK":
        pixels = image
    elif colours == "GRAY" and image.mode in _GRAY_MODES:
        pixels = flat_rgb(image).convert("L")
    elif (
        colours == "RGB"
        and image.mode != "CMYK"
        and "sRGB" not in (profile.profile.profile_description or "")
    ):
        pixels = flat_rgb(image)
    else:
        return flat_rgb(image)
    try:
        converted = ImageCms.profileToProfile(
            pixels, profile, ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    except (ImageCms.PyCMSError, OSError):
        return flat_rgb(image)
    # Once more, because the conversion put the new profile into `info`.
    return flat_rgb(converted or pixels)


def flat_rgb(image: Image.Image) -> Image.Image:
    """Make an RGB image of the visible pixels, over white, without anything that was attached to the image.

    Args:
        image: A loaded image of any mode.

    Raises:
        ProtectionError: If the mode has no RGB meaning.
    """
    if image.mode in ("I", "F"):
        raise ProtectionError(DEEP_GRAY)
    if image.mode.startswith("I;16"):
        image = gray_from_16_bits(image)
    if image.mode == "La":
        image = image.convert("LA")  # the only mode that Pillow converts it to
    if not image.has_transparency_data:
        return strip_metadata(image if image.mode == "RGB" else image.convert("RGB"))
    flat = Image.new("RGB", image.size, _WHITE)
    rows = max(1, _BAND_PIXELS // image.width)
    for top in range(0, image.height, rows):
        band = image.crop((0, top, image.width, min(top + rows, image.height))).convert("RGBA")
        flat.paste(band, (0, top), mask=band)
    return flat


def gray_from_16_bits(image: Image.Image) -> Image.Image:
    """Scale 16-bit gray to 8 bits; its transparent value turns white. Pillow's own conversion saturates."""
    bits = image.tag_v2.get(258, (16,))[0] if hasattr(image, "tag_v2") else 16
    peak = (1 << bits) - 1
    table = [min(255, round(value * 255 / peak)) for value in range(65_536)]
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        table[transparent] = 255
    # Only mode I takes a table of 65,536 entries.
    return image.convert("I").point(table, "L")


def strip_metadata(image: Image.Image) -> Image.Image:
    """Return an RGB image of the same pixels without anything attached to it, such as ``info``; pixels are shared.

    Pillow has no public way but to copy the pixels, which would block all other threads for long on a large picture.
    """
    image.load()
    return Image.Image()._new(image.im)  # noqa: SLF001
