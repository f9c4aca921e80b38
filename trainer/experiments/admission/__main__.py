"""Command line of the measurements: ``python -m trainer.experiments.admission``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Final

from langchain_vpp.errors import DataError
from trainer.experiments.admission.worlds import Choice, draw_world, learned_shares

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_MARKS: Final = (50, 100, 200, 300)
_CHOICES: Final[tuple[Choice, ...]] = ("informative", "uniform")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print tables in Markdown.

    Args:
        arguments: Arguments of the command line; the process's own if not given.

    Returns:
        The exit code: 0 done, 2 bad input.
    """
    parser = argparse.ArgumentParser(
        prog="python -m trainer.experiments.admission",
        description="Learned admission against uniform queries and the exhaustive front.",
    )
    parser.add_argument("--worlds", type=int, default=30, help="simulated worlds")
    parser.add_argument("--seeds", type=int, default=5, help="seeds of each world and task")
    parser.add_argument("--data", type=Path, help="folder with data sets of `vpp sandbox make-data --task`")
    parser.add_argument("--read", type=int, default=20, help="painted pictures of each task that are read")
    options = parser.parse_args(arguments)
    try:
        _print(_of_worlds(options.worlds, options.seeds) if options.worlds else ())
        _print(_of_tasks(options.data, options.seeds, options.read) if options.data else ())
    except DataError as error:
        _print([str(error)])
        return 2
    return 0


def _of_worlds(worlds: int, seeds: int) -> Iterator[str]:
    yield f"| answers, {worlds} worlds, {seeds} seeds: mean (worst) | {' | '.join(map(str, _MARKS))} |"
    yield "|---" * (len(_MARKS) + 1) + "|"
    for choice in _CHOICES:
        rows = [
            learned_shares(draw_world(world), choice, _MARKS, seed=1000 * seed + world)
            for world in range(worlds)
            for seed in range(seeds)
        ]
        cells = (f"{mean(column):.3f} ({min(column):.3f})" for column in zip(*rows, strict=True))
        yield f"| {choice} | {' | '.join(cells)} |"


def _of_tasks(data: Path, seeds: int, read: int) -> Iterator[str]:
    from langchain_vpp.engines.words.reader import RapidReader  # noqa: PLC0415  extra `words`
    from trainer.data.dataset import load_dataset  # noqa: PLC0415
    from trainer.experiments.admission.tasks import agreement, learned, read_pictures  # noqa: PLC0415
    from trainer.sandbox.screens.model import ScreenModel  # noqa: PLC0415

    reader = RapidReader()
    yield "| task, answers | informative | uniform | informative, held-out layout | uniform, held-out layout |"
    yield "|---|---|---|---|---|"
    notes = []
    for folder in sorted(each for each in data.iterdir() if (each / "data.jsonl").exists()):
        dataset = load_dataset(folder, needs_attributes=False)
        train, test = (read_pictures(dataset, split, reader) for split in ("train", "test"))
        for budget in _MARKS:
            found = {
                choice: [
                    learned(train, test, choice=choice, budget=budget, seed=seed) for seed in range(seeds)
                ]
                for choice in _CHOICES
            }
            cells = [
                f"{mean(column):.3f} ({min(column):.3f})"
                for place in range(2)
                for column in ([each[place] for each in found[choice]] for choice in _CHOICES)
            ]
            yield f"| {folder.name}, {budget} | {' | '.join(cells)} |"
        equal, total = agreement([*train, *test], ScreenModel(reader), count=read, seed=0)
        most = max(len(each.kinds) for each in train)
        notes.append(
            f"{folder.name}: {len(train)} pictures, up to {most} kinds in one; {equal} of {total} read alike"
        )
    yield from notes


def _print(lines: Iterator[str] | Sequence[str]) -> None:
    for line in lines:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
