"""Utility gradients from a chat model that only answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable


class AnswerSpace(NamedTuple):
    """Questions, the answer vocabulary that they share, and which answers each question may have."""

    questions: tuple[str, ...]
    answers: tuple[str, ...]
    candidates: Tensor
    """Boolean, shape ``[Q, V]``."""

    @property
    def sizes(self) -> Tensor:
        """Answers that each question may have, at least 2, shape ``[Q]``."""
        return self.candidates.sum(dim=1).clamp(min=2)


class LabelledImages(NamedTuple):
    """The user's own training images with reference answers."""

    images: Tensor
    """``uint8``, shape ``[N, 3, H, W]``."""
    references: Tensor
    """Index of the reference answer, ``-1`` where a question is not asked about an image, shape ``[N, Q]``."""


class Records(NamedTuple):
    """Answered queries."""

    images: Tensor
    """The pictures as the chat model saw them, ``uint8``, shape ``[N, 3, H, W]``."""
    questions: Tensor
    """Index of the question, ``int64``, shape ``[N]``."""
    targets: Tensor
    """The chat model's answer as a distribution over the answer vocabulary, shape ``[N, V]``."""


class Probes(NamedTuple):
    """What an estimator wants asked: pictures, each with a question."""

    images: Tensor
    """In [0, 1], shape ``[M, 3, H, W]``."""
    rows: Tensor
    """Which image of the batch each is about, ``int64``, shape ``[M]``."""
    questions: Tensor
    """Index of the question, ``int64``, shape ``[M]``."""
    tags: Tensor
    """The estimator's own numbers, by which it knows the probes again that were answered, shape ``[M]``."""


class UtilityEstimator(Protocol):
    """Turns answered queries into a differentiable utility loss.

    In every step the trainer calls :meth:`propose`, has the probes answered and hands the answers to :meth:`observe`,
    then calls :meth:`fit` and :meth:`loss`, all for the same batch. What an estimator learned is in its state; between
    these calls it may keep more.
    """

    @property
    def min_queries(self) -> int:
        """Fewest queries that it can make use of at once; 0 if it asks nothing."""

    def pretrain(
        self, steps: int, *, learning_rate: float, generator: torch.Generator, progress: Callable[[], None]
    ) -> None:
        """Learn what needs no query."""

    def propose(
        self, images: Tensor, references: Tensor, quota: int, *, generator: torch.Generator
    ) -> Probes:
        """Choose what to ask about a batch.

        Args:
            images: Protected, as the chat model would see them, in [0, 1], shape ``[B, 3, H, W]``.
            references: Index of the reference answer or ``-1``, shape ``[B, Q]``.
            quota: Most queries. What is not used is offered again in the next step.
            generator: Source of randomness.

        Returns:
            At most ``quota`` probes; a probe that equals its image of the batch costs no further encoding.
        """

    def observe(self, records: Records, probes: Probes) -> None:
        """Take in the answers to those probes of the last proposal that were answered, in their order."""

    def fit(self, *, generator: torch.Generator) -> dict[str, float]:
        """Learn from what was observed, a few steps; returns metrics."""

    def loss(self, images: Tensor, references: Tensor, *, generator: torch.Generator) -> Tensor:
        """Utility loss per image, differentiable in ``images``.

        Args:
            images: Protected, in [0, 1], shape ``[B, 3, H, W]``.
            references: Index of the reference answer or ``-1``, shape ``[B, Q]``.
            generator: Source of randomness.

        Returns:
            Shape ``[B]``; 0 is best, about 1 where answers are no better than a guess.
        """

    def posteriors(self, images: Tensor) -> Tensor | None:
        """Expected answers, probabilities of shape ``[B, Q, V]``, without a gradient; ``None`` if it has none."""

    def state_dict(self) -> dict[str, Any]:
        """All that a later process needs to go on in the same way: tensors, numbers, and containers of them."""

    def load_state_dict(self, state: dict[str, Any], recall: Callable[[], Records | None]) -> None:
        """Restore.

        Args:
            state: From :meth:`state_dict`.
            recall: Returns all records ever observed, in order, or ``None`` if their pictures were not stored.
        """


class NoQueries:
    """Asks nothing and knows no utility: the assessor and fidelity alone, the baseline that queries must beat."""

    min_queries = 0

    def pretrain(
        self, steps: int, *, learning_rate: float, generator: torch.Generator, progress: Callable[[], None]
    ) -> None:
        """Do nothing."""

    def propose(
        self,
        images: Tensor,
        references: Tensor,
        quota: int,  # noqa: ARG002  the protocol's
        *,
        generator: torch.Generator,  # noqa: ARG002
    ) -> Probes:
        """Propose nothing."""
        return no_probes(images, references)

    def observe(self, records: Records, probes: Probes) -> None:
        """Do nothing."""

    def fit(self, *, generator: torch.Generator) -> dict[str, float]:  # noqa: ARG002
        """Do nothing."""
        return {}

    def loss(self, images: Tensor, references: Tensor, *, generator: torch.Generator) -> Tensor:  # noqa: ARG002
        """Zero for every image."""
        return torch.zeros(len(images))

    def posteriors(self, images: Tensor) -> None:
        """There are none."""

    def state_dict(self) -> dict[str, Any]:
        """Empty."""
        return {}

    def load_state_dict(self, state: dict[str, Any], recall: Callable[[], Records | None]) -> None:
        """Do nothing."""


def no_probes(images: Tensor, references: Tensor) -> Probes:
    """Ask nothing about a batch."""
    none = references.new_zeros(0)
    return Probes(images[:0], none, none, none)


def answer_loss(targets: Tensor, references: Tensor, sizes: Tensor, *, floor: float = 1e-3) -> Tensor:
    r"""Utility loss of answers in units of a guess, the same units as the student's.

    .. math:: L = \frac{-\log \max(t_y, \epsilon)}{\log K}

    for the probability :math:`t_y` that the answer gives to the reference among :math:`K` options. An answer that is
    known by its text alone is a nearly certain distribution, so that :math:`L` takes two values: it is the 0/1 loss,
    scaled and shifted.

    Args:
        targets: Answers as distributions, shape ``[N, V]``.
        references: Index of the reference answer, shape ``[N]``.
        sizes: :math:`K`, at least 2, shape ``[N]``.
        floor: :math:`\epsilon`, so that one confident wrong answer does not outweigh all others.

    Returns:
        Shape ``[N]``.
    """
    chosen = targets.gather(-1, references[:, None])[:, 0]
    return -chosen.clamp(min=floor).log() / sizes.log()
