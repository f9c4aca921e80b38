"""The plot of leak against utility: its geometry, for a page that draws it, and as an SVG file."""

from __future__ import annotations

import math
from itertools import cycle
from typing import TYPE_CHECKING, Final, NamedTuple

from langchain_vpp.errors import TrainingError
from trainer.algorithms.pareto import non_dominated
from trainer.evaluation.results import OURS, front_hypervolume
from trainer.reporting.files import writing
from trainer.reporting.markup import fill
from trainer.reporting.summary import engine_label, preset_names

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from trainer.evaluation.results import Report
    from trainer.statistics import ConfidenceInterval

# As wide as a phone, in CSS pixels: a larger screen only scales it up.
_WIDTH, _HEIGHT = 358, 340
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 348, 10, 296
_TICK: Final = 0.25
_LABEL_ROOM, _LABEL_GAP = 44, 12
_STYLES: Final = (
    ("#0072B2", "M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0z"),
    ("#D55E00", "M-3.6,-3.6h7.2v7.2h-7.2z"),
    ("#009E73", "M0,-4.8L4.6,3.4H-4.6z"),
    ("#CC79A7", "M0,-4.9L4.9,0L0,4.9L-4.9,0z"),
    ("#E69F00", "M0,4.8L4.6,-3.4H-4.6z"),
    ("#56B4E9", "M-1.6,-4.6h3.2v3h3v3.2h-3v3h-3.2v-3h-3v-3.2h3z"),
    (
        "#000000",
        "M-4.4,-2.2L-2.2,-4.4L0,-2.2L2.2,-4.4L4.4,-2.2L2.2,0L4.4,2.2L2.2,4.4L0,2.2L-2.2,4.4L-4.4,2.2L-2.2,0z",
    ),
)
"""Colour and marker of each engine, in turn. The colours are Okabe and Ito's, told apart with any colour vision; the
markers, SVG path data around the origin, are told apart without colour."""


class Tick(NamedTuple):
    """A labelled place on an axis."""

    at: float
    text: str
    reference: bool
    """Whether the value is that of chance or of originals."""


class Mark(NamedTuple):
    """One operating point."""

    x: float
    y: float
    x_interval: tuple[float, float]
    y_interval: tuple[float, float]
    title: str
    """The point's figures in words."""


class Label(NamedTuple):
    """The preset or level beside a point of the engine under evaluation."""

    x: float
    y: float
    anchor: str
    """SVG's ``text-anchor``."""
    text: str


class Curve(NamedTuple):
    """The points of one engine, and the line through those that none of its other points beats."""

    label: str
    ours: bool
    colour: str
    outline: str
    """Marker, as SVG path data around the origin."""
    marks: tuple[Mark, ...]
    front: str
    """Points of a polyline."""
    hypervolume: float


class Chart(NamedTuple):
    """All marks and lines of the plot, in pixels."""

    width: int
    height: int
    left: float
    right: float
    top: float
    bottom: float
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    curves: tuple[Curve, ...]
    """Curves in drawing order: the engine under evaluation is last and lies on top."""
    labels: tuple[Label, ...]


