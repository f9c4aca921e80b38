"""Regimes measured on runs that share a beginning: what paid answers add to a protector that the labels taught.

Until the first query, a run depends neither on the chat model nor on how answers will be used. So all methods and
regimes of a seed go on from one checkpoint of a run of ``label-only``, and differ from there on. A protector of
``label-only`` is the same in every regime but the one without labels; it is attacked once.

Every finished cell is a line of ``results.jsonl``; a comparison that was interrupted goes on with the next cell.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch
from pydantic import Field, JsonValue

from langchain_vpp.artifact import load_protector, read_manifest
from trainer.data.answers import answer_space, asked_tasks
from trainer.data.dataset import load_dataset
from trainer.data.wire import as_image
from trainer.evaluation.results import front_hypervolume
from trainer.experiments.grid import REGIME_BED, REGIME_GRID, Frozen
from trainer.experiments.points import Point
from trainer.experiments.regime_table import Measured, regime_table
from trainer.experiments.regimes import REGIMES, RegimeName
from trainer.experiments.running import draw_data
from trainer.runtime.checkpoint import save_state
from trainer.training.batches import TrainingSplit
from trainer.training.config import TrainerConfig
from trainer.training.fresh_attack import FreshAttack, as_sent
from trainer.training.trainer import CHECKPOINT, Trainer
from trainer.training.validation import Validation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from langchain_vpp.network.protector import Protector
    from trainer.experiments.grid import Grid

LEVELS: Final = (0.25, 0.5, 0.75, 1.0)
BED: Final[dict[str, Any]] = REGIME_BED | {"query_warmup": 0.6, "validation": 0.0}
"""Settings of a run: those of the grid of regimes, with a long beginning, and without a front of its own."""
_ASKED: Final = 300
"""(Image, question) pairs of the test split that are asked at each level."""


class Fork(Frozen):
    """One cell: a way to go on, and where."""

    method: str
    regime: RegimeName
    seed: int
    budget: int = 0
    settings: dict[str, JsonValue] = Field(default_factory=dict)
    """Fields of :class:`~trainer.training.config.TrainerConfig` that differ from :data:`BED`."""


class Outcome(Frozen):
    """A finished cell: one line of ``results.jsonl``."""

    fork: Fork
    points: tuple[Point, ...]
    hypervolume: float
    queries: int
    cpu_s: float


class Comparison:
    """Cells of one seed.

    Args:
        out: Folder for results, shared beginnings and protectors.
        data: The data set's folder: drawn scenes.
        seed: Seed of training and of the attacker.
    """

    def __init__(self, out: Path, data: Path, seed: int) -> None:
        self._out, self._seed, self._dataset = out, seed, load_dataset(data)
        self._leaks: dict[str, tuple[float, ...]] = {}

    def run(self, fork: Fork) -> Outcome:
        """Train and measure one cell."""
        began = time.process_time()
        folder = self._trained(fork)
        protector = load_protector(folder)[0]
        points = self._points(protector, fork, folder)
        return Outcome(
            fork=fork,
            points=points,
            hypervolume=front_hypervolume((point.leak, point.utility) for point in points),
            queries=read_manifest(folder)[0].queries,
            cpu_s=round(time.process_time() - began, 1),
        )

    def _trained(self, fork: Fork) -> Path:
        """Train a cell, or find its protector where an equal one was trained."""
        regime = REGIMES[fork.regime]
        asks = fork.budget > 0
        name = f"{fork.method}-{fork.budget}-{fork.regime if asks else regime.references}-{self._seed}"
        folder = self._out / "runs" / name.replace(" ", "_").replace(",", "")
        if (folder / "manifest.json").exists():
            return folder
        config = _config(self._seed, fork.budget, fork.settings, references=regime.references)
        trainer = Trainer(regime.chat_model(fork.budget), self._dataset, config)
        shutil.rmtree(folder, ignore_errors=True)
        if regime.references == "labels":
            self._begin_with_base(trainer, config, folder)
        trainer.fit(folder, resume=True)
        for file in (CHECKPOINT, "ledger.sqlite"):
            (folder / file).unlink(missing_ok=True)
        return folder

    def _begin_with_base(self, trainer: Trainer, config: TrainerConfig, folder: Path) -> None:
        """Put the shared checkpoint where the run resumes, as if the run had written it."""
        state = torch.load(self._base, weights_only=True)
        if config.query_choice == "disagreement":
            state["estimator"]["prior"] = state["estimator"]["network"]
        folder.mkdir(parents=True)
        save_state(state | {"fingerprint": trainer.identity.fingerprint()}, folder / CHECKPOINT)

    @cached_property
    def _base(self) -> Path:
        """Checkpoint of a run of ``label-only`` when its first query would be due."""
        folder = self._out / "bases" / str(self._seed)
        kept = folder / "base.pt"
        if kept.exists():
            return kept
        config = _config(self._seed, 0, {"estimator": "label-only"}, references="labels")
        fork_at = int(config.query_warmup * config.steps)

        def stop(progress: Any) -> None:
            if progress.phase == "protector" and progress.step > fork_at:
                raise _Begun

        shutil.rmtree(folder, ignore_errors=True)
        config = config.model_copy(update={"checkpoint_every": fork_at})
        try:
            Trainer(REGIMES["labels"].chat_model(0), self._dataset, config).fit(folder, on_progress=stop)
        except _Begun:
            (folder / CHECKPOINT).replace(kept)
        return kept

    def _points(self, protector: Protector, fork: Fork, folder: Path) -> tuple[Point, ...]:
        if folder.name not in self._leaks:
            found = self._attack.readings(protector, LEVELS)
            self._leaks[folder.name] = tuple(each.leak.value for each in found)
        utilities = self._utilities(protector, fork)
        return tuple(
            Point(level, leak, utility)
            for level, leak, utility in zip(LEVELS, self._leaks[folder.name], utilities, strict=True)
        )

    @cached_property
    def _attack(self) -> FreshAttack:
        space, side = answer_space(self._dataset), BED["protector"]["working_resolution"]
        split = TrainingSplit.load(self._dataset, space, side)
        attributes = self._dataset.private_attributes
        return FreshAttack(attributes, split, self._test, images=400, seed=self._seed)

    @cached_property
    def _test(self) -> Validation:
        examples, space = self._dataset.split("test"), answer_space(self._dataset)
        side = BED["protector"]["working_resolution"]
        return Validation(
            space,
            self._dataset.pixels(examples, side),
            self._dataset.labels(examples),
            *asked_tasks(examples, space),
        )

    def _utilities(self, protector: Protector, fork: Fork) -> list[float]:
        """Scaled share of right answers at each level, 1 where all are right."""
        model, test = REGIMES[fork.regime].measured_with(), self._test
        pairs = test.pairs(_ASKED, seed=0)
        scaled = []
        for level in LEVELS:
            sent = [as_image(image / 255) for image in as_sent(protector, test.images, level)]
            right = chances = 0.0
            for row, question in pairs.tolist():
                phrasing = test.space.phrasings[int(test.phrasings[row, question])]
                prompt = f"{test.space.questions[question]} {', '.join(phrasing.choices)}"
                wanted = test.space.answers[int(test.references[row, question])]
                right += model.answer(sent[row], prompt).text == wanted
                chances += 1 / len(phrasing.choices)
            scaled.append((right - chances) / (len(pairs) - chances))
        return scaled


class _Begun(Exception):  # noqa: N818  ends a run where others go on
    pass


def _config(seed: int, budget: int, settings: Mapping[str, Any], *, references: str) -> TrainerConfig:
    return TrainerConfig.model_validate(
        {**BED, **settings, "seed": seed, "max_queries": budget, "references": references}
    )


def forks_of(grid: Grid, seeds: Sequence[int]) -> list[Fork]:
    """Spell out a grid's cells by seed; ``none`` has no part in the beginning that the others share."""
    return [
        Fork(method=method.name, regime=regime, seed=seed, budget=budget, settings=method.settings)
        for seed in seeds
        for method in grid.methods
        if method.settings.get("estimator") != "none"
        for regime in method.regimes or grid.regimes
        for budget in method.spread(grid, regime)[0]
    ]


