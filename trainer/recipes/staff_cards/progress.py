"""Progress of the staff cards' recipe as lines of a log."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from trainer.evaluation import Phase
    from trainer.training.progress import Progress

_Told = TypeVar("_Told")
_logger = logging.getLogger(__name__)


def log_training() -> Callable[[Progress], None]:
    """Return a callback that logs every fiftieth training step once."""
    return _log_once(
        lambda told: (told.phase, told.step) if told.step % 50 == 0 else None,
        lambda told: f"{told.phase}: {told.step} of {told.steps}, {told.queries} queries",
    )


def log_evaluation() -> Callable[[Phase], None]:
    """Return a callback that logs every attack and every hundredth answer of an evaluation once."""
    return _log_once(
        lambda told: told if told.name == "attack" or told.done % 100 == 0 else None,
        lambda told: f"{told.name}: {told.done} of {told.of}",
    )


def _log_once(
    key: Callable[[_Told], Hashable | None], words: Callable[[_Told], str]
) -> Callable[[_Told], None]:
    """Return a callback that logs each key once; progress is also told while nothing changes.

    Args:
        key: Identifies a line; ``None`` logs nothing.
        words: The line.
    """
    seen: set[Hashable] = set()

    def tell(told: _Told) -> None:
        found = key(told)
        if found is not None and found not in seen:
            seen.add(found)
            _logger.info("%s", words(told))

    return tell
