"""Privacy against utility: preferences, scalarisation, and the measured front."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


def sample_levels(count: int, *, generator: torch.Generator) -> Tensor:
    """Draw preference levels, one per image, stratified so that every batch covers the whole front.

    Returns:
        Levels in [0, 1], shape ``[count]``, in random order.
    """
    strata = (torch.arange(count) + torch.rand(count, generator=generator)) / count
    return strata[torch.randperm(count, generator=generator)]


def weighted_sum(utility_loss: Tensor, privacy_loss: Tensor, level: Tensor, *, least: float = 0.02) -> Tensor:
    r"""Scalarise the two objectives by the preference.

    .. math:: (1 - w)\,L_u + w\,L_p, \qquad w = w_0 + (1 - w_0)\lambda

    Args:
        utility_loss: :math:`L_u`, shape ``[B]``.
        privacy_loss: :math:`L_p`, shape ``[B]``.
        level: Preference :math:`\lambda` in [0, 1], shape ``[B]``; 1 cares for privacy only.
        least: :math:`w_0`, the weight of privacy at level 0. With none the map would be free to become the identity
            there, and training would send pictures as they are.

    Returns:
        The objective, shape ``[B]``.
    """
    weight = least + (1 - least) * level
    return (1 - weight) * utility_loss + weight * privacy_loss


def non_dominated(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Keep the (leak, utility) points that no other beats: less leak is better, more utility is better.

    Returns:
        Distinct points sorted by rising leak (and so by rising utility).

    Example:
        >>> non_dominated([(0.5, 0.9), (0.2, 0.4), (0.6, 0.8)])
        [(0.2, 0.4), (0.5, 0.9)]
    """
    front: list[tuple[float, float]] = []
    for leak, utility in sorted(set(points), key=lambda point: (point[0], -point[1])):
        if not front or utility > front[-1][1]:
            front.append((leak, utility))
    return front


def hypervolume(points: Sequence[tuple[float, float]], reference: tuple[float, float] = (1.0, 0.0)) -> float:
    """Exact area that (leak, utility) points dominate, up to the reference point.

    Args:
        points: Any points; those that do not dominate the reference add nothing.
        reference: Worst leak and worst utility.

    Returns:
        The area; in [0, 1] with the default reference and scaled points.

    Example:
        >>> hypervolume([(0.25, 0.5), (0.5, 1.0)])
        0.625
    """
    worst_leak, worst_utility = reference
    front = non_dominated(
        [(leak, utility) for leak, utility in points if leak < worst_leak and utility > worst_utility]
    )
    area = 0.0
    for (leak, utility), (next_leak, _) in itertools.pairwise([*front, (worst_leak, 0.0)]):
        area += (next_leak - leak) * (utility - worst_utility)
    return area


def spread_levels(levels: Sequence[float], leaks: Sequence[float], count: int) -> tuple[float, ...]:
    """Choose network levels at which the leak falls in equal steps.

    Args:
        levels: Network levels at which the leak was measured, ascending, from 0 to 1.
        leaks: Leak at each of them. Noise that makes it rise with the level is evened out by isotonic regression
            (pool adjacent violators).
        count: How many knots to return, at least 2.

    Returns:
        Ascending network levels for the user levels 0, 1/(count-1), ..., 1; the first is ``levels[0]``, the last
        ``levels[-1]``.

    Raises:
        ValueError: If there are fewer than two levels, or the lengths differ.
    """
    if len(levels) != len(leaks) or len(levels) < 2 or count < 2:
        raise ValueError("need two or more levels, a leak for each, and two or more knots")
    blocks: list[tuple[float, int]] = []
    for leak in leaks:
        mean, size = leak, 1
        while blocks and blocks[-1][0] < mean:
            previous, weight = blocks.pop()
            mean, size = (previous * weight + mean * size) / (weight + size), size + weight
        blocks.append((mean, size))
    falling = [mean for mean, size in blocks for _ in range(size)]
    knots = [levels[0]]
    for step in range(1, count - 1):
        target = falling[0] + (falling[-1] - falling[0]) * step / (count - 1)
        index = next(i for i in range(1, len(falling)) if falling[i] <= target or i == len(falling) - 1)
        high, low = falling[index - 1], falling[index]
        part = (high - target) / (high - low) if high > low else 1.0
        knots.append(levels[index - 1] + min(max(part, 0.0), 1.0) * (levels[index] - levels[index - 1]))
    return (*knots, levels[-1])
