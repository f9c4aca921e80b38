"""The learning rate over a run, and the pull towards grey at private levels."""

from __future__ import annotations

import pytest
import torch

from tests.unit.trainer.training.small_run import small_config
from trainer.training.batches import Batch
from trainer.training.step import TrainingStep, learning_rate


@pytest.mark.parametrize("floor", [0.0, 0.25, 1.0])
def test_the_rate_rises_and_falls_to_its_floor(floor):
    config = small_config(steps=1000, learning_rate=4e-3, learning_rate_floor=floor)
    rates = [learning_rate(config, step) for step in range(1000)]
    assert rates[0] == pytest.approx(4e-3 / 20, rel=1e-3)
    assert max(rates) == pytest.approx(4e-3, rel=2e-3)
    assert rates[-1] == pytest.approx(floor * 4e-3, abs=1e-7)
    assert rates[19:] == sorted(rates[19:], reverse=True)


def test_only_the_most_private_levels_are_drawn_to_grey_steeply():
    def pull(level: float, rise: float) -> float:
        config = small_config(grey_penalty=0.5, grey_penalty_rise=rise)
        step = TrainingStep(config, None, None, None, start=None)
        white, none = torch.ones(1, 3, 8, 8), torch.zeros(1, 1, dtype=torch.long)
        batch = Batch(white, torch.tensor([level]), none, none, none, names=("white.png",))
        return float(step._hiding_penalty(white, batch))

    assert pull(1.0, 3.0) == pytest.approx(4 * pull(1.0, 0.0))
    assert pull(0.25, 3.0) == pytest.approx(pull(0.25, 0.0), rel=0.06)
    assert pull(0.0, 3.0) == 0
