"""Pictures of a page as they reach somebody: a screenshot, a turned or noisy one, a photograph of a print."""

from __future__ import annotations

import io
import math
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from PIL import Image, ImageFilter

from trainer.sandbox.drawing.photograph import box_corners, photograph

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trainer.sandbox.drawing.photograph import Points


_AROUND: Final = (128, 128, 128)


class Shot(NamedTuple):
    """A picture of a page."""

    image: Image.Image
    turned: float = 0.0
    """Degrees, counterclockwise, by which the page was turned."""

    def upright(self, protected: Image.Image) -> Image.Image:
        """Turn the protected picture back, as a reader would, who tries until the lines are level."""
        if not self.turned:
            return protected
        return protected.rotate(-self.turned, Image.Resampling.BICUBIC, expand=True, fillcolor=_AROUND)


def _screenshot(generator: np.random.Generator, page: Image.Image) -> Shot:  # noqa: ARG001  takes what others take
    return Shot(page)


def _turned(generator: np.random.Generator, page: Image.Image) -> Shot:
    """Turn a page by a right angle, or a little, on the colour of its corner."""
    if generator.random() < 0.5:
        degrees = float(generator.choice((90, 180, 270)))
    else:
        degrees = float(generator.uniform(3, 20) * generator.choice((-1, 1)))
    corner = page.getpixel((0, 0))
    return Shot(page.rotate(degrees, Image.Resampling.BICUBIC, expand=True, fillcolor=corner), degrees)


def _noisy(generator: np.random.Generator, page: Image.Image) -> Shot:
    """Soften a page, add noise, and compress it strongly."""
    soft = page.filter(ImageFilter.GaussianBlur(float(generator.uniform(0, 0.7))))
    noise = generator.standard_normal((page.height, page.width, 3), dtype=np.float32)
    pixels = np.asarray(soft, dtype=np.float32) + noise * np.float32(generator.uniform(5, 20))
    return Shot(_compressed(Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)), generator, 40, 75))


def _photographed(generator: np.random.Generator, page: Image.Image) -> Shot:
    """Photograph a printed page that lies on a desk, a little askew."""
    size = page.size
    across, down = (side * float(generator.uniform(0.84, 0.94)) for side in size)
    angle = math.radians(float(generator.uniform(-4, 4)))
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    bend = generator.uniform(-0.015, 0.015, (4, 2)) * min(size)
    corners: Points = (
        box_corners(-across / 2, -down / 2, across / 2, down / 2) @ turn + bend + np.array(size) / 2
    )
    paper = Image.new("L", size, 255)
    photo = photograph(generator, page, paper, corners, size)
    return Shot(_compressed(photo, generator, 60, 92))


def _compressed(image: Image.Image, generator: np.random.Generator, low: int, high: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=int(generator.integers(low, high)))
    return Image.open(buffer).convert("RGB")


CAMERAS: Final[Mapping[str, Callable[[np.random.Generator, Image.Image], Shot]]] = MappingProxyType(
    {
        "screenshot": _screenshot,
        "turned": _turned,
        "noisy": _noisy,
        "printed and photographed": _photographed,
    }
)
"""How a picture of a page is taken -> a function that takes it."""
