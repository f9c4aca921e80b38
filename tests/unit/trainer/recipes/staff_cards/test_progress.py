"""Progress of the recipe is logged once, however often it is told."""

from __future__ import annotations

import logging

import pytest

from trainer.evaluation.evaluate import Phase
from trainer.recipes.staff_cards.progress import log_evaluation, log_training
from trainer.training.progress import Progress


@pytest.fixture(autouse=True)
def _levels(caplog):
    caplog.set_level(logging.INFO)


def test_every_fiftieth_training_step_is_logged_once(caplog):
    tell = log_training()
    for step in (49, 50, 50, 51, 100):
        for queries in (step, step + 1):
            tell(Progress("protector", step, 200, queries, 500, 0.0))
    assert caplog.messages == ["protector: 50 of 200, 50 queries", "protector: 100 of 200, 100 queries"]


def test_attacks_and_every_hundredth_answer_are_logged_once(caplog):
    tell = log_evaluation()
    for phase in (
        Phase("attack", 1, 4),
        Phase("attack", 1, 4),
        Phase("ask", 99, 300),
        Phase("ask", 100, 300),
    ):
        tell(phase)
    assert caplog.messages == ["attack: 1 of 4", "ask: 100 of 300"]
