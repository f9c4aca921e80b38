"""The audit can fail: what leaks is reported as leaking, what hides as private."""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from langchain_vpp import engines
from langchain_vpp.engines import Pixelate
from langchain_vpp.errors import BudgetExhaustedError, DataError, TrainingError
from tests.chat_models import LookingModel
from tests.untrained import save_untrained
from trainer.attackers.classifier import AttackData, Scores
from trainer.data.dataset import Dataset
from trainer.data.format import Example, Task
from trainer.evaluation import EvaluationSettings, Phase, evaluate, schedule, settings
from trainer.evaluation.attack_suite import fresh_classifiers
from trainer.evaluation.results import OURS, Report
from trainer.oracle.ledger import Budget

if TYPE_CHECKING:
    from collections.abc import Callable

_SIDE = 32
_COLOURS = {"red": (220, 40, 40), "blue": (40, 40, 220), "green": (30, 200, 40)}
_PLACES = ("left", "right")
_TONES = {"light": 225, "dark": 30}


def _question(kind: str) -> str:
    return f"What {kind} is it?"


_TASK = _question("colour")
_SHIRT = _question("place")


def _draw(path, colour: str, place: str, tone: str, generator: np.random.Generator) -> None:
    """A square of the task's colour on top; below a dot whose place and tone are private."""
    pixels = generator.integers(110, 140, (_SIDE, _SIDE, 3), dtype=np.uint8)
    pixels[2:14, 4:28] = _COLOURS[colour]
    left = 3 if place == "left" else 19
    pixels[18:28, left : left + 10] = _TONES[tone]
    Image.fromarray(pixels).save(path)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Dataset:
    folder = tmp_path_factory.mktemp("data")
    generator = np.random.default_rng(0)
    examples = []
    for split, count in (("train", 256), ("val", 48), ("test", 100)):
        for number in range(count):
            colour, place, tone = (str(generator.choice(list(each))) for each in (_COLOURS, _PLACES, _TONES))
            name = f"{split}{number}.png"
            _draw(folder / name, colour, place, tone, generator)
            task = Task(question=_TASK, answer=colour, choices=tuple(_COLOURS))
            examples.append(
                Example(image=name, split=split, tasks=(task,), private={"place": place, "tone": tone})
            )
    return Dataset(folder, tuple(examples), "digest")


class Eyes(LookingModel):
    """Answers by looking at the pixels."""

    refuses: bool = False

    def reply(self, text, pixels):
        if _SHIRT in text:
            change = np.abs(pixels[20:26] - 125).mean(axis=(0, 2))
            return "I won't say." if self.refuses else _PLACES[int(change[20:].mean() > change[:12].mean())]
        mean = pixels[4:12, 8:24].mean(axis=(0, 1))
        distance = {name: np.abs(mean - colour).sum() for name, colour in _COLOURS.items()}
        return min(distance, key=distance.__getitem__)


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


class _Grey:
    def protect(self, image: Image.Image, level: float) -> Image.Image:
        return Image.new("RGB", image.size, (128, 128, 128))


class _HidesTone:
    """Fills the dot with one tone: its place stays."""

    def protect(self, image: Image.Image, level: float) -> Image.Image:
        pixels = np.array(image)
        below = pixels[16:]
        below[np.abs(below.astype(int) - 125).min(axis=2) > 40] = 225
        return Image.fromarray(pixels)


def _settings(**changes: Any) -> EvaluationSettings:
    return EvaluationSettings(
        **{
            "levels": (0.5,),
            "baselines": {},
            "resolution": _SIDE,
            "queries_per_point": 60,
            "classifiers": ("small",),
            "cold": (),
            **changes,
        }
    )


def _evaluate(engine, dataset, tmp_path, model=None, **changes: Any) -> Report:
    return evaluate(engine, dataset, model or Eyes(), _settings(**changes), ledger=tmp_path / "l.sqlite")


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
    report = _evaluate(_Grey(), dataset, tmp_path)
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


@pytest.mark.trains
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
            _settings(),
            answer_judge=each,
            ledger=tmp_path / "l.sqlite",
        )
        for each in (None, judge)
    ]
    alone, judged = (report.of(OURS)[0].utility.value for report in reports)
    assert alone < 0.05
    assert judged > 0.9
    assert [report.judge for report in reports] == [None, "_Compares:eyes"]
    assert len(judge.calls) == len(set(judge.calls)) <= len(_COLOURS) ** 2
    assert reports[1].queries.paid == 0


