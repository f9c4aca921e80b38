"""Processes that train one protector together, each on a part of every batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from torch import Tensor, nn

_T = TypeVar("_T")


class Processes(Protocol):
    """Processes that run the same program with the same seed, in step.

    The first one alone writes files and asks the chat model. Everything else each process computes for itself, so that
    all hold the same networks; only the rows of a batch are divided.
    """

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes and asks."""

    @property
    def count(self) -> int:
        """Number of the processes."""

    def from_first(self, produce: Callable[[], _T]) -> _T:
        """Call a function in the first process, and return its result, or raise its error, in all of them."""

    def rows(self, function: Callable[..., Tensor], *columns: Tensor) -> Tensor:
        """Apply a function to rows, each process to its own, and return the results of all, in their order.

        The result is differentiable. Gradients of a loss that every process computes from all rows reach the rows of
        this process only: :meth:`add_up` completes them.

        Args:
            function: Maps a row of each column to a row; rows must not depend on each other.
            columns: Tensors with as many rows as the batch.
        """

    def add_up(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace the gradients of weights by their sums over the processes."""

    def require_same(self, digest: str) -> None:
        """Refuse to go on unless all processes hold the same.

        Raises:
            TrainingError: In all of them, if one holds something else.
        """


class Alone:
    """One process that does everything."""

    is_first = True
    count = 1

    def from_first(self, produce: Callable[[], _T]) -> _T:
        """Call a function."""
        return produce()

    def rows(self, function: Callable[..., Tensor], *columns: Tensor) -> Tensor:
        """Apply a function to all rows."""
        return function(*columns)

    def add_up(self, parameters: Iterable[nn.Parameter]) -> None:
        """Leave the gradients as they are."""

    def require_same(self, digest: str) -> None:
        """Go on: there is nobody to compare with."""
