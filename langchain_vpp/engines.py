"""What runs a protector: the learned network in torch, and the classical operators behind the same call."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from PIL import Image, ImageFilter

if TYPE_CHECKING:
    from langchain_vpp.protector import Protector


@runtime_checkable
class Engine(Protocol):
    """Anything that can protect a picture.

    Engines of ours also have a ``name`` and a ``digest``: the sha256, in hex, of everything that determines the output.
    """

    def protect(self, image: Image.Image, level: float) -> Image.Image:
        """Return a new RGB image of the same size.

        Args:
            image: An upright RGB image without metadata. It must not be changed.
            level: 0 (most useful) to 1 (most private).
        """
        ...


class TorchEngine:
    """Runs a :class:`~langchain_vpp.protector.Protector` on the CPU.

    The picture is brought to the working resolution, protected there, and scaled back to its own size: no detail above
    the working resolution reaches the output.

    Args:
        protector: The network. It is switched to evaluation mode.
        digest: sha256, in hex, of the artifact that it came from.
    """

    name = "torch"

    def __init__(self, protector: Protector, *, digest: str) -> None:
        self._protector = protector.eval()
        self.digest = digest

    def protect(self, image: Image.Image, level: float) -> Image.Image:
        """Protect one picture; see :meth:`Engine.protect`."""
        import torch  # noqa: PLC0415  loading torch takes seconds: only where a network runs

        from langchain_vpp.protector import working_size  # noqa: PLC0415

        size = working_size(*image.size, self._protector.config.working_resolution)
        pixels = np.asarray(
            image.resize(size, Image.Resampling.BOX, reducing_gap=3.0) if size != image.size else image
        )
        batch = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float().div_(255)
        with torch.inference_mode():
            protected = self._protector(batch, torch.tensor([level], dtype=torch.float32))
        array = protected[0].clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).numpy()
        result = Image.fromarray(array)
        return result if result.size == image.size else result.resize(image.size, Image.Resampling.BICUBIC)


class _Classical:
    """A fixed operator whose strength grows with the level."""

    name: str

    @property
    def digest(self) -> str:
        return hashlib.sha256(f"classical/1/{self.name}".encode()).hexdigest()


class Blur(_Classical):
    """Gaussian blur: the radius grows from 0 to an eighth of the longest side, quadratically with the level."""

    name = "blur"

    def protect(self, image: Image.Image, level: float) -> Image.Image:
        """Protect one picture; see :meth:`Engine.protect`."""
        return image.filter(ImageFilter.GaussianBlur(level**2 * max(image.size) / 8))


class Pixelate(_Classical):
    """Mosaic: from single pixels at level 0 to four cells along the longest side at level 1, geometrically."""

    name = "pixelate"
    _upsampling = Image.Resampling.NEAREST

    def protect(self, image: Image.Image, level: float) -> Image.Image:
        """Protect one picture; see :meth:`Engine.protect`."""
        longest = max(image.size)
        cells = longest * (4 / longest) ** level if longest > 4 else longest
        small = tuple(max(1, round(side * cells / longest)) for side in image.size)
        return image.resize((small[0], small[1]), Image.Resampling.BOX).resize(image.size, self._upsampling)


class Downscale(Pixelate):
    """Like :class:`Pixelate`, but enlarged again with a smooth filter."""

    name = "downscale"
    _upsampling = Image.Resampling.BICUBIC


CLASSICAL_ENGINES: dict[str, type[Blur | Pixelate | Downscale]] = {
    engine.name: engine for engine in (Blur, Pixelate, Downscale)
}
