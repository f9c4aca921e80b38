"""The detector's weights and what is read off its outputs."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from langchain_vpp.errors import ArtifactError
from trainer.sandbox.vision.photos.names import CLASSES
from trainer.sandbox.vision.photos.objects import WEIGHTS, ObjectDetector, overlap


class FakeSession:
    def __init__(self, peaks):
        self.peaks = peaks

    def run(self, outputs, feed):
        assert feed["image"].shape == (1, 512, 512, 3)
        return self.peaks, np.full((1, 128, 128, 4), 64.0, np.float32)


def test_objects_are_read_off_the_peaks_and_doubles_are_dropped():
    peaks = np.zeros((1, 128, 128, 80), np.float32)
    peaks[0, 64, 64, CLASSES.index("dog")] = 0.9
    peaks[0, 64, 66, CLASSES.index("dog")] = 0.5  # the same dog
    peaks[0, 0, 64, CLASSES.index("cat")] = 0.4
    peaks[0, 64, 64, CLASSES.index("bear")] = 0.01  # nothing
    dog, cat = ObjectDetector(FakeSession(peaks)).find(Image.new("RGB", (30, 90)))
    assert (dog.name, dog.score, dog.box) == ("dog", pytest.approx(0.9), (0.375, 0.375, 0.625, 0.625))
    assert (cat.name, cat.box) == ("cat", (0.375, 0.0, 0.625, 0.125))


def test_overlap_is_that_of_boxes():
    assert overlap((0, 0, 2, 1), (1, 0, 3, 1)) == pytest.approx(1 / 3)
    assert overlap((0, 0, 1, 1), (1, 0, 2, 1)) == 0


def test_the_weights_that_come_along_find_nothing_in_a_plain_picture():
    assert ObjectDetector.load().find(Image.new("RGB", (64, 48), "white")) == []


@pytest.mark.parametrize("spoil", ["card", "weights", "missing"])
def test_spoiled_weights_are_refused(tmp_path, spoil):
    card = json.loads((WEIGHTS / "objects.json").read_text())
    (tmp_path / "objects.json").write_text("{}" if spoil == "card" else json.dumps(card))
    if spoil != "missing":
        (tmp_path / "objects.onnx").write_bytes(b"other weights")
    with pytest.raises(ArtifactError, match="reinstall the package") as raised:
        ObjectDetector.load(tmp_path)
    assert raised.value.__cause__ is raised.value.__context__ is None
