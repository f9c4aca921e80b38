"""The row of the paper beside ours, for a published benchmark."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trainer.evaluation.protocols import measured
from trainer.evaluation.results import OURS
from trainer.reporting.rows import Cell, Column, Form, Row, Section, Table

if TYPE_CHECKING:
    from trainer.data.dataset import Dataset
    from trainer.evaluation.protocols import Measured, Protocol
    from trainer.evaluation.results import Report

_PER_CENT: Final = Form(1, 100.0)
_UNKNOWN: Final = "-"


def protocol_table(report: Report, dataset: Dataset, protocol: Protocol) -> Table:
    """Make the table of a benchmark: published figures, ours at every level, originals, and the floors of chance.

    Args:
        report: An evaluation of the data set.
        dataset: The data set, converted from the benchmark.
        protocol: The benchmark.
    """
    published = tuple(
        Row((Cell(row.method), Cell(_several(row.utility)), Cell(_several(row.leak))))
        for row in protocol.rows
    )
    points = [(f"ours, level {point.level:g}", measured(point, dataset)) for point in report.of(OURS)]
    originals = measured(report.originals, dataset)
    ours = tuple(_row(name, each, mark=True) for name, each in points)
    first = points[0][1] if points else originals
    floors = (
        Row(
            (
                Cell("chance: commonest answer, class prevalence"),
                _cell(first.utility_floor),
                _cell(first.leak_floor),
            )
        ),
    )
    columns = (Column("", align="left"), Column(protocol.utility, "%"), Column("cMAP", "%, lower hides more"))
    sections = (
        Section(published, "published"),
        Section((*ours, _row("originals", originals)), f"here, {report.model or 'without a chat model'}"),
        Section(floors, "floors"),
    )
    return Table(f"Protocol {protocol.name}", columns, sections, "; ".join(protocol.stand_ins))


def _row(name: str, figures: Measured, *, mark: bool = False) -> Row:
    return Row((Cell(name), _cell(figures.utility), _cell(figures.leak)), "ours" if mark else "")


def _cell(value: float | None) -> Cell:
    return Cell(_UNKNOWN) if value is None else Cell(value, None, _PER_CENT)


def _several(values: tuple[float, ...]) -> str:
    return " and ".join(f"{value:.1f}" for value in values) or _UNKNOWN
