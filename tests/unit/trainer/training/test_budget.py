"""One arithmetic of the budget: an estimate counts exactly the queries that a run plans."""

from __future__ import annotations

import pytest
import torch

from tests.unit.trainer.training.small_run import small_config, small_trainer
from trainer.oracle.oracle import Oracle
from trainer.training.budget import BudgetPlan, batch_generator
from trainer.training.cost import estimate

pytestmark = pytest.mark.trains


def planned(dataset, changes, folder, monkeypatch) -> int:
    """Queries that a run hands to its oracle, whether they are new or not."""
    asked = []
    ask = Oracle.ask

    def count(self, queries, **options):
        asked.append(len(queries))
        return ask(self, queries, **options)

    monkeypatch.setattr(Oracle, "ask", count)
    small_trainer(dataset, **changes).fit(folder)
    return sum(asked)


GRID = {
    "student": {},
    "a budget that is larger than what can be asked": {"max_queries": 1000},
    "a budget of one query a step": {"max_queries": 7, "validation": 0.0},
    "fronts on the way": {"validations": 2, "validation": 0.4},
    "a reserve that the levels do not divide": {"validation": 0.33},
    "no reserve": {"validation": 0.0, "seed": 3},
    "a long warm-up": {"query_warmup": 0.5, "max_queries": 23},
    "none": {"estimator": "none"},
    "zo-image": {"estimator": "zo-image", "seed": 5},
    "zo-code": {"estimator": "zo-code", "max_queries": 500},
    "spsa": {"estimator": "spsa", "zeroth_order": {"directions": 2, "images": 2}},
    "spsa-gc": {"estimator": "spsa-gc", "zeroth_order": {"directions": 1}, "max_queries": 61},
    "rgf": {"estimator": "rgf", "zeroth_order": {"directions": 2, "images": 1, "memory": 2}},
}


@pytest.mark.parametrize("changes", GRID.values(), ids=GRID)
def test_the_estimate_is_what_a_run_plans(changes, signs, tmp_path, monkeypatch):
    settings = small_config(**changes)
    foreseen = estimate(settings, signs, "m").queries
    assert foreseen == planned(signs, changes, tmp_path, monkeypatch)
    assert foreseen <= settings.max_queries


def test_with_several_questions_per_call_the_estimate_is_an_upper_limit(signs, tmp_path, monkeypatch):
    changes = {"questions_per_call": 2, "max_queries": 21}
    foreseen = estimate(small_config(**changes), signs, "m").queries
    assert 0 <= foreseen - planned(signs, changes, tmp_path, monkeypatch) <= 1


def test_a_budget_is_divided_between_training_and_fronts():
    plan = BudgetPlan.of(
        small_config(max_queries=103, validation=0.2, validations=1, steps=20, query_warmup=0.1)
    )
    assert plan == BudgetPlan(
        training=83, front_point=2, steps=20, warmup_steps=2, validation_steps=frozenset({11})
    )
    assert plan.front_queries(measurable=100) == 2 * 5 * 2
    assert plan.front_queries(measurable=1) == 2 * 5 * 1


@pytest.mark.parametrize("queries", [0, 1, 19, 20, 21, 333])
def test_the_whole_training_budget_is_due_by_the_last_step_and_nothing_before_the_warm_up_ends(queries):
    plan = BudgetPlan.of(small_config(max_queries=queries, validation=0.0, steps=20, query_warmup=0.25))
    due = []
    for step in range(20):
        generator = batch_generator(0, step)
        due.append(plan.due(step, planned=sum(due), saved=0, generator=generator))
    assert due[:5] == [0] * 5
    assert sum(due) == queries
    assert max(due[5:]) - min(due[5:]) <= 1  # spread evenly


def test_queries_that_a_step_did_not_use_are_due_again():
    plan = BudgetPlan(10, 0, 10, 0, frozenset())
    assert plan.due(0, planned=0, saved=0, generator=torch.Generator().manual_seed(0)) == 1
    assert plan.due(5, planned=0, saved=5, generator=torch.Generator().manual_seed(0)) == 6
    assert plan.due(9, planned=0, saved=9, generator=torch.Generator().manual_seed(0)) == 10
