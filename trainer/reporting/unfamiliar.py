"""Table and page about pictures of kinds that an artifact was not made for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer.evaluation.unfamiliar import FAMILIAR
from trainer.reporting.files import writing
from trainer.reporting.html import render_tables
from trainer.reporting.markdown import for_markdown
from trainer.reporting.rows import COUNT, Cell, Column, Form, Row, Section, Table
from trainer.statistics import wilson

if TYPE_CHECKING:
    from pathlib import Path

    from trainer.evaluation.unfamiliar import UnfamiliarKind, UnfamiliarReport

_SHARE = Form(1, 100.0, "%")
_HEADINGS = ("kind", "pictures", "covered", "covered at level 0", "that show a private text")


def unfamiliar_table(report: UnfamiliarReport) -> Table:
    """Make the table: a row for each kind, the familiar pictures first."""
    familiar = [each for each in report.kinds if each.kind == FAMILIAR]
    known = [each for each in report.kinds if each.fitted_against]
    others = [each for each in report.kinds if each not in familiar and each not in known]
    sections = [
        Section(tuple(map(_row, kinds)), heading)
        for heading, kinds in (
            ("made for", familiar),
            ("other kinds, which its statistics have not seen", others),
            ("other kinds, against which its statistics were fitted", known),
        )
        if kinds
    ]
    caption = (
        f"At level {report.level:g}; shares with Wilson's 95% intervals. A text is shown if at least 60% of its "
        "characters were read, in their order."
    )
    return Table("Pictures of other kinds", tuple(map(Column, _HEADINGS)), tuple(sections), caption)


def _row(kind: UnfamiliarKind) -> Row:
    shown = Cell("-") if kind.shown is None else Cell(kind.shown, form=COUNT, note=f"of {kind.private}")
    counts = (_share(count, kind.pictures) for count in (kind.covered, kind.covered_least))
    return Row((Cell(kind.kind), Cell(kind.pictures, form=COUNT), *counts, shown))


def _share(count: int, of: int) -> Cell:
    if not of:
        return Cell("-")
    low, high = wilson(count / of, of)
    return Cell(count / of, (max(0.0, low), min(1.0, high)), _SHARE)


def save_markdown(report: UnfamiliarReport, path: Path) -> None:
    """Write the table as Markdown.

    Raises:
        TrainingError: If the file can't be written.
    """
    with writing("table", path):
        path.write_text(for_markdown(unfamiliar_table(report)) + "\n", encoding="utf-8")


def save_page(report: UnfamiliarReport, path: Path) -> None:
    """Write the table as a page, which a browser shows offline.

    Raises:
        TrainingError: If the file can't be written.
    """
    table = unfamiliar_table(report)
    with writing("page", path):
        path.write_text(render_tables(table.title, [table], report.warnings), encoding="utf-8")
