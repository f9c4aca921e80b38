"""SPSA and SPSA-GC: simultaneous perturbation, with or without gradient correction."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch

from trainer.algorithms.zeroth_order.differences import rademacher
from trainer.algorithms.zeroth_order.shared import SharedCode

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from trainer.algorithms.interface import AnswerSpace, Records
    from trainer.algorithms.zeroth_order.codes import Code

Perturbation = Literal["rademacher", "segmented"]


class SPSASettings(NamedTuple):
    r"""Settings of :class:`SharedSPSA`; the defaults are those that BlackVIP published.

    The defaults are read from the authors' code (``changdaeoh/BlackVIP``: base configuration for ViT-B/16 and training
    script). The authors tuned :math:`c` in 0.005 ... 0.02, :math:`\gamma` in 0.1 ... 0.2 and :math:`\beta` in
    0.3 ... 0.95 for each data set.
    """

    batch: int
    """Images of a batch."""
    momentum: float = 0.9
    r""":math:`\beta` in [0, 1); 0 is plain SPSA."""
    radius: float = 0.01
    """:math:`c`, root mean square change of a pixel, in units of the pixel range."""
    radius_decay: float = 0.1
    r""":math:`\gamma`."""
    gain: float = 1.0
    """:math:`a`."""
    gain_decay: float = 0.4
    r""":math:`\alpha`."""
    offset: float = 1.0
    """:math:`o`."""
    directions: int = 5
    """:math:`q`."""
    images: int | None = None
    """Images over which a slope is averaged; ``None`` for the whole batch."""
    perturbation: Perturbation = "segmented"
    r"""Distribution of :math:`\Delta`: uniform on :math:`[-1, -\frac12] \cup [\frac12, 1]` (``"segmented"``), or signs
    (``"rademacher"``), which have the least variance."""


class SharedSPSA(SharedCode):
    r"""Simultaneous perturbation (Spall, 1992), with gradient correction as in BlackVIP (Oh et al., CVPR 2023).

    .. math::
        \hat g_k = \frac1q \sum_{j=1}^q D_{\Delta_j} \, \Delta_j^{-1}, \qquad
        m_k = \beta m_{k-1} + \hat g_k, \qquad
        \text{estimate} = a_k (\hat g_k + \beta m_k)

    with :math:`\Delta^{-1}` element by element, radius :math:`c_k = c / k^\gamma` and gain
    :math:`a_k = a \, ((1 + o) / (k + o))^\alpha` at the :math:`k`-th estimate. The momentum looks ahead as Nesterov's
    does, in the form that needs no gradient at another point.

    Our deviations: BlackVIP perturbs the weights of a small prompt network, we a displacement of the picture that the
    batch shares, so its :math:`c` is read as a change of a pixel. Its step size 0.01 multiplies a plain gradient step;
    our estimate goes through the protector's optimizer, so :math:`a = 1` and only the decay is kept.

    Args:
        space: Questions and answers.
        code: Directions in which images are moved.
        settings: Symbols of the equation and sizes.

    Raises:
        ValueError: If a setting is outside its range.
    """

    def __init__(self, space: AnswerSpace, code: Code, settings: SPSASettings) -> None:
        super().__init__(space, code, settings)
        decays = (settings.radius_decay, settings.gain_decay, settings.offset)
        if not 0 <= settings.momentum < 1 or settings.gain <= 0 or min(decays) < 0:
            raise ValueError(
                "momentum must be in [0, 1), gain must be positive, decays and offset not negative"
            )
        self._settings = settings
        self._average: Tensor | None = None

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the base and the momentum."""
        return super().state_dict() | {"average": self._average}

    def load_state_dict(self, state: dict[str, Any], recall: Callable[[], Records | None]) -> None:
        """Restore the state of the base and the momentum."""
        super().load_state_dict(state, recall)
        self._average = state["average"]

    def _current_radius(self) -> float:
        return self._radius / math.pow(self._estimates + 1, self._settings.radius_decay)

    def _draw(self, size: int, generator: torch.Generator) -> Tensor:
        signs = rademacher(self._directions, size, generator)
        if self._settings.perturbation == "rademacher":
            return signs
        return signs * (torch.rand(signs.shape, generator=generator) + 1) / 2

    def _combine(self, directions: Tensor, slopes: Tensor, known: Tensor) -> Tensor:
        momentum, offset = self._settings.momentum, self._settings.offset
        estimate = (slopes[known, None] / directions[known]).mean(dim=0)
        self._average = estimate if self._average is None else momentum * self._average + estimate
        decay = math.pow((1 + offset) / (self._estimates + offset), self._settings.gain_decay)
        return self._settings.gain * decay * (estimate + momentum * self._average)
