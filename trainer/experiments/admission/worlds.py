"""Simulated worlds: questions that need one to three of twelve kinds, and a chat model that errs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import numpy as np
import torch

from trainer.algorithms.admission import (
    NeedsPosterior,
    Probe,
    exact_front,
    informative_probes,
    uniform_probes,
)
from trainer.algorithms.pareto import hypervolume

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from trainer.algorithms.admission import Offer

KINDS: Final = 12
_PICTURES: Final = 40
_LEAST_GAIN: Final = 0.01

Choice = Literal["informative", "uniform"]


class World(NamedTuple):
    """A simulated task.

    Attributes:
        needs: Kinds that each question needs.
        hit: Chance of a right answer to each where its needs are met.
        miss: Chance of a right answer where not.
        prices: Price of each kind; their sum is 1.
    """

    needs: tuple[int, ...]
    hit: tuple[float, ...]
    miss: tuple[float, ...]
    prices: tuple[float, ...]


def draw_world(seed: int) -> World:
    """Draw 4 to 9 questions that need one to three kinds each."""
    generator = np.random.default_rng((seed, 5))
    count = int(generator.integers(4, 10))
    needs = tuple(
        sum(1 << int(kind) for kind in generator.choice(KINDS, int(generator.integers(1, 4)), replace=False))
        for _ in range(count)
    )
    hit, miss = generator.uniform(0.8, 0.98, count), generator.uniform(0.05, 0.35, count)
    prices = generator.uniform(0.2, 1, KINDS)
    return World(needs, tuple(hit), tuple(miss), tuple(prices / prices.sum()))


def learned_shares(world: World, choice: Choice, marks: Sequence[int], *, seed: int) -> list[float]:
    """Learn in a world, and compare fronts with the exhaustive one.

    Args:
        world: The world.
        choice: How queries are chosen.
        marks: Numbers of answers after which the front is taken, rising.
        seed: Seed of the answers and of the choice.

    Returns:
        True hypervolume of each front, as a share of the exhaustive front's.
    """
    truth = _utility(world)
    best = _volume(exact_front(truth, world.prices), truth)
    answers, generator = np.random.default_rng((seed, 9)), torch.Generator().manual_seed(seed)
    posteriors = [NeedsPosterior(KINDS) for _ in world.needs]
    pairs, absent = [range(_PICTURES)] * len(world.needs), [0] * _PICTURES
    asked: set[Probe] = set()
    shares: list[float] = []
    while len(shares) < len(marks):
        if choice == "informative":
            probes = informative_probes(posteriors, absent, pairs, asked, generator=generator)
        else:
            probes = uniform_probes(absent, pairs, asked, kinds=KINDS, generator=generator)
        for probe in probes[: marks[len(shares)] - len(asked)]:
            needed = world.needs[probe.question]
            chances = world.hit if needed & probe.seen == needed else world.miss
            right = answers.random() < chances[probe.question]
            posteriors[probe.question].observe(probe.picture, probe.seen, float(right))
            asked.add(probe)
        if len(asked) >= marks[len(shares)]:
            expected = torch.stack([each.chance() for each in posteriors]).mean(0)
            shares.append(_volume(exact_front(expected, world.prices, least_gain=_LEAST_GAIN), truth) / best)
    return shares


def _utility(world: World) -> Tensor:
    """Return the true share of right answers for every set of kinds."""
    sets = torch.arange(2**KINDS)
    rows = [
        torch.where((sets & needed) == needed, hit, miss)
        for needed, hit, miss in zip(world.needs, world.hit, world.miss, strict=True)
    ]
    return torch.stack(rows).double().mean(0)


def _volume(offers: Sequence[Offer], truth: Tensor) -> float:
    return hypervolume([(offer.price, float(truth[offer.kinds])) for offer in offers])
