"""Progress of the staff cards' recipe, as lines of a log."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainer.evaluation.evaluate import Phase
    from trainer.training.trainer import Progress

_logger = logging.getLogger(__name__)


def _phase_teller() -> Callable[[Phase], None]:
    """Log every attack that is done and every hundredth answer, once: progress is also told while nothing changes."""
    told: set[Phase] = set()

    def tell(phase: Phase) -> None:
        if phase not in told and (phase.name == "attack" or phase.done % 100 == 0):
            told.add(phase)
            _logger.info("%s: %d of %d", phase.name, phase.done, phase.of)

    return tell


def _teller() -> Callable[[Progress], None]:
    """Log every fiftieth step once; progress is also told for each answer that arrives within a step."""
    told: set[tuple[str, int]] = set()

    def tell(progress: Progress) -> None:
        if progress.step % 50 == 0 and (progress.phase, progress.step) not in told:
            told.add((progress.phase, progress.step))
            _logger.info(
                "%s: %d of %d, %d queries", progress.phase, progress.step, progress.steps, progress.queries
            )

    return tell
