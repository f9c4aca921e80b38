"""Pictures unlike given ones: the same turned, inverted, far away or too close, and pages of words.

The statistics of a protector's domain are fitted against these kinds. What they are measured with must be other kinds.
"""

from __future__ import annotations

from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image, ImageOps

from trainer.sandbox.drawing.pages_of_words import PAGES, draw_page
from trainer.sandbox.drawing.photograph import box_corners, photograph

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Change = Callable[[Image.Image, np.random.Generator], Image.Image]


def _turned(image: Image.Image, generator: np.random.Generator, *, degrees: int) -> Image.Image:  # noqa: ARG001  takes what others take
    return image.rotate(degrees, expand=True)


def _turned_in_frame(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    """Turn a picture by a right angle, either way, in a frame of the same size."""
    turned = image.rotate(90 if generator.random() < 0.5 else 270, expand=True)
    return _framed(turned, image.size, min(image.width / turned.width, image.height / turned.height))


def _inverted(image: Image.Image, generator: np.random.Generator) -> Image.Image:  # noqa: ARG001
    return ImageOps.invert(image)


def _far(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    """Show a picture at 35 to 60 % of its size, on the mean colour."""
    return _framed(image, image.size, float(generator.uniform(0.35, 0.6)))


def _close(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    """Show a part of 40 to 60 % of each side."""
    share = float(generator.uniform(0.4, 0.6))
    left, top = (float(generator.uniform(0, 1 - share)) * side for side in image.size)
    box = (left, top, left + share * image.width, top + share * image.height)
    return image.resize(image.size, Image.Resampling.BICUBIC, box=box)


def _framed(image: Image.Image, size: tuple[int, int], scale: float) -> Image.Image:
    """Place a picture, scaled, in the middle of a frame of its mean colour."""
    small = image.resize(
        (max(1, round(image.width * scale)), max(1, round(image.height * scale))),
        Image.Resampling.BICUBIC,
        reducing_gap=2.0,
    )
    framed = Image.new("RGB", size, image.resize((1, 1), Image.Resampling.BOX).getpixel((0, 0)))
    framed.paste(small, ((size[0] - small.width) // 2, (size[1] - small.height) // 2))
    return framed


def _page(image: Image.Image, generator: np.random.Generator, *, kind: str) -> Image.Image:
    """Draw a page about as large as the picture; every other one is printed and photographed on a desk."""
    page = draw_page(kind, generator, round(max(image.size) * float(generator.uniform(0.9, 1.8))))
    if generator.random() < 0.5:
        return page
    share, size = float(generator.uniform(0.8, 0.98)), np.array(page.size)
    corners = box_corners(0, 0, *page.size) * share + size * (1 - share) / 2
    corners += generator.uniform(-0.02, 0.02, (4, 2)) * size
    return photograph(generator, page, Image.new("L", page.size, 255), corners, page.size)


OTHER_KINDS: Final[Mapping[str, Change]] = MappingProxyType(
    {
        "turned by 90 degrees": partial(_turned, degrees=90),
        "turned by 180 degrees": partial(_turned, degrees=180),
        "turned by 270 degrees": partial(_turned, degrees=270),
        "turned within its frame": _turned_in_frame,
        "inverted": _inverted,
        "far away": _far,
        "too close": _close,
        **{f"page of words, {kind}": partial(_page, kind=kind) for kind in PAGES},
    }
)
"""Name of a kind -> function that makes a picture of it from a familiar one."""
