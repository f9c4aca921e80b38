"""Network of a learned protector: from images and privacy levels to protected images."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from langchain_vpp.network.config import POOLED_SIDE, STRIDE, ProtectorConfig, working_size

__all__ = ["Protector", "ProtectorConfig", "working_size"]


class Protector(nn.Module):
    r"""Image map :math:`P_\theta(x, \lambda)`: one network for all privacy levels.

    Space-to-depth by 4, residual 3x3 convolutions at 1/4 and 1/8 of the resolution, each modulated by the level
    (FiLM), and pixel-shuffle back to a full image

    .. math:: P(x, \lambda) = m \odot x + (1 - m) \odot r

    with a recoloured image :math:`r` and a keep mask :math:`m` that reaches exactly 0 and 1. Both are smoothed,
    because a protector that can draw fine patterns learns to fool its assessor instead of removing what other attackers
    find. ``x`` is the image *at the working resolution*, so the mask can't let through finer detail of the original.
    There is no batch normalisation, so an image gives the same result alone and in a batch.

    Args:
        config: Widths, blocks, working resolution and calibration of levels.

    Attributes:
        config: The argument.
        drawn: Share of the recoloured image's logits that is shown, in [0, 1]. Training lowers it; see :meth:`draw`.

    Example:
        >>> protector = Protector(ProtectorConfig(width=8, blocks=(1, 1, 1), working_resolution=32))
        >>> protector(torch.rand(2, 3, 32, 24), torch.tensor([0.0, 1.0])).shape
        torch.Size([2, 3, 32, 24])
    """

    def __init__(self, config: ProtectorConfig) -> None:
        super().__init__()
        self.config, self.drawn = config, 1.0
        fine, coarse = config.width, 2 * config.width
        before, inside, after = config.blocks
        self.level = _LevelEmbedding(coarse)
        self.stem = nn.Conv2d(3 * STRIDE**2, fine, 3, padding=1)
        self.before = nn.ModuleList(_Block(fine, coarse) for _ in range(before))
        self.down = nn.Conv2d(fine, coarse, 3, stride=2, padding=1)
        self.inside = nn.ModuleList(_Block(coarse, coarse) for _ in range(inside))
        self.up = nn.Conv2d(coarse, 4 * fine, 1)
        self.after = nn.ModuleList(_Block(fine, coarse) for _ in range(after))
        self.head = nn.Conv2d(fine, 4 * STRIDE**2, 3, padding=1)
        # A new network is close to the identity: the mask keeps almost everything, the recoloured image is grey.
        nn.init.normal_(self.head.weight, std=0.02)
        with torch.no_grad():
            assert self.head.bias is not None
            self.head.bias.zero_()
            self.head.bias[3 * STRIDE**2 :] = 1.5

    def forward(self, images: Tensor, level: Tensor) -> Tensor:
        """Protect images, or clips, of which each frame is protected at the level of its clip.

        Args:
            images: RGB in [0, 1], shape ``[B, 3, H, W]`` or ``[B, T, 3, H, W]``; ``H`` and ``W`` are multiples of 8.
            level: User levels in [0, 1], shape ``[B]``: 0 most useful, 1 most private.

        Returns:
            Protected images in [0, 1], of the same shape.

        Raises:
            ValueError: If a side is not a multiple of 8 or the level has another shape.
        """
        if images.shape[-1] % (2 * STRIDE) or images.shape[-2] % (2 * STRIDE):
            raise ValueError(f"sides must be multiples of {2 * STRIDE}, got {tuple(images.shape[-2:])}")
        if level.shape != images.shape[:1]:
            raise ValueError(
                f"one level per image expected, got {tuple(level.shape)} for {images.shape[0]} images"
            )
        return self.at_network_level(images, self.calibrated(level))

    def with_pooled(self, images: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
        """Protect images, and pool what the network saw on the way, for :class:`~langchain_vpp.network.domain.Domain`.

        Args:
            images: As in :meth:`forward`.
            level: As in :meth:`forward`.

        Returns:
            Protected images, and the pooled features, shape ``[B, C, h, w]``, a cell for each :data:`POOLED_SIDE`
            pixels: means of the colour, of the share kept, and of the stem's, the last and the coarse features.
        """
        features = self._features(images, self.calibrated(level))
        colour, openness = self._painted(features.last)
        mask = smooth_mask(openness)
        fine, coarse = POOLED_SIDE // STRIDE, POOLED_SIDE // (2 * STRIDE)
        pooled = [
            _pooled_mean(images[..., ::STRIDE, ::STRIDE], fine),
            _pooled_mean(mask[..., ::STRIDE, ::STRIDE], fine),
            _pooled_mean(features.stem, fine),
            _pooled_mean(features.last, fine),
            _pooled_mean(features.coarse, coarse),
        ]
        return self._mixed(images, colour, mask), torch.cat(pooled, dim=1)

    def calibrated(self, level: Tensor) -> Tensor:
        """Map user levels to levels of the network, piecewise linearly through ``config.level_knots``.

        Args:
            level: User levels in [0, 1], shape ``[B]``.
        """
        knots = torch.tensor(self.config.level_knots, device=level.device)
        position = level.float().clamp(0, 1) * (len(knots) - 1)
        left = position.floor().long().clamp(max=len(knots) - 2)
        return torch.lerp(knots[left], knots[left + 1], position - left)

    def at_network_level(self, images: Tensor, level: Tensor) -> Tensor:
        """Protect images or clips at levels of the network, as training does.

        Args:
            images: RGB in [0, 1], shape ``[B, 3, H, W]`` or ``[B, T, 3, H, W]``; ``H`` and ``W`` are multiples of 8.
            level: Levels of the network in [0, 1], shape ``[B]``.

        Returns:
            Protected images in [0, 1], of the same shape.
        """
        if images.ndim == 5:
            frames = self.at_network_level(images.flatten(0, 1), level.repeat_interleave(images.shape[1]))
            return frames.reshape(images.shape)
        colour, openness = self._painted(self._features(images, level).last)
        return self._mixed(images, colour, smooth_mask(openness))

    def openness(self, images: Tensor, level: Tensor) -> Tensor:
        """Return the openness of the mask, which :func:`smooth_mask` turns into the mask.

        Args:
            images: RGB in [0, 1], shape ``[B, 3, H, W]``; ``H`` and ``W`` are multiples of 8.
            level: Levels of the network in [0, 1], shape ``[B]``.

        Returns:
            Openness in [-0.2, 1.2], shape ``[B, 1, H, W]``: the mask is closed up to 0 and open from 1.
        """
        return self._painted(self._features(images, level).last)[1]

    @property
    def hides_in_grey(self) -> bool:
        """Whether the recoloured image is mid-grey for every picture."""
        return not any(bool(each[: 3 * STRIDE**2].any()) for each in self.head.parameters())

    def draw(self, share: float) -> None:
        """Show a share of the recoloured image's logits; with 0, forget what was learned: it is mid-grey from then on.

        Call it with 0 again after each step of an optimizer, which would draw anew.

        Args:
            share: In [0, 1].
        """
        self.drawn = share
        if not share:
            with torch.no_grad():
                for each in self.head.parameters():
                    each[: 3 * STRIDE**2] = 0

    def shown_weights(self) -> dict[str, Tensor]:
        """Copy the weights of a network that shows with ``drawn`` 1 what this one shows."""
        weights = {name: tensor.detach().clone() for name, tensor in self.state_dict().items()}
        for name in ("head.weight", "head.bias"):
            weights[name][: 3 * STRIDE**2] *= self.drawn
        return weights

    def _features(self, images: Tensor, level: Tensor) -> _Features:
        condition = self.level(level)
        stem = x = torch.relu(self.stem(nn.functional.pixel_unshuffle(images * 2 - 1, STRIDE)))
        for block in self.before:
            x = block(x, condition)
        y = torch.relu(self.down(x))
        for block in self.inside:
            y = block(y, condition)
        x = x + nn.functional.pixel_shuffle(self.up(y), 2)
        for block in self.after:
            x = block(x, condition)
        return _Features(stem, torch.relu(y), torch.relu(x))

    def _painted(self, last: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits of the recoloured image, ``[B, 48, H/4, W/4]``, and the mask's openness, ``[B, 1, H, W]``."""
        colour, keep = self.head(last).float().split([3 * STRIDE**2, STRIDE**2], dim=1)
        colour = colour * self.drawn
        # A stretched sigmoid passes 0 and 1, so the clamped mask reaches both exactly and nothing shines through.
        return colour, 1.4 * torch.sigmoid(nn.functional.pixel_shuffle(keep, STRIDE)) - 0.2

    def _mixed(self, images: Tensor, colour: Tensor, mask: Tensor) -> Tensor:
        """Mix images and the recoloured image by the mask."""
        recoloured = _smooth(torch.sigmoid(nn.functional.pixel_shuffle(colour, STRIDE)), 5)
        return mask * images + (1 - mask) * recoloured


