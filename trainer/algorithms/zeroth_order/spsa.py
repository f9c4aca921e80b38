"""Simultaneous perturbation."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from trainer.algorithms.zeroth_order.differences import _rademacher
from trainer.algorithms.zeroth_order.shared import _SharedCode

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainer.algorithms.interface import AnswerSpace, Records
    from trainer.algorithms.zeroth_order.codes import Code

Perturbation = Literal["rademacher", "segmented"]


class SharedSPSA(_SharedCode):
    r"""Simultaneous perturbation (Spall, 1992), with gradient correction as in BlackVIP (Oh et al., CVPR 2023).

    .. math::
        \hat g_k = \frac1q \sum_{j=1}^q D_{\Delta_j} \, \Delta_j^{-1}, \qquad
        m_k = \beta m_{k-1} + \hat g_k, \qquad
        \text{estimate} = a_k (\hat g_k + \beta m_k)

    with :math:`\Delta^{-1}` element by element, radius :math:`c_k = c / k^\gamma` and gain
    :math:`a_k = a \, ((1 + o) / (k + o))^\alpha` at the :math:`k`-th estimate. The momentum looks ahead as Nesterov's
    does, in the form that needs no gradient at another point. ``momentum=0`` is plain SPSA.

    The defaults are the published ones, read from the authors' code (``changdaeoh/BlackVIP``: base configuration for
    ViT-B/16 and training script): :math:`c = 0.01`, :math:`\gamma = 0.1`, :math:`\alpha = 0.4`, :math:`o = 1`,
    :math:`\beta = 0.9`, five perturbations per estimate, each on the whole batch, and perturbations that are *segmented
    uniform*, on :math:`[-1, -\frac12] \cup [\frac12, 1]`. They tuned :math:`c` in 0.005 ... 0.02, :math:`\gamma` in
    0.1 ... 0.2 and :math:`\beta` in 0.3 ... 0.95 for each data set.

    Our deviations: they perturb the weights of a small prompt network, we a displacement of the picture that the batch
    shares, so their :math:`c` is read as a change of a pixel; their step size :math:`a = 0.01` multiplies a plain
    gradient step, where ours goes through the protector's optimizer, so :math:`a = 1` and only its decay is kept.

    Args:
        space: Questions and answers.
        code: Directions in which images are moved.
        batch: Images of a batch.
        momentum: :math:`\beta` in [0, 1).
        radius: :math:`c`, root mean square change of a pixel, in units of the pixel range.
        radius_decay: :math:`\gamma`.
        gain: :math:`a`.
        gain_decay: :math:`\alpha`.
        offset: :math:`o`.
        directions: :math:`q`.
        images: Images over which a slope is averaged; ``None`` for the whole batch.
        perturbation: Distribution of :math:`\Delta`: ``"segmented"`` or ``"rademacher"``, which has the least variance.
    """

    def __init__(
        self,
        space: AnswerSpace,
        code: Code,
        *,
        batch: int,
        momentum: float = 0.9,
        radius: float = 0.01,
        radius_decay: float = 0.1,
        gain: float = 1.0,
        gain_decay: float = 0.4,
        offset: float = 1.0,
        directions: int = 5,
        images: int | None = None,
        perturbation: Perturbation = "segmented",
    ) -> None:
        super().__init__(space, code, batch=batch, radius=radius, directions=directions, images=images)
        if not 0 <= momentum < 1 or gain <= 0 or min(radius_decay, gain_decay, offset) < 0:
            raise ValueError(
                "momentum must be in [0, 1), gain must be positive, decays and offset not negative"
            )
        self._momentum, self._gain, self._offset = momentum, gain, offset
        self._radius_decay, self._gain_decay = radius_decay, gain_decay
        self._perturbation = perturbation
        self._average: Tensor | None = None

    def state_dict(self) -> dict[str, Any]:
        """That of the base, and the momentum."""
        return super().state_dict() | {"average": self._average}

    def load_state_dict(self, state: dict[str, Any], recall: Callable[[], Records | None]) -> None:
        """See :meth:`UtilityEstimator.load_state_dict`."""
        super().load_state_dict(state, recall)
        self._average = state["average"]

    def _current_radius(self) -> float:
        return self._radius / math.pow(self._estimates + 1, self._radius_decay)

    def _draw(self, size: int, generator: torch.Generator) -> Tensor:
        signs = _rademacher(self._directions, size, generator)
        if self._perturbation == "rademacher":
            return signs
        return signs * (torch.rand(signs.shape, generator=generator) + 1) / 2

    def _combine(self, directions: Tensor, slopes: Tensor, known: Tensor) -> Tensor:
        estimate = (slopes[known, None] / directions[known]).mean(dim=0)
        self._average = estimate if self._average is None else self._momentum * self._average + estimate
        gain = self._gain * math.pow((1 + self._offset) / (self._estimates + self._offset), self._gain_decay)
        return gain * (estimate + self._momentum * self._average)
