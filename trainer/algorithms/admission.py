"""Which queries are asked next."""

from __future__ import annotations

import math
from collections import Counter

import torch
from torch import Tensor


def query_criticality(posteriors: Tensor) -> Tensor:
    """How close the student's answer is to flipping, from its posterior.

    Args:
        posteriors: Probabilities, shape ``[..., V]``.

    Returns:
        One minus the margin between the two most likely answers, in [0, 1], shape ``[...]``.
    """
    first, second = posteriors.topk(2, dim=-1).values.unbind(-1)
    return 1 - (first - second)


def query_disagreement(posteriors: Tensor) -> Tensor:
    r"""How much the student disagrees with itself over views of the same image (Houlsby et al., 2011).

    .. math:: \frac{1}{\log \min(S, V)} \Bigl( H\bigl[\tfrac1S \sum_s p_s\bigr] - \tfrac1S \sum_s H[p_s] \Bigr)

    Unlike :func:`query_criticality` it is low where the student is sure that an answer can't be told.

    Args:
        posteriors: Probabilities under ``S`` views, at least two, shape ``[S, ..., V]``.

    Returns:
        In [0, 1], shape ``[...]``.
    """
    most = math.log(min(posteriors.shape[0], posteriors.shape[-1]))
    shared = torch.special.entr(posteriors.mean(dim=0)).sum(dim=-1)
    own = torch.special.entr(posteriors).sum(dim=-1).mean(dim=0)
    information: Tensor = (shared - own) / most
    return information.clamp(0, 1)


def choose_queries(
    criticality: Tensor,
    images: Tensor,
    count: int,
    *,
    questions_per_call: int = 1,
    generator: torch.Generator,
) -> Tensor:
    """Choose what to ask: at random, by criticality.

    Each candidate's criticality is blurred by a uniform random number in [0, 1) before the highest are taken, so that a
    batch is not asked about near copies of one hard case and every candidate may be asked. Where one request may hold
    several questions about an image, an image that is asked about is asked its ``questions_per_call`` most critical ones, since
    the picture is what a request costs.

    Args:
        criticality: In [0, 1], shape ``[N]``; all zero chooses uniformly.
        images: Which image each candidate is about, ``int64``, shape ``[N]``.
        count: Most that are chosen.
        questions_per_call: Questions that one request may hold.
        generator: Source of randomness.

    Returns:
        Ascending positions; up to ``questions_per_call - 1`` fewer than ``count``, since only whole requests are chosen.
    """
    blurred = torch.rand(len(criticality), generator=generator) + criticality
    requests: dict[tuple[int, int], list[int]] = {}
    """By image and number; in the order of their most critical candidates."""
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
