"""Pictures as tensors and as they are sent."""

from __future__ import annotations

import torch

from langchain_vpp.images.codec import decode_image
from trainer.data.wire import as_image, as_tensor, encode


def test_an_image_and_its_tensor_are_the_same_pixels():
    pixels = torch.randint(256, (3, 8, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    image = as_image(pixels.float() / 255)
    assert image.size == (16, 8)
    assert torch.equal(as_tensor(image), pixels)


def test_values_are_rounded_and_clamped():
    pixels = torch.tensor([-1.0, 0.4999 / 255, 0.5001 / 255, 2.0]).view(1, 1, 4).expand(3, 1, 4)
    assert as_tensor(as_image(pixels))[0, 0].tolist() == [0, 0, 1, 255]


def test_what_arrives_is_what_the_encoded_bytes_decode_to():
    images = torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(0))
    encoded, arrived = encode(images)
    assert arrived.shape == images.shape
    assert arrived.dtype == torch.uint8
    for data, image in zip(encoded, arrived, strict=True):
        assert torch.equal(as_tensor(decode_image(data)), image)
