"""The table model: a title, columns, and rows of typed cells in sections.

:mod:`~trainer.reporting.terminal`, :mod:`~trainer.reporting.html` and :mod:`~trainer.reporting.markdown` render it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from trainer.statistics import ConfidenceInterval

if TYPE_CHECKING:
    from collections.abc import Iterator

NOT_MEASURED: Final = "not measured"


class Form(NamedTuple):
    """The way in which a number is written."""

    digits: int = 2
    """Digits after the decimal point."""
    factor: float = 1.0
    """Factor by which the number is multiplied first."""
    unit: str = ""

    def write(self, value: float) -> str:
        """Write a number with its unit, and without a minus sign before zero.

        Example:
            >>> PERCENT.write(0.346), DECIMAL.write(-0.001)
            ('35%', '0.00')
        """
        return self.bare(value) + self.unit

    def bare(self, value: float) -> str:
        """Write a number without its unit, as at the ends of an interval."""
        return f"{value * self.factor:z,.{self.digits}f}"


DECIMAL: Final = Form()
PERCENT: Final = Form(0, 100.0, "%")
COUNT: Final = Form(0)


class Cell(NamedTuple):
    """A text, or a number with an interval if it has one."""

    content: str | float
    interval: tuple[float, float] | None = None
    """Ends of the interval."""
    form: Form = DECIMAL
    note: str = ""
    """Small print after the content."""

    @property
    def is_number(self) -> bool:
        """Whether the content is a number."""
        return not isinstance(self.content, str)

    @property
    def text(self) -> str:
        """The content as text, without interval and note."""
        return self.content if isinstance(self.content, str) else self.form.write(self.content)

    @property
    def ends(self) -> tuple[str, str] | None:
        """The ends of the interval as texts, without a unit."""
        if self.interval is None:
            return None
        low, high = self.interval
        return self.form.bare(low), self.form.bare(high)

    @property
    def line(self) -> str:
        """Content, interval in brackets, and note, on one line.

        Example:
            >>> Cell(0.346, (0.31, 0.4), PERCENT, "2 lost").line
            '35% [31, 40] 2 lost'
        """
        interval = "" if self.ends is None else f"[{self.ends[0]}, {self.ends[1]}]"
        return " ".join(filter(None, (self.text, interval, self.note)))


def figure(
    value: ConfidenceInterval | float | None, form: Form = DECIMAL, *, missing: str = NOT_MEASURED
) -> Cell:
    """Make the cell of a measured value.

    Args:
        value: The value, with or without an interval; ``None`` if there is none.
        form: The way in which it is written.
        missing: Text for ``None``.
    """
    if value is None:
        return Cell(missing)
    if isinstance(value, ConfidenceInterval):
        return Cell(value.value, (value.low, value.high), form)
    return Cell(value, None, form)


class Column(NamedTuple):
    """Heading of a column."""

    heading: str
    note: str = ""
    """Small print below the heading."""
    align: Literal["left", "right"] = "right"


class Row(NamedTuple):
    """Cells of all columns; the first one names the row."""

    cells: tuple[Cell, ...]
    mark: Literal["", "main", "ours"] = ""
    """``main`` is the most important row of its section, ``ours`` is about the engine under evaluation."""


class Section(NamedTuple):
    """Rows that belong together, with a heading of their own if they have one."""

    rows: tuple[Row, ...]
    heading: str = ""
    note: str = ""
    """Small print after the heading."""
    mark: Literal["", "ours"] = ""


class Table(NamedTuple):
    """A table, whoever renders it."""

    title: str
    columns: tuple[Column, ...]
    sections: tuple[Section, ...]
    caption: str = ""

    @property
    def rows(self) -> Iterator[Row]:
        """Rows of all sections."""
        return (row for section in self.sections for row in section.rows)
