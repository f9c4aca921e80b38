"""The comparisons cover every option that a trainer has."""

from __future__ import annotations

from typing import get_args

import pytest

from trainer.experiments.grid import ESTIMATORS, GRIDS, cells
from trainer.training.config import TrainerConfig


@pytest.mark.parametrize("field", ["estimator", "scalarisation", "replay", "query_choice"])
def test_every_option_is_measured_by_some_comparison(field):
    options = set(get_args(TrainerConfig.model_fields[field].annotation))
    measured = {
        getattr(cell.config, field) for grid in GRIDS.values() for cell in cells(grid, [0]) if cell.config
    }
    assert options
    assert measured == options


def test_the_small_comparison_of_estimators_has_a_cell_for_each_method_and_seed():
    found = cells(ESTIMATORS, [0, 1])
    assert len(found) == 2 * len(ESTIMATORS.methods) == 24
    assert {cell.config.max_queries for cell in found if cell.asks} == {500}
