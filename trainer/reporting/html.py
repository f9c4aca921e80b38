"""A report as one HTML page: no script, no request, nothing that is not in the file."""

from __future__ import annotations

import base64
import hashlib
import re
from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from langchain_vpp.images.codec import encode_image
from trainer.evaluation.results import OURS
from trainer.reporting.chart import draw_front
from trainer.reporting.files import writing
from trainer.reporting.pictures import thumbnail
from trainer.reporting.summary import percent, preset_names, strongest, summaries
from trainer.reporting.terminal import best_of_all
from trainer.statistics import ConfidenceInterval

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from trainer.evaluation.results import OperatingPoint, Reading, Report, Search, WordsRead
    from trainer.reporting.pictures import PictureRow

ReadingsKind = Literal["attributes", "tasks", "private_answers", "restored", "repeated"]

_PICTURE_SIDE = 128
_UNKNOWN = "\N{EN DASH}"
_NOT_MEASURED = "not measured"
_COUNTED = {
    "attributes": "test images",
    "tasks": "answers",
    "private_answers": "usable answers",
    "restored": "test images",
    "repeated": "test images",
}
# Fields of a reading that are no figure, or have a place of their own; any other one is a row by its name.
_NO_ROW = {
    "subject", "reader", "accuracy", "chance", "scaled", "count", "unusable", "refused", "class_mean_precision",
    "precision_floor", "class_precisions",
}  # fmt: skip
# Controls, text direction overrides, surrogates and noncharacters: invalid in HTML, or able to disguise what is
# written after them.
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]"
)


class Figure(NamedTuple):
    """What a cell says."""

    text: str
    interval: str = ""


class Row(NamedTuple):
    """One figure of one reader over the columns of a table."""

    label: str
    chance: str
    figures: tuple[Figure, ...]


class Group(NamedTuple):
    """The rows of one private attribute or question."""

    subject: str
    counted: str
    rows: tuple[Row, ...]


class Heading(NamedTuple):
    """A column of figures."""

    text: str
    note: str


class ReadingsTable(NamedTuple):
    """Readings over originals and our levels; its first columns, subject and chance, are not in ``headings``."""

    headings: tuple[Heading, ...]
    groups: tuple[Group, ...]


def save_html(
    report: Report, path: Path, *, presets: Mapping[str, float], pictures: Sequence[PictureRow] = ()
) -> None:
    """Write a page that a browser shows offline; the same report gives the same bytes.

    Args:
        report: What was measured.
        path: The file.
        presets: Names of levels for the summaries, as an artifact's manifest has them; may be empty.
        pictures: Shown in rows. With *unprotected* rows the page is for the owner of the data, and says so.

    Raises:
        TrainingError: If the file can't be written.
    """
    with writing("page", path):
        path.write_text(render_html(report, presets=presets, pictures=pictures), encoding="utf-8")