@pytest.mark.trains
def test_same_seed_gives_the_same_report(dataset, tmp_path) -> None:
    settings = _settings(levels=(0.5, 0.9), baselines={"blur": (0.5,)})
    first = evaluate(Pixelate(), dataset, None, settings)
    second = evaluate(Pixelate(), dataset, None, settings)
    assert first == second


@pytest.mark.trains
def test_blurred_faces_are_measured_or_the_report_says_why_not(dataset, tmp_path, monkeypatch) -> None:
    asked = _settings(baselines={"face-blur": (0.5,)})
    with monkeypatch.context() as patched:
        # As in drawn pictures: nobody is there, so all of it leaks.
        patched.setattr(engines, "FaceFinder", lambda: lambda image, threshold: [])
        report = evaluate(Pixelate(), dataset, None, asked)
    (point,) = report.of("face-blur")
    assert point.leak.value > 0.95
    assert not any("face-blur" in each for each in report.not_tested)

    for installed, why in ((True, "it was not asked for"), (False, "the extra faces is not installed")):
        monkeypatch.setattr(settings, "is_installed", lambda installed=installed: installed)
        assert f"face-blur: {why}" in evaluate(Pixelate(), dataset, None, _settings()).not_tested


@pytest.mark.trains
def test_originals_are_shown_to_the_chat_model_only_on_request(dataset, tmp_path) -> None:
    hidden, shown = Eyes(calls=[]), Eyes(calls=[])
    report = _evaluate(_Grey(), dataset, tmp_path / "a", hidden)
    assert report.queries.originals == 0
    assert report.originals.tasks == ()
    assert len(hidden.calls) <= 60
    report = _evaluate(_Grey(), dataset, tmp_path / "b", shown, query_originals=True)
    assert report.queries.originals == 60
    assert report.originals.utility.value == pytest.approx(1.0)
    assert len(shown.calls) > 60


@pytest.mark.trains
def test_private_questions_are_asked_of_our_pictures_and_refusals_counted_apart(dataset, tmp_path) -> None:
    questions = {"place": _SHIRT}
    told = (
        _evaluate(_Identity(), dataset, tmp_path / "a", private_questions=questions)
        .points[0]
        .private_answers[0]
    )
    assert told.accuracy.value == 1.0
    refused = (
        _evaluate(_Identity(), dataset, tmp_path / "b", Eyes(refuses=True), private_questions=questions)
        .points[0]
        .private_answers[0]
    )
    assert (refused.unusable, refused.count, refused.accuracy) == (60, 0, None)


@pytest.mark.trains
def test_nothing_is_paid_twice(dataset, tmp_path) -> None:
    first = _evaluate(_Identity(), dataset, tmp_path)
    again = _evaluate(_Identity(), dataset, tmp_path)
    assert (first.queries.paid, again.queries.paid) == (60, 0)
    assert first.points == again.points


@pytest.mark.trains
def test_a_budget_below_what_is_needed_sends_nothing(dataset, tmp_path) -> None:
    model = Eyes(calls=[])
    with pytest.raises(BudgetExhaustedError):
        evaluate(_Identity(), dataset, model, _settings(), ledger=tmp_path / "l", budget=Budget(59))
    assert model.calls == []


def test_a_chat_model_without_a_ledger_is_refused(dataset) -> None:
    with pytest.raises(TrainingError, match="ledger"):
        evaluate(_Identity(), dataset, Eyes(), _settings())


def test_one_class_on_test_is_refused(dataset) -> None:
    examples = tuple(
        each
        if each.split != "test"
        else each.model_copy(update={"private": {**each.private, "tone": "dark"}})
        for each in dataset.examples
    )
    with pytest.raises(DataError, match="'tone'"):
        evaluate(_Identity(), Dataset(dataset.folder, examples, "d"), None, _settings())


def test_no_test_split_is_refused(dataset) -> None:
    examples = tuple(each for each in dataset.examples if each.split != "test")
    with pytest.raises(DataError, match="test"):
        evaluate(_Identity(), Dataset(dataset.folder, examples, "d"), None, _settings())


