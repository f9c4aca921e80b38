"""Tables on a terminal: the chance floor, refusals, the ratio, and what was not measured."""

from __future__ import annotations

import io

from rich.console import Console

from tests.made_reports import report
from trainer.evaluation.results import Report  # noqa: TC001
from trainer.reporting.tables import evaluation_tables
from trainer.reporting.terminal import for_terminal


def _text(measured: Report) -> str:
    console = Console(file=io.StringIO(), width=120)
    for table in evaluation_tables(measured):
        console.print(for_terminal(table))
    return console.file.getvalue()


def test_tables_print_the_chance_floor_the_refusals_and_the_ratio() -> None:
    text = _text(report())
    assert "chance floor (mean accuracy 0.27)" in text
    assert "(+7)" in text
    assert "2.50 x the best" in text


def test_points_that_nothing_beats_are_marked() -> None:
    front = for_terminal(evaluation_tables(report())[0])
    marks = dict(
        zip(
            zip(*(column.cells for column in front.columns[:2]), strict=True),
            front.columns[-1].cells,
            strict=True,
        )
    )
    assert marks == {("ours", "0"): "*", ("ours", "1"): "*", ("blur", "0.5"): "", ("blur", "0.8"): ""}


def test_tables_of_an_evaluation_without_a_chat_model_say_so() -> None:
    text = _text(report(asked=False))
    assert "not measured" in text
    assert "Tasks answered" not in text
