"""Table of finished cells by regime, and each method's gain over the student of the labels, paired over seeds."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from trainer.experiments.grid import LABEL_ONLY
from trainer.experiments.regimes import REGIMES, RegimeName
from trainer.experiments.table import markdown_table, spread_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_BySeed = dict[int, float]
"""Seed -> hypervolume."""
_Groups = dict[tuple[str, int, str], _BySeed]
"""Method, budget and regime -> results."""


class Measured(NamedTuple):
    """The outcome of one cell."""

    method: str
    budget: int
    regime: RegimeName
    seed: int
    hypervolume: float


def regime_table(cells: Iterable[Measured]) -> str:
    """Render two tables in Markdown: hypervolumes, and gains over ``label-only`` of the same seed and regime.

    Args:
        cells: Finished cells, oldest first; of two outcomes of one cell the newer one counts.
    """
    groups: _Groups = defaultdict(dict)
    for cell in cells:
        groups[cell.method, cell.budget, cell.regime][cell.seed] = cell.hypervolume
    regimes = [name for name in REGIMES if any(name == regime for _, _, regime in groups)]
    rows = sorted({(method, budget) for method, budget, _ in groups}, key=lambda row: (row[1], row[0]))
    headings = ("gradient from", "queries", *regimes)
    values = [
        [
            method,
            f"{budget:,}",
            *(spread_of([*groups.get((method, budget, each), {}).values()]) for each in regimes),
        ]
        for method, budget in rows
    ]
    gains = [
        [
            method,
            f"{budget:,}",
            *(spread_of(_gains(groups, method, budget, each), signed=True) for each in regimes),
        ]
        for method, budget in rows
        if method != LABEL_ONLY
    ]
    legend = "\n".join(f"- `{name}`: {REGIMES[name].description}" for name in regimes)
    return "\n\n".join(
        (
            "Hypervolume by a fresh attacker, reference (1, 0); mean ± standard deviation over seeds (seeds).",
            markdown_table(headings, values),
            f"Gain over `{LABEL_ONLY}` of the same seed and regime; mean ± standard deviation of the differences.",
            markdown_table(headings, gains),
            legend,
        )
    )


def _gains(
    groups: Mapping[tuple[str, int, str], _BySeed], method: str, budget: int, regime: RegimeName
) -> list[float]:
    """Differences from label-only with the same seeds; its budget is the same where it pays for references, else 0."""
    ours = groups.get((method, budget, regime), {})
    theirs = groups.get((LABEL_ONLY, budget, regime)) or groups.get((LABEL_ONLY, 0, regime), {})
    return [ours[seed] - theirs[seed] for seed in sorted(ours.keys() & theirs.keys())]
