"""Per-image differences: a random direction for each picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from trainer.algorithms.interface import AnswerSpace, Probes, Records, no_probes
from trainer.algorithms.zeroth_order.differences import (
    Asked,
    Differences,
    Measured,
    draw_pairs,
    linear_loss,
    rademacher,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainer.algorithms.zeroth_order.codes import Code


class PerImageDifferences(Differences):
    r"""Antithetic differences along one random direction per picture and question.

    .. math:: \hat g_i = \frac{B}{|R|} \, \frac{1}{q_i} \sum_{k=1}^{q_i} D_{u_k} Q u_k,
        \qquad u_k \in \{-1, 1\}^d \text{ uniformly}

    for the :math:`|R|` images of the batch that were asked about, :math:`q_i` times image :math:`i`. As
    :math:`E[u u^\top] = I` and the images are drawn uniformly, the mean over the batch is an unbiased estimate of the
    gradient, projected on the code's span, up to third-order terms in ``radius`` and the clamping to [0, 1].

    Source: Spall (1992) with one direction per image; whether it works in image space or in a space of operators is
    decided by ``code``.

    Args:
        space: Questions and answers.
        code: Directions in which images are moved.
        radius: Root mean square change of a pixel by a probe, in units of the pixel range.

    Raises:
        ValueError: If ``radius`` is not positive.
    """

    min_queries = 2

    def __init__(self, space: AnswerSpace, code: Code, *, radius: float = 0.08) -> None:
        super().__init__(space, code, radius=radius)
        self._gradient: Tensor | None = None
        self._value = torch.empty(0)

    def propose(
        self, images: Tensor, references: Tensor, quota: int, *, generator: torch.Generator
    ) -> Probes:
        """Move as many images as the quota allows, each both ways."""
        self._gradient, self._asked = None, None
        pairs = draw_pairs(references, quota // 2, generator=generator) if quota >= 2 else references[:0]
        if not len(pairs):
            return no_probes(images, references)
        directions = rademacher(len(pairs), self._code.size(images), generator)
        which = torch.arange(len(pairs))
        return self._ask(images, references, pairs, directions, which, radius=self._radius)

    def loss(self, images: Tensor, references: Tensor, *, generator: torch.Generator) -> Tensor:  # noqa: ARG002
        """Return the linear loss with the estimated gradient, shape ``[B]``.

        Its value is the measured loss of an image, or the running mean for an image that was not asked about.
        """
        if self._gradient is None:
            return torch.full((len(images),), self._typical)
        return linear_loss(images, self._gradient, self._value)

    def state_dict(self) -> dict[str, Any]:
        """Return the running mean of the measured loss."""
        return {"typical": self._typical}

    def load_state_dict(self, state: dict[str, Any], recall: Callable[[], Records | None]) -> None:  # noqa: ARG002
        """Restore the running mean of the measured loss."""
        self._typical = state["typical"]

    def _estimate(self, asked: Asked, measured: Measured) -> None:
        """Estimate the gradient of each image that was asked about."""
        rows = asked.rows[measured.pairs]
        directions = self._code.displacement(asked.images[rows], asked.directions[measured.pairs])
        times = torch.bincount(rows, minlength=len(asked.images))
        seen = times > 0
        times = times.clamp(min=1)
        gradient = torch.zeros_like(asked.images)
        gradient.index_add_(0, rows, measured.slopes[:, None, None, None] * directions)
        self._gradient = gradient / times[:, None, None, None] / seen.float().mean()
        value = torch.zeros(len(asked.images)).index_add_(0, rows, measured.losses) / times
        self._value = torch.where(seen, value, self._typical)
