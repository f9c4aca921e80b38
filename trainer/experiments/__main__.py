"""Command line of the comparison: ``python -m trainer.experiments``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from pydantic import ValidationError

from langchain_vpp.errors import DataError
from trainer.experiments.grid import GRIDS, Grid
from trainer.experiments.regime_table import regime_table
from trainer.experiments.running import load_results, measured, run
from trainer.experiments.table import as_markdown

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trainer.experiments.grid import GridCell
    from trainer.experiments.running import Execute


def main(arguments: Sequence[str] | None = None, *, execute: Execute | None = None) -> int:
    """Run cells and render the table.

    Args:
        arguments: Arguments of the command line; the process's own if not given.
        execute: Runs a cell elsewhere; see :func:`trainer.experiments.running.run`.

    Returns:
        The exit code: 0 done, 1 cells failed, 2 bad input.
    """
    parser = argparse.ArgumentParser(
        prog="python -m trainer.experiments",
        description="Compare estimators, budgets and kinds of access on the sandbox.",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for results; finished cells are kept")
    parser.add_argument("--grid", default="quick", help=f"{', '.join(GRIDS)}, or a JSON file")
    parser.add_argument("--jobs", type=_at_least(1), default=2, help="processes at once, of one thread each")
    parser.add_argument("--methods", nargs="+", help="names of methods of the grid; all if not given")
    parser.add_argument("--regimes", nargs="+", help="regimes of the grid; all if not given")
    parser.add_argument(
        "--budgets", type=_at_least(0), nargs="+", help="budgets of the grid; all if not given"
    )
    parser.add_argument("--seeds", type=_at_least(0), nargs="+", default=[0, 1, 2])
    parser.add_argument(
        "--target", type=float, default=0.75, help="share of the white-box hypervolume to reach"
    )
    parser.add_argument("--table", action="store_true", help="run nothing, only render what is finished")
    options = parser.parse_args(arguments)
    failures: list[tuple[GridCell, str]] = []
    problem = ""
    try:
        if not options.table:
            failures = run(
                _read_grid(options.grid).restricted(options.methods, options.regimes, options.budgets),
                options.out,
                options.seeds,
                jobs=options.jobs,
                tell=lambda line: _write(sys.stderr, line),
                execute=execute,
            )
        results = load_results(options.out)
        by_regime = any(result.cell.regime != "labels" for result in results)
        table = (
            regime_table(filter(None, map(measured, results)))
            if by_regime
            else as_markdown(results, target=options.target)
        )
        _write(sys.stdout, table)
    except DataError as error:
        problem = str(error)
    except OSError as error:
        problem = f"{options.out} can't be used ({error.strerror or type(error).__name__})."
    if problem:
        _write(sys.stderr, problem)
        return 2
    for cell, reason in failures:
        _write(sys.stderr, f"{cell.label}: {reason}")
    return 1 if failures else 0


def _at_least(least: int) -> Callable[[str], int]:
    def whole_number(text: str) -> int:
        if int(text) < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}")
        return int(text)

    return whole_number


def _read_grid(name: str) -> Grid:
    if name in GRIDS:
        return GRIDS[name]
    problem = ""
    try:
        return Grid.model_validate_json(Path(name).read_bytes())
    except OSError as error:
        problem = error.strerror or type(error).__name__
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        problem = f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
    raise DataError(f"the grid {name} can't be used ({problem}). Nothing was run.")


def _write(stream: TextIO, line: str) -> None:
    stream.write(line.rstrip("\n") + "\n")
    stream.flush()


if __name__ == "__main__":
    sys.exit(main())
