"""The table model: how cells are written, and that every renderer shows the same."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from trainer.reporting.markdown import for_markdown
from trainer.reporting.rows import COUNT, DECIMAL, PERCENT, Cell, Column, Form, Row, Section, Table, figure
from trainer.reporting.terminal import for_terminal
from trainer.statistics import ConfidenceInterval

HALF = ConfidenceInterval(value=0.5, low=0.413, high=0.6)
TABLE = Table(
    "What was read",
    (Column("attribute", align="left"), Column("level 0.5", "balanced")),
    (
        Section((Row((Cell("hair"), figure(HALF))),), "ours", "100 pictures"),
        Section((Row((Cell("a|b [red]c[/red]"), figure(None))),)),
    ),
    "with intervals",
)


@pytest.mark.parametrize(
    ("cell", "line"),
    [
        (Cell("text"), "text"),
        (Cell(0.5), "0.50"),
        (Cell(-0.001), "0.00"),
        (Cell(-0.5), "-0.50"),
        (Cell(1234, form=COUNT), "1,234"),
        (figure(HALF), "0.50 [0.41, 0.60]"),
        (figure(HALF, PERCENT), "50% [41, 60]"),
        (figure(0.25, Form(3)), "0.250"),
        (figure(None), "not measured"),
        (figure(None, missing="-"), "-"),
        (Cell(0.5, note="(+7)"), "0.50 (+7)"),
    ],
)
def test_a_cell_is_written_with_its_interval_and_its_note(cell, line) -> None:
    assert cell.line == line


def test_a_decimal_is_written_as_an_interval_writes_itself() -> None:
    assert figure(HALF, DECIMAL).line == str(HALF)


def test_markdown_has_all_sections_and_keeps_a_pipe_inside_its_cell() -> None:
    assert for_markdown(TABLE).splitlines() == [
        "| attribute | level 0.5 balanced |",
        "|---|---|",
        "| **ours** 100 pictures |  |",
        "| hair | 0.50 [0.41, 0.60] |",
        "| a\\|b [red]c[/red] | not measured |",
        "",
        "with intervals",
    ]


def test_a_terminal_shows_all_sections_and_takes_no_text_for_markup() -> None:
    console = Console(file=io.StringIO(), width=100)
    console.print(for_terminal(TABLE))
    shown = console.file.getvalue()
    for text in (
        "What was read",
        "balanced",
        "ours 100 pictures",
        "0.50 [0.41, 0.60]",
        "a|b [red]c[/red]",
        "with intervals",
    ):
        assert text in shown


def test_rows_of_all_sections_come_in_order() -> None:
    assert [row.cells[0].text for row in TABLE.rows] == ["hair", "a|b [red]c[/red]"]
