"""Choice of queries: which (image, question) pairs of a batch are worth their price."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


def query_criticality(posteriors: Tensor) -> Tensor:
    """Measure how close the student's answer is to flipping.

    Args:
        posteriors: Probabilities, shape ``[..., V]``.

    Returns:
        One minus the margin between the two most likely answers, in [0, 1], shape ``[...]``.
    """
    first, second = posteriors.topk(2, dim=-1).values.unbind(-1)
    return 1 - (first - second)


def expected_disagreement(posteriors: Tensor, others: Tensor) -> Tensor:
    r"""Compute the probability that two networks, each drawing an answer, answer differently: :math:`1 - p \cdot q`.

    Args:
        posteriors: Probabilities :math:`p`, shape ``[..., V]``.
        others: Probabilities :math:`q` of the other network, shape ``[..., V]``.

    Returns:
        In [0, 1], shape ``[...]``: 0 where both are sure of one answer, 1 where they are sure of two.
    """
    return 1 - (posteriors * others).sum(dim=-1)


def choose_queries(
    criticality: Tensor,
    images: Tensor,
    count: int,
    *,
    questions_per_call: int = 1,
    generator: torch.Generator,
) -> Tensor:
    """Choose which candidates to ask about, at random and by criticality.

    Each candidate's criticality is blurred by a uniform random number in [0, 1) before the highest are taken: a batch
    is not spent on near copies of one hard case, and every candidate may be asked. Where one request may hold several
    questions about an image, an image's most critical questions share a request, since the picture is what a request
    costs.

    Args:
        criticality: In [0, 1], shape ``[N]``; all zero chooses uniformly.
        images: Image that each candidate is about, ``int64``, shape ``[N]``.
        count: Most candidates to choose.
        questions_per_call: Questions that one request may hold.
        generator: Source of randomness.

    Returns:
        Positions in ascending order. Only whole requests are chosen, so there may be up to ``questions_per_call - 1``
        fewer than ``count``.
    """
    blurred = torch.rand(len(criticality), generator=generator) + criticality
    requests: dict[tuple[int, int], list[int]] = {}
    """Candidates by image and number of the request, in the order of each request's most critical candidate."""
    asked: Counter[int] = Counter()
    for position in blurred.argsort(descending=True).tolist():
        image = int(images[position])
        requests.setdefault((image, asked[image] // questions_per_call), []).append(position)
        asked[image] += 1
    chosen: list[int] = []
    for request in requests.values():
        if len(chosen) + len(request) <= count:
            chosen += request
    return torch.tensor(sorted(chosen), dtype=torch.long)
