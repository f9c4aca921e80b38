"""A fresh attacker on the validation split: it judges a protector that was trained against another network.

It is a network of training's own kind with new weights, not one of the attackers that the evaluation brings: those stay
strangers to a protector whose weights were chosen by this one.
"""

from __future__ import annotations

import copy
import math
from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple

import torch
from torch import Tensor, nn

from trainer.algorithms.vqa_network import VQANetwork, question_vectors
from trainer.data.wire import encode
from trainer.runtime.optim import OneCycle, ShuffledBatches, fit, update_batch_norm
from trainer.runtime.rng import keyed_generator, reproducible_layers
from trainer.statistics import ConfidenceInterval, chance, interval, resampled_means

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from langchain_vpp.network.protector import Protector
    from trainer.training.batches import TrainingSplit
    from trainer.training.validation import Validation

_ORIGINALS: Final = 4
"""Pictures of the training split to learn to read originals from, as a multiple of those to adapt to a protection."""
_EPOCHS: Final = (6, 3)
"""Passes over originals, and over the pictures of each level."""
_RATES: Final = (4e-3, 2e-3)
"""Peak learning rate on originals, and of weights that adapt."""
_GRID: Final = 4
"""Cells along each side of a picture, as of the assessor."""
_LEAST_MARGIN: Final = 0.05
"""Accuracy above chance below which an attribute can't be read even from originals, so its leak has no scale."""
_FIT_BATCH: Final = 32
_BATCH: Final = 100


class Reading(NamedTuple):
    """Leak that a fresh attacker finds at one level."""

    leak: ConfidenceInterval
    """Mean over the attributes that can be read, and its 95 % interval over pictures."""
    accuracy: dict[str, float]
    """Attribute -> share of labelled validation pictures that are read right."""


class FreshAttack:
    """Trains an attacker from new weights and lets it adapt to a protector, from the weakest level to the strongest.

    For every attribute, the reading at a level is that of the network before it adapted to the level or after,
    whichever is better. Leak is scaled per attribute: 0 is the share of the most frequent class, and 1 the best reading
    on originals or at any level of the same attack, so it is never above 1. It can be below 0, by chance. An attribute
    that the attacker reads nowhere has no scale and is left out.

    Args:
        attributes: Private attributes and their classes.
        split: Training images, which the attacker learns from.
        validation: Validation images, which it is judged by.
        images: Training images that it adapts to at each level, drawn anew each time; it learns to read originals from
            four times as many.
        seed: Seed of the run.
    """

    def __init__(
        self,
        attributes: Mapping[str, tuple[str, ...]],
        split: TrainingSplit,
        validation: Validation,
        *,
        images: int,
        seed: int,
    ) -> None:
        self._attributes, self._split, self._validation = dict(attributes), split, validation
        self._images, self._seed = images, seed
        self._floors = torch.tensor([chance(column) for column in validation.labels.T])

    @property
    def on_originals(self) -> Tensor:
        """Classes that the attacker reads from validation originals, shape ``[N, A]``."""
        return self._prepared.read(self._validation.images)

    def readings(self, protector: Protector, levels: Sequence[float]) -> tuple[Reading, ...]:
        """Attack a protector.

        Args:
            protector: Protector, calibrated or not.
            levels: User levels, rising.

        Returns:
            A reading for each level.
        """
        reader = copy.deepcopy(self._prepared)
        right = [self._right(reader.read(self._validation.images))]
        for number, level in enumerate(levels):
            seen = as_sent(protector, self._validation.images, level)
            before = self._right(reader.read(seen))
            rows = self._rows(self._images, keyed_generator(self._seed, "fresh attack images", number))
            protected = as_sent(protector, self._split.images[rows], level)
            generator = keyed_generator(self._seed, "fresh attack", number)
            reader.learn(protected, self._split.labels[rows], _EPOCHS[1], _RATES[1], generator)
            right.append(_better(before, self._right(reader.read(seen))))
        ceilings = torch.stack([each.nanmean(dim=0) for each in right]).amax(dim=0)
        return tuple(self._reading(each, ceilings, number) for number, each in enumerate(right[1:]))

    @cached_property
    def _prepared(self) -> _Reader:
        """An attacker that has learned to read originals."""
        generator = keyed_generator(self._seed, "fresh attack", "originals")
        with reproducible_layers(generator):
            reader = _Reader(self._attributes, moving=self._split.images.ndim == 5)
        rows = self._rows(_ORIGINALS * self._images, generator)
        with torch.enable_grad():
            reader.learn(self._split.images[rows], self._split.labels[rows], _EPOCHS[0], _RATES[0], generator)
        return reader

    def _rows(self, count: int, generator: torch.Generator) -> Tensor:
        return torch.randperm(len(self._split.images), generator=generator)[:count]

    def _right(self, predicted: Tensor) -> Tensor:
        """1 where a class is read right and 0 where not, NaN where it is not known, shape ``[N, A]``."""
        labels = self._validation.labels
        return (predicted == labels).float().masked_fill(labels < 0, math.nan)

    def _reading(self, right: Tensor, ceilings: Tensor, number: int) -> Reading:
        accuracy = dict(zip(self._attributes, right.nanmean(dim=0).tolist(), strict=True))
        legible = ceilings - self._floors >= _LEAST_MARGIN
        if not legible.any():
            return Reading(ConfidenceInterval(value=0.0, low=0.0, high=0.0), accuracy)
        generator = keyed_generator(self._seed, "fresh attack interval", number)
        means = resampled_means(right[:, legible], torch.arange(len(right)), generator)
        floors, tops = self._floors[legible], ceilings[legible]
        return Reading(interval(((means - floors) / (tops - floors)).mean(dim=1)), accuracy)


