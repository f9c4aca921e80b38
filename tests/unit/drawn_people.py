"""Tiny pictures of people that exist nowhere, and what may be done to them, as an attacker meets them."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from langchain_vpp.images.codec import decode_image, encode_image
from trainer.data.wire import as_tensor

if TYPE_CHECKING:
    from collections.abc import Callable

SIDE = 32
ATTRIBUTES = {"place": ("left", "right"), "tone": ("dark", "light", "mid")}
_TONES = torch.tensor([30.0, 225.0, 128.0])


class People(NamedTuple):
    """Two private attributes of a picture, and of whom it is."""

    images: Tensor
    labels: Tensor
    identities: Tensor


def draw(count: int, seed: int, *, people: int = 0) -> People:
    """A reddish square whose place and tone are private under a stripe of six colours, the same ones for each person.

    Args:
        count: Pictures.
        seed: Of everything, other people in particular.
        people: How many different ones; as many as pictures if not given.
    """
    generator = torch.Generator().manual_seed(seed)
    identities = torch.arange(count) % (people or count)
    labels = torch.stack(
        [torch.randint(len(classes), (count,), generator=generator) for classes in ATTRIBUTES.values()], dim=1
    )
    noise = torch.randint(80, 176, (count, 3, SIDE // 2, SIDE // 2), generator=generator)
    images = noise.float().repeat_interleave(2, 2).repeat_interleave(2, 3)
    stripes = torch.randint(2, (people or count, 3, 6), generator=generator) * 210.0 + 20
    shift = torch.randint(-8, 9, (count, 1, 1, 1), generator=generator)
    images[:, :, 1:13, 1:31] = (
        stripes[identities].repeat_interleave(5, 2)[:, :, None].expand(-1, -1, 12, -1) + shift
    )
    for row, (place, tone) in zip(images, labels, strict=True):
        left = 3 if place == 0 else 18
        row[0, 18:29, left : left + 11] = 230
        row[1:, 18:29, left : left + 11] = _TONES[tone]
    return People(images.clamp(0, 255).byte(), labels, identities)


def identity(images: Tensor) -> Tensor:
    return images.clone()


def grey(images: Tensor) -> Tensor:
    return torch.full_like(images, 128)


def jpeg_noise(images: Tensor) -> Tensor:
    """Noise, and a JPEG of the lowest quality that still shows what it is."""
    generator = torch.Generator().manual_seed(99)
    noisy = images + torch.randn(images.shape, generator=generator) * 12
    result = []
    for each in noisy.clamp(0, 255).byte():
        file = io.BytesIO()
        Image.fromarray(each.permute(1, 2, 0).numpy()).save(file, "JPEG", quality=35)
        result.append(as_tensor(decode_image(file.getvalue())))
    return torch.stack(result)


class Assessor(nn.Module):
    """Plays training's assessor: linear in the mean colour of every 4x4 cell, one head per attribute."""

    def __init__(self) -> None:
        super().__init__()
        sizes = [len(classes) for classes in ATTRIBUTES.values()]
        self.heads = nn.Linear(3 * (SIDE // 4) ** 2, sum(sizes))
        self.sizes = sizes
        for each in self.parameters():
            nn.init.zeros_(each)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        cells = nn.functional.avg_pool2d(images / 255 - 0.5, 4).flatten(1)
        return self.heads(cells).split(self.sizes, dim=1)

    def right(self, people: People) -> Tensor:
        """Accuracy at each attribute."""
        logits = self(people.images.float())
        return torch.stack(
            [
                (each.argmax(dim=1) == labels).float().mean()
                for each, labels in zip(logits, people.labels.T, strict=True)
            ]
        )


def fooling(people: People) -> tuple[Assessor, Callable[[Tensor], Tensor]]:
    """An assessor trained on originals, and a fixed pattern that makes it see the same in every picture."""
    assessor = Assessor()
    optimizer = torch.optim.Adam(assessor.parameters(), lr=0.05)
    images = people.images.float()
    for _ in range(60):
        loss = sum(
            nn.functional.cross_entropy(each, labels)
            for each, labels in zip(assessor(images), people.labels.T, strict=True)
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    pattern = torch.zeros(1, *images.shape[1:], requires_grad=True)
    for _ in range(20):
        logits = assessor((images + pattern).clamp(0, 255))
        loss = sum(
            nn.functional.cross_entropy(each, torch.zeros(len(each), dtype=torch.long)) for each in logits
        )
        (gradient,) = torch.autograd.grad(loss, pattern)
        with torch.no_grad():
            pattern -= 4 * gradient.sign()
    found = pattern.detach()

    def protect(originals: Tensor) -> Tensor:
        fitting = nn.functional.interpolate(found, originals.shape[2:], mode="bilinear")
        return (originals.float() + fitting).clamp(0, 255).round().byte()

    return assessor, protect


class Pointwise:
    """An engine from a map of tensors."""

    def __init__(self, protect: Callable[[Tensor], Tensor]) -> None:
        self._protect = protect

    def protect(self, image: Image.Image, level: float) -> Image.Image:
        pixels = self._protect(as_tensor(image)[None])[0]
        return Image.fromarray(np.ascontiguousarray(pixels.permute(1, 2, 0).numpy()))


def as_sent(images: Tensor) -> Tensor:
    """Return images as they arrive at a provider."""
    return torch.stack(
        [
            as_tensor(decode_image(encode_image(Image.fromarray(each.permute(1, 2, 0).numpy()))))
            for each in images
        ]
    )
