"""Tables as Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trainer.reporting.rows import Table


def for_markdown(table: Table) -> str:
    """Render a table, without its title; the caption is a paragraph below it."""
    lines = [_line(" ".join(filter(None, (each.heading, each.note))) for each in table.columns)]
    lines.append("|---" * len(table.columns) + "|")
    for section in table.sections:
        if section.heading:
            heading = " ".join(filter(None, (f"**{section.heading}**", section.note)))
            lines.append(_line([heading] + [""] * (len(table.columns) - 1)))
        lines += [_line(cell.line for cell in row.cells) for row in section.rows]
    return "\n".join([*lines, "", table.caption] if table.caption else lines)


def _line(texts: Iterable[str]) -> str:
    return "| " + " | ".join(text.replace("|", "\\|") for text in texts) + " |"
