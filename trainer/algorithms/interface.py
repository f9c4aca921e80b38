"""The interface between the training loop and whatever estimates the utility gradient of a black-box chat model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable


class Phrasing(NamedTuple):
    """A question with the answers that its prompt lists."""

    question: int
    """Index of the question."""
    choices: tuple[str, ...]
    """The answers as they are written, in the order of the prompt."""
    columns: tuple[int, ...]
    """Index of each of them in the vocabulary."""


class AnswerSpace(NamedTuple):
    """Questions, the answer vocabulary that they share, and the answers that each question may have."""

    questions: tuple[str, ...]
    answers: tuple[str, ...]
    candidates: Tensor
    """Whether a question may have an answer, boolean, shape ``[Q, V]``."""
    phrasings: tuple[Phrasing, ...] = ()
    """Ways to ask the questions, since each picture may have choices of its own; the first ``Q`` are the usual ones."""

    @property
    def sizes(self) -> Tensor:
        """Number of answers that each question may have, at least 2, shape ``[Q]``."""
        return self.candidates.sum(dim=1).clamp(min=2)


class LabelledImages(NamedTuple):
    """The user's own training images with reference answers."""

    images: Tensor
    """``uint8``, shape ``[N, 3, H, W]``, or clips, ``[N, T, 3, H, W]``."""
    references: Tensor
    """Index of the reference answer, ``-1`` where a question is not asked about an image, shape ``[N, Q]``."""


class Records(NamedTuple):
    """Answered queries."""

    images: Tensor
    """The pictures as the chat model saw them, ``uint8``, shape ``[N, 3, H, W]``, or clips, ``[N, T, 3, H, W]``."""
    questions: Tensor
    """Index of the question, ``int64``, shape ``[N]``."""
    targets: Tensor
    """The chat model's answer as a distribution over the answer vocabulary, shape ``[N, V]``."""


class Probes(NamedTuple):
    """Pictures, each with a question, that an estimator wants answered."""

    images: Tensor
    """In [0, 1], shape ``[M, 3, H, W]``, or clips, ``[M, T, 3, H, W]``."""
    rows: Tensor
    """Image of the batch that each probe is about, ``int64``, shape ``[M]``."""
    questions: Tensor
    """Index of the question, ``int64``, shape ``[M]``."""
    tags: Tensor
    """The estimator's own numbers, by which it recognises the probes that were answered, shape ``[M]``."""


class UtilityEstimator(Protocol):
    """Turns answered queries into a differentiable utility loss.

    In every step the training loop calls :meth:`propose`, has the probes answered and hands the answers to
    :meth:`observe`, then calls :meth:`fit` and :meth:`loss`, all for the same batch. :meth:`state_dict` holds all that
    an estimator has learned; between the calls of one step it may keep more.
    """

    @property
    def min_queries(self) -> int:
        """Fewest queries that the estimator can use at once; 0 if it asks nothing."""

    def pretrain(
        self, steps: int, *, learning_rate: float, generator: torch.Generator, progress: Callable[[], None]
    ) -> None:
        """Learn whatever needs no query; ``progress`` is called after each step."""

    def propose(
        self, images: Tensor, references: Tensor, quota: int, *, generator: torch.Generator
    ) -> Probes:
        """Choose what to ask about a batch.

        Args:
            images: Protected images as the chat model would see them, in [0, 1], shape ``[B, 3, H, W]``.
            references: Index of the reference answer or ``-1``, shape ``[B, Q]``.
            quota: Most queries. The unused part is offered again in the next step.
            generator: Source of randomness.

        Returns:
            At most ``quota`` probes. A probe that equals its image of the batch costs no further encoding.
        """

    def observe(self, records: Records, probes: Probes) -> None:
        """Take in answers.

        Args:
            records: The answers, in the order of ``probes``.
            probes: Those probes of the last proposal that were answered.
        """

    def fit(self, *, generator: torch.Generator) -> dict[str, float]:
        """Learn a few steps from everything observed; returns metrics."""

    def loss(self, images: Tensor, references: Tensor, *, generator: torch.Generator) -> Tensor:
        """Estimate the utility loss of each image, differentiable in ``images``.

        Args:
            images: Protected images in [0, 1], shape ``[B, 3, H, W]``.
            references: Index of the reference answer or ``-1``, shape ``[B, Q]``.
            generator: Source of randomness.

        Returns:
            Shape ``[B]``; 0 is best, about 1 where answers are no better than a guess.
        """

    def posteriors(self, images: Tensor) -> Tensor | None:
        """Predict the chat model's answers without a gradient.

        Args:
            images: In [0, 1], shape ``[B, 3, H, W]``.

        Returns:
            Probabilities, shape ``[B, Q, V]``; ``None`` if the estimator predicts no answers.
        """

    def state_dict(self) -> dict[str, Any]:
        """Return all that a resumed run needs to continue identically: tensors, numbers, and containers of them."""

    def load_state_dict(self, state: dict[str, Any], recall: Callable[[], Records | None]) -> None:
        """Restore the estimator.

        Args:
            state: From :meth:`state_dict`.
            recall: Returns all records ever observed, in order, or ``None`` if their pictures were not stored.
        """


class NoQueries:
    """Estimator that asks nothing and knows no utility: the baseline of assessor and fidelity alone."""

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
        """Return zero for every image."""
        return torch.zeros(len(images))

    def posteriors(self, images: Tensor) -> None:
        """Predict nothing."""

    def state_dict(self) -> dict[str, Any]:
        """Return an empty state."""
        return {}

    def load_state_dict(self, state: dict[str, Any], recall: Callable[[], Records | None]) -> None:
        """Do nothing."""


def no_probes(images: Tensor, references: Tensor) -> Probes:
    """Return an empty proposal about a batch."""
    none = references.new_zeros(0)
    return Probes(images[:0], none, none, none)


def answer_loss(targets: Tensor, references: Tensor, sizes: Tensor, *, floor: float = 1e-3) -> Tensor:
    r"""Compute the utility loss of answers, where 1 is the loss of a guess.

    .. math:: L = \frac{-\log \max(t_y, \epsilon)}{\log K}

    for the probability :math:`t_y` that the answer gives to the reference among :math:`K` options. An answer known by
    its text alone is a nearly certain distribution, so :math:`L` then takes two values: the 0/1 loss, scaled and
    shifted.

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


def mean_reference_loss(log_posterior: Tensor, references: Tensor, sizes: Tensor) -> Tensor:
    r"""Average the utility loss of predicted answers over the questions that are asked about an image.

    .. math:: L(x) = \frac{1}{|Q_x|} \sum_{q \in Q_x} \frac{-\log p(y_q \mid x, q)}{\log K_q}

    Args:
        log_posterior: :math:`\log p`, shape ``[B, Q, V]``.
        references: Index :math:`y_q` of the reference answer, ``-1`` where a question is not asked, shape ``[B, Q]``.
        sizes: :math:`K_q`, at least 2, shape ``[Q]``.

    Returns:
        Shape ``[B]``; 0 for an image about which nothing is asked.
    """
    asked = references >= 0
    losses = -log_posterior.gather(-1, references.clamp(min=0)[..., None])[..., 0] / sizes.log()
    return losses.masked_fill(~asked, 0.0).sum(dim=1) / asked.sum(dim=1).clamp(min=1)
