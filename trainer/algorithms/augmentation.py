"""Augmentation of the images that the student and the assessor learn from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor


def augment(images: Tensor, *, noise: float, generator: torch.Generator) -> Tensor:
    """Shift a batch by up to a sixteenth of its width, vary each image's brightness slightly and add noise.

    All frames of a clip are as bright, so that nothing seems to change between them.

    Args:
        images: In [0, 1], shape ``[B, 3, H, W]`` or ``[B, T, 3, H, W]``.
        noise: Standard deviation, in units of the pixel range.
        generator: Source of randomness.

    Returns:
        Same shape and range; differentiable in ``images``.
    """
    reach = max(1, images.shape[-1] // 16)
    down, right = (int(shift) for shift in torch.randint(-reach, reach + 1, (2,), generator=generator))
    pixels = images.roll((down, right), dims=(-2, -1))
    gain = 1 + 0.1 * torch.randn(len(images), *[1] * (images.ndim - 1), generator=generator)
    return (pixels * gain + noise * torch.randn(pixels.shape, generator=generator)).clamp(0, 1)


def coarsen(images: Tensor, *, generator: torch.Generator) -> Tensor:
    """Lower the resolution of each image by a factor of its own: 1, 2, 4 or 8.

    Answers about the images stay the same, so a network that learns from labels alone meets pictures that have lost
    detail, as protected ones have, without asking anybody.

    Args:
        images: In [0, 1], shape ``[B, 3, H, W]`` or ``[B, T, 3, H, W]``, sides multiples of 8.
        generator: Source of randomness.

    Returns:
        Same shape and range; all frames of a clip have one resolution.
    """
    chosen = torch.randint(4, (len(images), *[1] * (images.ndim - 1)), generator=generator)
    if images.ndim == 5:
        chosen, frames = chosen.expand(-1, images.shape[1], -1, -1, -1).flatten(0, 1), images.flatten(0, 1)
        return _coarse(frames, chosen).reshape(images.shape)
    return _coarse(images, chosen)


def _coarse(images: Tensor, chosen: Tensor) -> Tensor:
    result = images
    for power in (1, 2, 3):
        pooled = functional.avg_pool2d(images, 2**power)
        coarse = functional.interpolate(pooled, size=images.shape[-2:], mode="bilinear", align_corners=False)
        result = torch.where(chosen == power, coarse, result)
    return result
