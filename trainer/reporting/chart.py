"""Geometry of the plot of leak against utility, for a page that draws it itself."""

from __future__ import annotations

import math
from itertools import cycle
from typing import TYPE_CHECKING, NamedTuple

from trainer.algorithms.pareto import non_dominated
from trainer.evaluation.results import OURS
from trainer.reporting.report import ENGINE_STYLES
from trainer.reporting.summary import preset_names

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trainer.evaluation.results import OperatingPoint, Report
    from trainer.statistics import ConfidenceInterval

# As wide as a phone, in CSS pixels: a larger screen only scales it up.
_WIDTH, _HEIGHT = 358, 340
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 348, 10, 296
_TICK = 0.25
_LABEL_ROOM, _LABEL_GAP = 44, 12
# Markers as matplotlib names them.
_OUTLINES = {
    "o": "M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0z",
    "s": "M-3.6,-3.6h7.2v7.2h-7.2z",
    "^": "M0,-4.8L4.6,3.4H-4.6z",
    "D": "M0,-4.9L4.9,0L0,4.9L-4.9,0z",
    "v": "M0,4.8L4.6,-3.4H-4.6z",
    "P": "M-1.6,-4.6h3.2v3h3v3.2h-3v3h-3.2v-3h-3v-3.2h3z",
    "X": "M-4.4,-2.2L-2.2,-4.4L0,-2.2L2.2,-4.4L4.4,-2.2L2.2,0L4.4,2.2L2.2,4.4L0,2.2L-2.2,4.4L-4.4,2.2L-2.2,0z",
}


class Tick(NamedTuple):
    """A labelled place on an axis."""

    at: float
    text: str
    reference: bool
    """Whether it stands for chance or originals."""


class Mark(NamedTuple):
    """One operating point."""

    x: float
    y: float
    x_interval: tuple[float, float]
    y_interval: tuple[float, float]
    title: str
    """Its figures in words."""


class Label(NamedTuple):
    """A name beside one of our points."""

    x: float
    y: float
    anchor: str
    """SVG's ``text-anchor``."""
    text: str


class Curve(NamedTuple):
    """One engine: its points, and the line through those that none of its others beats."""

    engine: str
    ours: bool
    colour: str
    outline: str
    """Its marker as SVG path data around the origin."""
    marks: tuple[Mark, ...]
    front: str
    """Points of a polyline."""


class Chart(NamedTuple):
    """Everything to draw, in pixels."""

    width: int
    height: int
    left: float
    right: float
    top: float
    bottom: float
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    curves: tuple[Curve, ...]
    """Ours last, so that it lies on top."""
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


def draw_front(report: Report, names: Mapping[str, float]) -> Chart | None:
    """Lay out the plot; ``None`` if no point has both leak and utility.

    Args:
        report: What was measured.
        names: Presets, to be written beside our points.
    """
    measured = [(point, point.leak, point.utility) for point in report.points if point.leak and point.utility]
    if not measured:
        return None
    horizontal = _axis([leak for _, leak, _ in measured], _LEFT, _RIGHT)
    vertical = _axis([utility for _, _, utility in measured], _BOTTOM, _TOP)
    curves = []
    for engine, (colour, shape) in zip(report.engines, cycle(ENGINE_STYLES), strict=False):
        own = [each for each in measured if each[0].engine == engine]
        front = non_dominated([(leak.value, utility.value) for _, leak, utility in own])
        curves.append(
            Curve(
                engine,
                engine == OURS,
                colour,
                _OUTLINES[shape],
                tuple(_mark(point, leak, utility, horizontal, vertical) for point, leak, utility in own),
                " ".join(f"{horizontal.at(leak)},{vertical.at(utility)}" for leak, utility in front),
            )
        )
    labels = [
        (
            preset_names(names, point.level) or f"{point.level:g}",
            horizontal.at(leak.value),
            vertical.at(utility.value),
        )
        for point, leak, utility in measured
        if point.engine == OURS
    ]
    return Chart(
        _WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM,
        horizontal.ticks(), vertical.ticks(),
        tuple(sorted(curves, key=lambda curve: curve.ours)),
        _labels(labels),
    )  # fmt: skip


def _axis(estimates: Sequence[ConfidenceInterval], start: float, end: float) -> _Axis:
    """From chance to originals, and further where a point or its interval lies beyond."""
    low = min(0.0, *(min(each.low, each.value) for each in estimates))
    high = max(1.0, *(max(each.high, each.value) for each in estimates))
    margin = 0.03 * (high - low)
    return _Axis(low - margin, high + margin, start, end)


def _mark(
    point: OperatingPoint, leak: ConfidenceInterval, utility: ConfidenceInterval, x: _Axis, y: _Axis
) -> Mark:
    return Mark(
        x.at(leak.value),
        y.at(utility.value),
        (x.at(leak.low), x.at(leak.high)),
        (y.at(utility.low), y.at(utility.high)),
        f"{point.engine} at level {point.level:g}: leak {leak}, utility {utility}",
    )


def _labels(points: Sequence[tuple[str, float, float]]) -> tuple[Label, ...]:
    """Write names to the left of points, where a front leaves room, each below the one above."""
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
