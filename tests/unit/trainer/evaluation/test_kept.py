"""Scores on protected photographs, relative to originals and with floors, of a protector that is known."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from tests.unit.trainer.sandbox.vision.photos.made import BOX, FakeFaces, FakeScenes
from trainer.evaluation import kept
from trainer.evaluation.kept import measure_kept
from trainer.experiments.photographs import main, protection
from trainer.sandbox.drawing.photographs import INDEX, read_photographs
from trainer.sandbox.vision.photo_model import PhotoModel
from trainer.sandbox.vision.photos.names import CLASSES
from trainer.sandbox.vision.photos.objects import Seen
from trainer.statistics import mean_precision


class ByBrightness:
    """Sees a dog in bright pictures, and nothing in others."""

    def find(self, image):
        return [Seen("dog", 0.9, BOX)] if np.asarray(image).mean() > 100 else []

    def certainties(self, image):
        found = np.zeros(80, np.float32)
        found[CLASSES.index("dog")] = bool(self.find(image))
        return found


def black(image):
    return Image.new("RGB", image.size)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    lines = []
    for number in range(12):
        bright = number % 2 == 0
        Image.new("RGB", (64, 48), "white" if bright else "black").save(folder / f"{number}.png")
        objects = [{"object": "dog" if bright else "zebra", "box": [0, 0, 40, 40]}]
        line = {
            "image": f"{number}.png",
            "split": "test",
            "objects": objects,
            "captions": [f"caption {number}"],
        }
        lines.append(json.dumps(line))
    (folder / INDEX).write_text("\n".join(lines))
    return read_photographs(folder)


@pytest.fixture(scope="module")
def report(photographs):
    class ByNumber(FakeScenes):
        def fit(self, classes, objects, phrases):
            return [float(bool(objects)) if phrase == phrases[0] else 0.5 for phrase in phrases]

    model = PhotoModel(ByBrightness(), ByNumber({}), FakeFaces(None))
    return measure_kept(
        photographs,
        {"same": lambda image: image, "black": black},
        model,
        other=ByBrightness(),
        topics=("objects",),
    )


def test_a_picture_that_is_not_changed_keeps_all_and_a_black_one_what_needs_no_picture(report):
    originals, same, dark = report.conditions
    assert (originals.condition, same.condition, dark.condition) == ("originals", "same", "black")
    assert same.topics["objects"].accuracy.value == originals.topics["objects"].accuracy.value
    assert same.topics["objects"].kept.value == 1
    # "yes" for the dog in six pictures and for the zebra in none, "no" for twelve classes that are absent
    assert originals.topics["objects"].questions == 24
    assert originals.topics["objects"].accuracy.value == pytest.approx(18 / 24)
    assert dark.topics["objects"].accuracy.value == pytest.approx(12 / 24)
    assert dark.topics["objects"].kept.value == pytest.approx(12 / 18)
    low, high = dark.topics["objects"].kept.low, dark.topics["objects"].kept.high
    assert low < 12 / 18 < high


def test_captions_and_the_other_detector_are_measured_beside(report):
    originals, _, dark = report.conditions
    assert originals.caption.accuracy.value == pytest.approx(6 / 12)
    assert dark.caption.accuracy.value == 0
    assert originals.objects_found.value > dark.objects_found.value


def test_the_table_names_every_condition_and_the_floors(report):
    table = report.as_markdown()
    assert all(f"| {name} |" in table for name in ("one answer to all", "originals", "same", "black"))
    assert report.floors["objects"].constant == pytest.approx(12 / 24)
    assert "67% [" in table
    assert kept.KeptReport.model_validate_json(report.model_dump_json()) == report


def test_mean_precision_is_that_of_labels_that_occur():
    scores = torch.tensor([[0.9, 0.1, 0.3], [0.1, 0.8, 0.2]])
    positive = torch.tensor([[True, False, False], [False, False, False]])
    found = mean_precision(scores, positive, torch.arange(2), generator=torch.Generator().manual_seed(0))
    assert found.value == 1
    with pytest.raises(ValueError, match="no image has a label"):
        mean_precision(scores, positive & False, torch.arange(2), generator=torch.Generator())


@pytest.mark.parametrize("name", ["blur", "blur@", "@0.5", "nothing@0.5", "blur@high"])
def test_what_is_no_protector_with_a_level_is_refused(name, tmp_path, capsys):
    Image.new("RGB", (8, 8)).save(tmp_path / "0.png")
    (tmp_path / INDEX).write_text('{"image": "0.png", "split": "test"}\n')
    assert main([str(tmp_path), name]) == 2
    assert "nothing was measured" in capsys.readouterr().err


def test_an_engine_is_found_by_its_name():
    image = Image.new("RGB", (32, 32), "red")
    assert protection("pixelate@0.5")(image).size == (32, 32)
