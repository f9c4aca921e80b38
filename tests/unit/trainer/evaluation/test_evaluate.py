"""The audit can fail: what leaks is reported as leaking, what hides as private."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from PIL import Image

from langchain_vpp.engines import Pixelate, faces
from langchain_vpp.errors import BudgetExhaustedError, DataError, TrainingError
from tests.chat_models import LookingModel
from tests.unit.trainer.evaluation.squares import (
    COLOURS,
    SHIRT,
    SIDE,
    Eyes,
    Grey,
    ScriptedAttacker,
    quick_settings,
)
from tests.untrained import save_untrained
from trainer.data.dataset import Dataset
from trainer.evaluation import evaluate, settings
from trainer.evaluation.results import OURS, Report
from trainer.oracle.ledger import Budget


class _Wordy(Eyes):
    """Answers open questions in its own words."""

    def reply(self, text, pixels):
        return f"{super().reply(text, pixels)} all over"


class _Compares(LookingModel):
    """Says whether the shorter of two answers is in the longer one."""

    def reply(self, text, pixels):
        assert pixels is None
        short, long = sorted(re.findall(r'"([^"]+)"', text)[-2:], key=len)
        return "yes" if short in long else "no"


class _Identity:
    def protect(self, image: Image.Image, level: float) -> Image.Image:
        return image.copy()


class _HidesTone:
    """Fills the dot with one tone: its place stays."""

    def protect(self, image: Image.Image, level: float) -> Image.Image:
        pixels = np.array(image)
        below = pixels[16:]
        below[np.abs(below.astype(int) - 125).min(axis=2) > 40] = 225
        return Image.fromarray(pixels)


def _evaluate(engine, dataset, tmp_path, model=None, **changes: Any) -> Report:
    return evaluate(engine, dataset, model or Eyes(), quick_settings(**changes), ledger=tmp_path / "l.sqlite")


def _ask(engine, dataset, tmp_path, model, **changes: Any) -> Report:
    """Evaluate with an attacker that learns nothing: what the chat model answers does not depend on it."""
    settings = quick_settings(**changes)
    attackers = [ScriptedAttacker()]
    return evaluate(engine, dataset, model, settings, attackers=attackers, ledger=tmp_path / "l.sqlite")


def _scaled(report: Report) -> dict[str, float]:
    return {reading.subject: reading.scaled for reading in report.of(OURS)[0].attributes}


@pytest.mark.trains
def test_identity_is_reported_as_leaking_and_dominates_nothing(dataset, tmp_path) -> None:
    report = _evaluate(_Identity(), dataset, tmp_path)
    (point,) = report.of(OURS)
    assert point.leak.value > 0.95
    assert point.utility.value > 0.95
    assert report.hypervolume(OURS) < 0.05


@pytest.mark.trains
def test_constant_grey_is_reported_as_private_and_useless(dataset, tmp_path) -> None:
    report = _evaluate(Grey(), dataset, tmp_path)
    (point,) = report.of(OURS)
    assert point.leak.value < 0.1
    assert point.utility.value < 0.25
    assert report.hypervolume(OURS) < 0.25


@pytest.mark.trains
def test_hiding_one_attribute_shows_that_one_low_and_the_other_high(dataset, tmp_path) -> None:
    scaled = _scaled(_evaluate(_HidesTone(), dataset, tmp_path))
    assert scaled["tone"] < 0.25
    assert scaled["place"] > 0.9


@pytest.mark.trains
def test_an_attacker_adapts_to_a_protection_that_fools_one_trained_on_originals(dataset, tmp_path) -> None:
    class _Inverts:
        def protect(self, image: Image.Image, level: float) -> Image.Image:
            return Image.fromarray(255 - np.asarray(image))

    assert _scaled(_evaluate(_Inverts(), dataset, tmp_path))["tone"] > 0.9


@pytest.mark.slow(seconds=1)
def test_a_judge_decides_whether_answers_to_open_questions_mean_the_same(dataset, tmp_path) -> None:
    examples = tuple(
        example.model_copy(
            update={"tasks": tuple(task.model_copy(update={"choices": ()}) for task in example.tasks)}
        )
        for example in dataset.examples
    )
    open_questions = Dataset(dataset.folder, examples, "open")
    judge = _Compares()
    reports = [
        evaluate(
            _Identity(),
            open_questions,
            _Wordy(),
            quick_settings(),
            answer_judge=each,
            attackers=[ScriptedAttacker()],
            ledger=tmp_path / "l.sqlite",
        )
        for each in (None, judge)
    ]
    alone, judged = (report.of(OURS)[0].utility.value for report in reports)
    assert alone < 0.05
    assert judged > 0.9
    assert [report.judge for report in reports] == [None, "_Compares:eyes"]
    assert len(judge.calls) == len(set(judge.calls)) <= len(COLOURS) ** 2
    assert reports[1].queries.paid == 0


@pytest.mark.trains
def test_same_seed_gives_the_same_report(dataset, tmp_path) -> None:
    few = {"original_images": 128, "train_images": 64}
    settings = quick_settings(levels=(0.5, 0.9), baselines={"blur": (0.5,)}, **few)
    first = evaluate(Pixelate(), dataset, None, settings)
    second = evaluate(Pixelate(), dataset, None, settings)
    assert first == second


@pytest.mark.trains
def test_blurred_faces_are_measured_or_the_report_says_why_not(dataset, tmp_path, monkeypatch) -> None:
    asked = quick_settings(baselines={"face-blur": (0.5,)})
    with monkeypatch.context() as patched:
        # As in drawn pictures: nobody is there, so all of it leaks.
        patched.setattr(faces, "FaceFinder", lambda: lambda image, threshold: [])
        report = evaluate(Pixelate(), dataset, None, asked)
    (point,) = report.of("face-blur")
    assert point.leak.value > 0.95
    assert not any("face-blur" in each for each in report.not_tested)

    for installed, why in ((True, "it was not asked for"), (False, "the extra faces is not installed")):
        monkeypatch.setattr(settings, "is_installed", lambda installed=installed: installed)
        report = evaluate(Pixelate(), dataset, None, quick_settings(), attackers=[ScriptedAttacker()])
        assert f"face-blur: {why}" in report.not_tested


@pytest.mark.slow(seconds=1)
def test_originals_are_shown_to_the_chat_model_only_on_request(dataset, tmp_path) -> None:
    hidden, shown = Eyes(calls=[]), Eyes(calls=[])
    report = _ask(Grey(), dataset, tmp_path / "a", hidden)
    assert report.queries.originals == 0
    assert report.originals.tasks == ()
    assert len(hidden.calls) <= 60
    report = _ask(Grey(), dataset, tmp_path / "b", shown, query_originals=True)
    assert report.queries.originals == 60
    assert report.originals.utility.value == pytest.approx(1.0)
    assert len(shown.calls) > 60


@pytest.mark.slow(seconds=1)
def test_private_questions_are_asked_of_our_pictures_and_refusals_counted_apart(dataset, tmp_path) -> None:
    questions = {"place": SHIRT}
    told = (
        _ask(_Identity(), dataset, tmp_path / "a", Eyes(), private_questions=questions)
        .points[0]
        .private_answers[0]
    )
    assert told.accuracy.value == 1.0
    refused = (
        _ask(_Identity(), dataset, tmp_path / "b", Eyes(refuses=True), private_questions=questions)
        .points[0]
        .private_answers[0]
    )
    assert (refused.unusable, refused.count, refused.accuracy) == (60, 0, None)


@pytest.mark.slow(seconds=1)
def test_nothing_is_paid_twice(dataset, tmp_path) -> None:
    first = _ask(_Identity(), dataset, tmp_path, Eyes())
    again = _ask(_Identity(), dataset, tmp_path, Eyes())
    assert (first.queries.paid, again.queries.paid) == (60, 0)
    assert first.points == again.points


@pytest.mark.slow(seconds=0.42)
def test_a_budget_below_what_is_needed_sends_nothing(dataset, tmp_path) -> None:
    model = Eyes(calls=[])
    with pytest.raises(BudgetExhaustedError):
        evaluate(
            _Identity(),
            dataset,
            model,
            quick_settings(),
            attackers=[ScriptedAttacker()],
            ledger=tmp_path / "l",
            budget=Budget(59),
        )
    assert model.calls == []


def test_a_chat_model_without_a_ledger_is_refused(dataset) -> None:
    with pytest.raises(TrainingError, match="ledger"):
        evaluate(_Identity(), dataset, Eyes(), quick_settings())


def test_one_class_on_test_is_refused(dataset) -> None:
    examples = tuple(
        each
        if each.split != "test"
        else each.model_copy(update={"private": {**each.private, "tone": "dark"}})
        for each in dataset.examples
    )
    with pytest.raises(DataError, match="'tone'"):
        evaluate(_Identity(), Dataset(dataset.folder, examples, "d"), None, quick_settings())


def test_no_test_split_is_refused(dataset) -> None:
    examples = tuple(each for each in dataset.examples if each.split != "test")
    with pytest.raises(DataError, match="test"):
        evaluate(_Identity(), Dataset(dataset.folder, examples, "d"), None, quick_settings())


def test_a_private_question_for_an_unknown_attribute_is_refused(dataset) -> None:
    with pytest.raises(DataError, match="shoe"):
        evaluate(_Identity(), dataset, None, quick_settings(private_questions={"shoe": "Which shoe?"}))


@pytest.mark.trains
def test_an_attacker_that_learns_nothing_gives_no_report(dataset) -> None:
    coin = np.random.default_rng(1)
    examples = [
        each.model_copy(update={"private": {"coin": str(coin.choice(["heads", "tails"]))}})
        for each in dataset.examples
    ]
    with pytest.raises(DataError, match="even from originals"):
        evaluate(_Identity(), Dataset(dataset.folder, tuple(examples), "d"), None, quick_settings())


@pytest.mark.trains
def test_an_artifact_trained_on_other_data_is_named(dataset, tmp_path) -> None:
    digest = save_untrained(tmp_path / "artifact", resolution=SIDE, data_digest="other")
    report = evaluate(tmp_path / "artifact", dataset, None, quick_settings(resolution=None))
    assert report.artifact_digest == digest
    assert any("another data set" in warning for warning in report.warnings)
    assert report.points[0].leak.value > 0.9  # a new network is next to the identity
