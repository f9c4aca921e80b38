r"""Privacy against utility: preferences, scalarisation, gradient aggregation, and the measured front.

Every image has its own preference, the level :math:`\lambda`, which weighs its two losses before they are combined.
:func:`weighted_sum` and :func:`smooth_tchebycheff` combine losses. :func:`aggregate_gradients` combines gradients, by
MGDA or UPGrad, and so resolves conflicts between the objectives of a whole batch.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Generic, Literal, NamedTuple, TypeVar

import torch

from langchain_vpp.extras import require

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from torch import Tensor

Aggregation = Literal["upgrad", "mgda"]
Payload = TypeVar("Payload")


def sample_levels(count: int, *, generator: torch.Generator) -> Tensor:
    """Draw preference levels, one per image, stratified so that every batch covers the whole front.

    Returns:
        Levels in [0, 1], shape ``[count]``, in random order.
    """
    strata = (torch.arange(count) + torch.rand(count, generator=generator)) / count
    return strata[torch.randperm(count, generator=generator)]


def by_preference(
    utility_loss: Tensor, privacy_loss: Tensor, level: Tensor, *, min_weight: float = 0.02
) -> tuple[Tensor, Tensor]:
    r"""Weigh the two objectives of each image by its preference.

    .. math:: (1 - w)\,L_u, \quad w\,L_p, \qquad w = w_0 + (1 - w_0)\lambda

    Args:
        utility_loss: :math:`L_u`, shape ``[B]``.
        privacy_loss: :math:`L_p`, shape ``[B]``.
        level: Preference :math:`\lambda` in [0, 1], shape ``[B]``; 1 cares for privacy only.
        min_weight: :math:`w_0`, the weight of privacy at level 0. With 0 the protector could become the identity
            there, and training would send pictures as they are.

    Returns:
        Weighted utility loss and weighted privacy loss, both of shape ``[B]``.
    """
    weight = min_weight + (1 - min_weight) * level
    return (1 - weight) * utility_loss, weight * privacy_loss


def weighted_sum(
    utility_loss: Tensor, privacy_loss: Tensor, level: Tensor, *, min_weight: float = 0.02
) -> Tensor:
    r"""Scalarise the two objectives linearly: :math:`(1 - w)\,L_u + w\,L_p`.

    Args:
        utility_loss: :math:`L_u`, shape ``[B]``.
        privacy_loss: :math:`L_p`, shape ``[B]``.
        level: Preference that gives :math:`w`, shape ``[B]``; see :func:`by_preference`.
        min_weight: Weight of privacy at level 0.

    Returns:
        The objective, shape ``[B]``.
    """
    utility, privacy = by_preference(utility_loss, privacy_loss, level, min_weight=min_weight)
    return utility + privacy


def smooth_tchebycheff(
    utility_loss: Tensor,
    privacy_loss: Tensor,
    level: Tensor,
    *,
    min_weight: float = 0.02,
    ideal: tuple[float, float] = (0.0, 0.0),
    smoothing: float = 0.1,
) -> Tensor:
    r"""Scalarise by a smooth maximum of the two weighted distances to the ideal point (Lin et al., ICML 2024).

    .. math:: \mu \log \Bigl( e^{(1 - w)(L_u - z_u) / \mu} + e^{w (L_p - z_p) / \mu} \Bigr)

    Unlike a weighted sum it has minima on the concave parts of a front too. As :math:`\mu` falls it approaches the
    plain Tchebycheff scalarisation from above, at most :math:`\mu \log 2` away.

    Args:
        utility_loss: :math:`L_u`, shape ``[B]``.
        privacy_loss: :math:`L_p`, shape ``[B]``.
        level: Preference that gives :math:`w`, shape ``[B]``; see :func:`by_preference`.
        min_weight: Weight of privacy at level 0.
        ideal: :math:`(z_u, z_p)`, lower bounds of the two objectives.
        smoothing: :math:`\mu`, in units of a loss.

    Returns:
        The objective, shape ``[B]``.

    Raises:
        ValueError: If ``smoothing`` is not positive.
    """
    if smoothing <= 0:
        raise ValueError("smoothing must be positive")
    weighted = by_preference(utility_loss - ideal[0], privacy_loss - ideal[1], level, min_weight=min_weight)
    return smoothing * (torch.stack(weighted) / smoothing).logsumexp(dim=0)


def aggregate_gradients(
    objectives: Sequence[Tensor], parameters: Iterable[Tensor], method: Aggregation
) -> Tensor:
    r"""Set the gradient of the parameters to a direction that lowers every objective, through TorchJD.

    ``mgda`` takes the shortest vector in the convex hull of the objectives' gradients (Désidéri, 2012; Sener & Koltun,
    2018). ``upgrad`` projects each gradient onto the cone of directions that raise no objective and adds the
    projections up (Quinton & Rey, 2024); without a conflict that is the gradient of the sum.

    Weigh the images by their preferences first, then average: ``by_preference(...)`` and ``mean()`` of each part.
    Do not scale an objective as a whole to favour it under MGDA: the *shorter* of two gradients gets the larger share.

    Args:
        objectives: Scalars, at least two; their graph is freed.
        parameters: Weights that the objectives depend on; their old gradients are dropped.
        method: Aggregator.

    Returns:
        The weights of the objectives' gradients in the direction, shape ``[number of objectives]``.

    Raises:
        MissingExtraError: If TorchJD is not installed.
    """
    require("torchjd.aggregation", "quadprog", extra="pareto", undone="nothing was trained")
    from torchjd.aggregation import MGDA, UPGrad  # noqa: PLC0415  an optional extra
    from torchjd.autojac import backward, jac_to_grad  # noqa: PLC0415

    # With ones, not TorchJD's means, a step is as long as that of the weighted sum.
    aggregator = MGDA() if method == "mgda" else UPGrad(torch.ones(len(objectives)))
    trained = list(parameters)
    for parameter in trained:
        parameter.grad = None
    # One backward pass per objective: in parallel it would go through vmap, which not every layer allows.
    backward(objectives, inputs=trained, parallel_chunk_size=1)
    weights: Tensor = jac_to_grad(trained, aggregator)
    return weights


def non_dominated(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Keep the (leak, utility) points that no other point beats; less leak and more utility are better.

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
    """Compute the exact area that (leak, utility) points dominate, up to the reference point.

    Args:
        points: Any points; one that does not dominate the reference adds nothing.
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