class _Axis(NamedTuple):
    """Maps values of one quantity to pixels."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)

    def ticks(self) -> tuple[Tick, ...]:
        first, last = math.ceil(self.low / _TICK), math.floor(self.high / _TICK)
        values = [number * _TICK for number in range(first, last + 1)]
        return tuple(
            Tick(self.at(each), f"{each:g}".replace("-", "\N{MINUS SIGN}"), each in {0.0, 1.0})
            for each in values
        )


class Spot(NamedTuple):
    """A point to be placed on the plot."""

    leak: ConfidenceInterval
    utility: ConfidenceInterval
    title: str
    """Its figures in words."""
    name: str = ""
    """Text beside it; empty for none."""


class Series(NamedTuple):
    """The points of one engine."""

    label: str
    spots: tuple[Spot, ...]
    ours: bool = False
    """Whether it is the engine that the plot is about, which is drawn on top."""


def draw_front(report: Report, names: Mapping[str, float]) -> Chart | None:
    """Lay out the plot of an evaluation; ``None`` if no point has both leak and utility.

    Args:
        report: The evaluation.
        names: Preset -> level, written beside the points of the engine under evaluation.
    """
    series = []
    for engine in report.engines:
        spots = tuple(
            Spot(
                point.leak,
                point.utility,
                f"{engine} at level {point.level:g}: leak {point.leak}, utility {point.utility}",
                (preset_names(names, point.level) or f"{point.level:g}") if engine == OURS else "",
            )
            for point in report.of(engine)
            if point.leak and point.utility
        )
        series.append(Series(engine_label(engine), spots, engine == OURS))
    return draw_series(series)


def draw_series(series: Sequence[Series]) -> Chart | None:
    """Lay out the plot of the points of several engines; ``None`` if there are no points.

    Args:
        series: Engines, in the order in which they get their colours.
    """
    spots = [spot for each in series for spot in each.spots]
    if not spots:
        return None
    horizontal = _axis([spot.leak for spot in spots], _LEFT, _RIGHT)
    vertical = _axis([spot.utility for spot in spots], _BOTTOM, _TOP)
    curves = []
    for each, (colour, outline) in zip(series, cycle(_STYLES), strict=False):
        places = [(spot.leak.value, spot.utility.value) for spot in each.spots]
        curves.append(
            Curve(
                each.label,
                each.ours,
                colour,
                outline,
                tuple(_mark(spot, horizontal, vertical) for spot in each.spots),
                " ".join(f"{horizontal.at(x)},{vertical.at(y)}" for x, y in non_dominated(places)),
                front_hypervolume(places),
            )
        )
    labels = [
        (spot.name, horizontal.at(spot.leak.value), vertical.at(spot.utility.value))
        for spot in spots
        if spot.name
    ]
    return Chart(
        _WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM,
        horizontal.ticks(), vertical.ticks(),
        tuple(sorted(curves, key=lambda curve: curve.ours)),
        _labels(labels),
    )  # fmt: skip


def save_front(report: Report, path: Path, *, presets: Mapping[str, float]) -> None:
    """Draw leak against utility for every engine, with 95 % intervals, as an SVG file.

    Args:
        report: The evaluation.
        path: The file.
        presets: Preset -> level, written beside the points of the engine under evaluation; may be empty.

    Raises:
        TrainingError: If utility was not measured, or the file can't be written.
    """
    chart = draw_front(report, presets)
    if chart is None:
        raise TrainingError("there is no utility to plot: the report was made without a chat model.")
    with writing("plot", path):
        path.write_text(fill("front.svg", chart=chart), encoding="utf-8")


def _axis(measured: Sequence[ConfidenceInterval], start: float, end: float) -> _Axis:
    """Span an axis from chance to originals, and further where a point or its interval lies beyond."""
    low = min(0.0, *(min(each.low, each.value) for each in measured))
    high = max(1.0, *(max(each.high, each.value) for each in measured))
    margin = 0.03 * (high - low)
    return _Axis(low - margin, high + margin, start, end)


def _mark(spot: Spot, x: _Axis, y: _Axis) -> Mark:
    leak, utility = spot.leak, spot.utility
    return Mark(
        x.at(leak.value),
        y.at(utility.value),
        (x.at(leak.low), x.at(leak.high)),
        (y.at(utility.low), y.at(utility.high)),
        spot.title,
    )


def _labels(points: Sequence[tuple[str, float, float]]) -> tuple[Label, ...]:
    """Place names to the left of their points, where a front leaves room, without overlap."""
    labels: list[Label] = []
    for text, x, y in sorted(points, key=lambda point: point[2]):
        beside_axis = x < _LEFT + _LABEL_ROOM
        lowest = max((each.y for each in labels), default=-math.inf)
        labels.append(
            Label(
                x + 8 if beside_axis else x - 8,
                max(y - 4, lowest + _LABEL_GAP),
                "start" if beside_axis else "end",
                text,
            )
        )
    return tuple(labels)
