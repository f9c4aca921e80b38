"""Progress of a training run, as one live bar per phase, and what came back."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from langchain_vpp.cli.display import Display
    from trainer.oracle.oracle import Counts
    from trainer.training.progress import Progress


def show_training(display: Display, progress: Progress) -> None:
    """Show how far a training run is, what it has spent, and what was measured last."""
    facts = [f"queries {progress.queries}/{progress.max_queries}"]
    facts += [f"${progress.cost:.4f}"] if progress.cost else []
    facts += [f"utility {progress.utility:.2f}"] if progress.utility is not None else []
    facts += [f"leak {progress.leak:.2f}"] if progress.leak is not None else []
    display.show(progress.phase, progress.step, progress.steps, ", ".join(facts))


def answers_line(counts: Counts) -> str:
    """Describe in one line what came back; nothing if nothing was asked."""
    kinds = {
        "usable": counts.answered,
        "refused": counts.refused,
        "empty": counts.empty,
        "fit no choice": counts.unfit,
        "without the log-probabilities": counts.malformed_logprobs,
    }
    answers = ", ".join(f"{count} {kind}" for kind, count in kinds.items() if count)
    failures = f"{counts.failed} requests failed and were sent again" if counts.failed else ""
    doubt = (
        f"{counts.unanswered} requests got no answer in time, or none that could be read, and may be charged"
        if counts.unanswered
        else ""
    )
    unmetered = (
        f"{counts.unmetered} answers name no tokens: their cost is an estimate" if counts.unmetered else ""
    )
    pictures = ", ".join(digest[:12] for digest in dict.fromkeys(counts.put_aside))
    aside = (
        f"{len(counts.put_aside)} questions were put aside, because the provider failed on them again and again and "
        f"answered others (digests of their pictures, which the ledger holds: {pictures})"
        if pictures
        else ""
    )
    facts = "; ".join(filter(None, (answers, failures, doubt, unmetered, aside)))
    return facts and f"answers: {facts}."
