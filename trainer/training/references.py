"""Reference answers where the user has none: the chat model's own answers about originals that may be shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from langchain_vpp.errors import TrainingError
from trainer.data.answers import as_query
from trainer.data.wire import encode
from trainer.oracle.scoring import chosen
from trainer.runtime.rng import keyed_generator

if TYPE_CHECKING:
    from torch import Tensor

    from trainer.algorithms.interface import AnswerSpace, UtilityEstimator
    from trainer.data.dataset import Dataset
    from trainer.data.format import Split
    from trainer.oracle.oracle import Asks

_BATCH = 100


def require_shown(dataset: Dataset) -> None:
    """Refuse a data set of which no training picture may be shown.

    Raises:
        TrainingError: If there is none.
    """
    if not shown(dataset, "train").any():
        raise TrainingError(
            "references are to be the chat model's own answers about originals, and no training picture may be shown; "
            'nothing was sent. Add "may_be_shown": true to the lines of pictures that show nothing private, or give '
            "reference answers."
        )


def shown(dataset: Dataset, split: Split) -> Tensor:
    """Tell which pictures of a split the chat model may see as they are, boolean, shape ``[N]``."""
    return torch.tensor([example.may_be_shown for example in dataset.split(split)], dtype=torch.bool)


def draw_pairs(phrasings: Tensor, may_be_shown: Tensor, count: int, *, seed: int) -> Tensor:
    """Draw (image, question) pairs about originals, the same in every call; shape ``[N, 2]``.

    Args:
        phrasings: Index of the phrasing in which each question is asked, ``-1`` where it can't be asked, ``[N, Q]``.
        may_be_shown: Whether each picture may be sent as it is, shape ``[N]``.
        count: Most pairs.
        seed: Seed of the run.
    """
    pairs = ((phrasings >= 0) & may_be_shown[:, None]).nonzero()
    return pairs[torch.randperm(len(pairs), generator=keyed_generator(seed, "references"))[:count]]


def ask_references(
    oracle: Asks, space: AnswerSpace, images: Tensor, phrasings: Tensor, pairs: Tensor
) -> Tensor:
    """Have the chat model answer questions about originals.

    Args:
        oracle: Where queries are asked.
        space: Questions and answers.
        images: Originals at the working resolution, ``uint8``, shape ``[N, 3, H, W]``.
        phrasings: Index of the phrasing in which each question is asked, shape ``[N, Q]``.
        pairs: Rows and questions to ask; their pictures are sent as they are.

    Returns:
        Index of the answer in the vocabulary, shape ``[N, Q]``; ``-1`` where nothing was asked, or nothing answered.
    """
    found = torch.full_like(phrasings, -1)
    if not len(pairs):
        return found
    rows, numbers = torch.unique(pairs[:, 0], return_inverse=True)
    pictures = encode(images[rows].float() / 255)[0]
    queries = [
        as_query(space, pictures[number], int(phrasings[row, question]))
        for number, (row, question) in zip(numbers.tolist(), pairs.tolist(), strict=True)
    ]
    answers = oracle.ask(queries, purpose="reference")
    for (row, question), answer in zip(pairs.tolist(), answers, strict=True):
        asked = space.phrasings[int(phrasings[row, question])]
        named = None if answer is None else chosen(answer.text, asked.choices)
        if named is not None:
            found[row, question] = asked.columns[named]
    return found


@torch.no_grad()
def complete(references: Tensor, phrasings: Tensor, images: Tensor, estimator: UtilityEstimator) -> Tensor:
    """Fill the gaps with the answers that an estimator expects about originals, which are not sent for it.

    Args:
        references: Index of the reference answer, ``-1`` where it is missing, shape ``[N, Q]``.
        phrasings: Index of the phrasing in which each question is asked, ``-1`` where it can't be asked, ``[N, Q]``.
        images: Originals, ``uint8``, shape ``[N, 3, H, W]``.
        estimator: Estimator; one that expects nothing leaves the gaps.
    """
    parts = []
    for part in torch.split(images, _BATCH):
        posteriors = estimator.posteriors(part.float() / 255)
        if posteriors is None:
            return references
        parts.append(posteriors.argmax(dim=-1))
    missing = (references < 0) & (phrasings >= 0)
    return torch.where(missing, torch.cat(parts), references)