def render_html(report: Report, *, presets: Mapping[str, float], pictures: Sequence[PictureRow] = ()) -> str:
    """Fill the page; see :func:`save_html`."""
    environment = Environment(
        loader=PackageLoader("trainer.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    style = environment.get_template("report.css").render()
    originals = strongest(report.originals.attributes).values()
    return environment.get_template("report.html").render(
        # The sheet is ours, not a user's; any other style than this very one is refused by the browser.
        style=Markup(style),  # noqa: S704
        policy=_policy(style, with_pictures=bool(pictures)),
        report=report,
        facts=_facts(report),
        summaries=summaries(report, presets),
        presets=presets,
        chart=draw_front(report, presets),
        ours=OURS,
        scaled=_scaled,
        engines=_engines(report, presets),
        volumes=[(engine, report.hypervolume(engine)) for engine in report.engines],
        floor=percent(fmean(each.chance for each in originals)),
        ceiling=percent(fmean(each.accuracy.value for each in originals if each.accuracy)),
        attributes=readings_table(report, "attributes", presets),
        tasks=readings_table(report, "tasks", presets),
        private_answers=readings_table(report, "private_answers", presets),
        repeated=readings_table(report, "repeated", presets),
        restored=readings_table(report, "restored", presets),
        reconstructions=_reconstructions(report, presets),
        identity=_identity(report, presets),
        words=_words(report, presets),
        not_tested=_not_tested(report),
        pictures=[_embedded(row) for row in pictures],
        holds_originals=any(not row.protected for row in pictures),
    )


def readings_table(report: Report, kind: ReadingsKind, presets: Mapping[str, float]) -> ReadingsTable:
    """Arrange one kind of readings: a group for each subject, in it rows for every reader and figure."""
    points = _with_any(report, lambda point: _readings(point, kind))
    columns = [{(each.subject, each.reader): each for each in _readings(point, kind)} for point in points]
    keys = dict.fromkeys(key for column in columns for key in column)
    readers = dict.fromkeys(reader for _, reader in keys)
    groups = []
    for subject in dict.fromkeys(subject for subject, _ in keys):
        rows: list[Row] = []
        for reader in readers:
            if (subject, reader) in keys:
                found = [column.get((subject, reader)) for column in columns]
                rows += _rows(found, kind, f"{reader}: " if len(readers) > 1 else "")
        counts = sorted({column[key].count for column in columns for key in column if key[0] == subject})
        extent = f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"
        note = f"{extent} {_COUNTED[kind]}"
        if kind == "attributes" and subject in report.task_floors:
            floor = percent(report.task_floors[subject].value)
            note += f"; {floor} right from the reference answers to the tasks alone"
        groups.append(Group(subject, note, tuple(rows)))
    return ReadingsTable(_headings(points, presets), tuple(groups))


def _with_any(report: Report, held: Callable[[OperatingPoint], object]) -> tuple[OperatingPoint, ...]:
    """Our points, after the originals if these hold anything of the kind."""
    ours = report.of(OURS)
    return (report.originals, *ours) if held(report.originals) else ours


def _headings(points: Sequence[OperatingPoint], presets: Mapping[str, float]) -> tuple[Heading, ...]:
    return tuple(
        Heading(f"level {each.level:g}", preset_names(presets, each.level))
        if each.engine == OURS
        else Heading("originals", "unprotected")
        for each in points
    )


def _rows(found: Sequence[Reading | None], kind: ReadingsKind, reader: str) -> list[Row]:
    """Figures of one reader about one subject; ``None`` where it was not asked."""
    known = [each for each in found if each]
    rows = [Row(f"{reader}accuracy", percent(known[0].chance), _figures(found, "accuracy"))]
    rows += [
        Row(f"{reader}{name.replace('_', ' ')}", "", _figures(found, name))
        for name in dict.fromkeys(name for each in known for name in type(each).model_fields)
        if name not in _NO_ROW
        and any(isinstance(getattr(each, name, None), float | ConfidenceInterval) for each in found)
    ]
    if (floor := known[0].precision_floor) is not None:
        figures = _figures(found, "class_mean_precision")
        rows.append(Row(f"{reader}class-mean average precision", percent(floor), figures))
    scaled = [
        Figure(_NOT_MEASURED if each is None else _UNKNOWN if each.scaled is None else _decimal(each.scaled))
        for each in found
    ]
    rows.append(Row(f"{reader}{'utility' if kind == 'tasks' else 'leak'}", "0", tuple(scaled)))
    if kind in {"tasks", "private_answers"}:
        rows += [
            Row(f"{reader}{what}", "", tuple(Figure(text) for text in counts))
            for what, counts in (
                ("refused", [_of_asked(each, kind, "refused") for each in found]),
                ("refused or unusable", [_of_asked(each, kind, "unusable") for each in found]),
            )
        ]
    return rows


def _of_asked(reading: Reading | None, kind: ReadingsKind, count: Literal["refused", "unusable"]) -> str:
    return _NOT_MEASURED if reading is None else f"{getattr(reading, count)} of {_asked(reading, kind)}"


def _identity(report: Report, presets: Mapping[str, float]) -> ReadingsTable:
    points = _with_any(report, lambda point: point.identity)
    groups = []
    for gallery, title in (
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
            rows = (
                Row("nearest is the same person", percent(first.top1_floor), _figures(found, "top1")),
                Row("nearer to the same person (AUC)", percent(0.5), _figures(found, "auc")),
            )
            groups.append(Group(title, note, rows))
    return ReadingsTable(_headings(points, presets), tuple(groups))


def _words(report: Report, presets: Mapping[str, float]) -> ReadingsTable:
    points = _with_any(report, lambda point: point.words)
    groups = []
    for subject in dict.fromkeys(each.subject for point in points for each in point.words):
        found = [next((each for each in point.words if each.subject == subject), None) for point in points]
        first = next(each for each in found if each)
        rows = (
            Row("read without a mistake", percent(first.exact_floor), _figures(found, "exact")),
            Row("edits for each character", percent(first.distance_floor), _figures(found, "distance")),
        )
        groups.append(Group(subject, f"{first.count:,} test pictures", rows))
    return ReadingsTable(_headings(points, presets), tuple(groups))


def _reconstructions(report: Report, presets: Mapping[str, float]) -> ReadingsTable:
    points = [point for point in report.of(OURS) if point.restored]
    if not points:
        return ReadingsTable((), ())
    found = [point.restored for point in points if point.restored]
    rows = (
        Row("PSNR, dB", f"{found[0].psnr_floor:.1f}", tuple(_plain(each.psnr, 1) for each in found)),
        Row("SSIM", f"{found[0].ssim_floor:.2f}", tuple(_plain(each.ssim, 2) for each in found)),
    )
    group = Group("likeness to the original", "the floor is that of the mean original", rows)
    return ReadingsTable(_headings(points, presets), (group,))


def _plain(estimate: ConfidenceInterval, digits: int) -> Figure:
    return Figure(f"{estimate.value:.{digits}f}", f"{estimate.low:.{digits}f} to {estimate.high:.{digits}f}")


def _figures(found: Sequence[Reading | Search | WordsRead | None], name: str) -> tuple[Figure, ...]:
    return tuple(
        Figure(_NOT_MEASURED) if each is None else _share(getattr(each, name, None)) for each in found
    )


def _share(value: ConfidenceInterval | float | None) -> Figure:
    if value is None:
        return Figure(_UNKNOWN)
    if isinstance(value, ConfidenceInterval):
        return Figure(percent(value.value), f"{value.low * 100:.0f} to {value.high * 100:.0f}")
    return Figure(percent(value))


def _asked(reading: Reading, kind: ReadingsKind) -> int:
    # Unusable answers count as wrong ones to a task, and not at all for a private attribute.
    return reading.count + (reading.unusable if kind == "private_answers" else 0)


def _readings(point: OperatingPoint, kind: ReadingsKind) -> tuple[Reading, ...]:
    if kind == "restored":
        return point.restored.attributes if point.restored else ()
    readings: tuple[Reading, ...] = getattr(point, kind)
    return readings


def _engines(report: Report, presets: Mapping[str, float]) -> list[dict[str, Any]]:
    best = best_of_all(report)
    return [
        {
            "name": engine,
            "levels": [
                {
                    "level": f"{point.level:g}",
                    "preset": preset_names(presets, point.level) if engine == OURS else "",
                    "leak": _scaled(point.leak),
                    "utility": _scaled(point.utility),
                    "best": (engine, point.level) in best,
                }
                for point in report.of(engine)
            ],
        }
        for engine in report.engines
    ]


def _scaled(estimate: ConfidenceInterval | None) -> Figure:
    if estimate is None:
        return Figure(_NOT_MEASURED)
    return Figure(_decimal(estimate.value), f"{_decimal(estimate.low)} to {_decimal(estimate.high)}")


def _decimal(value: float) -> str:
    """Two decimals, with a true minus sign, and none before zero."""
    return f"{value:z.2f}".replace("-", "\N{MINUS SIGN}")


def _facts(report: Report) -> list[tuple[str, str]]:
    queries = report.queries
    asked = "none"
    if queries.tasks or queries.private:
        asked = (
            f"{queries.tasks:,} task questions and {queries.private:,} private ones; {queries.originals:,} of them "
            f"about unprotected pictures; {queries.paid:,} new in this run, {queries.lost:,} lost"
        )
    facts = [
        ("Chat model", report.model or "none"),
        ("Images", ", ".join(f"{count:,} {split}" for split, count in report.images.items())),
        ("Queries", asked),
        ("Seed", str(report.seed)),
        ("Made with", ", ".join(f"{name} {version}" for name, version in report.created_with.items())),
        ("Artifact digest", report.artifact_digest or "none: the engine is no artifact"),
        ("Data digest", report.data_digest),
    ]
    if report.judge:
        facts.insert(1, ("Judge of open answers", report.judge))
    return facts


def _not_tested(report: Report) -> list[str]:
    """What the report names, and what this run was not asked for."""
    missing = []
    if report.model is None:
        missing.append(
            "what the chat model still answers, and what it reads of the private attributes: there was no chat model"
        )
    elif not any(point.private_answers for point in report.points):
        missing.append("the chat model itself, asked for the private attributes")
    if report.model is not None and not report.queries.originals:
        missing.append("the chat model on originals: its figures are scaled as if it made no mistake on them")
    return [*missing, *report.not_tested]


def _embedded(row: PictureRow) -> dict[str, Any]:
    pictures = []
    for picture in row.pictures:
        small = thumbnail(picture, _PICTURE_SIDE)
        data = base64.b64encode(encode_image(small)).decode("ascii")
        pictures.append(
            {"width": small.width, "height": small.height, "url": f"data:image/jpeg;base64,{data}"}
        )
    return {"label": row.label, "protected": row.protected, "pictures": pictures}


def _policy(style: str, *, with_pictures: bool) -> str:
    """Let the browser load nothing, run nothing and send nothing."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode("ascii")
    parts = ["default-src 'none'", f"style-src 'sha256-{digest}'", "base-uri 'none'", "form-action 'none'"]
    return "; ".join([*parts, "img-src data:"] if with_pictures else parts)


def _printable(value: object) -> object:
    """Keep a data set's text from breaking the page; escaping comes after it."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return _UNPRINTABLE.sub("\ufffd", value)
    return value