class _Reader(nn.Module):
    """Network that reads all attributes, and learns to."""

    allowed: Tensor

    def __init__(self, attributes: Mapping[str, tuple[str, ...]], *, moving: bool) -> None:
        super().__init__()
        sizes = torch.tensor([len(classes) for classes in attributes.values()])
        self.network = VQANetwork(
            question_vectors(tuple(attributes)), int(sizes.max()), grid=_GRID, moving=moving
        )
        self.network.to(memory_format=torch.channels_last)
        self.register_buffer("allowed", torch.arange(int(sizes.max())) < sizes[:, None])

    def forward(self, images: Tensor) -> Tensor:
        """Map images or clips in [0, 1] to logits ``[B, A, K]``, ``-inf`` for classes that an attribute lacks."""
        logits: Tensor = self.network(images)
        return logits.masked_fill(~self.allowed, -math.inf)

    def learn(
        self, images: Tensor, labels: Tensor, epochs: int, learning_rate: float, generator: torch.Generator
    ) -> None:
        """Learn from images, ``uint8``, and their classes, ``-1`` where unknown."""
        self.train()
        batches = ShuffledBatches(len(images), _FIT_BATCH, epochs=epochs, generator=generator)

        def loss(rows: Tensor) -> Tensor:
            logits = self(_as_input(images[rows])).flatten(0, 1)
            wanted = labels[rows].flatten()
            total = nn.functional.cross_entropy(logits, wanted, ignore_index=-1, reduction="sum")
            return total / (wanted >= 0).sum().clamp(min=1)

        fit(OneCycle(self.parameters(), steps=len(batches), learning_rate=learning_rate), loss, batches)
        update_batch_norm(self, images[torch.randperm(len(images), generator=generator)], _as_input)

    @torch.no_grad()
    def read(self, images: Tensor) -> Tensor:
        """Return the likeliest classes, shape ``[N, A]``."""
        self.eval()
        return torch.cat([self(_as_input(part)).argmax(dim=-1) for part in torch.split(images, _BATCH)])


@torch.no_grad()
def as_sent(protector: Protector, images: Tensor, level: float) -> Tensor:
    """Protect images or clips, ``uint8``, as they would arrive at the chat model, ``uint8``."""
    parts = []
    for part in torch.split(images, _BATCH):
        levels = torch.full((len(part),), level)
        parts.append(encode(protector(part.float() / 255, levels))[1])
    return torch.cat(parts)


def _better(first: Tensor, second: Tensor) -> Tensor:
    """Take each attribute from the reading that is right more often, ``[N, A]``."""
    return torch.where(second.nanmean(dim=0) >= first.nanmean(dim=0), second, first)


def _as_input(images: Tensor) -> Tensor:
    if images.ndim == 4:  # the layout is one of images; networks give it to the frames of clips
        images = images.to(memory_format=torch.channels_last)
    return images.float() / 255
