"""Estimates on one displacement that the whole batch shares: the part that SPSA and RGF have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from trainer.algorithms.interface import AnswerSpace, Probes, Records, no_probes
from trainer.algorithms.zeroth_order.differences import Asked, Differences, Measured, draw_pairs, linear_loss

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainer.algorithms.zeroth_order.codes import Code


class SharedSettings(Protocol):
    """Settings that every estimator on a shared code has."""

    @property
    def batch(self) -> int:
        """Images of a batch."""

    @property
    def radius(self) -> float:
        """Root mean square change of a pixel by a probe along a direction of coordinates +-1, in units of the range."""

    @property
    def directions(self) -> int:
        """Directions per estimate."""

    @property
    def images(self) -> int | None:
        """Images over which the slope along a direction is averaged; ``None`` for the whole batch."""


class SharedCode(Differences):
    """Base of the estimators of the batch's mean loss as a function of one displacement of all its images.

    Args:
        space: Questions and answers.
        code: Directions in which images are moved.
        settings: Sizes and radius.

    Raises:
        ValueError: If ``radius``, ``directions`` or ``images`` is not positive.
    """

    def __init__(self, space: AnswerSpace, code: Code, settings: SharedSettings) -> None:
        super().__init__(space, code, radius=settings.radius)
        batch, images = settings.batch, settings.images
        if settings.directions < 1 or (images is not None and images < 1):
            raise ValueError("directions and images must be positive")
        self._directions = settings.directions
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

    def loss(self, images: Tensor, references: Tensor, *, generator: torch.Generator) -> Tensor:  # noqa: ARG002
        """Return the linear loss with the held gradient, shape ``[B]``; its value is the running mean."""
        value = torch.full((len(images),), self._typical)
        if self._held is None:
            return value
        still = images.detach()
        return linear_loss(images, self._code.displacement(still, self._held.expand(len(images), -1)), value)

    def state_dict(self) -> dict[str, Any]:
        """Return the held estimate, the number of estimates, and the running mean of the measured loss."""
        return {"typical": self._typical, "held": self._held, "estimates": self._estimates}

    def load_state_dict(self, state: dict[str, Any], recall: Callable[[], Records | None]) -> None:  # noqa: ARG002
        """Restore the held estimate, the number of estimates, and the running mean."""
        self._typical, self._held, self._estimates = state["typical"], state["held"], state["estimates"]

    def _estimate(self, asked: Asked, measured: Measured) -> None:
        """Estimate the gradient on the code, and hold it until the next estimate."""
        which = asked.which[measured.pairs]
        times = torch.bincount(which, minlength=len(asked.directions))
        sums = torch.zeros(len(asked.directions)).index_add_(0, which, measured.slopes)
        self._estimates += 1
        self._held = self._combine(asked.directions, sums / times.clamp(min=1), times > 0)

    def _current_radius(self) -> float:
        return self._radius

    def _draw(self, size: int, generator: torch.Generator) -> Tensor:
        """Draw the directions of the next estimate, shape ``[q, d]``, with a mean square of 1 over the coordinates."""
        raise NotImplementedError

    def _combine(self, directions: Tensor, slopes: Tensor, known: Tensor) -> Tensor:
        """Turn slopes into an estimate.

        Args:
            directions: As drawn, shape ``[q, d]``.
            slopes: Mean slope along each direction, shape ``[q]``.
            known: Whether a slope was measured, boolean, shape ``[q]``; at least one was.

        Returns:
            The gradient on the code, shape ``[d]``.
        """
        raise NotImplementedError
