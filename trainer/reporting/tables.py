"""Tables about reports, short enough for a terminal: evaluations, drift checks and transfer tests."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING, Literal

from trainer.algorithms.pareto import NonDominatedArchive
from trainer.evaluation.results import OURS
from trainer.reporting.rows import COUNT, Cell, Column, Form, Row, Section, Table, figure

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from trainer.evaluation.drift import DriftReport
    from trainer.evaluation.results import OperatingPoint, Reading, Report
    from trainer.evaluation.transfer import ModelFront, TransferReport


def evaluation_tables(report: Report) -> list[Table]:
    """Make the tables of the front, of everything that was read and answered, and of the hypervolumes."""
    result = [_front_table(report), _readings_table(report, "Read by attackers", "attributes")]
    if any(point.repeated for point in report.points):
        result.append(_readings_table(report, "Read in averages of repeated queries", "repeated"))
    if any(point.identity or point.restored or point.words for point in report.points):
        result.append(_further_table(report))
    if any(point.tasks for point in report.points):
        result.append(_readings_table(report, "Tasks answered by the chat model", "tasks"))
    if any(point.private_answers for point in report.points):
        result.append(
            _readings_table(report, "Private questions answered by the chat model", "private_answers")
        )
    return [*result, _hypervolume_table(report)]


def drift_table(report: DriftReport) -> Table:
    """Make the table of the manifest's front and of the utility now."""
    rows = tuple(
        Row(
            (
                Cell(point.level),
                Cell(point.manifest),
                figure(point.live, missing="-"),
                Cell(point.answers, form=COUNT),
                Cell(point.refused, form=COUNT),
                Cell("drifted" if point.drifted else ""),
            )
        )
        for point in report.points
    )
    headings = ("level", "manifest", "now", "answers", "refused")
    columns = (*map(Column, headings), Column("", align="left"))
    return Table("Utility", columns, (Section(rows),))


def transfer_tables(report: TransferReport) -> list[Table]:
    """Make the table of utility by level and model, and one of each further model's losses by question."""
    others = report.models[1:]
    headings = (
        "level",
        *(each.model for each in report.models),
        *(f"lost by {each.model}" for each in others),
    )
    rows = []
    for points in zip(*(each.points for each in report.models), strict=True):
        cells = [point.utility for point in points] + [point.lost for point in points[1:]]
        rows.append(Row((Cell(points[0].level), *(figure(each, missing="-") for each in cells))))
    front = Table("Utility of the same pictures", tuple(map(Column, headings)), (Section(tuple(rows)),))
    return [front, *(_losses_table(other, report.models[0]) for other in others)]


def best_points(report: Report) -> frozenset[tuple[str, float]]:
    """Select engine and level of the useful points that no other engine or level beats."""
    archive: NonDominatedArchive[tuple[str, float]] = NonDominatedArchive()
    for engine in report.engines:
        for point in report.of(engine):
            if point.leak and point.utility and point.utility.value > 0:
                archive.add(point.leak.value, point.utility.value, (engine, point.level))
    return frozenset(point.payload for point in archive.points)


def _front_table(report: Report) -> Table:
    readings = report.originals.leading
    floor, ceiling = fmean(each.chance for each in readings), _mean_accuracy(readings)
    best = best_points(report)
    sections = []
    for engine in report.engines:
        rows = [
            Row(
                (
                    Cell(engine),
                    Cell(f"{point.level:g}"),
                    Cell(_mean_accuracy(point.leading)),
                    figure(point.leak),
                    figure(point.utility),
                    Cell("*" if (engine, point.level) in best else ""),
                )
            )
            for point in report.of(engine)
        ]
        sections.append(Section(tuple(rows)))
    headings = ("level", "attacker's accuracy", "leak", "utility", "best")
    return Table(
        "Privacy and utility on the test split",
        (Column("engine", align="left"), *map(Column, headings)),
        tuple(sections),
        f"leak 0 = chance floor (mean accuracy {floor:.2f}), 1 = originals (mean accuracy {ceiling:.2f}); "
        "95 % intervals in brackets; * no other row has less leak and more utility",
    )