class _Features(NamedTuple):
    """Rectified features inside the network: after the stem, after the coarse stage, and before the head."""

    stem: Tensor
    coarse: Tensor
    last: Tensor


class _LevelEmbedding(nn.Module):
    """Fourier features of the level, through a small perceptron."""

    frequencies: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("frequencies", math.pi * torch.arange(1.0, 5.0), persistent=False)
        self.layers = nn.Sequential(
            nn.Linear(5, channels), nn.ReLU(), nn.Linear(channels, channels), nn.ReLU()
        )

    def forward(self, level: Tensor) -> Tensor:
        features = torch.cat([level[:, None], torch.cos(level[:, None] * self.frequencies)], dim=1)
        result: Tensor = self.layers(features)
        return result


class _Block(nn.Module):
    """Two 3x3 convolutions with FiLM between them. The second starts at zero, so a new block is the identity."""

    def __init__(self, channels: int, condition: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.film = nn.Linear(condition, 2 * channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        scale, shift = self.film(condition)[:, :, None, None].chunk(2, dim=1)
        hidden = torch.relu(self.first(torch.relu(x)) * (1 + scale) + shift)
        result: Tensor = x + self.second(hidden)
        return result


def smooth_mask(openness: Tensor) -> Tensor:
    """Turn openness into the mask: clamp it to [0, 1], and average it over 3x3 pixels.

    The gradient is passed through where openness is clamped, so that a mask that closed too soon can open again.

    Args:
        openness: Result of :meth:`Protector.openness`, shape ``[B, 1, H, W]``.
    """
    return _smooth(openness + (openness.clamp(0, 1) - openness).detach(), 3)


def _pooled_mean(features: Tensor, side: int) -> Tensor:
    """Average over cells of ``side`` x ``side`` places; cells at the border may be smaller."""
    return nn.functional.avg_pool2d(features.float(), side, ceil_mode=True, count_include_pad=False)


def _smooth(images: Tensor, size: int) -> Tensor:
    """Average over squares of ``size`` pixels, so that no fine pattern can be drawn."""
    # Sums of slices, in this layout, take a tenth of the time of avg_pool2d; in half precision they would lose the sum.
    planar = images.contiguous().float()
    inside = torch.ones(1, 1, *planar.shape[-2:], device=planar.device)
    return (_sums(planar, size) / _sums(inside, size)).to(images.dtype)


def _sums(images: Tensor, size: int) -> Tensor:
    """Add up squares of ``size`` pixels around each pixel; beyond the edges is nothing."""
    height, width = images.shape[-2:]
    padded = nn.functional.pad(images, [size // 2] * 4)
    rows = sum((padded[..., shift : shift + width] for shift in range(1, size)), padded[..., :width])
    return sum((rows[..., shift : shift + height, :] for shift in range(1, size)), rows[..., :height, :])