class ArchivedPoint(NamedTuple, Generic[Payload]):
    """A measured point of the front and its payload."""

    leak: float
    utility: float
    payload: Payload


class NonDominatedArchive(Generic[Payload]):
    """Archive of the non-dominated (leak, utility) points seen so far, each with a payload."""

    def __init__(self) -> None:
        self._points: list[ArchivedPoint[Payload]] = []

    def add(self, leak: float, utility: float, payload: Payload) -> bool:
        """Keep a point unless a kept one is as good in both respects, and drop the points that it beats.

        Args:
            leak: Less is better.
            utility: More is better.
            payload: Anything to keep with the point, for instance a checkpoint's name.

        Returns:
            Whether the point was kept.

        Raises:
            ValueError: If a number is not finite.
        """
        if not (math.isfinite(leak) and math.isfinite(utility)):
            raise ValueError("leak and utility must be finite")
        if any(kept.leak <= leak and kept.utility >= utility for kept in self._points):
            return False
        survivors = [kept for kept in self._points if kept.leak < leak or kept.utility > utility]
        self._points = sorted(
            [*survivors, ArchivedPoint(leak, utility, payload)], key=lambda point: point.leak
        )
        return True

    @property
    def points(self) -> tuple[ArchivedPoint[Payload], ...]:
        """The front, by rising leak and so by rising utility."""
        return tuple(self._points)


def spread_levels(levels: Sequence[float], leaks: Sequence[float], count: int) -> tuple[float, ...]:
    """Choose network levels at which the leak falls in equal steps.

    Args:
        levels: Network levels at which the leak was measured, ascending, from 0 to 1.
        leaks: Leak at each level. Isotonic regression (pool adjacent violators) evens out noise that makes the leak
            rise with the level.
        count: Number of knots, at least 2.

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
