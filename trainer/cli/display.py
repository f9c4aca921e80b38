"""Progress of a training run, as one live bar per phase."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from langchain_vpp.cli.display import Display
    from trainer.training.trainer import Progress


def show_training(display: Display, progress: Progress) -> None:
    """Show how far a training run is, what it has spent, and what was measured last."""
    facts = [f"queries {progress.queries}/{progress.max_queries}"]
    facts += [f"${progress.cost:.4f}"] if progress.cost else []
    facts += [f"utility {progress.utility:.2f}"] if progress.utility is not None else []
    facts += [f"leak {progress.leak:.2f}"] if progress.leak is not None else []
    display.show(progress.phase, progress.step, progress.steps, ", ".join(facts))
