"""Regimes, their grid and table, and cells that share a beginning."""

from __future__ import annotations

import pytest

from langchain_vpp.errors import DataError
from trainer.experiments import forks
from trainer.experiments.forks import Fork, Outcome, compare, finished
from trainer.experiments.grid import LABEL_ONLY, REGIME_GRID, cells
from trainer.experiments.points import Point
from trainer.experiments.regime_table import Measured, regime_table
from trainer.experiments.regimes import REGIMES


def test_a_protector_that_met_a_changing_model_is_measured_with_what_it_became():
    changing = REGIMES["changing"]
    assert changing.chat_model(100).model_name == "sandbox-changing"
    assert changing.judge().model_name == "sandbox-text-first"
    assert REGIMES["coarse"].judge().model_name == "sandbox-coarse"


def test_the_baseline_asks_nothing_but_for_references_where_there_are_no_labels():
    found = [cell for cell in cells(REGIME_GRID, [0]) if cell.method == LABEL_ONLY]
    by_regime = {
        regime: {cell.config.max_queries for cell in found if cell.regime == regime} for regime in REGIMES
    }
    assert by_regime.pop("no-labels") == {200, 500, 2000}
    assert set(map(tuple, by_regime.values())) == {(0,)}
    assert {cell.config.references for cell in found if cell.regime == "no-labels"} == {"model"}


def test_a_part_of_a_grid_can_be_run_and_an_unknown_one_is_refused():
    part = REGIME_GRID.restricted([LABEL_ONLY, "student"], ["coarse"], [500])
    assert [(cell.method, cell.config.max_queries) for cell in cells(part, [0])] == [
        (LABEL_ONLY, 0),
        ("student", 500),
    ]
    with pytest.raises(DataError, match="studnet"):
        REGIME_GRID.restricted(["studnet"])


def test_gains_are_paired_over_seeds():
    rows = [
        Measured(LABEL_ONLY, 0, "coarse", 0, 0.1),
        Measured(LABEL_ONLY, 0, "coarse", 1, 0.5),
        Measured("student", 500, "coarse", 0, 0.3),
        Measured("student", 500, "coarse", 1, 0.7),
        Measured("student", 500, "coarse", 2, 0.9),  # no baseline of this seed: no gain
    ]
    hypervolumes, gains = regime_table(rows).split("Gain over")
    assert "0.300 ± 0.283 (2)" in hypervolumes
    assert "0.633 ± 0.306 (3)" in hypervolumes
    assert "+0.200 ± 0.000 (2)" in gains
    assert REGIMES["coarse"].description in gains


def test_an_interrupted_comparison_goes_on_with_the_next_cell(tmp_path, monkeypatch):
    ran = []

    class Counted:
        def __init__(self, out, data, seed):
            self.seed = seed

        def run(self, fork):
            if len(ran) == 2:
                raise KeyboardInterrupt
            ran.append(fork)
            return Outcome(fork=fork, points=(Point(1.0, 0.1, 0.5),), hypervolume=0.4, queries=7, cpu_s=1.0)

    monkeypatch.setattr(forks, "Comparison", Counted)
    wanted = [
        Fork(method=LABEL_ONLY, regime=regime, seed=seed, settings={"estimator": "label-only"})
        for seed in (0, 1)
        for regime in ("coarse", "labels")
    ]
    told: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        compare(tmp_path, tmp_path, wanted, told.append)
    assert [outcome.fork for outcome in finished(tmp_path)] == wanted[:2]
    ran.clear()
    compare(tmp_path, tmp_path, wanted, told.append)
    assert ran == wanted[2:]
    assert len(told) == 4


def test_the_cells_of_a_seed_follow_each_other_and_begin_with_the_baseline():
    part = REGIME_GRID.restricted([LABEL_ONLY, "student", "none, fidelity 3"], ["coarse"], [500])
    found = [(fork.seed, fork.method, fork.budget) for fork in forks.forks_of(part, [3, 4])]
    assert found == [(seed, *cell) for seed in (3, 4) for cell in ((LABEL_ONLY, 0), ("student", 500))]