def _readings_table(
    report: Report, title: str, kind: Literal["attributes", "tasks", "private_answers", "repeated"]
) -> Table:
    """Make a table of accuracies: a row for each attribute or question, a column for each level."""
    points = _with_originals(report)
    columns: list[dict[tuple[str, str], Reading]] = [
        {(each.reader, each.subject): each for each in getattr(point, kind)} for point in points
    ]
    rows = []
    for key in dict.fromkeys(key for column in columns for key in column):
        reader, subject = key
        chance = next(column[key].chance for column in columns if key in column)
        found = (_accuracy(column.get(key)) for column in columns)
        rows.append(Row((Cell(subject), Cell(reader), Cell(chance), *found)))
    return Table(
        title,
        (Column("", align="left"), Column("by", align="left"), Column("chance"), *_level_columns(points)),
        (Section(tuple(rows)),),
        "accuracy; (+n): n refusals or answers that name no class",
    )


def _further_table(report: Report) -> Table:
    """Make the table of identity, reconstruction and text: a row for each figure, a column for each level."""
    points = _with_originals(report)
    columns = [{label: (floor, value) for label, floor, value in _further_figures(point)} for point in points]
    rows = []
    for label in dict.fromkeys(label for column in columns for label in column):
        floor = next(column[label][0] for column in columns if label in column)
        values = (Cell(column[label][1]) if label in column else Cell("") for column in columns)
        rows.append(Row((Cell(label), Cell(floor), *values)))
    headings = (Column("", align="left"), Column("floor"), *_level_columns(points))
    return Table("Other attacks", headings, (Section(tuple(rows)),))


def _further_figures(point: OperatingPoint) -> list[tuple[str, float, float]]:
    """List label, floor and value of each figure."""
    figures = [
        (f"found among {each.gallery}, top 1", each.top1_floor, each.top1.value) for each in point.identity
    ]
    figures += [(f"{each.subject} read", each.exact_floor, each.exact.value) for each in point.words]
    if point.restored:
        restored = point.restored
        figures.append(("SSIM of reconstructions", restored.ssim_floor, restored.ssim.value))
    return figures


def _hypervolume_table(report: Report) -> Table:
    best, advantage = report.best_baseline, report.advantage
    ratio = f"ours is {advantage:.2f} x the best classical engine ({best})" if advantage else ""
    rows = tuple(
        Row((Cell(engine), figure(report.hypervolume(engine), Form(3)))) for engine in report.engines
    )
    columns = (Column("engine", align="left"), Column("hypervolume"))
    return Table("Hypervolume: area dominated, of 1", columns, (Section(rows),), ratio)


def _losses_table(other: ModelFront, first: ModelFront) -> Table:
    lost = [{each.question: each.lost for each in point.lost_by_question} for point in other.points]
    rows = tuple(
        Row((Cell(question), *(figure(each.get(question), missing="-") for each in lost)))
        for question in dict.fromkeys(name for each in lost for name in each)
    )
    columns = (Column("question", align="left"), *(Column(f"{point.level:.2f}") for point in other.points))
    return Table(f"Lost by {other.model} against {first.model}", columns, (Section(rows),))


def _with_originals(report: Report) -> tuple[OperatingPoint, ...]:
    return (report.originals, *report.of(OURS))


def _level_columns(points: Sequence[OperatingPoint]) -> tuple[Column, ...]:
    """Head the columns of originals and of the levels after them."""
    return (Column("originals"), *(Column(f"level {point.level:g}") for point in points[1:]))


def _accuracy(reading: Reading | None) -> Cell:
    if reading is None:
        return Cell("not asked")
    note = f"(+{reading.unusable})" if reading.unusable else ""
    return Cell(reading.accuracy.value if reading.accuracy else "none", note=note)


def _mean_accuracy(readings: Iterable[Reading]) -> float:
    return fmean(each.accuracy.value for each in readings if each.accuracy)
