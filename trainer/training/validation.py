"""Utility and leak on the validation split, for the front in a manifest and for later checks against it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch

from trainer.data.answers import answer_space, as_query, asked_tasks, is_right
from trainer.data.wire import encode
from trainer.runtime.rng import keyed_generator
from trainer.statistics import chance, wilson

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from langchain_vpp.network.protector import Protector
    from trainer.algorithms.interface import AnswerSpace
    from trainer.data.dataset import Dataset
    from trainer.oracle.query import Answer, Query


class TaskScores(NamedTuple):
    """Scores of the answers to task questions at one level."""

    right: Tensor
    """1 or 0, shape ``[N]``; NaN where an answer is lost."""
    chance: Tensor
    """Probability that a guess is right, shape ``[N]``; NaN where an answer is lost."""

    @property
    def answers(self) -> int:
        """Number of answers that arrived."""
        return int(self.right.isfinite().sum())

    @property
    def floor(self) -> float:
        """Accuracy of guessing; 0 without an answer."""
        return float(self.chance.nanmean()) if self.answers else 0.0

    def scaled(self, accuracy: float) -> float:
        """Map an accuracy to 0 at the floor and 1 where every answer is right."""
        return (accuracy - self.floor) / (1 - self.floor)

    @property
    def utility(self) -> float:
        """Scaled share of right answers; 0 without an answer."""
        return self.scaled(float(self.right.nanmean())) if self.answers else 0.0


class Validation(NamedTuple):
    """The validation split at the working resolution."""

    space: AnswerSpace
    images: Tensor
    """``uint8``, shape ``[N, 3, H, W]``, or clips, ``[N, T, 3, H, W]``."""
    labels: Tensor
    """Classes of the private attributes, shape ``[N, A]``."""
    references: Tensor
    """Index of the reference answer to each question, ``[N, Q]``; ``-1`` where it can't be asked."""
    phrasings: Tensor = torch.empty(0, 0, dtype=torch.long)
    """Index of the phrasing in which each question is asked, ``[N, Q]``; needed to ask and to score."""

    @classmethod
    def of(cls, dataset: Dataset, working_resolution: int) -> Validation:
        """Load the split.

        Raises:
            DataError: If an image can't be read.
        """
        examples, space = dataset.split("val"), answer_space(dataset)
        return cls(
            space,
            dataset.pixels(examples, working_resolution),
            dataset.labels(examples),
            *asked_tasks(examples, space),
        )

    def pairs(self, count: int, *, seed: int) -> Tensor:
        """Draw (image, question) pairs, the same for every level and every front of a run.

        Args:
            count: Number of pairs; a smaller number gives the first pairs of a larger one.
            seed: Seed of the run.

        Returns:
            Rows of the split and of the questions, shape ``[N, 2]``; fewer than ``count`` if there are no more.
        """
        pairs = (self.references >= 0).nonzero()
        return pairs[torch.randperm(len(pairs), generator=keyed_generator(seed, "front", 0))[:count]]

    def queries(self, protector: Protector, level: float, pairs: Tensor) -> list[Query]:
        """Protect the pictures of some pairs at a user level, and ask their questions.

        Args:
            protector: Calibrated protector.
            level: In [0, 1].
            pairs: From :meth:`pairs`.
        """
        with torch.no_grad():
            protected = protector(self.images[pairs[:, 0]].float() / 255, torch.full((len(pairs),), level))
        return [
            as_query(self.space, image, int(self.phrasings[row, question]))
            for image, (row, question) in zip(encode(protected)[0], pairs.tolist(), strict=True)
        ]

    def leak(self, predicted: Tensor) -> float:
        """Scale an attacker's accuracy to 0 for the most frequent class and 1 where everything is read.

        Pictures without a label of an attribute do not count for it.

        Args:
            predicted: Classes of the private attributes, shape ``[N, A]``.

        Returns:
            Mean over the attributes.
        """
        accuracy, floor = (
            self._accuracy(predicted),
            torch.tensor([chance(column) for column in self.labels.T]),
        )
        return float(((accuracy - floor) / (1 - floor)).mean())

    def unread(self, predicted: Tensor, by_another: Tensor | None = None) -> list[int]:
        """Find the private attributes that a reader does not read, or far worse than another does.

        Args:
            predicted: Classes of the private attributes, shape ``[N, A]``.
            by_another: Classes that another reader predicts, shape ``[N, A]``.

        Returns:
            Columns of the attributes for which the lower end of the accuracy's 95 % interval is not above the share of
            the most frequent class; and of those that the reader lifts above that share less than half as far as the
            other does, if the two intervals don't overlap.
        """
        accuracy = self._accuracy(predicted)
        others = accuracy if by_another is None else self._accuracy(by_another)
        found = []
        columns = zip(accuracy.tolist(), others.tolist(), self.labels.T, strict=True)
        for number, (share, other, labels) in enumerate(columns):
            known, floor = int((labels >= 0).sum()), chance(labels)
            ours, theirs = wilson(share, known), wilson(other, known)
            far_behind = ours.high < theirs.low and share - floor < (other - floor) / 2
            if ours.low <= floor or far_behind:
                found.append(number)
        return found

    def _accuracy(self, predicted: Tensor) -> Tensor:
        """Share of the labelled pictures whose class is predicted, shape ``[A]``."""
        known = self.labels >= 0
        return ((predicted == self.labels) & known).sum(dim=0) / known.sum(dim=0)

    def score(self, pairs: Tensor, answers: Sequence[Answer | None]) -> TaskScores:
        """Score the answers to some pairs; ``None`` is a lost answer."""
        right, guessed = [], []
        for (row, question), answer in zip(pairs.tolist(), answers, strict=True):
            reference, phrasing = int(self.references[row, question]), int(self.phrasings[row, question])
            choices = self.space.phrasings[phrasing].choices
            right.append(math.nan if answer is None else is_right(self.space, answer, phrasing, reference))
            guessed.append(math.nan if answer is None else 1 / len(choices))
        return TaskScores(torch.tensor(right), torch.tensor(guessed))
