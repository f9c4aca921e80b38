"""The training split as tensors, and batches of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Self

import torch

from trainer.algorithms.pareto import sample_levels
from trainer.data.answers import asked_tasks

if TYPE_CHECKING:
    from torch import Tensor

    from trainer.algorithms.interface import AnswerSpace
    from trainer.data.dataset import Dataset


class TrainingSplit(NamedTuple):
    """The training split of a data set."""

    images: Tensor
    """``uint8``, shape ``[N, 3, H, W]``, or clips, ``[N, T, 3, H, W]``."""
    labels: Tensor
    """Classes of the private attributes, shape ``[N, A]``; ``-1`` where unlabelled."""
    references: Tensor
    """Index of the reference answer to each question, shape ``[N, Q]``; ``-1`` where it can't be asked."""
    phrasings: Tensor
    """Index of the phrasing in which each question is asked, shape ``[N, Q]``."""
    names: tuple[str, ...]
    """Files of the images."""
    known: Tensor
    """References that were labelled or bought, shape ``[N, Q]``; a student may have guessed the others."""

    @classmethod
    def load(
        cls, dataset: Dataset, space: AnswerSpace, working_resolution: int, *, labelled: bool = True
    ) -> Self:
        """Load the split.

        Args:
            dataset: Data set.
            space: Questions and answers.
            working_resolution: Longest side of the pictures, pixels.
            labelled: Whether reference answers are those of the data set. Otherwise there are none yet.

        Raises:
            DataError: If an image can't be read.
        """
        examples = dataset.split("train")
        references, phrasings = asked_tasks(examples, space)
        if not labelled:
            references = torch.full_like(references, -1)
        return cls(
            dataset.pixels(examples, working_resolution),
            dataset.labels(examples),
            references,
            phrasings,
            tuple(example.image for example in examples),
            references.clone(),
        )

    def draw(self, size: int, generator: torch.Generator) -> Batch:
        """Draw a batch, with replacement."""
        rows, level = draw_rows(len(self.images), size, generator)
        return Batch(
            self.images[rows].float() / 255,
            level,
            self.labels[rows],
            self.references[rows],
            self.phrasings[rows],
            tuple(self.names[row] for row in rows.tolist()),
        )


class Batch(NamedTuple):
    """Images of the training split, each with the level at which it is to be protected."""

    images: Tensor
    """In [0, 1], shape ``[B, 3, H, W]``, or clips, ``[B, T, 3, H, W]``."""
    level: Tensor
    """Network levels in [0, 1], shape ``[B]``."""
    labels: Tensor
    """Shape ``[B, A]``; see :class:`TrainingSplit`."""
    references: Tensor
    """Shape ``[B, Q]``; see :class:`TrainingSplit`."""
    phrasings: Tensor
    """Shape ``[B, Q]``; see :class:`TrainingSplit`."""
    names: tuple[str, ...]
    """Files of the images."""


def draw_rows(count: int, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw rows of a split, with replacement, and a level for each.

    Args:
        count: Rows of the split.
        size: Rows to draw, :math:`B`.
        generator: Source of randomness.

    Returns:
        Rows, ``int64`` of shape ``[B]``, and levels in [0, 1] of shape ``[B]``.
    """
    return torch.randint(count, (size,), generator=generator), sample_levels(size, generator=generator)
