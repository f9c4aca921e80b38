"""Progress of a training run."""

from __future__ import annotations

from typing import Literal, NamedTuple

Phase = Literal["assessor", "student", "protector", "reading", "admission", "validation", "domain"]


class Progress(NamedTuple):
    """Progress of a training run."""

    phase: Phase
    step: int
    """Steps of the phase that are finished."""
    steps: int
    """Steps of the phase in all."""
    queries: int
    """Paid queries so far, over every run that shares the ledger."""
    max_queries: int
    cost: float
    """US dollars so far."""
    utility: float | None = None
    """Share of right answers among the latest."""
    leak: float | None = None
    """Leak to the training assessor lately, over all levels: 0 at chance, 1 where everything is read."""
