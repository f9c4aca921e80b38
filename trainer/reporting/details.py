"""Detailed tables about an evaluation, for a page: every figure of every reader, with its interval."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from trainer.evaluation.results import GREY, ORIGINALS, OURS, ItemsShown
from trainer.reporting.rows import (
    COUNT,
    NOT_MEASURED,
    PERCENT,
    Cell,
    Column,
    Form,
    Row,
    Section,
    Table,
    figure,
)
from trainer.reporting.summary import engine_label, percent, preset_names, strongest
from trainer.reporting.tables import best_points
from trainer.statistics import ConfidenceInterval, wilson

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from trainer.evaluation.results import OperatingPoint, OtherPictures, Reading, Report, Search, WordsRead

ReadingsKind = Literal["attributes", "tasks", "private_answers", "restored", "repeated"]

_UNKNOWN: Final = "\N{EN DASH}"
_THREE_DIGITS: Final = Form(3)
# Fields of a reading that are no figure, or have a row of their own; any other figure is a row by its name.
_NO_ROW: Final = {
    "subject", "reader", "accuracy", "chance", "scaled", "count", "unusable", "refused", "class_mean_precision",
    "precision_floor", "class_precisions",
}  # fmt: skip


class _Kind(NamedTuple):
    """Words of the table of one kind of readings."""

    title: str
    subject: str
    counted: str
    """The observations that a reading counts."""
    caption: str


_SHOWN: Final = "Below each accuracy its 95% interval"
KINDS: Final[Mapping[ReadingsKind, _Kind]] = {
    "attributes": _Kind(
        "Private attributes",
        "attribute",
        "test images",
        f"{_SHOWN}. Leak: 0 at the chance floor, 1 at the accuracy on originals; {_UNKNOWN} where an attacker does "
        "hardly better than chance on originals, which tells nothing.",
    ),
    "tasks": _Kind(
        "Tasks",
        "question",
        "answers",
        f"{_SHOWN}. Utility: 0 at the chance floor, 1 at the accuracy on originals (at 100% if originals were not "
        "sent).",
    ),
    "private_answers": _Kind(
        "Private questions", "attribute", "usable answers", f"{_SHOWN}, over usable answers alone."
    ),
    "restored": _Kind("Read in reconstructions", "attribute", "test images", f"{_SHOWN}. Leak as above."),
    "repeated": _Kind("Repeated queries", "attribute", "test images", f"{_SHOWN}. Leak as above."),
}


def engines_table(report: Report, presets: Mapping[str, float]) -> Table:
    """Make the table of leak and utility: a section for each engine, a row for each level."""
    best = best_points(report)
    readings = strongest(report.originals.attributes).values()
    floor = percent(fmean(each.chance for each in readings))
    ceiling = percent(fmean(each.accuracy.value for each in readings if each.accuracy))
    sections = []
    for engine in report.engines:
        rows = [
            Row(
                (
                    Cell(
                        f"{point.level:g}", note=preset_names(presets, point.level) if engine == OURS else ""
                    ),
                    figure(point.leak),
                    figure(point.utility),
                    Cell("yes" if (engine, point.level) in best else ""),
                )
            )
            for point in report.of(engine)
        ]
        mark: Literal["", "ours"] = "ours" if engine == OURS else ""
        sections.append(Section(tuple(rows), engine_label(engine), mark=mark))
    return Table(
        "Engines and levels",
        tuple(map(Column, ("level", "leak", "utility", "best"))),
        tuple(sections),
        f"Leak 0 is the chance floor (mean accuracy {floor}), 1 is what originals give away (mean accuracy {ceiling}). "
        "Below each figure its 95% interval. Best: no other row has less leak and more utility.",
    )


def hypervolume_table(report: Report) -> Table:
    """Make the table of the area that each engine's levels dominate."""
    rows = tuple(
        Row(
            (Cell(engine_label(engine)), figure(report.hypervolume(engine), _THREE_DIGITS)),
            "ours" if engine == OURS else "",
        )
        for engine in report.engines
    )
    caption = "Hypervolume: area that an engine\N{RIGHT SINGLE QUOTATION MARK}s levels dominate, of 1."
    return Table("Hypervolume", (Column("engine"), Column("hypervolume")), (Section(rows),), caption)


