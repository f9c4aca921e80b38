"""A run that ends badly goes back to weights that hid more, and learns on."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from langchain_vpp.artifact import read_manifest
from tests.unit.trainer.training.small_run import small_config, small_trainer
from trainer.algorithms.interface import AnswerSpace
from trainer.training.batches import TrainingSplit
from trainer.training.fronts import Fronts
from trainer.training.learners import Learners, SuppliedParts
from trainer.training.mending import Mending


class Measured:
    """Fronts whose leak at level 1 is given."""

    is_stale = False

    def __init__(self, *leaks):
        self.leaks = list(leaks)

    def most_private_leak(self, step):
        return self.leaks.pop(0)

    def assessed_leak(self, protector, level):
        """The first weight, so that a test decides which weights hide most."""
        return next(protector.parameters()).flatten()[0].item()


@pytest.fixture
def parts():
    config = small_config(steps=200, batch=3)
    space = AnswerSpace(("Sign?",), ("a", "b"), torch.ones(1, 2, dtype=torch.bool))
    none = torch.zeros(6, 1, dtype=torch.long)
    images = torch.randint(0, 255, (6, 3, 16, 16), dtype=torch.uint8)
    split = TrainingSplit(images, none, none, none, tuple("abcdef"), none)
    learners = Learners.build(config, SuppliedParts(), space, {"kind": ("x", "y")}, split)
    return SimpleNamespace(config=config, split=split, learners=learners)


def mended(parts, *leaks):
    return Mending(parts.config, parts.split, parts.learners, Measured(*leaks))


def set_weight(parts, value):
    for protector in (parts.learners.protector, parts.learners.averaged_protector):
        with torch.no_grad():
            next(protector.parameters()).flatten()[0] = value


def weight(protector):
    return next(protector.parameters()).flatten()[0].item()


def test_a_run_that_hides_enough_is_left_alone(parts):
    subject = mended(parts, 0.2)
    before = weight(parts.learners.protector)
    assert not subject.mend(200)
    assert (subject.steps, subject.strictness) == (200, 1)
    assert weight(parts.learners.protector) == before


@pytest.mark.trains
def test_a_run_that_hides_too_little_goes_back_and_learns_on_at_most_twice(parts):
    subject = mended(parts, 0.7, 0.6, 0.6)
    for step, value in ((50, -9.0), (100, -5.0), (125, 0.1), (150, 0.3), (175, 0.4), (180, -9.0)):
        set_weight(parts, value)
        subject.note(step)
    assert subject.mend(200)
    assert weight(parts.learners.protector) == pytest.approx(0.1)  # of the last three that were kept
    assert weight(parts.learners.averaged_protector) == pytest.approx(0.1)
    assert (subject.steps, subject.strictness) == (250, 2)
    assert subject.mend(250)
    assert not subject.mend(300)
    assert subject.steps == 300


@pytest.mark.trains
def test_the_state_holds_what_to_go_back_to(parts):
    subject = mended(parts, 0.7)
    set_weight(parts, 0.1)
    subject.note(125)
    again = mended(parts, 0.7)
    again.load_state_dict(subject.state_dict())
    set_weight(parts, 0.9)
    assert again.mend(200)
    assert weight(parts.learners.protector) == pytest.approx(0.1)
    of_old = mended(parts)
    of_old.load_state_dict({})
    assert of_old.steps == 200


class Killed(Exception):  # noqa: N818  ends a run from outside
    pass


@pytest.mark.trains
@pytest.mark.parametrize("kill_at", [5, 6, 7])
def test_a_run_killed_before_or_after_it_went_back_ends_as_one_that_was_not(
    signs, tmp_path, monkeypatch, kill_at
):
    monkeypatch.setattr(Fronts, "most_private_leak", lambda _, step: 0.9 if step < 8 else 0.0)
    options = {"checkpoint_every": 1}

    def kill(progress):
        if progress.phase == "protector" and progress.step == kill_at:
            raise Killed

    whole = small_trainer(signs, **options).fit(tmp_path / "whole")
    with pytest.raises(Killed):
        small_trainer(signs, **options).fit(tmp_path / "killed", on_progress=kill)
    resumed = small_trainer(signs, **options).fit(tmp_path / "killed", resume=True)
    assert read_manifest(whole)[0].steps == 8
    assert (whole / "model.safetensors").read_bytes() == (resumed / "model.safetensors").read_bytes()
