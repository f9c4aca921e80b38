"""A report as JSON, tables, a plot of the front, and a contact sheet."""

from __future__ import annotations

from contextlib import contextmanager
from statistics import fmean
from typing import TYPE_CHECKING, Literal, NamedTuple

from PIL import Image, ImageDraw, ImageFont

from langchain_vpp.engines import NAMED_ENGINES
from langchain_vpp.errors import TrainingError
from langchain_vpp.extras import require
from langchain_vpp.images.codec import decode_image, encode_image
from trainer.algorithms.pareto import NonDominatedArchive, non_dominated
from trainer.evaluation.results import OURS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from rich.table import Table

    from langchain_vpp.engines import Engine
    from trainer.data.dataset import Dataset
    from trainer.evaluation.results import OperatingPoint, Reading, Report
    from trainer.statistics import ConfidenceInterval

ENGINE_STYLES = (
    ("#0072B2", "o"),
    ("#D55E00", "s"),
    ("#009E73", "^"),
    ("#CC79A7", "D"),
    ("#E69F00", "v"),
    ("#56B4E9", "P"),
    ("#000000", "X"),
)
"""Okabe and Ito's colours, told apart with any colour vision, and a marker each, told apart without colour."""

_PHONE_INCHES = (4.0, 3.8)
_CELL = 96
_LABEL = 112
_MARGIN = 4


def save_json(report: Report, path: Path) -> None:
    """Write the whole report; ``Report.model_validate_json`` reads it back.

    Raises:
        TrainingError: If the file can't be written.
    """
    with writing("report", path):
        path.write_text(report.model_dump_json(indent=2) + "\n", encoding="utf-8")


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


def plot_front(report: Report, path: Path) -> None:
    """Draw leak against utility for every engine, with 95 % intervals; needs matplotlib (extra ``demo``).

    Raises:
        MissingExtraError: If matplotlib is not installed.
        TrainingError: If utility was not measured, or the file can't be written.
    """
    require("matplotlib", extra="demo", undone="the front was not drawn")
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415  takes a second to load
    from matplotlib.figure import Figure  # noqa: PLC0415

    if report.hypervolume(OURS) is None:
        raise TrainingError("there is no utility to plot: the report was made without a chat model.")
    figure = Figure(figsize=_PHONE_INCHES, dpi=200, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.axvline(0, color="0.6", linewidth=0.8, linestyle=":")
    axes.axhline(0, color="0.6", linewidth=0.8, linestyle=":")
    for engine, (colour, marker) in zip(report.engines, ENGINE_STYLES, strict=False):
        measured = [
            (point.leak, point.utility) for point in report.of(engine) if point.leak and point.utility
        ]
        for leak, utility in measured:
            axes.errorbar(
                leak.value, utility.value, xerr=_bars(leak), yerr=_bars(utility),
                color=colour, marker=marker, markersize=5, linewidth=0.8, zorder=3 if engine == OURS else 2,
            )  # fmt: skip
        front = non_dominated([(leak.value, utility.value) for leak, utility in measured])
        axes.plot(
            *zip(*front, strict=True), color=colour, marker=marker, markersize=5,
            linewidth=2.0 if engine == OURS else 1.0, linestyle="-" if engine == OURS else "--",
            label=f"{engine} (HV {report.hypervolume(engine):.2f})",
        )  # fmt: skip
    axes.set_xlabel("leak: 0 = chance, 1 = originals")
    axes.set_ylabel("utility: 0 = chance, 1 = originals")
    axes.legend(fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False)
    with writing("plot", path):
        figure.savefig(path)


class PictureRow(NamedTuple):
    """The same few test pictures, all shown in one way."""

    label: str
    protected: bool
    """Whether they went through a protector; originals show whom they show."""
    pictures: tuple[Image.Image, ...]
    """As they are sent."""


def picture_rows(
    dataset: Dataset,
    engine: Engine,
    levels: Sequence[float],
    baselines: Mapping[str, float],
    *,
    originals: bool,
    count: int = 6,
) -> tuple[PictureRow, ...]:
    """Show test images as they are sent: protected at each level, and by classical engines.

    Args:
        dataset: The first images of its test split are shown.
        engine: What protects.
        levels: A row each.
        baselines: Names of classical engines and the level of each.
        originals: Whether the first row is *unprotected*.
        count: Images in a row.
    """
    shown: list[tuple[str, Engine | None, float]] = [("original", None, 0.0)] if originals else []
    shown += [(f"level {level:g}", engine, level) for level in levels]
    shown += [(f"{name} {level:g}", NAMED_ENGINES[name](), level) for name, level in baselines.items()]
    images = [dataset.open_image(example) for example in dataset.split("test")[:count]]
    return tuple(
        PictureRow(
            label,
            protector is not None,
            tuple(
                decode_image(encode_image(protector.protect(image, level) if protector else image))
                for image in images
            ),
        )
        for label, protector, level in shown
    )


def contact_sheet(rows: Sequence[PictureRow], path: Path) -> None:
    """Draw pictures in rows.

    Args:
        rows: All of the same number of pictures.
        path: A PNG or JPEG file. With *unprotected* rows it is for the owner of the data.

    Raises:
        TrainingError: If the file can't be written.
    """
    columns = max(len(row.pictures) for row in rows)
    size = (_LABEL + columns * (_CELL + _MARGIN), len(rows) * (_CELL + _MARGIN) + _MARGIN)
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(14)
    for number, row in enumerate(rows):
        top = _MARGIN + number * (_CELL + _MARGIN)
        draw.text((_MARGIN, top + _CELL // 2), row.label, fill="black", font=font, anchor="lm")
        for column, picture in enumerate(row.pictures):
            sheet.paste(thumbnail(picture, _CELL), (_LABEL + column * (_CELL + _MARGIN), top))
    with writing("sheet", path):
        sheet.save(path)


def thumbnail(picture: Image.Image, side: int) -> Image.Image:
    """Scale a picture so that its longer side has so many pixels."""
    factor = side / max(picture.size)
    return picture.resize((max(1, round(picture.width * factor)), max(1, round(picture.height * factor))))


def _front_table(report: Report) -> Table:
    from rich.table import Table  # noqa: PLC0415  not needed for JSON and plots

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
    from rich.table import Table  # noqa: PLC0415

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
    from rich.table import Table  # noqa: PLC0415

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
    from rich.table import Table  # noqa: PLC0415

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


def _bars(estimate: ConfidenceInterval) -> list[list[float]]:
    # The interval of a resampled mean may, by a hair, not hold the mean itself.
    return [[max(0.0, estimate.value - estimate.low)], [max(0.0, estimate.high - estimate.value)]]


@contextmanager
def writing(what: str, path: Path) -> Iterator[None]:
    """Make the folder, and turn a failure to write into an error that says so."""
    failure = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        failure = error.strerror or type(error).__name__
    if failure:
        raise TrainingError(
            f"the {what} {path} was not written: {failure}. Choose a place that can be written."
        )