def test_a_private_question_for_an_unknown_attribute_is_refused(dataset) -> None:
    with pytest.raises(DataError, match="shoe"):
        evaluate(_Identity(), dataset, None, _settings(private_questions={"shoe": "Which shoe?"}))


@pytest.mark.trains
def test_an_attacker_that_learns_nothing_gives_no_report(dataset) -> None:
    coin = np.random.default_rng(1)
    examples = [
        each.model_copy(update={"private": {"coin": str(coin.choice(["heads", "tails"]))}})
        for each in dataset.examples
    ]
    with pytest.raises(DataError, match="even from originals"):
        evaluate(_Identity(), Dataset(dataset.folder, tuple(examples), "d"), None, _settings())


@pytest.mark.trains
def test_an_artifact_trained_on_other_data_is_named(dataset, tmp_path) -> None:
    digest = save_untrained(tmp_path / "artifact", resolution=_SIDE, data_digest="other")
    report = evaluate(tmp_path / "artifact", dataset, None, _settings(resolution=None))
    assert report.artifact_digest == digest
    assert any("another data set" in warning for warning in report.warnings)
    assert report.points[0].leak.value > 0.9  # a new network is next to the identity


class _Scripted:
    """An attacker that guesses, and does at each step what a test wants."""

    description = "guesses"

    def __init__(self, name: str, attributes: int, act: Callable[[str, int], None]) -> None:
        self.name, self._act, self._width, self._attacks = name, act, attributes, 0

    def __deepcopy__(self, memo: dict[int, Any]) -> _Scripted:
        return _Scripted(self.name, self._width, self._act)

    def prepare(self, originals: AttackData, *, generator: torch.Generator) -> Scores:
        # It knows what it was shown: a report needs somebody who reads originals.
        return Scores(*(nn.functional.one_hot(each.labels, 2).float() for each in originals[1:]))

    def attack(self, protected: AttackData, *, generator: torch.Generator) -> Scores:
        self._attacks += 1
        self._act(self.name, self._attacks)
        return self.prepare(protected, generator=generator)

    def read(self, images: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(images), self._width, 2)


def test_an_attacker_goes_on_to_the_next_level_while_another_is_still_at_the_last(
    dataset, monkeypatch
) -> None:
    monkeypatch.setattr(schedule, "usable_cpus", lambda: 2)
    second, seen = threading.Event(), []

    def act(name: str, attack: int) -> None:
        seen.append((name, attack))
        if (name, attack) == ("quick", 2):
            second.set()
        if (name, attack) == ("slow", 1):
            assert second.wait(30)

    attackers = [_Scripted(name, 2, act) for name in ("slow", "quick")]
    told: list[Phase] = []
    report = evaluate(
        _Grey(), dataset, None, _settings(levels=(0.2, 0.5)), attackers=attackers, on_progress=told.append
    )
    assert len(report.of(OURS)) == 2
    assert sorted(seen) == [("quick", 1), ("quick", 2), ("slow", 1), ("slow", 2)]
    assert told[-1] == Phase("attack", 6, 6)


def test_an_attacker_that_fails_ends_the_evaluation_before_other_levels_and_engines(
    dataset, monkeypatch
) -> None:
    monkeypatch.setattr(schedule, "usable_cpus", lambda: 1)
    seen = []

    def act(name: str, attack: int) -> None:
        seen.append(name)
        if name == "fails":
            raise RuntimeError("out of memory")

    attackers = [_Scripted(name, 2, act) for name in ("fails", "works")]
    levels = tuple(number / 10 for number in range(8))
    with pytest.raises(RuntimeError, match="out of memory"):
        evaluate(
            _Grey(), dataset, None, _settings(levels=levels, baselines={"blur": levels}), attackers=attackers
        )
    assert seen.count("fails") == 1
    assert seen.count("works") <= 2


@pytest.mark.parametrize(
    ("resolution", "names"),
    [
        (64, ["fresh classifier", "fresh resnet10", "fresh classifier, protected images only"]),
        (
            384,
            [
                "fresh classifier",
                "fresh classifier at 160 px",
                "fresh resnet10",
                "fresh classifier at 80 px, protected images only",
            ],
        ),
    ],
)
def test_large_pictures_are_looked_at_whole_and_scaled_down(dataset, resolution, names):
    attackers = fresh_classifiers(dataset.private_attributes, EvaluationSettings(), resolution)
    assert [attacker.name for attacker in attackers] == names
