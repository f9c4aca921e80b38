"""Random gradient-free estimates."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from trainer.algorithms.zeroth_order.critical_gradients import CriticalGradients
from trainer.algorithms.zeroth_order.shared import _SharedCode

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainer.algorithms.interface import AnswerSpace, Records
    from trainer.algorithms.zeroth_order.codes import Code


class SharedRGF(_SharedCode):
    r"""Random gradient-free estimate that probes the critical directions of the past first.

    .. math:: \hat g = \sum_{i=1}^{m} D_{p_i} p_i + \frac{d - m}{q - m} \sum_{j=1}^{q - m} D_{u_j} u_j

    for orthonormal priors :math:`p_i` from :class:`CriticalGradients`, at most half of the directions, and random
    orthonormal :math:`u_j` orthogonal to them. Along the priors the gradient is exact, elsewhere unbiased; with
    :math:`q = d` all of it is exact.

    Cheng et al. (2019, P-RGF) draw their directions around one prior, the gradient of a surrogate model, with a share
    :math:`\lambda` that they optimise; in their later paper (2021) one estimate is measured along the prior and along
    random directions orthogonal to it, and the history variant takes the last estimate as prior. We follow the later
    form with several priors, the critical ones of McRae et al., in place of the last. They normalise the estimate,
    which makes the factor :math:`(d - m) / (q - m)` vanish; we keep it, because the estimate is weighed against the
    privacy gradient. Both papers are cited from memory: no constant of theirs is used. One caveat: where slopes are
    noisy, a large estimate is often a noisy one, and the memory then holds noise.

    Args:
        space: Questions and answers.
        code: Directions in which images are moved.
        batch: Images of a batch.
        radius: Root mean square change of a pixel by a probe, in units of the pixel range.
        directions: :math:`q`, at least 2.
        images: Images over which a slope is averaged; ``None`` for the whole batch.
        memory: Past estimates kept.
        memory_decay: Factor by which their priority fades with each new estimate.
    """

    def __init__(
        self,
        space: AnswerSpace,
        code: Code,
        *,
        batch: int,
        radius: float = 0.08,
        directions: int = 8,
        images: int | None = 2,
        memory: int = 5,
        memory_decay: float = 0.7,
    ) -> None:
        super().__init__(space, code, batch=batch, radius=radius, directions=directions, images=images)
        self._memory = CriticalGradients(memory, decay=memory_decay)
        self._priors = 0

    def state_dict(self) -> dict[str, Any]:
        """That of the base, and the memory."""
        return super().state_dict() | {"memory": self._memory.state_dict()}

    def load_state_dict(self, state: dict[str, Any], recall: Callable[[], Records | None]) -> None:
        """See :meth:`UtilityEstimator.load_state_dict`."""
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
