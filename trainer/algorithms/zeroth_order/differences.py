"""Antithetic differences: the part that all zeroth-order estimators share."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

import torch
from torch import Tensor

from trainer.algorithms.interface import AnswerSpace, Probes, Records, answer_loss

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainer.algorithms.zeroth_order.codes import Code

_MEMORY: Final = 0.9
"""Decay of the running mean of the measured loss."""


class Asked(NamedTuple):
    """Pairs of probes whose answers are awaited; pair ``i`` has the tags ``2 i`` (plus) and ``2 i + 1`` (minus)."""

    images: Tensor
    """The whole batch, shape ``[B, 3, H, W]``."""
    rows: Tensor
    """Image of the batch that each pair is about, shape ``[P]``."""
    questions: Tensor
    """Index of the question, shape ``[P]``."""
    references: Tensor
    """Index of the reference answer, shape ``[P]``."""
    directions: Tensor
    """Coordinates of the directions, shape ``[q, d]``."""
    which: Tensor
    """Direction of each pair, ``int64``, shape ``[P]``."""
    step: float
    """Distance :math:`s` that an image is moved along a direction."""


class Measured(NamedTuple):
    """Pairs of which both answers arrived."""

    pairs: Tensor
    """Positions among the pairs that were asked about, shape ``[P']``."""
    slopes: Tensor
    """:math:`D_u`, shape ``[P']``."""
    losses: Tensor
    """Mean of the two losses, shape ``[P']``."""


class Differences:
    """Base of the estimators: asks pairs of probes and turns their answers into slopes.

    Args:
        space: Questions and answers.
        code: Directions in which images are moved.
        radius: Root mean square change of a pixel by a probe along a direction of coordinates +-1, in units of the
            pixel range.

    Raises:
        ValueError: If ``radius`` is not positive.
    """

    def __init__(self, space: AnswerSpace, code: Code, *, radius: float) -> None:
        if radius <= 0:
            raise ValueError("radius must be positive")
        self._sizes, self._code, self._radius = space.sizes, code, radius
        self._typical = 1.0
        self._asked: Asked | None = None

    def pretrain(
        self, steps: int, *, learning_rate: float, generator: torch.Generator, progress: Callable[[], None]
    ) -> None:
        """Do nothing: there is nothing to learn without queries."""

    def fit(self, *, generator: torch.Generator) -> dict[str, float]:  # noqa: ARG002  the protocol's
        """Return the running mean of the measured loss; estimates are made as answers arrive."""
        return {"probe_loss": self._typical}

    def posteriors(self, images: Tensor) -> None:
        """Predict nothing: a slope says nothing about answers."""

    def _ask(
        self,
        images: Tensor,
        references: Tensor,
        pairs: Tensor,
        directions: Tensor,
        which: Tensor,
        *,
        radius: float,
    ) -> Probes:
        """Move each pair's image both ways along its direction.

        Args:
            images: The batch, in [0, 1], shape ``[B, 3, H, W]``.
            references: Index of the reference answer or ``-1``, shape ``[B, Q]``.
            pairs: Rows and questions, shape ``[P, 2]``.
            directions: Coordinates, shape ``[q, d]``.
            which: Direction of each pair, shape ``[P]``.
            radius: See the class.
        """
        rows, questions = pairs.unbind(1)
        step = radius * math.sqrt(images[0].numel() / self._code.size(images))
        moved = step * self._code.displacement(images[rows], directions[which])
        both = torch.stack([images[rows] + moved, images[rows] - moved], dim=1).flatten(0, 1).clamp(0, 1)
        self._asked = Asked(images, rows, questions, references[rows, questions], directions, which, step)
        twice = pairs.repeat_interleave(2, dim=0)
        return Probes(both, twice[:, 0], twice[:, 1], torch.arange(len(both)))

    def observe(self, records: Records, probes: Probes) -> None:
        """Measure slopes from the answers, and estimate gradients from the slopes.

        Raises:
            ValueError: If nothing was proposed.
        """
        asked = self._asked
        if asked is None:
            raise ValueError("nothing was proposed")
        measured = self._measure(asked, records, probes)
        if len(measured.pairs):
            self._estimate(asked, measured)

    def _estimate(self, asked: Asked, measured: Measured) -> None:
        """Estimate gradients from the slopes of at least one pair, for the losses that follow."""
        raise NotImplementedError

    def _measure(self, asked: Asked, records: Records, probes: Probes) -> Measured:
        """Return the slopes of the pairs that were answered."""
        pair = probes.tags // 2
        losses = torch.full((2 * len(asked.rows),), math.nan)
        sizes = self._sizes[asked.questions[pair]]
        losses[probes.tags] = answer_loss(records.targets, asked.references[pair], sizes)
        plus, minus = losses.view(-1, 2).unbind(1)
        # An answer may be lost for good when a process dies; half a pair says nothing about a slope.
        pairs = (plus.isfinite() & minus.isfinite()).nonzero()[:, 0]
        plus, minus = plus[pairs], minus[pairs]
        mean = (plus + minus) / 2
        if len(pairs):
            self._typical = _MEMORY * self._typical + (1 - _MEMORY) * float(mean.mean())
        return Measured(pairs, (plus - minus) / (2 * asked.step), mean)


def draw_pairs(references: Tensor, count: int, *, generator: torch.Generator) -> Tensor:
    """Draw (image, question) pairs that stand for a batch: every image once, at random, before any image twice.

    Args:
        references: ``-1`` where a question is not asked, shape ``[B, Q]``.
        count: Most pairs; there may be fewer.
        generator: Source of randomness.

    Returns:
        Distinct rows and questions, shape ``[P, 2]``.
    """
    asked = references >= 0
    # The questions of each image in random order, those that are not asked last.
    order = torch.where(asked, torch.rand(references.shape, generator=generator), 2.0).argsort(dim=1)
    rows = torch.randperm(len(references), generator=generator)
    turns = [torch.stack([rows, order[rows, turn]], dim=1) for turn in range(references.shape[1])]
    return torch.cat([pairs[asked[pairs[:, 0], pairs[:, 1]]] for pairs in turns])[:count]


def linear_loss(images: Tensor, gradient: Tensor, value: Tensor) -> Tensor:
    """Return, per image, the linear function that has a given gradient and a given value at the image.

    Args:
        images: Shape ``[B, 3, H, W]``.
        gradient: Same shape.
        value: Shape ``[B]``.
    """
    return value + ((images - images.detach()) * gradient).sum(dim=(1, 2, 3))


def rademacher(count: int, size: int, generator: torch.Generator) -> Tensor:
    """Draw signs -1 and 1, each as likely, shape ``[count, size]``."""
    return torch.randint(2, (count, size), generator=generator).float() * 2 - 1
