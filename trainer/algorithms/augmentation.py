"""Augmentation of the images that the student and the assessor learn from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


def augment(images: Tensor, *, noise: float, generator: torch.Generator) -> Tensor:
    """Shift a batch by up to a sixteenth of its width, vary each image's brightness slightly and add noise.

    Args:
        images: In [0, 1], shape ``[B, 3, H, W]``.
        noise: Standard deviation, in units of the pixel range.
        generator: Source of randomness.

    Returns:
        Same shape and range; differentiable in ``images``.
    """
    reach = max(1, images.shape[-1] // 16)
    down, right = (int(shift) for shift in torch.randint(-reach, reach + 1, (2,), generator=generator))
    pixels = images.roll((down, right), dims=(-2, -1))
    gain = 1 + 0.1 * torch.randn(len(images), 1, 1, 1, generator=generator)
    return (pixels * gain + noise * torch.randn(pixels.shape, generator=generator)).clamp(0, 1)
