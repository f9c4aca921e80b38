"""Inversion: originals reconstructed from protected pictures by a network that has seen pairs of both."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Final, NamedTuple

import torch
from torch import Tensor, nn

from trainer.runtime.cancellation import while_wanted
from trainer.runtime.optim import OneCycle, ShuffledBatches, fit
from trainer.runtime.precision import cpu_precision
from trainer.runtime.rng import reproducible_layers

if TYPE_CHECKING:
    from trainer.attackers.classifier import AttackData

_BATCH: Final = 16
_READ_BATCH: Final = 64
_RATE: Final = 2e-3
_LEAST_ERROR: Final = 1 / 12
"""Squared error of rounding to 8 bits; anything closer counts as equal."""
_WINDOW: Final = 11
_SIGMA: Final = 1.5
_STABILISERS: Final = ((0.01 * 255) ** 2, (0.03 * 255) ** 2)


class Likeness(NamedTuple):
    """Likeness of pictures to their originals, for each picture."""

    psnr: Tensor
    """Peak signal-to-noise ratio in dB, at most 58.9; shape ``[N]``."""
    ssim: Tensor
    """Structural similarity, 1 for equal pictures; shape ``[N]``."""


class Restoration(NamedTuple):
    """Reconstructions of protected test pictures. :func:`~trainer.statistics.bootstrap_mean` gives intervals."""

    images: Tensor
    """``uint8``, shape ``[N, 3, H, W]``. A classifier that was prepared on originals can
    :meth:`~trainer.attackers.classifier.Attacker.read` attributes from them."""
    likeness: Likeness
    floor: Likeness
    """Likeness of the mean training original, the same guess for every picture."""


class Inverter:
    """Attacker that learns to turn protected pictures back into originals, from the pairs of the train split.

    The network starts from the protected picture and learns, by the absolute error, what to add to it. The mean of the
    training originals enters as three more channels: where nothing can be seen, it is the best guess.

    Args:
        epochs: Passes over the training pairs in each attack.
        width: Channels at a quarter of the resolution; twice as many at an eighth.
    """

    def __init__(self, *, epochs: int = 12, width: int = 48) -> None:
        self._epochs, self._width = epochs, width
        self._originals: AttackData | None = None
        self._new: _RestoringNetwork | None = None
        """Untrained; drawn once, because attacks run in threads and layers use torch's global generator."""

    @property
    def description(self) -> str:
        """Training of the attacker, in words, for a report."""
        return (
            f"inversion by a convolutional network: {self._epochs} epochs on pairs of protected and original training "
            "images, anew for each operating point"
        )

    def prepare(self, originals: AttackData, *, generator: torch.Generator) -> None:
        """Keep the originals to reconstruct, and draw the network's weights."""
        mean = originals.train.images.double().mean(dim=0).div(255).float()
        with reproducible_layers(generator):
            self._new = _RestoringNetwork(self._width, mean).to(memory_format=torch.channels_last)
        self._originals = originals

    def attack(self, protected: AttackData, *, generator: torch.Generator) -> Restoration:
        """Learn to restore protected pictures, and restore those of the test split.

        Args:
            protected: The images that :meth:`prepare` was given, in the same order.
            generator: Source of randomness.

        Raises:
            ValueError: If :meth:`prepare` was not called, or the images differ in number or size from the originals.
        """
        if self._originals is None or self._new is None:
            raise ValueError("the attacker must see originals first: call prepare()")
        originals = self._originals
        if any(
            ours.images.shape != theirs.images.shape
            for ours, theirs in zip(originals, protected, strict=True)
        ):
            raise ValueError("the protected images are not those that the attacker was prepared with")
        network = copy.deepcopy(self._new)
        _learn_inverse(network, protected.train.images, originals.train.images, self._epochs, generator)
        restored = _restore(network, protected.test.images)
        guess = network.mean.mul(255).round().byte().expand_as(restored)
        return Restoration(
            restored, likeness(restored, originals.test.images), likeness(guess, originals.test.images)
        )


def likeness(images: Tensor, originals: Tensor) -> Likeness:
    """Compare pictures, both ``uint8`` of shape ``[N, 3, H, W]``, with sides of 11 pixels and more."""
    return Likeness(psnr(images, originals), ssim(images, originals))


def psnr(images: Tensor, originals: Tensor) -> Tensor:
    r"""Compute the peak signal-to-noise ratio, :math:`10 \log_{10} (255^2 / \mathrm{MSE})`.

    Args:
        images: ``uint8``, shape ``[N, 3, H, W]``.
        originals: The same shape.

    Returns:
        dB, shape ``[N]``; at most 58.9, because no error counts as smaller than that of rounding to 8 bits.
    """
    errors = (images.double() - originals.double()).square().mean(dim=(1, 2, 3))
    return 10 * torch.log10(255**2 / errors.clamp(min=_LEAST_ERROR)).float()