def readings_table(report: Report, kind: ReadingsKind, presets: Mapping[str, float]) -> Table:
    """Make the table of one kind of readings: a section for each subject, rows for every reader and figure."""
    words = KINDS[kind]
    points = _with_any(report, lambda point: _readings(point, kind))
    columns = [{(each.subject, each.reader): each for each in _readings(point, kind)} for point in points]
    keys = dict.fromkeys(key for column in columns for key in column)
    readers = dict.fromkeys(reader for _, reader in keys)
    sections = []
    for subject in dict.fromkeys(subject for subject, _ in keys):
        rows: list[Row] = []
        for reader in readers:
            if (subject, reader) in keys:
                found = [column.get((subject, reader)) for column in columns]
                rows += _rows(found, kind, f"{reader}: " if len(readers) > 1 else "")
        counts = sorted({column[key].count for column in columns for key in column if key[0] == subject})
        extent = f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"
        note = f"{extent} {words.counted}"
        if kind == "attributes" and subject in report.task_floors:
            floor = percent(report.task_floors[subject].value)
            note += f"; {floor} right from the reference answers to the tasks alone"
        sections.append(_section(rows, subject, note))
    return Table(words.title, _columns(words.subject, points, presets), tuple(sections), words.caption)


def identity_table(report: Report, presets: Mapping[str, float]) -> Table:
    """Make the table of the searches for people: a section for each gallery."""
    points = _with_any(report, lambda point: point.identity)
    sections = []
    for gallery, heading in (
        ("originals", "in a gallery of originals"),
        ("protected", "in a gallery protected alike"),
    ):
        found = [next((each for each in point.identity if each.gallery == gallery), None) for point in points]
        known = [each for each in found if each]
        if known:
            first = known[-1]
            note = f"{first.probes:,} pictures, {first.people:,} people"
            if first.same_picture:
                note += "; nobody has two pictures, so the gallery holds the original of each"
            rows = [
                _row("nearest is the same person", percent(first.top1_floor), _figures(found, "top1")),
                _row("nearer to the same person (AUC)", percent(0.5), _figures(found, "auc")),
            ]
            sections.append(_section(rows, heading, note))
    caption = "Below each figure its 95% interval."
    return Table("Identity", _columns("looked up", points, presets), tuple(sections), caption)


def words_table(report: Report, presets: Mapping[str, float]) -> Table:
    """Make the table of private words and numbers: a section for each kind of them."""
    points = _with_any(report, lambda point: point.words)
    sections = []
    for subject in dict.fromkeys(each.subject for point in points for each in point.words):
        found = [next((each for each in point.words if each.subject == subject), None) for point in points]
        first = next(each for each in found if each)
        rows = [
            _row("read without a mistake", percent(first.exact_floor), _figures(found, "exact")),
            _row("edits for each character", percent(first.distance_floor), _figures(found, "distance")),
        ]
        sections.append(_section(rows, subject, f"{first.count:,} test pictures"))
    caption = (
        "Below each figure its 95% interval. Edits for each character: 0% is read without a mistake, 100% is nothing "
        "of it."
    )
    return Table("Words and numbers", _columns("text", points, presets), tuple(sections), caption)


def other_pictures_table(report: Report, presets: Mapping[str, float]) -> Table:
    """Make the table of private items that are read in pictures of other kinds."""
    conditions = dict.fromkeys((each.engine, each.level) for each in report.other_pictures)
    found = [
        [each for each in report.other_pictures if (each.engine, each.level) == condition]
        for condition in conditions
    ]
    kinds = [("all kinds", "")] + [(each.kind, each.kind) for each in (found[0] if found else [])]
    sections = []
    if found:
        by_kind = {
            label: [_shares(each.shown for each in column if kind in {"", each.kind}) for column in found]
            for label, kind in kinds
        }
        sections = [
            _counted("kind of picture", by_kind),
            _counted("way in which it was taken", _by_subject(found, "taken")),
            _counted("kind of private item", _by_subject(found, "items")),
        ]
    headings = {ORIGINALS: "originals", GREY: "one grey"}
    columns = tuple(
        Column(
            headings.get(engine, f"level {level:g}"), preset_names(presets, level) if engine == OURS else ""
        )
        for engine, level in conditions
    )
    caption = (
        "Share of the pictures in which at least 60% of the characters of a private item were read, its 95% interval, "
        "and the share in whose text as much was found of an item of another picture, by chance."
    )
    return Table(
        "Pictures of other kinds",
        (Column("pictures"), Column("how many"), *columns),
        tuple(sections),
        caption,
    )


def _by_subject(
    found: Sequence[Sequence[OtherPictures]], field: Literal["items", "taken"]
) -> dict[str, list[ItemsShown]]:
    """Add up the counts of all kinds of pictures, for each subject and condition."""
    counts: list[list[ItemsShown]] = [
        [count for each in column for count in getattr(each, field)] for column in found
    ]
    return {
        subject: [_shares(count for count in column if count.subject == subject) for column in counts]
        for subject in dict.fromkeys(count.subject for count in counts[0])
    }


def _shares(counts: Iterable[ItemsShown]) -> ItemsShown:
    """Add up counts."""
    known = list(counts)
    return ItemsShown(
        subject=known[0].subject,
        pictures=sum(each.pictures for each in known),
        shown=sum(each.shown for each in known),
        by_chance=sum(each.by_chance for each in known),
    )


