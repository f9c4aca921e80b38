"""The table and the page about pictures without labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from markupsafe import Markup

from trainer.reporting.files import writing
from trainer.reporting.markup import fill
from trainer.reporting.page import embedded, policy, shown
from trainer.reporting.pictures import PictureRow
from trainer.reporting.rows import PERCENT, Cell, Column, Row, Section, Table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from PIL import Image

    from trainer.evaluation.unlabelled import UnlabelledReport
    from trainer.evaluation.word_results import Share

    Kept = Sequence[tuple[Image.Image, Mapping[str, Image.Image]]]
    """Originals, each with its copies by level."""


def unlabelled_table(report: UnlabelledReport) -> Table:
    """Make the table of what is still given away at each level."""
    levels = report.levels
    sections = [
        Section(
            tuple(
                Row(
                    (
                        Cell(f"original found by {name}"),
                        *(_share(each.linked[name]) for each in levels),
                        Cell(report.chance, None, PERCENT),
                    ),
                    "main",
                )
                for name in levels[0].linked
            )
        ),
        Section(
            tuple(
                Row(
                    (
                        Cell(f"words read by {name}"),
                        *(_share(each.words[name]) for each in levels),
                        Cell("-") if floor is None else Cell(floor, None, PERCENT),
                    )
                )
                for name, floor in report.words_by_chance.items()
            )
        ),
        Section(
            (
                Row((Cell("faces found"), *(_share(each.faces) for each in levels), Cell("-"))),
                Row(
                    (
                        Cell("mean change of a pixel"),
                        *(Cell(each.changed, None, PERCENT) for each in levels),
                        Cell("-"),
                    )
                ),
            )
        ),
    ]
    columns = (Column("", align="left"), *(Column(each.level) for each in levels), Column("by chance"))
    caption = f"{report.artifact}, {report.pictures} pictures; 95 % intervals by Wilson"
    return Table("Pictures without labels", columns, tuple(sections), caption)


def picture_rows_of(kept: Kept, levels: Sequence[str]) -> tuple[PictureRow, ...]:
    """Arrange originals and protected copies: a row for each level, below the *unprotected* one."""
    rows = [PictureRow("original", False, tuple(image for image, _ in kept))]  # noqa: FBT003
    rows += [PictureRow(level, True, tuple(copies[level] for _, copies in kept)) for level in levels]  # noqa: FBT003
    return tuple(rows)


def save_unlabelled(report: UnlabelledReport, path: Path, kept: Kept) -> None:
    """Write a page with the pictures before and after, for the owner of the pictures.

    Raises:
        TrainingError: If the file can't be written.
    """
    style = fill("report.css")
    rows = picture_rows_of(kept, [each.level for each in report.levels])
    page = fill(
        "unlabelled.html",
        style=Markup(style),  # noqa: S704  this package's own sheet
        policy=policy(style, with_pictures=bool(kept)),
        report=report,
        shown=shown,
        tables={"measures": unlabelled_table(report)},
        pictures=[embedded(row) for row in rows] if kept else [],
        holds_originals=bool(kept),
    )
    with writing("page", path):
        path.write_text(page, encoding="utf-8")


def _share(share: Share | None) -> Cell:
    if share is None:
        return Cell("not measured")
    if share.value is None or share.low is None or share.high is None:
        return Cell("none in originals")
    return Cell(share.value, (share.low, share.high), PERCENT, f"of {share.of}")