def ssim(images: Tensor, originals: Tensor) -> Tensor:
    r"""Compute the mean structural similarity over positions and channels (Wang et al., 2004, eq. 13).

    .. math:: \frac{(2 \mu_x \mu_y + C_1)(2 \sigma_{xy} + C_2)}
        {(\mu_x^2 + \mu_y^2 + C_1)(\sigma_x^2 + \sigma_y^2 + C_2)}

    with means and covariances in Gaussian windows of 11x11 pixels (standard deviation 1.5) that lie within the picture,
    :math:`C_1 = (0.01 \cdot 255)^2` and :math:`C_2 = (0.03 \cdot 255)^2`.

    Args:
        images: ``uint8``, shape ``[N, 3, H, W]``.
        originals: The same shape.

    Returns:
        At most 1, shape ``[N]``.

    Raises:
        ValueError: If a side is shorter than the window.
    """
    if min(images.shape[2:]) < _WINDOW:
        raise ValueError(f"images must have sides of {_WINDOW} pixels and more")
    parts = zip(torch.split(images, _READ_BATCH), torch.split(originals, _READ_BATCH), strict=True)
    return torch.cat([_ssim(first.double(), second.double()) for first, second in parts]).float()


def _ssim(first: Tensor, second: Tensor) -> Tensor:
    offsets = torch.arange(_WINDOW, dtype=torch.float64) - _WINDOW // 2
    window = torch.exp(-offsets.square() / (2 * _SIGMA**2))
    window = (window / window.sum()).expand(3, 1, 1, -1)

    def blur(values: Tensor) -> Tensor:
        rows = nn.functional.conv2d(values, window, groups=3)
        return nn.functional.conv2d(rows, window.transpose(2, 3), groups=3)

    mean, other = blur(first), blur(second)
    variances = blur(first**2) - mean**2 + blur(second**2) - other**2
    covariance = blur(first * second) - mean * other
    brightness, contrast = _STABILISERS
    similarity = (2 * mean * other + brightness) * (2 * covariance + contrast)
    similarity = similarity / ((mean**2 + other**2 + brightness) * (variances + contrast))
    return similarity.mean(dim=(1, 2, 3))


class _RestoringNetwork(nn.Module):
    """Predicts what a picture lacks, by residual convolutions at a quarter and an eighth of the resolution."""

    mean: Tensor

    def __init__(self, width: int, mean: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.inner = nn.Sequential(nn.PixelUnshuffle(4), nn.Conv2d(96, width, 3, padding=1), nn.ReLU())
        self.down = nn.Sequential(nn.Conv2d(width, 2 * width, 3, stride=2, padding=1), nn.ReLU())
        self.deep = nn.Sequential(*(_Residual(2 * width, dilation) for dilation in (1, 2, 4, 1)))
        self.up = nn.Sequential(nn.Conv2d(2 * width, 4 * width, 1), nn.PixelShuffle(2))
        self.outer = _Residual(width, 1)
        last = nn.Conv2d(width, 48, 3, padding=1)
        for parameter in last.parameters():
            nn.init.zeros_(parameter)
        self.last = nn.Sequential(last, nn.PixelShuffle(4))

    def forward(self, images: Tensor) -> Tensor:
        """Map images in [0, 1], ``[B, 3, H, W]``, sides multiples of 8, to images of about that range."""
        cells = self.inner(torch.cat([images, self.mean.expand_as(images)], dim=1) * 2 - 1)
        deep = self.deep(self.down(cells))
        change: Tensor = self.last(self.outer(cells + self.up(deep)))
        return images + change.float()


class _Residual(nn.Module):
    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.GroupNorm(8, width),
            nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
        )

    def forward(self, cells: Tensor) -> Tensor:
        result: Tensor = cells + self.layers(cells)
        return result


@cpu_precision()
def _learn_inverse(
    network: _RestoringNetwork, protected: Tensor, originals: Tensor, epochs: int, generator: torch.Generator
) -> None:
    batches = ShuffledBatches(len(protected), _BATCH, epochs=epochs, generator=generator, drop_last=False)
    descent = OneCycle(
        network.parameters(),
        steps=len(batches),
        learning_rate=_RATE,
        weight_decay=1e-4,
        clip=1.0,
        fused=True,
    )

    def loss(rows: Tensor) -> Tensor:
        return nn.functional.l1_loss(network(_as_input(protected[rows])), _as_input(originals[rows]))

    fit(descent, loss, batches)


@cpu_precision()
@torch.no_grad()
def _restore(network: _RestoringNetwork, images: Tensor) -> Tensor:
    parts = [network(_as_input(part)) for part in while_wanted(torch.split(images, _READ_BATCH))]
    return torch.cat(parts).clamp(0, 1).mul(255).round().byte().contiguous()


def _as_input(images: Tensor) -> Tensor:
    return images.to(memory_format=torch.channels_last).float().div_(255)
