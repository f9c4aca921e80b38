"""Cells of a grid on a cluster: results of other machines, and failures that leave the other cells alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from langchain_vpp.errors import DataError, TrainingError
from trainer.scale.grids import main, on_cluster

pytestmark = pytest.mark.slow(seconds=20)


def cell(name, data, out):
    if name == "bad":
        raise DataError("nothing to train with.")
    if name == "dies":
        os._exit(1)
    return name, os.getpid()


def test_cells_run_in_processes_of_their_own_and_fail_alone(cluster):
    import ray

    # Workers know modules that are installed; this one travels by value.
    ray.cloudpickle.register_pickle_by_value(__import__(__name__, fromlist=["cell"]))
    execute = on_cluster(ray)
    here = Path.cwd()
    first, second = (execute(cell, name, here, here) for name in ("one", "two"))
    assert (first[0], second[0]) == ("one", "two")
    assert len({first[1], second[1], os.getpid()}) == 3
    with pytest.raises(TrainingError, match=r"^nothing to train with\.$"):
        execute(cell, "bad", here, here)
    with pytest.raises(TrainingError, match="its process on the cluster failed"):
        execute(cell, "dies", here, here)


def test_a_cluster_that_is_not_there_is_named(capsys, cluster, monkeypatch):
    import ray

    monkeypatch.setattr(ray, "is_initialized", lambda: False)

    def nowhere(**_):
        raise ConnectionError

    monkeypatch.setattr(ray, "init", nowhere)
    assert main(["--ray", "127.0.0.1:1", "--out", "x"]) == 2
    assert "no cluster of Ray at 127.0.0.1:1" in capsys.readouterr().err
