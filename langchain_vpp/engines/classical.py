"""Fixed operators whose strength grows with the level. They run everywhere and treat all of a picture alike."""

from __future__ import annotations

import hashlib
from typing import Final

from PIL import Image, ImageFilter


class Classical:
    """Base of the operators.

    Attributes:
        name: A word for receipts and reports.
    """

    name: str

    @property
    def digest(self) -> str:
        """sha256, in hex, of the operator's name and version."""
        return digest_of(self.name)


def digest_of(name: str) -> str:
    """Return the digest of an operator.

    Args:
        name: Its name, and whatever else determines its output.
    """
    return hashlib.sha256(f"classical/1/{name}".encode()).hexdigest()


class Blur(Classical):
    """Gaussian blur: the radius grows with the square of the level, from 0 to an eighth of the longest side."""

    name = "blur"

    def protect(self, image: Image.Image, level: float) -> Image.Image:
        """Protect one picture; see :meth:`Engine.protect <langchain_vpp.engines.Engine.protect>`."""
        return image.filter(ImageFilter.GaussianBlur(level**2 * max(image.size) / 8))


class Pixelate(Classical):
    """Mosaic: from single pixels at level 0 to four cells along the longest side at level 1, geometrically."""

    name = "pixelate"
    _upsampling = Image.Resampling.NEAREST

    def protect(self, image: Image.Image, level: float) -> Image.Image:
        """Protect one picture; see :meth:`Engine.protect <langchain_vpp.engines.Engine.protect>`."""
        longest = max(image.size)
        cells = longest * (4 / longest) ** level if longest > 4 else longest
        small = tuple(max(1, round(side * cells / longest)) for side in image.size)
        return image.resize((small[0], small[1]), Image.Resampling.BOX).resize(image.size, self._upsampling)


class Downscale(Pixelate):
    """Mosaic as of :class:`Pixelate`, enlarged with a smooth filter."""

    name = "downscale"
    _upsampling = Image.Resampling.BICUBIC


CLASSICAL_ENGINES: Final[dict[str, type[Blur | Pixelate | Downscale]]] = {
    engine.name: engine for engine in (Blur, Pixelate, Downscale)
}
"""Operators that need no extra, by name."""
