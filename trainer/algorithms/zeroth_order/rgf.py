"""RGF: random gradient-free estimates that probe the critical directions of the past first."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from trainer.algorithms.zeroth_order.critical_gradients import CriticalGradients
from trainer.algorithms.zeroth_order.shared import SharedCode

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from trainer.algorithms.interface import AnswerSpace, Records
    from trainer.algorithms.zeroth_order.codes import Code


class RGFSettings(NamedTuple):
    """Settings of :class:`SharedRGF`."""

    batch: int
    """Images of a batch."""
    radius: float = 0.08
    """Root mean square change of a pixel by a probe, in units of the pixel range."""
    directions: int = 8
    """:math:`q`, at least 2."""
    images: int | None = 2
    """Images over which a slope is averaged; ``None`` for the whole batch."""
    memory: int = 5
    """Past estimates kept."""
    memory_decay: float = 0.7
    """Factor by which their priority fades with each new estimate, in (0, 1]."""


class SharedRGF(SharedCode):
    r"""Random gradient-free estimate with the critical directions of the past as priors.

    .. math:: \hat g = \sum_{i=1}^{m} D_{p_i} p_i + \frac{d - m}{q - m} \sum_{j=1}^{q - m} D_{u_j} u_j

    for orthonormal priors :math:`p_i` from :class:`~trainer.algorithms.zeroth_order.CriticalGradients`, at most half of
    the directions, and random orthonormal :math:`u_j` orthogonal to them. Along the priors the gradient is exact,
    elsewhere unbiased; with :math:`q = d` all of it is exact.

    Sources: Cheng et al. (2019, P-RGF) draw their directions around one prior, the gradient of a surrogate model, with
    a share :math:`\lambda` that they optimise. In their later paper (2021) one estimate is measured along the prior and
    along random directions orthogonal to it, and the history variant takes the last estimate as prior.

    Our deviations: we follow the later form with several priors, the critical gradients of McRae et al. (2022), in
    place of the last estimate. Cheng et al. normalise the estimate, which makes the factor :math:`(d - m) / (q - m)`
    vanish; we keep the factor, because the estimate is weighed against the privacy gradient. Both papers are cited from
    memory, and no constant of theirs is used. Where slopes are noisy, a large estimate is often a noisy one, and the
    memory then holds noise.

    Args:
        space: Questions and answers.
        code: Directions in which images are moved.
        settings: Sizes and radius.

    Raises:
        ValueError: If a setting is outside its range.
    """

    def __init__(self, space: AnswerSpace, code: Code, settings: RGFSettings) -> None:
        super().__init__(space, code, settings)
        self._memory = CriticalGradients(settings.memory, decay=settings.memory_decay)
        self._priors = 0

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the base and the memory."""
        return super().state_dict() | {"memory": self._memory.state_dict()}

    def load_state_dict(self, state: dict[str, Any], recall: Callable[[], Records | None]) -> None:
        """Restore the state of the base and the memory."""
        super().load_state_dict(state, recall)
        self._memory.load_state_dict(state["memory"])

    def _draw(self, size: int, generator: torch.Generator) -> Tensor:
        count = min(self._directions, size)
        priors = self._memory.directions(count // 2).view(-1, size)
        self._priors = len(priors)
        random = torch.randn(count - len(priors), size, generator=generator)
        # The factorisation goes through the columns in order: the priors first, then what is orthogonal to them.
        basis = torch.linalg.qr(torch.cat([priors, random]).T).Q.T
        return math.sqrt(size) * torch.cat([priors, basis[len(priors) :]])

    def _combine(self, directions: Tensor, slopes: Tensor, known: Tensor) -> Tensor:
        size = directions.shape[1]
        units, slopes = directions / math.sqrt(size), slopes / math.sqrt(size)
        random = torch.arange(len(directions)) >= self._priors
        rest = (known & random).sum().clamp(min=1)
        weights = torch.where(random, (size - self._priors) / rest, 1.0) * known
        estimate = ((weights * slopes)[:, None] * units).sum(dim=0)
        self._memory.add(estimate)
        return estimate
