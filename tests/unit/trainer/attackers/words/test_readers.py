"""Readers of attackers: what is installed, what is not, and a real one."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from langchain_vpp.errors import TrainingError
from trainer.attackers.words import readers


def test_a_reader_that_does_not_exist_is_one_error():
    with pytest.raises(TrainingError, match="tesseract, pp-ocrv4, pp-ocrv6"):
        readers.readers_named(["easy"])


def test_a_reader_that_is_not_installed_is_one_error(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(readers.extras, "find", lambda name: None)
    with pytest.raises(TrainingError, match="Tesseract is not installed"):
        readers.readers_named(["tesseract"])
    with pytest.raises(TrainingError, match="rapidocr-onnxruntime is not installed"):
        readers.readers_named(["pp-ocrv4"])


@pytest.mark.parametrize(
    ("program", "package", "expected"),
    [
        ("tesseract", True, ["tesseract", "pp-ocrv4"]),
        (None, True, ["pp-ocrv4"]),
        ("tesseract", False, ["tesseract"]),
        (None, False, ["pp-ocrv6"]),
    ],
)
def test_protectors_own_reader_stands_in_where_no_other_is_installed(monkeypatch, program, package, expected):
    monkeypatch.setattr(shutil, "which", lambda name: program)
    monkeypatch.setattr(readers.extras, "is_installed", lambda name: package)
    assert readers.installed_readers() == expected


def test_words_of_a_line_get_their_share_of_its_box():
    quad = [[0, 0], [100, 0], [100, 20], [0, 20]]
    found = list(readers._words(quad, "to Anna ok", 0.9))
    assert [each.text for each in found] == ["to", "Anna", "ok"]
    assert [each.box for each in found] == [(0, 0, 20, 20), (30, 0, 70, 20), (80, 0, 100, 20)]


def test_views_and_the_mean_keep_the_place_of_everything():
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8))
    assert {view.size == (60 * scale, 40 * scale) for view, scale in readers.views_of(picture).values()} == {
        True
    }
    black, white = Image.new("RGB", (4, 4)), Image.new("RGB", (4, 4), (255, 255, 255))
    assert readers.averaged([black, white]).getpixel((0, 0)) == (128, 128, 128)


@pytest.mark.skipif(shutil.which("tesseract") is None, reason="needs Tesseract")
def test_tesseract_reads_words_with_their_boxes():
    picture = Image.new("RGB", (400, 80), "white")
    ImageDraw.Draw(picture).text((20, 20), "annual report", fill="black", font=ImageFont.load_default(32))
    found = readers.tesseract_words()(picture)
    assert [each.text for each in found] == ["annual", "report"]
    assert 10 < found[0].box[0] < 30
    assert found[0].box[2] < found[1].box[0]
    assert found[0].certainty > 0.6
