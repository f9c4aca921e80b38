"""The training that all local vision models share."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from langchain_vpp.errors import TrainingError
from tests.unit.trainer.sandbox.vision.drawn_course import COURSE
from trainer.sandbox.vision import train as train_local_model
from trainer.sandbox.vision.course import SCENE_COURSE, Course
from trainer.sandbox.vision.samples import DrawnPictures, Sample, TrainingOrder
from trainer.sandbox.vision.train import main, missed_attention, train


def test_attention_is_only_wrong_where_there_is_nothing_to_see():
    maps = torch.full((1, 2, 4, 8), 1 / 32)
    quarter = torch.tensor([[0.0, 0.0, 0.5, 0.5]])
    assert float(missed_attention(maps, quarter)) == pytest.approx(math.log(4))
    assert float(missed_attention(maps, torch.tensor([[0.0, 0.0, 1.0, 1.0]]))) == pytest.approx(0, abs=1e-6)
    # However small a place, the cell that it lies in counts.
    assert float(missed_attention(maps, torch.tensor([[0.51, 0.51, 0.52, 0.52]]))) == pytest.approx(
        math.log(32)
    )
    maps = torch.zeros(1, 1, 4, 8)
    maps[0, 0, 0, 0] = 1
    assert float(missed_attention(maps, quarter)) == pytest.approx(0)


@pytest.mark.trains
def test_the_loss_falls_on_cards_that_are_seen_again():
    course = dataclasses.replace(COURSE, steps=30, peak_rate=4e-3)
    run = train_local_model._Run(course, seed=0, device="cpu", precision="auto")
    samples = TrainingOrder(DrawnPictures(course, 0), course, seed=0, first=0, end=2)
    batch = Sample(*map(torch.stack, zip(samples[0], samples[1], strict=True)))
    losses = []
    for _ in range(10):
        run.descent.step(run.loss(batch))
        losses.append(float(sum(run.losses.values())))
    assert np.mean(losses[-2:]) < 0.8 * losses[0]


def quick_scenes(steps=4) -> Course:
    return dataclasses.replace(SCENE_COURSE, steps=steps, batch=4)


@pytest.mark.trains
def test_a_run_that_was_stopped_and_goes_on_equals_one_that_was_not(tmp_path, monkeypatch):
    monkeypatch.setattr(train_local_model, "_CHECK_PICTURES", 2)
    whole = train(quick_scenes(), seed=3, workers=0)
    path = tmp_path / "checkpoint.pt"
    train(quick_scenes(), seed=3, workers=0, checkpoint=path, checkpoint_every=1, stop_after=2)
    resumed = train(quick_scenes(), seed=3, workers=0, checkpoint=path, checkpoint_every=1)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name
    other = train(quick_scenes(), seed=4, workers=0)
    assert not torch.equal(whole.look.weight, other.look.weight)


@pytest.mark.trains
def test_dropout_goes_on_as_it_would_have(tmp_path, monkeypatch):
    monkeypatch.setattr(train_local_model, "_CHECK_PICTURES", 1)
    whole = train(COURSE, seed=3, workers=0, precision="float32")
    path = tmp_path / "checkpoint.pt"
    train(COURSE, seed=3, workers=0, precision="float32", checkpoint=path, stop_after=1)
    resumed = train(COURSE, seed=3, workers=0, precision="float32", checkpoint=path)
    weight = "portrait.heads.race.weight"
    assert torch.equal(whole.state_dict()[weight], resumed.state_dict()[weight])


@pytest.mark.trains
def test_a_checkpoint_of_another_run_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(train_local_model, "_CHECK_PICTURES", 1)
    path = tmp_path / "checkpoint.pt"
    train(quick_scenes(), seed=3, workers=0, checkpoint=path, stop_after=1)
    with pytest.raises(TrainingError, match="other settings"):
        train(quick_scenes(), seed=4, workers=0, checkpoint=path)


def test_bad_portraits_end_the_script_in_one_line(tmp_path, caplog):
    assert main(["cards", "--faces", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "labels.csv can't be used" in caplog.text
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("arguments", [["cards"], ["scenes", "--faces", "x"]])
def test_cards_need_portraits_and_scenes_take_none(arguments):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
