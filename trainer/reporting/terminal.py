"""Tables for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import table as rich_table
from rich.markup import escape

if TYPE_CHECKING:
    from trainer.reporting.rows import Table


def for_terminal(table: Table) -> rich_table.Table:
    """Render a table with rich; a line separates its sections."""
    result = rich_table.Table(title=escape(table.title) or None, caption=escape(table.caption) or None)
    for column in table.columns:
        heading = "\n".join(filter(None, (column.heading, column.note)))
        result.add_column(escape(heading), justify=column.align)
    for section in table.sections:
        if section.heading:
            heading = " ".join(filter(None, (section.heading, section.note)))
            result.add_row(f"[bold]{escape(heading)}[/bold]")
        for row in section.rows:
            result.add_row(*(escape(cell.line) for cell in row.cells))
        result.add_section()
    return result
