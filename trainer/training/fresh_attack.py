"""A fresh attacker on the validation split: it judges a protector that was trained against another network."""

from __future__ import annotations

import copy
import math
from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple

import torch

from trainer.attackers.classifier import AttackData, AttackImages, FreshClassifier, Scores
from trainer.data.wire import encode
from trainer.runtime.rng import keyed_generator
from trainer.statistics import ConfidenceInterval, chance, interval, resampled_means

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from torch import Tensor

    from langchain_vpp.network.protector import Protector
    from trainer.training.batches import TrainingSplit
    from trainer.training.validation import Validation

_ORIGINALS: Final = 4
"""Pictures of the training split to learn to read originals from, as a multiple of those to adapt to a protection."""
_LEAST_MARGIN: Final = 0.05
"""Accuracy above chance below which an attribute can't be read even from originals, so its leak has no scale."""
_BATCH: Final = 100


class Reading(NamedTuple):
    """Leak that a fresh attacker finds at one level."""

    leak: ConfidenceInterval
    """Mean over the attributes that can be read, and its 95 % interval over pictures."""
    accuracy: dict[str, float]
    """Attribute -> share of labelled validation pictures that are read right."""


class FreshAttack:
    """Trains an attacker from new weights and lets it adapt to a protector, from the weakest level to the strongest.

    Leak is scaled per attribute: 0 is the share of the most frequent class, and 1 the best reading on originals or at
    any level of the same attack, so it is never above 1. It can be below 0, by chance. An attribute that the attacker
    reads nowhere has no scale and is left out.

    Args:
        attributes: Private attributes and their classes.
        split: Training images, which the attacker learns from.
        validation: Validation images, which it is tuned on and judged by.
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
        return self._prepared[1].predictions

    def readings(self, protector: Protector, levels: Sequence[float]) -> tuple[Reading, ...]:
        """Attack a protector.

        Args:
            protector: Protector, calibrated or not.
            levels: User levels, rising.

        Returns:
            A reading for each level.
        """
        attacker, on_originals = self._prepared
        attacker = copy.deepcopy(attacker)
        right = [self._right(on_originals)]
        for data in self._protected(protector, levels):
            generator = keyed_generator(self._seed, "fresh attack", len(right))
            right.append(self._right(attacker.attack(data, generator=generator)))
        ceilings = torch.stack([each.nanmean(dim=0) for each in right]).amax(dim=0)
        return tuple(self._reading(each, ceilings, number) for number, each in enumerate(right[1:]))

    @cached_property
    def _prepared(self) -> tuple[FreshClassifier, Scores]:
        """An attacker that has learned to read originals, and its scores on them."""
        generator = keyed_generator(self._seed, "fresh attack", "originals")
        attacker = FreshClassifier(self._attributes, warm_epochs=6, epochs=3)
        rows = self._rows(_ORIGINALS * self._images, generator)
        images = AttackImages(self._split.images[rows], self._split.labels[rows])
        held_out = AttackImages(self._validation.images, self._validation.labels)
        scores = attacker.prepare(AttackData(images, held_out, held_out), generator=generator)
        return attacker, scores

    def _protected(self, protector: Protector, levels: Sequence[float]) -> Iterator[AttackData]:
        for number, level in enumerate(levels):
            rows = self._rows(self._images, keyed_generator(self._seed, "fresh attack images", number))
            train = AttackImages(
                as_sent(protector, self._split.images[rows], level), self._split.labels[rows]
            )
            held_out = AttackImages(
                as_sent(protector, self._validation.images, level), self._validation.labels
            )
            yield AttackData(train, held_out, held_out)

    def _rows(self, count: int, generator: torch.Generator) -> Tensor:
        return torch.randperm(len(self._split.images), generator=generator)[:count]

    def _right(self, scores: Scores) -> Tensor:
        """1 where a class is read right and 0 where not, NaN where it is not known, shape ``[N, A]``."""
        labels = self._validation.labels
        return (scores.predictions == labels).float().masked_fill(labels < 0, math.nan)

    def _reading(self, right: Tensor, ceilings: Tensor, number: int) -> Reading:
        accuracy = dict(zip(self._attributes, right.nanmean(dim=0).tolist(), strict=True))
        legible = ceilings - self._floors >= _LEAST_MARGIN
        if not legible.any():
            return Reading(ConfidenceInterval(value=0.0, low=0.0, high=0.0), accuracy)
        generator = keyed_generator(self._seed, "fresh attack interval", number)
        means = resampled_means(right[:, legible], torch.arange(len(right)), generator)
        floors, tops = self._floors[legible], ceilings[legible]
        return Reading(interval(((means - floors) / (tops - floors)).mean(dim=1)), accuracy)


@torch.no_grad()
def as_sent(protector: Protector, images: Tensor, level: float) -> Tensor:
    """Protect images, ``uint8``, as they would arrive at the chat model, ``uint8``."""
    parts = []
    for part in torch.split(images, _BATCH):
        levels = torch.full((len(part),), level)
        parts.append(encode(protector(part.float() / 255, levels))[1])
    return torch.cat(parts)
