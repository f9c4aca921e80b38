"""Critical gradients: a memory of the few past gradients of the largest norm."""

from __future__ import annotations

import torch
from torch import Tensor


class CriticalGradients:
    r"""Memory of the few past gradients of the largest norm (McRae et al., ICLR 2022).

    A gradient enters with its norm as priority if there is room or if it beats the smallest. All priorities fade by the
    same factor with each new gradient, so that old gradients give way. The defaults are those of the authors' code
    (``chandar-lab/CGOptimizer``: ``topC=5``, ``decay=0.7``).

    Our deviation: the authors add the memory's mean or sum to every step; here the memory only tells
    :class:`~trainer.algorithms.zeroth_order.SharedRGF` which directions to probe.

    Args:
        capacity: Most gradients kept.
        decay: Factor of the priorities, in (0, 1].

    Raises:
        ValueError: If an argument is outside its range.
    """

    def __init__(self, capacity: int = 5, *, decay: float = 0.7) -> None:
        if capacity < 0 or not 0 < decay <= 1:
            raise ValueError("capacity must be 0 or more, and decay in (0, 1]")
        self._capacity, self._decay = capacity, decay
        self._gradients = torch.empty(0, 0)
        self._priorities = torch.empty(0)

    def __len__(self) -> int:
        return len(self._priorities)

    def add(self, gradient: Tensor) -> None:
        """Offer a new gradient, shape ``[d]``."""
        norm = gradient.norm()[None]
        priorities = torch.cat([self._priorities * self._decay, norm])
        gradients = torch.cat([self._gradients.view(len(self), len(gradient)), gradient[None]])
        kept = priorities.argsort(descending=True, stable=True)[: self._capacity]
        self._priorities, self._gradients = priorities[kept], gradients[kept]

    def directions(self, count: int) -> Tensor:
        """Orthonormalise the gradients in the order of falling priority.

        A gradient that depends on those before it, up to a thousandth of its norm, gives no direction.

        Args:
            count: Most directions.

        Returns:
            Orthonormal rows, shape ``[m, d]`` with ``m`` at most ``count``.
        """
        found: list[Tensor] = []
        for gradient in self._gradients:
            rest = gradient / gradient.norm().clamp(min=1e-12)
            for _ in range(2):  # once loses orthogonality to rounding when little is left
                for direction in found:
                    rest = rest - (direction * rest).sum() * direction
            if len(found) < count and float(rest.norm()) > 1e-3:
                found.append(rest / rest.norm())
        return torch.stack(found) if found else self._gradients[:0]

    def state_dict(self) -> dict[str, Tensor]:
        """Return the gradients and their priorities."""
        return {"gradients": self._gradients, "priorities": self._priorities}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore the gradients and their priorities."""
        self._gradients, self._priorities = state["gradients"], state["priorities"]
