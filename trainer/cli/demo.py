"""``vpp demo``: the whole job on drawn data and a local model."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from langchain_vpp.cli.display import console, print_json, table, watched
from langchain_vpp.cli.options import JsonOption  # noqa: TC001  typer reads annotations
from trainer.cli.display import show_training
from trainer.cli.options import require_packages

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from trainer.recipes.demo import Outcome


def demo(
    *,
    out: Annotated[
        Path, typer.Option("--out", help="Folder for everything; an unfinished demo in it goes on.")
    ] = Path("vpp-demo"),
    seed: Annotated[int, typer.Option("--seed", min=0, max=2**31 - 1)] = 0,
    smoke: Annotated[bool, typer.Option("--smoke", hidden=True)] = False,
    as_json: JsonOption = False,
) -> None:
    """Run the whole job on drawn data and a local model: train, measure, talk. About 4 minutes on 2 cores."""
    require_packages("starlette", "uvicorn", extra="demo")
    from trainer.recipes.demo import SMOKE, DemoPlan, Files, run_demo  # noqa: PLC0415  loads torch
    from trainer.reporting.tables import evaluation_tables  # noqa: PLC0415
    from trainer.reporting.terminal import for_terminal  # noqa: PLC0415

    outcome = watched(
        lambda display: run_demo(
            out,
            seed=seed,
            plan=SMOKE if smoke else DemoPlan(),
            on_training=partial(show_training, display),
            on_stage=display.show,
        ),
        "run the same command again to go on.",
    )
    if as_json:
        print_json(
            {
                "verdict": outcome.verdict._asdict(),
                "balanced_level": outcome.balanced_level,
                "conversation": [exchange._asdict() for exchange in outcome.conversation],
                "files": {name: str(path) for name, path in Files.under(out)._asdict().items()},
            }
        )
    shown = console()
    for each in evaluation_tables(outcome.report):
        shown.print(for_terminal(each))
    shown.print(_conversation(outcome))
    _print_summary(shown, outcome)
    shown.print(
        f"Everything is in {out}: artifact, report.html, report.json, front.svg, contact_sheet.png.",
        highlight=False,
    )


def _conversation(outcome: Outcome) -> Table:
    from rich.text import Text  # noqa: PLC0415

    title = "three questions about a test picture"
    shown = table(
        title, "question", "truth", "before (original sent)", "balanced", "most private", numbers=False
    )
    for each in outcome.conversation:
        kind = "private" if each.private else "task"
        cells = (f"{kind}: {each.question}", each.truth, each.before, each.balanced, each.most_private)
        shown.add_row(*(Text(cell) for cell in cells))
    shown.caption = (
        "before: the bare model, which was sent the original drawing. "
        "balanced, most private: protector | model | StrOutputParser() "
        f"at level {outcome.balanced_level:g} and at level 1."
    )
    return shown


def _print_summary(shown: Console, outcome: Outcome) -> None:
    summary = outcome.verdict
    lines = []
    if summary.advantage is not None:
        best = f"the best classical engine's ({summary.best_baseline})"
        lines.append(f"The front's hypervolume is {summary.advantage:.2f} times {best}.")
    if summary.private_excess is not None:
        points = max(0.0, summary.private_excess) * 100
        lines.append(
            f"At the most private level, private questions are within {points:.0f} points of chance."
        )
    lines.append(
        f"At the balanced level, the task keeps {summary.task_kept:.0%} of its accuracy on originals."
    )
    for line in lines:
        shown.print(line, highlight=False)
