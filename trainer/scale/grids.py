"""Grids of experiments on a cluster of Ray: ``python -m trainer.scale.grids --ray ADDRESS --out DIR``.

Every cell is trained and measured in a process of its own on some machine; the other options are those of
``python -m trainer.experiments``, of which ``--jobs`` says how many cells run at once. The machines must see the same
``--out``. A cell whose process dies is run once more; results that are there are never computed again.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

import torch

from langchain_vpp.errors import TrainingError, VPPError
from trainer.experiments.__main__ import main as run_grid
from trainer.scale.ray import connect

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from trainer.experiments.grid import GridCell
    from trainer.experiments.running import Execute, Result


def main(arguments: Sequence[str] | None = None) -> int:
    """Run cells on a cluster and render the table; returns the exit code of :mod:`trainer.experiments`."""
    parser = argparse.ArgumentParser(prog="python -m trainer.scale.grids", add_help=False)
    parser.add_argument("--ray", required=True, help="auto, local, or host:port")
    options, others = parser.parse_known_args(arguments)
    problem = ""
    try:
        ray = connect(options.ray)
    except VPPError as error:
        problem = str(error)
    if problem:
        sys.stderr.write(problem + "\n")
        return 2
    return run_grid(others, execute=on_cluster(ray))


def on_cluster(ray: Any) -> Execute:
    """Return what runs a cell on a cluster.

    Args:
        ray: The module of Ray, connected.
    """
    # A process of its own for each cell, so that no threads, memory or global state remain for the next one.
    remote = ray.remote(num_cpus=1, max_calls=1, max_retries=1)(_run)

    def execute(
        function: Callable[[GridCell, Path, Path], Result], cell: GridCell, data: Path, out: Path, /
    ) -> Result:
        problem = ""
        try:
            result, problem = ray.get(remote.remote(function, cell, data.absolute(), out.absolute()))
        except ray.exceptions.RayError as error:
            result, problem = None, f"its process on the cluster failed ({type(error).__name__})"
        if problem:
            raise TrainingError(problem)
        found: Result = result
        return found

    return execute


def _run(
    function: Callable[[GridCell, Path, Path], Result], cell: GridCell, data: Path, out: Path
) -> tuple[Result | None, str]:
    torch.set_num_threads(1)
    try:
        return function(cell, data, out), ""
    except VPPError as error:
        return None, str(error)


if __name__ == "__main__":
    sys.exit(main())
