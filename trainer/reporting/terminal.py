"""Results as tables on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from trainer.evaluation.drift import DriftReport
    from trainer.evaluation.transfer import TransferReport


def transfer_tables(report: TransferReport) -> list[Table]:
    """Utility by level and model, and what is lost of each question."""
    first, *others = report.models
    front = Table(
        "level", *(each.model for each in report.models), *(f"lost by {each.model}" for each in others)
    )
    front.title, front.title_justify = "Utility of the same pictures", "left"
    for points in zip(*(each.points for each in report.models), strict=True):
        cells = [point.utility for point in points] + [point.lost for point in points[1:]]
        front.add_row(f"{points[0].level:.2f}", *(str(cell or "-") for cell in cells))
    result = [front]
    for other in others:
        table = Table("question", *(f"{point.level:.2f}" for point in other.points))
        table.title, table.title_justify = f"Lost by {other.model} against {first.model}", "left"
        lost = [{each.question: each.lost for each in point.lost_by_question} for point in other.points]
        for question in dict.fromkeys(name for each in lost for name in each):
            table.add_row(question, *(str(each.get(question, "-")) for each in lost))
        result.append(table)
    return result


def drift_table(report: DriftReport) -> Table:
    """The manifest's front and what is measured now."""
    result = Table("level", "manifest", "now", "answers", "refused", "")
    result.title, result.title_justify = "Utility", "left"
    for point in report.points:
        cells = (f"{point.manifest:.2f}", str(point.live or "-"), str(point.answers), str(point.refused))
        result.add_row(f"{point.level:.2f}", *cells, "drifted" if point.drifted else "")
    return result
