"""A code shared by the batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from trainer.algorithms.interface import AnswerSpace, Probes, Records, no_probes
from trainer.algorithms.zeroth_order.differences import _Differences, _linear, draw_pairs

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainer.algorithms.zeroth_order.codes import Code


class _SharedCode(_Differences):
    """Estimates the gradient of the batch's mean loss on one displacement of all its images.

    Args:
        space: Questions and answers.
        code: Directions in which images are moved.
        batch: Images of a batch.
        radius: See :class:`_Differences`.
        directions: Directions per estimate.
        images: Images over which the slope along a direction is averaged; ``None`` for the whole batch.
    """

    def __init__(
        self,
        space: AnswerSpace,
        code: Code,
        *,
        batch: int,
        radius: float,
        directions: int,
        images: int | None,
    ) -> None:
        super().__init__(space, code, radius=radius)
        if directions < 1 or (images is not None and images < 1):
            raise ValueError("directions and images must be positive")
        self._directions = directions
        self._images = batch if images is None else min(images, batch)
        self._held: Tensor | None = None
        self._estimates = 0

    @property
    def min_queries(self) -> int:
        """Queries of the smallest estimate."""
        return 2 * self._directions * self._images

    def propose(
        self, images: Tensor, references: Tensor, quota: int, *, generator: torch.Generator
    ) -> Probes:
        """Move the same images both ways along each direction, once the quota has grown to a whole estimate."""
        self._asked = None
        per_image = 2 * self._directions
        if quota < self.min_queries:
            return no_probes(images, references)
        pairs = draw_pairs(references, quota // per_image, generator=generator)
        if not len(pairs):
            return no_probes(images, references)
        directions = self._draw(self._code.size(images), generator)
        which = torch.arange(len(directions)).repeat_interleave(len(pairs))
        pairs = pairs.repeat(len(directions), 1)
        return self._ask(images, references, pairs, directions, which, radius=self._current_radius())

    def observe(self, records: Records, probes: Probes) -> None:
        """See :meth:`UtilityEstimator.observe`."""
        asked = self._asked
        if asked is None:
            raise ValueError("nothing was proposed")
        measured = self._measure(asked, records, probes)
        if not len(measured.pairs):
            return
        which = asked.which[measured.pairs]
        times = torch.bincount(which, minlength=len(asked.directions))
        sums = torch.zeros(len(asked.directions)).index_add_(0, which, measured.slopes)
        self._estimates += 1
        self._held = self._combine(asked.directions, sums / times.clamp(min=1), times > 0)

    def loss(self, images: Tensor, references: Tensor, *, generator: torch.Generator) -> Tensor:  # noqa: ARG002
        """See :meth:`UtilityEstimator.loss`; its value is the typical measured loss."""
        value = torch.full((len(images),), self._typical)
        if self._held is None:
            return value
        still = images.detach()
        return _linear(images, self._code.displacement(still, self._held.expand(len(images), -1)), value)

    def state_dict(self) -> dict[str, Any]:
        """The last estimate, how many there were, and the running mean of the measured loss."""
        return {"typical": self._typical, "held": self._held, "estimates": self._estimates}

    def load_state_dict(self, state: dict[str, Any], recall: Callable[[], Records | None]) -> None:  # noqa: ARG002
        """See :meth:`UtilityEstimator.load_state_dict`."""
        self._typical, self._held, self._estimates = state["typical"], state["held"], state["estimates"]

    def _current_radius(self) -> float:
        return self._radius

    def _draw(self, size: int, generator: torch.Generator) -> Tensor:
        """Directions of the next estimate, shape ``[q, d]``, with a mean square of 1 over the coordinates."""
        raise NotImplementedError

    def _combine(self, directions: Tensor, slopes: Tensor, known: Tensor) -> Tensor:
        """Turn slopes into an estimate.

        Args:
            directions: As drawn, shape ``[q, d]``.
            slopes: Mean slope along each, shape ``[q]``.
            known: Whether a slope was measured, boolean, shape ``[q]``; at least one was.

        Returns:
            The gradient on the code, shape ``[d]``.
        """
        raise NotImplementedError
