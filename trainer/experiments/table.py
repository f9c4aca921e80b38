"""Tables of finished cells, in Markdown."""

from __future__ import annotations

from collections import defaultdict
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Final, NamedTuple

from trainer.experiments.points import points_hypervolume
from trainer.reporting.markdown import for_markdown
from trainer.reporting.rows import Cell, Column, Row, Section, Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from trainer.experiments.running import Result

_ALL_BASELINES: Final = "classical, all together"
_MISSING: Final = "-"
_CAPTION: Final = (
    "Hypervolume of the (leak, utility) front by a fresh attacker, reference (1, 0); "
    "mean ± standard deviation over seeds (number of seeds)."
)


class _Row(NamedTuple):
    method: str
    access: str


def as_markdown(results: Sequence[Result], *, target: float = 0.75) -> str:
    """Render finished cells as Markdown: mean and standard deviation over seeds, and the number of seeds.

    Where the same cell was run with several settings, only the settings of its newest line count; the number of other
    results is told below the table.

    Args:
        results: Finished cells, oldest first.
        target: Share of the white-box hypervolume that the column "queries to" is about. The mean over seeds must reach
            it, at one of the budgets that were run.
    """
    groups = _newest(results)
    asked = {key: group for key, group in groups.items() if group[0].cell.asks}
    free = {key: group for key, group in groups.items() if not group[0].cell.asks}
    white_box = [result for group in free.values() for result in group if result.cell.white_box]
    goal = target * _mean(white_box) if white_box else None
    parts = [_table_of_budgets(asked, goal, target)] if asked else []
    parts += [_table_without_queries(free, _mean(white_box) if white_box else None)] if free else []
    return "\n\n".join([*parts, _notes(results, groups)]) + "\n"


def _newest(results: Sequence[Result]) -> dict[tuple[str, str, int], list[Result]]:
    """Group results by method, access and budget; keep the recipe of the newest line, and the newest of each seed."""
    recipes = {_key(result): result.recipe for result in results}
    chosen: dict[tuple[str, str, int], dict[int, Result]] = defaultdict(dict)
    for result in results:
        if result.recipe == recipes[_key(result)]:
            chosen[_key(result)][result.cell.seed] = result
    return {key: list(by_seed.values()) for key, by_seed in chosen.items()}


def _key(result: Result) -> tuple[str, str, int]:
    config = result.cell.config
    return result.cell.method, config.access if config else "", config.max_queries if config else 0


def _table_of_budgets(
    groups: Mapping[tuple[str, str, int], list[Result]], goal: float | None, target: float
) -> str:
    budgets = sorted({budget for _, _, budget in groups})
    rows = {
        _Row(method, access): [groups.get((method, access, budget), []) for budget in budgets]
        for method, access, _ in groups
    }
    aim = f"queries to {target:.0%} of the white box" + (f" ({goal:.3f})" if goal is not None else "")
    headings = ("gradient from", "answers", *(f"{budget:,} queries" for budget in budgets), aim, "CPU s")
    lines = (
        [
            *row,
            *(_spread(group) for group in found),
            _reached(budgets, found, goal),
            " / ".join(
                f"{fmean(each.cpu_s for each in group):.0f}" if group else _MISSING for group in found
            ),
        ]
        for row, found in sorted(
            rows.items(), key=lambda item: [-_mean(group) for group in reversed(item[1])]
        )
    )
    return markdown_table(headings, lines)


def _table_without_queries(
    groups: Mapping[tuple[str, str, int], list[Result]], white_box: float | None
) -> str:
    found = {method: group for (method, _, _), group in groups.items()}
    engines = [group for group in found.values() if group[0].cell.engine is not None]
    together = _together(engines) if len(engines) > 1 else []
    lines = [
        (method, _mean(group), _spread(group), f"{fmean(each.cpu_s for each in group):.0f}")
        for method, group in found.items()
    ]
    if together:
        lines.append((_ALL_BASELINES, fmean(together), spread_of(together), "0"))
    lines.sort(key=lambda line: -line[1])
    return markdown_table(
        ("without queries", "hypervolume", "of the white box", "CPU s"),
        (
            [name, spread, f"{mean / white_box:.2f}" if white_box else _MISSING, cpu_s]
            for name, mean, spread, cpu_s in lines
        ),
    )


def _together(engines: Sequence[Sequence[Result]]) -> list[float]:
    """Return the hypervolume of all engines' points as one front, for each seed that all of them have."""
    by_seed: dict[int, list[Result]] = defaultdict(list)
    for group in engines:
        for result in group:
            by_seed[result.cell.seed].append(result)
    return [
        points_hypervolume(point for result in same for point in result.points)
        for same in by_seed.values()
        if len(same) == len(engines)
    ]


def _notes(results: Sequence[Result], groups: Mapping[tuple[str, str, int], list[Result]]) -> str:
    shown = [result for group in groups.values() for result in group]
    if not shown:
        return "No cell is finished."
    sizes = sorted({str(result.cell.sizes) for result in shown})
    lines = [
        _CAPTION,
        f"Sizes: {'; '.join(sizes)}.",
    ]
    outdated = len(results) - len(shown)
    if outdated:
        lines.append(f"{outdated} results of earlier settings are left out.")
    versions = len({result.code for result in shown})
    if versions > 1:
        lines.append(f"The cells were run with {versions} versions of the code.")
    return "\n".join(lines)


def _reached(budgets: Sequence[int], found: Sequence[Sequence[Result]], goal: float | None) -> str:
    if goal is None:
        return "no white box yet"
    enough = [budget for budget, group in zip(budgets, found, strict=True) if group and _mean(group) >= goal]
    return f"{min(enough):,}" if enough else "not reached"


def _mean(group: Sequence[Result]) -> float:
    return fmean(result.hypervolume for result in group) if group else 0.0


def _spread(group: Sequence[Result]) -> str:
    return spread_of([result.hypervolume for result in group])


def spread_of(values: Sequence[float], *, signed: bool = False) -> str:
    """Write mean, standard deviation and number of values; a dash if there are none."""
    if not values:
        return _MISSING
    deviation = f" ± {stdev(values):.3f}" if len(values) > 1 else ""
    return f"{fmean(values):{'+' if signed else ''}.3f}{deviation} ({len(values)})"


def markdown_table(headings: Iterable[str], lines: Iterable[Sequence[str]]) -> str:
    """Write a table without a caption in Markdown."""
    rows = tuple(Row(tuple(map(Cell, line))) for line in lines)
    return for_markdown(Table("", tuple(map(Column, headings)), (Section(rows),)))
