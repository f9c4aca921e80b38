"""Pictures as tensors, and as they travel to the chat model."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from langchain_vpp.images.codec import decode_image, encode_image


def as_tensor(image: Image.Image) -> Tensor:
    """Convert an RGB image to ``uint8``, shape ``[3, H, W]`` (torchvision's function costs seconds of import)."""
    return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)


def as_image(pixels: Tensor) -> Image.Image:
    """Convert values in [0, 1], shape ``[3, H, W]``, to an RGB image of 8 bits per value, rounded."""
    return Image.fromarray(pixels.clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).numpy())


def encode(images: Tensor) -> tuple[list[bytes], Tensor]:
    """Encode images as they are sent.

    Args:
        images: In [0, 1], shape ``[B, 3, H, W]``.

    Returns:
        The encoded images, and the images as they arrive after decoding, ``uint8`` of the same shape.
    """
    encoded = [encode_image(as_image(image)) for image in images]
    return encoded, torch.stack([as_tensor(decode_image(each)) for each in encoded])
