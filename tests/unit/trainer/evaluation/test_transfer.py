"""Utility that a second chat model loses on the same protected pictures."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from langchain_vpp.errors import BudgetExhaustedError, DataError, TrainingError
from tests.chat_models import LookingModel
from tests.untrained import save_untrained
from trainer.data.contamination import training_digest
from trainer.data.dataset import load_dataset
from trainer.evaluation.transfer import TransferSettings, TransferTest
from trainer.oracle.ledger import Budget
from trainer.reporting.tables import transfer_tables

if TYPE_CHECKING:
    from pathlib import Path

    from trainer.data.dataset import Dataset
    from trainer.evaluation.transfer import TransferReport

_COLOURS = {"red": (220, 30, 30), "green": (30, 220, 30), "blue": (30, 30, 220)}
_PLACES = ("top", "bottom")
_QUESTIONS = {"colour": "What colour is it?", "place": "Where is it?"}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Dataset:
    folder = tmp_path_factory.mktemp("data")
    generator = np.random.default_rng(0)
    lines = []
    for split, count in (("train", 6), ("val", 6), ("test", 60)):
        for number in range(count):
            colour, place = str(generator.choice(list(_COLOURS))), _PLACES[number % 2]
            pixels = generator.integers(110, 140, (32, 32, 3), dtype=np.uint8)
            top = 2 if place == "top" else 18
            pixels[top : top + 12, 4:28] = _COLOURS[colour]
            Image.fromarray(pixels).save(folder / f"{split}{number}.png")
            tasks = [
                {"question": _QUESTIONS["colour"], "answer": colour, "choices": list(_COLOURS)},
                {"question": _QUESTIONS["place"], "answer": place, "choices": list(_PLACES)},
            ]
            line = {"image": f"{split}{number}.png", "split": split, "tasks": tasks}
            lines.append(line | {"private": {"side": "lr"[number % 2]}})
    (folder / "data.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return load_dataset(folder)


class Eyes(LookingModel):
    """Answers by looking at the pixels; a colour-blind one sees no colour."""

    model_name: str = "eyes"
    colour_blind: bool = False

    def reply(self, text, pixels):
        halves = [pixels[3:13, 6:26].mean(axis=(0, 1)), pixels[19:29, 6:26].mean(axis=(0, 1))]
        side = int(np.ptp(halves[1]) > np.ptp(halves[0]))
        if "colour" not in text:
            return _PLACES[side]
        return "red" if self.colour_blind else list(_COLOURS)[int(halves[side].argmax())]


class Fading:
    """Mixes a picture with grey: at level 1 nothing is left."""

    def protect(self, image: Image.Image, level: float) -> Image.Image:
        return Image.blend(image, Image.new("RGB", image.size, (128, 128, 128)), level)


def measure(dataset, models, path, source=None, budget=None, **settings) -> TransferReport:
    chosen = TransferSettings(**({"levels": (0.0, 1.0), "queries_per_point": 60} | settings))
    test = TransferTest(source or Fading(), dataset, chosen)
    return test.measure(models, ledger=path / "ledger.sqlite", budget=budget)


def test_what_the_second_model_cannot_see_is_lost_question_by_question(dataset, tmp_path):
    models = [Eyes(), Eyes(model_name="blind", colour_blind=True)]
    report = measure(dataset, models, tmp_path)
    first, second = report.models
    assert (first.model, second.model) == ("Eyes:eyes", "Eyes:blind")
    useful, grey = second.points
    assert first.points[0].utility.value == pytest.approx(1.0)
    assert useful.utility.value == pytest.approx(0.5, abs=0.2)  # places are read, colours are guessed
    lost = {each.question: each.lost for each in useful.lost_by_question}
    assert lost[_QUESTIONS["place"]].value == 0
    assert lost[_QUESTIONS["colour"]].value == pytest.approx(1.0, abs=0.3)
    assert useful.lost.low > 0.25
    assert useful.lost.value == pytest.approx(first.points[0].utility.value - useful.utility.value, abs=1e-6)
    assert grey.lost.low <= 0 <= grey.lost.high  # where nothing is left, nothing can be lost
    assert report.sentences[0].startswith("At level 0 with Eyes:blind, ")
    assert " of utility is lost: " in report.sentences[0]
    assert "no clear difference" in report.sentences[1]


def test_the_same_model_under_another_name_loses_exactly_nothing(dataset, tmp_path):
    report = measure(dataset, [Eyes(), Eyes(model_name="again")], tmp_path)
    for point in report.models[1].points:
        assert (point.lost.low, point.lost.value, point.lost.high) == (0, 0, 0)


def test_a_better_second_model_gains(dataset, tmp_path):
    report = measure(dataset, [Eyes(model_name="blind", colour_blind=True), Eyes()], tmp_path)
    assert report.models[1].points[0].lost.high < 0
    assert " of utility is gained: " in report.sentences[0]
    assert "-" not in report.sentences[0]


@pytest.mark.slow(seconds=1)
def test_both_models_are_asked_the_same_and_originals_only_on_request(dataset, tmp_path):
    models = [Eyes(), Eyes(model_name="other")]
    report = measure(dataset, models, tmp_path, levels=(0.0, 0.5))
    assert sorted(models[0].calls) == sorted(models[1].calls)
    assert len(models[0].calls) == 2 * 60
    assert report.models[0].originals == ()
    with_originals = measure(dataset, models, tmp_path / "more", query_originals=True)  # at two levels
    assert with_originals.queries == 2 * 3 * 60
    assert {
        each.subject: each.accuracy.value for each in with_originals.models[0].originals
    } == dict.fromkeys(_QUESTIONS.values(), 1.0)


def test_a_question_that_a_model_cannot_answer_on_originals_is_in_no_loss(dataset, tmp_path):
    models = [Eyes(), Eyes(model_name="blind", colour_blind=True)]
    report = measure(dataset, models, tmp_path, query_originals=True)
    point = report.models[1].points[0]
    assert {each.question for each in point.lost_by_question} == {_QUESTIONS["place"]}
    assert point.lost.value == 0


@pytest.mark.slow(seconds=0.46)
def test_nothing_is_sent_to_any_model_if_all_of_them_together_exceed_the_budget(dataset, tmp_path):
    models = [Eyes(), Eyes(model_name="other")]
    with pytest.raises(BudgetExhaustedError, match="240 more queries to 2 chat models"):
        measure(dataset, models, tmp_path, levels=(0.0, 0.5), budget=Budget(239))
    assert not models[0].calls
    report = measure(dataset, models, tmp_path, levels=(0.0, 0.5), budget=Budget(240))
    assert report.paid == 240
    again = measure(dataset, models, tmp_path, levels=(0.0, 0.5), budget=Budget(240))
    assert again.paid == 0
    assert again.models == report.models


def test_models_that_the_ledger_cannot_tell_apart_are_refused(dataset, tmp_path):
    with pytest.raises(TrainingError, match="different names"):
        measure(dataset, [Eyes(), Eyes(colour_blind=True)], tmp_path)
    with pytest.raises(TrainingError, match="two or more"):
        measure(dataset, [Eyes()], tmp_path)


def _artifact(folder: Path, dataset: Dataset, training: str) -> Path:
    claims = {"trained_against": "Eyes:eyes", "data_digest": dataset.digest, "training_digest": training}
    save_untrained(folder, resolution=32, **claims)
    return folder


def test_an_artifact_that_was_trained_on_the_test_pictures_is_refused(dataset, tmp_path):
    models = [Eyes(), Eyes(model_name="other")]
    clean = _artifact(tmp_path / "clean", dataset, training_digest(dataset.picture_digests("train")))
    report = measure(dataset, models, tmp_path, clean, queries_per_point=4)
    assert report.trained_against == "Eyes:eyes"
    assert report.warnings == ()
    cheat = _artifact(tmp_path / "cheat", dataset, training_digest(dataset.picture_digests("test")))
    with pytest.raises(DataError, match="trained on the pictures of this data set's test split"):
        measure(dataset, models, tmp_path, cheat)


def test_the_tables_name_every_model_level_and_question(dataset, tmp_path):
    report = measure(dataset, [Eyes(), Eyes(model_name="blind", colour_blind=True)], tmp_path)
    front, lost = transfer_tables(report)
    assert [column.heading for column in front.columns] == [
        "level", "Eyes:eyes", "Eyes:blind", "lost by Eyes:blind",
    ]  # fmt: skip
    assert [row.cells[0].text for row in lost.rows] == list(_QUESTIONS.values())
    assert [column.heading for column in lost.columns[1:]] == ["0.00", "1.00"]
