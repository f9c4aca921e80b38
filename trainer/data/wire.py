"""Pictures as tensors, and as they travel to the chat model."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from langchain_vpp.images.codec import decode_image, encode_image
from trainer.oracle.clips import is_clip, pack, unpack


def as_tensor(image: Image.Image) -> Tensor:
    """Convert an RGB image to ``uint8``, shape ``[3, H, W]`` (torchvision's function costs seconds of import)."""
    return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)


def as_image(pixels: Tensor) -> Image.Image:
    """Convert values in [0, 1], shape ``[3, H, W]``, to an RGB image of 8 bits per value, rounded."""
    return Image.fromarray(pixels.clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).numpy())


def encode(images: Tensor) -> tuple[list[bytes], Tensor]:
    """Encode images, or the frames of clips, as they are sent.

    Args:
        images: In [0, 1], shape ``[B, 3, H, W]`` or ``[B, T, 3, H, W]``.

    Returns:
        The encoded images or packed clips, and the images as they arrive after decoding, ``uint8`` of the same shape.
    """
    encoded = [
        encode_image(as_image(image))
        if image.ndim == 3
        else pack([encode_image(as_image(frame)) for frame in image])
        for image in images
    ]
    return encoded, torch.stack([arrived(each) for each in encoded])


def arrived(encoded: bytes) -> Tensor:
    """Decode an encoded image, ``uint8`` of shape ``[3, H, W]``, or a packed clip, ``[T, 3, H, W]``."""
    frames = torch.stack([as_tensor(decode_image(frame)) for frame in unpack(encoded)])
    return frames if is_clip(encoded) else frames[0]
