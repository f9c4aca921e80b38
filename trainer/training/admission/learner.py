"""Belief about the needs of a data set's questions, and the front that follows from it."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import torch

from langchain_vpp.engines.words.kinds import KINDS
from langchain_vpp.engines.words.questions import same_question
from trainer.algorithms.admission import (
    MOST_KINDS,
    NeedsPosterior,
    Probe,
    exact_front,
    informative_probes,
    uniform_probes,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from trainer.data.format import Task

_MOST_OFFERS: Final = 12
"""Most points of a front that become levels."""


class Subject(NamedTuple):
    """A picture with its kinds and the questions about it."""

    kinds: AbstractSet[str]
    tasks: Sequence[Task]


class KindOffer(NamedTuple):
    """A point of the front.

    Attributes:
        kinds: Kinds that are shown.
        leak: Their price, as a part of the price of all kinds that the pictures have.
        utility: Expected score of the answers.
    """

    kinds: tuple[str, ...]
    leak: float
    utility: float


class KindsLearner:
    """Chooses what to ask, and believes what the answers say.

    Questions that ask the same in other words share a belief.

    Args:
        subjects: The pictures.
        allowed: Kinds that may be shown.
        prices: Kind -> privacy price.
        choice: How queries are chosen; see :class:`~trainer.training.admission.config.AdmissionConfig`.
        generator: Source of randomness.

    Attributes:
        kinds: Kinds that can be shown and that some picture has.
        questions: Questions that differ.

    Raises:
        ValueError: If no picture has a kind that may be shown.
    """

    def __init__(
        self,
        subjects: Sequence[Subject],
        allowed: AbstractSet[str],
        prices: Mapping[str, float],
        *,
        choice: Literal["informative", "uniform"],
        generator: torch.Generator,
    ) -> None:
        present = frozenset(kind for subject in subjects for kind in subject.kinds)
        self.kinds = tuple(kind for kind in KINDS if kind in present & allowed)[:MOST_KINDS]
        if not self.kinds:
            raise ValueError("no picture has a kind that may be shown")
        self._prices = [prices[kind] for kind in self.kinds]
        self._total = sum(prices[kind] for kind in present)
        self._choice, self._generator = choice, generator
        self._absent = [self._mask(set(self.kinds) - subject.kinds) for subject in subjects]
        self.questions: list[str] = []
        self._tasks: dict[tuple[int, int], Task] = {}
        for place, subject in enumerate(subjects):
            for task in subject.tasks:
                self._add(place, task)
        self._pairs = [
            [place for place in range(len(subjects)) if (question, place) in self._tasks]
            for question in range(len(self.questions))
        ]
        self._posteriors = [NeedsPosterior(len(self.kinds)) for _ in self.questions]
        self._asked: set[Probe] = set()

    def propose(self, most: int, *, least_information: float = 0.0) -> list[Probe]:
        """Choose the next queries, and count them as asked.

        Args:
            most: Most queries.
            least_information: Nats that one of them must be expected to tell.

        Returns:
            Queries; none if nothing is left to learn.
        """
        if self._choice == "uniform":
            probes = uniform_probes(
                self._absent, self._pairs, self._asked, kinds=len(self.kinds), generator=self._generator
            )
        else:
            probes = informative_probes(
                self._posteriors, self._absent, self._pairs, self._asked, generator=self._generator
            )
            told = (
                float(self._posteriors[each.question].information(each.picture)[each.seen]) for each in probes
            )
            if max(told, default=0.0) < least_information:
                return []
        self._asked.update(probes[:most])
        return probes[:most]

    def task(self, probe: Probe) -> Task:
        """Return the question that a query asks, as it is worded for its picture."""
        return self._tasks[probe.question, probe.picture]

    def shown(self, probe: Probe) -> frozenset[str]:
        """Return the kinds that a query shows."""
        return frozenset(self._named(probe.seen & ~self._absent[probe.picture]))

    def observe(self, probe: Probe, right: float) -> None:
        """Take in the score of an answer, in [0, 1]."""
        self._posteriors[probe.question].observe(probe.picture, probe.seen, right)

    def needs(self) -> dict[str, tuple[str, ...]]:
        """Return the kinds that each question needs most probably; none if no kinds help."""
        return {
            question: self._named(posterior.needs)
            for question, posterior in zip(self.questions, self._posteriors, strict=True)
        }

    def hopeless(self) -> list[str]:
        """Return the questions that most probably can't be answered, whatever is shown."""
        return [
            question
            for question, posterior in zip(self.questions, self._posteriors, strict=True)
            if posterior.is_hopeless
        ]

    def front(self, least_gain: float) -> list[KindOffer]:
        """Return the sets of kinds that are worth their price, by rising price; see :func:`exact_front`.

        Args:
            least_gain: Gain in utility up to which a dearer set is left out.
        """
        sets = torch.arange(2 ** len(self.kinds))
        utility = torch.zeros(len(sets), dtype=torch.float64)
        for question, picture in self._tasks:
            chance = self._posteriors[question].chance(picture)
            utility += chance[sets | self._absent[picture]] / len(self._tasks)
        offers = exact_front(utility, self._prices, least_gain=least_gain)
        while len(offers) > _MOST_OFFERS:
            gains = [after.utility - before.utility for before, after in itertools.pairwise(offers)]
            del offers[gains.index(min(gains)) + 1]
        return [KindOffer(self._named(each.kinds), each.price / self._total, each.utility) for each in offers]

    def _add(self, place: int, task: Task) -> None:
        known = same_question(task.question, self.questions)
        if known is None:
            self.questions.append(task.question)
            known = task.question
        question = self.questions.index(known)
        if (question, place) not in self._tasks:
            self._tasks[question, place] = task

    def _mask(self, kinds: AbstractSet[str]) -> int:
        return sum(1 << place for place, kind in enumerate(self.kinds) if kind in kinds)

    def _named(self, mask: int) -> tuple[str, ...]:
        return tuple(kind for place, kind in enumerate(self.kinds) if mask >> place & 1)