def _counted(heading: str, rows: Mapping[str, Sequence[ItemsShown]]) -> Section:
    """Make a section with a row for each subject, and its counts under each condition."""
    return Section(
        tuple(
            Row((Cell(label), Cell(counts[0].pictures, None, COUNT), *map(_share, counts)))
            for label, counts in rows.items()
        ),
        heading,
    )


def _share(count: ItemsShown) -> Cell:
    share = count.shown / count.pictures
    chance = f"({percent(count.by_chance / count.pictures)} by chance)" if count.by_chance else ""
    return Cell(share, wilson(share, count.pictures), PERCENT, chance)


def reconstructions_table(report: Report, presets: Mapping[str, float]) -> Table:
    """Make the table of the likeness of reconstructions to originals."""
    points = [point for point in report.of(OURS) if point.restored]
    found = [point.restored for point in points if point.restored]
    sections = []
    if found:
        one, two = Form(1), Form(2)
        rows = [
            _row("PSNR, dB", one.write(found[0].psnr_floor), [figure(each.psnr, one) for each in found]),
            _row("SSIM", two.write(found[0].ssim_floor), [figure(each.ssim, two) for each in found]),
        ]
        sections.append(_section(rows, "likeness to the original", "the floor is that of the mean original"))
    caption = "Below each figure its 95% interval."
    return Table("Likeness", _columns("figure", points, presets), tuple(sections), caption)


def _with_any(report: Report, held: Callable[[OperatingPoint], object]) -> tuple[OperatingPoint, ...]:
    """Select the protector's points, after the originals if these hold anything of the kind."""
    ours = report.of(OURS)
    return (report.originals, *ours) if held(report.originals) else ours


def _columns(
    subject: str, points: Sequence[OperatingPoint], presets: Mapping[str, float]
) -> tuple[Column, ...]:
    return (
        Column(subject),
        Column("chance floor"),
        *(
            Column(f"level {each.level:g}", preset_names(presets, each.level))
            if each.engine == OURS
            else Column("originals", "unprotected")
            for each in points
        ),
    )


def _section(rows: Sequence[Row], heading: str, note: str) -> Section:
    """Put rows below a heading; the first one is the most important."""
    first, *others = rows
    return Section((first._replace(mark="main"), *others), heading, note)


def _row(label: str, floor: str, figures: Sequence[Cell]) -> Row:
    return Row((Cell(label), Cell(floor), *figures))


def _rows(found: Sequence[Reading | None], kind: ReadingsKind, reader: str) -> list[Row]:
    """Make the rows of one reader about one subject; ``None`` where it was not asked."""
    known = [each for each in found if each]
    rows = [_row(f"{reader}accuracy", percent(known[0].chance), _figures(found, "accuracy"))]
    rows += [
        _row(f"{reader}{name.replace('_', ' ')}", "", _figures(found, name))
        for name in dict.fromkeys(name for each in known for name in type(each).model_fields)
        if name not in _NO_ROW
        and any(isinstance(getattr(each, name, None), float | ConfidenceInterval) for each in found)
    ]
    if (floor := known[0].precision_floor) is not None:
        label = f"{reader}class-mean average precision"
        rows.append(_row(label, percent(floor), _figures(found, "class_mean_precision")))
    scaled = [Cell(NOT_MEASURED) if each is None else figure(each.scaled, missing=_UNKNOWN) for each in found]
    rows.append(_row(f"{reader}{'utility' if kind == 'tasks' else 'leak'}", "0", scaled))
    if kind in {"tasks", "private_answers"}:
        rows.append(_row(f"{reader}refused", "", [_of_asked(each, kind, "refused") for each in found]))
        unusable = [_of_asked(each, kind, "unusable") for each in found]
        rows.append(_row(f"{reader}refused or unusable", "", unusable))
    return rows


def _figures(found: Sequence[Reading | Search | WordsRead | None], name: str) -> list[Cell]:
    return [
        Cell(NOT_MEASURED) if each is None else figure(getattr(each, name, None), PERCENT, missing=_UNKNOWN)
        for each in found
    ]


def _of_asked(reading: Reading | None, kind: ReadingsKind, count: Literal["refused", "unusable"]) -> Cell:
    if reading is None:
        return Cell(NOT_MEASURED)
    # Unusable answers count as wrong for a task, and are left out of the count for a private attribute.
    asked = reading.count + (reading.unusable if kind == "private_answers" else 0)
    return Cell(f"{getattr(reading, count)} of {asked}")


def _readings(point: OperatingPoint, kind: ReadingsKind) -> tuple[Reading, ...]:
    if kind == "restored":
        return point.restored.attributes if point.restored else ()
    readings: tuple[Reading, ...] = getattr(point, kind)
    return readings