def finished(out: Path) -> list[Outcome]:
    """Read the finished cells of a folder, oldest first."""
    path = out / "results.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [Outcome.model_validate_json(line) for line in lines]


def compare(out: Path, data: Path, forks: Sequence[Fork], tell: Callable[[str], None]) -> None:
    """Run the cells that are missing, in their order.

    Args:
        out: Folder for results.
        data: The data set's folder.
        forks: Cells; those of one seed should follow each other.
        tell: Receives a line after each cell.
    """
    done = [outcome.fork for outcome in finished(out)]
    comparison: Comparison | None = None
    seed = -1
    for fork in forks:
        if fork in done:
            continue
        if comparison is None or fork.seed != seed:
            comparison, seed = Comparison(out, data, fork.seed), fork.seed
        outcome = comparison.run(fork)
        with (out / "results.jsonl").open("a", encoding="utf-8") as file:
            file.write(outcome.model_dump_json() + "\n")
        shown = ", ".join(f"{each.leak:.2f}/{each.utility:.2f}" for each in outcome.points)
        tell(
            f"{fork.method}, {fork.budget}, {fork.regime}, seed {fork.seed}: {outcome.hypervolume:.3f} ({shown}), "
            f"{outcome.cpu_s:.0f} CPU s"
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run cells of the grid of regimes from shared beginnings, and print their table.

    Args:
        arguments: Arguments of the command line; the process's own if not given.
    """
    parser = argparse.ArgumentParser(prog="python -m trainer.experiments.forks")
    parser.add_argument("--out", type=Path, required=True, help="folder for results; finished cells are kept")
    parser.add_argument("--methods", nargs="+", help="names of methods of the grid")
    parser.add_argument("--regimes", nargs="+", help="regimes of the grid")
    parser.add_argument("--budgets", type=int, nargs="+", help="budgets of the grid")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    options = parser.parse_args(arguments)
    grid = REGIME_GRID.restricted(options.methods, options.regimes, options.budgets)
    data = draw_data(options.out, grid.sizes)
    torch.set_num_threads(1)

    def tell(line: str) -> None:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    compare(options.out, data, forks_of(grid, options.seeds), tell)
    tell(
        regime_table(
            Measured(each.fork.method, each.fork.budget, each.fork.regime, each.fork.seed, each.hypervolume)
            for each in finished(options.out)
        )
    )


if __name__ == "__main__":
    main()
