"""Runs of a grid's cells, each in a process of its own, and their results on disk."""

from __future__ import annotations

import hashlib
import multiprocessing
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import TYPE_CHECKING, Final, ParamSpec, Protocol, TypeVar

import torch
from pydantic import ValidationError

import langchain_vpp
import trainer
from langchain_vpp.artifact import read_manifest
from langchain_vpp.engines import CLASSICAL_ENGINES
from langchain_vpp.errors import DataError, VPPError
from trainer.data.answers import answer_space
from trainer.data.dataset import load_dataset
from trainer.experiments.grid import Frozen, GridCell, cells
from trainer.experiments.points import Point, measure, points_hypervolume
from trainer.experiments.regime_table import Measured
from trainer.experiments.regimes import REGIMES
from trainer.experiments.white_box import WhiteBox
from trainer.sandbox.drawing.scenes import make_data
from trainer.training.trainer import Trainer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trainer.data.dataset import Dataset
    from trainer.experiments.grid import Grid, Sizes
    from trainer.training.config import TrainerConfig

_RESULTS: Final = "results.jsonl"
_KEPT: Final = ("model.safetensors", "manifest.json", "metrics.jsonl")
_Arguments = ParamSpec("_Arguments")
_T = TypeVar("_T")


class Execute(Protocol):
    """Runs a cell somewhere: calls a function with its arguments, and returns its result."""

    def __call__(
        self, function: Callable[[GridCell, Path, Path], Result], cell: GridCell, data: Path, out: Path, /
    ) -> Result:
        """Call the function.

        Raises:
            VPPError: If the cell failed, or its process died.
        """


class Result(Frozen):
    """A finished cell: one line of ``results.jsonl``."""

    cell: GridCell
    digest: str
    recipe: str
    points: tuple[Point, ...]
    hypervolume: float
    queries: int
    """Paid queries, those for the validation front included."""
    cpu_s: float
    """CPU seconds of training, without the drawing of data and the measuring."""
    code: str
    """Digest of the source code that ran."""


def measured(result: Result) -> Measured | None:
    """Return a cell's row in a table of regimes; ``None`` for a classical engine."""
    cell = result.cell
    if cell.config is None:
        return None
    return Measured(cell.method, cell.config.max_queries, cell.regime, cell.seed, result.hypervolume)


def run_cell(cell: GridCell, data: Path, out: Path) -> Result:
    """Train and measure one cell; its artifact is kept under ``out/runs``."""
    code, queries, cpu_s, dataset = _code(), 0, 0.0, load_dataset(data)
    with tempfile.TemporaryDirectory(dir=out, prefix="unfinished-") as place:
        folder = Path(place) / "run"
        if cell.config is not None:
            began = time.process_time()
            _trainer(cell, cell.config, dataset).fit(folder)
            cpu_s = time.process_time() - began
            queries = read_manifest(folder)[0].queries
        points = measure(
            folder if cell.engine is None else CLASSICAL_ENGINES[cell.engine](),
            dataset,
            cell.levels,
            attacker_images=cell.sizes.attacker_images,
            seed=cell.seed,
            ledger=Path(place) / "evaluation.sqlite",
            regime=REGIMES[cell.regime],
            questions=cell.sizes.questions,
        )
        if cell.config is not None:
            # The rest, pictures above all, would fill the disk after a hundred runs.
            kept = out / "runs" / cell.digest()[:16]
            kept.mkdir(parents=True, exist_ok=True)
            for name in _KEPT:
                (folder / name).replace(kept / name)
    return Result(
        cell=cell,
        digest=cell.digest(),
        recipe=cell.recipe(),
        points=points,
        hypervolume=points_hypervolume(points),
        queries=queries,
        cpu_s=round(cpu_s, 1),
        code=code,
    )


def run(
    grid: Grid,
    out: Path,
    seeds: Sequence[int],
    *,
    jobs: int,
    tell: Callable[[str], None],
    execute: Execute | None = None,
) -> list[tuple[GridCell, str]]:
    """Run the cells of a grid that are missing.

    Args:
        grid: The comparison.
        out: Folder for results, data and artifacts.
        seeds: Seeds; each gives a cell of its own.
        jobs: Processes at once, of one thread each.
        tell: Receives a line after each cell.
        execute: Runs a cell, in a process of this machine if not given. It is called in several threads at once.

    Returns:
        Cells that failed, with the reason.

    Raises:
        DataError: If a method has settings that a trainer does not accept, or the folder holds something else.
    """
    wanted = cells(grid, seeds)
    finished = {result.digest for result in load_results(out)}
    missing = [cell for cell in wanted if cell.digest() not in finished]
    tell(f"{len(missing)} of {len(wanted)} cells to run")
    if not missing:
        return []
    data = draw_data(out, grid.sizes)
    failures: list[tuple[GridCell, str]] = []
    pool = ThreadPoolExecutor(jobs)
    try:
        place = execute or _in_own_process
        running = {pool.submit(place, run_cell, cell, data, out): cell for cell in missing}
        for future in as_completed(running):
            cell = running[future]
            try:
                result = future.result()
            except (VPPError, BrokenProcessPool) as error:  # the other cells are worth having
                failures.append((cell, f"{type(error).__name__}: {error}"))
                tell(f"{cell.label}: failed")
                continue
            with (out / _RESULTS).open("a", encoding="utf-8") as file:
                file.write(result.model_dump_json() + "\n")
            tell(f"{cell.label}: hypervolume {result.hypervolume:.3f}, {result.cpu_s:.0f} CPU s")
    finally:
        pool.shutdown(cancel_futures=True)
    return failures


def load_results(out: Path) -> list[Result]:
    """Read the finished cells of a folder, oldest first.

    Raises:
        DataError: If a line is not a result of this version.
    """
    path = out / _RESULTS
    if not path.exists():
        return []
    results = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        result = _parsed(line)
        if result is None:
            raise DataError(
                f"{path}, line {number}: no result of this version. Nothing was run; "
                "remove the line or choose another --out."
            )
        results.append(result)
    return results


def _parsed(line: str) -> Result | None:
    try:
        return Result.model_validate_json(line)
    except ValidationError:
        return None


def _in_own_process(
    function: Callable[_Arguments, _T], *args: _Arguments.args, **kwargs: _Arguments.kwargs
) -> _T:
    """Call a function in a fresh process, so that no threads, memory or global state remain for the next cell."""
    with ProcessPoolExecutor(
        1, multiprocessing.get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,)
    ) as process:
        return process.submit(function, *args, **kwargs).result()


def _trainer(cell: GridCell, config: TrainerConfig, dataset: Dataset) -> Trainer:
    model = REGIMES[cell.regime].chat_model(config.max_queries)
    if cell.white_box:
        return Trainer(model, dataset, config, estimator=WhiteBox(answer_space(dataset), model.vision))
    return Trainer(model, dataset, config)


def draw_data(out: Path, sizes: Sizes) -> Path:
    """Draw the data set whole or not at all, unless it is there."""
    folder = out / f"data-{sizes.train}-{sizes.val}-{sizes.test}-{sizes.data_seed}"
    if not folder.exists():
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out, prefix="unfinished-") as place:
            drawn = Path(place) / "data"
            make_data(drawn, train=sizes.train, val=sizes.val, test=sizes.test, seed=sizes.data_seed)
            drawn.replace(folder)
    return folder


def _code() -> str:
    digest = hashlib.sha256()
    for package in (langchain_vpp, trainer):
        for path in sorted(Path(str(package.__file__)).parent.rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()
