"""A report as JSON, tables, a plot of the front, and a contact sheet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_vpp.errors import TrainingError
from trainer.algorithms.pareto import non_dominated
from trainer.evaluation.results import OURS
from trainer.reporting.files import writing

if TYPE_CHECKING:
    from pathlib import Path

    from trainer.evaluation.results import Report
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


def plot_front(report: Report, path: Path) -> None:
    """Draw leak against utility for every engine, with 95 % intervals; needs matplotlib (extra ``demo``).

    Raises:
        TrainingError: If utility was not measured, or the file can't be written.
    """
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


def _bars(estimate: ConfidenceInterval) -> list[list[float]]:
    # The interval of a resampled mean may, by a hair, not hold the mean itself.
    return [[max(0.0, estimate.value - estimate.low)], [max(0.0, estimate.high - estimate.value)]]
