"""Results as tables on a terminal."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING, Literal

from rich.table import Table

from trainer.algorithms.pareto import NonDominatedArchive
from trainer.evaluation.results import OURS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trainer.evaluation.drift import DriftReport
    from trainer.evaluation.results import OperatingPoint, Reading, Report
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


def tables(report: Report) -> list[Table]:
    """The front, the private attributes, the chat model's answers if it was asked, and the comparison."""
    result = [_front_table(report), _readings_table(report, "Read by attackers", "attributes", OURS)]
    if any(point.repeated for point in report.points):
        result.append(_readings_table(report, "Read in averages of repeated queries", "repeated", OURS))
    if any(point.identity or point.restored or point.words for point in report.points):
        result.append(_further_table(report))
    if any(point.tasks for point in report.points):
        result.append(_readings_table(report, "Tasks answered by the chat model", "tasks", OURS))
    if any(point.private_answers for point in report.points):
        result.append(
            _readings_table(report, "Private questions answered by the chat model", "private_answers", OURS)
        )
    return [*result, _comparison_table(report)]


def _front_table(report: Report) -> Table:
    readings = leading(report.originals)
    floor, ceiling = fmean(each.chance for each in readings), _mean_accuracy(readings)
    table = Table(
        title="Privacy and utility on the test split",
        caption=f"leak 0 = chance floor (mean accuracy {floor:.2f}), 1 = originals (mean accuracy {ceiling:.2f}); "
        "95 % intervals in brackets; * no other row has less leak and more utility",
    )
    for heading in ("engine", "level", "attacker's accuracy", "leak", "utility", "best"):
        table.add_column(heading, justify="left" if heading == "engine" else "right")
    best = best_of_all(report)
    for engine in report.engines:
        for point in report.of(engine):
            table.add_row(
                engine,
                f"{point.level:g}",
                f"{_mean_accuracy(leading(point)):.2f}",
                str(point.leak or "not measured"),
                str(point.utility or "not measured"),
                "*" if (engine, point.level) in best else "",
            )
        table.add_section()
    return table


def leading(point: OperatingPoint) -> tuple[Reading, ...]:
    """Readings of the attributes by the reader whose mean is the leak: the strongest, or the only one."""
    return tuple(each for each in point.attributes if each.reader == point.attributes[0].reader)


def best_of_all(report: Report) -> set[tuple[str, float]]:
    """Engine and level of the useful points that no other engine or level beats."""
    archive: NonDominatedArchive[tuple[str, float]] = NonDominatedArchive()
    for engine in report.engines:
        for point in report.of(engine):
            if point.leak and point.utility and point.utility.value > 0:
                archive.add(point.leak.value, point.utility.value, (engine, point.level))
    return {point.payload for point in archive.points}


def _readings_table(
    report: Report,
    title: str,
    kind: Literal["attributes", "tasks", "private_answers", "repeated"],
    engine: str,
) -> Table:
    """Accuracies of one engine: a row for each attribute or question, a column for each level."""
    points = report.of(engine)
    table = Table(title=title, caption="accuracy; (+n): n refusals or answers that name no class")
    table.add_column("")
    table.add_column("by")
    for heading in ("chance", "originals", *(f"level {point.level:g}" for point in points)):
        table.add_column(heading, justify="right")
    columns: list[dict[tuple[str, str], Reading]] = [
        {(each.reader, each.subject): each for each in getattr(point, kind)}
        for point in (report.originals, *points)
    ]
    for key in dict.fromkeys(key for column in columns for key in column):
        chance = next(column[key].chance for column in columns if key in column)
        table.add_row(key[1], key[0], f"{chance:.2f}", *(_cell(column.get(key)) for column in columns))
    return table


def _further_table(report: Report) -> Table:
    """Identity, reconstruction and text: a row for each figure, a column for each of our levels."""
    points = (report.originals, *report.of(OURS))
    table = Table(title="Other attacks")
    table.add_column("")
    for heading in ("floor", "originals", *(f"level {point.level:g}" for point in points[1:])):
        table.add_column(heading, justify="right")
    rows: dict[str, tuple[str, dict[int, str]]] = {}
    for number, point in enumerate(points):
        figures = [
            (f"found among {each.gallery}, top 1", f"{each.top1_floor:.2f}", each.top1)
            for each in point.identity
        ]
        figures += [(f"{each.subject} read", f"{each.exact_floor:.2f}", each.exact) for each in point.words]
        if point.restored:
            figures.append(
                ("SSIM of reconstructions", f"{point.restored.ssim_floor:.2f}", point.restored.ssim)
            )
        for label, floor, estimate in figures:
            rows.setdefault(label, (floor, {}))[1][number] = f"{estimate.value:.2f}"
    for label, (floor, values) in rows.items():
        table.add_row(label, floor, *(values.get(number, "") for number in range(len(points))))
    return table


def _comparison_table(report: Report) -> Table:
    best, advantage = report.best_baseline, report.advantage
    ratio = f"ours is {advantage:.2f} x the best classical engine ({best})" if advantage else ""
    table = Table(title="Hypervolume: area dominated, of 1", caption=ratio)
    table.add_column("engine")
    table.add_column("hypervolume", justify="right")
    for engine in report.engines:
        volume = report.hypervolume(engine)
        table.add_row(engine, "not measured" if volume is None else f"{volume:.3f}")
    return table


def _cell(reading: Reading | None) -> str:
    if reading is None:
        return "not asked"
    value = f"{reading.accuracy.value:.2f}" if reading.accuracy else "none"
    return f"{value} (+{reading.unusable})" if reading.unusable else value


def _mean_accuracy(readings: Iterable[Reading]) -> float:
    return fmean(each.accuracy.value for each in readings if each.accuracy)
