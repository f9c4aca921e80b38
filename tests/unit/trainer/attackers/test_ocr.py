"""Words that can be read are found, words that are gone are not, and a missing engine is said so."""

from __future__ import annotations

import shutil
import sys

import pytest
import torch
from PIL import Image, ImageDraw, ImageFont

from langchain_vpp.errors import TrainingError
from tests.unit.drawn_people import grey, identity, jpeg_noise
from trainer.attackers.ocr import edits_within, rapid_ocr, read_words, tesseract_ocr
from trainer.data.wire import as_tensor
from trainer.statistics import bootstrap_mean

_NAMES = ("Marta Kovac", "Jonas Weber")
_NUMBERS = ("472-913", "860-254")


@pytest.fixture(scope="module")
def reader():
    pytest.importorskip("rapidocr")
    return rapid_ocr(sides=(480,))


@pytest.fixture(scope="module")
def cards() -> torch.Tensor:
    drawn = []
    for name, number in zip(_NAMES, _NUMBERS, strict=True):
        card = Image.new("RGB", (240, 96), (238, 236, 230))
        draw = ImageDraw.Draw(card)
        draw.text((12, 10), name, fill=(20, 20, 40), font=ImageFont.load_default(26))
        draw.text((12, 52), f"ID {number}", fill=(20, 20, 40), font=ImageFont.load_default(26))
        drawn.append(as_tensor(card))
    return torch.stack(drawn)


@pytest.mark.parametrize("protect", [identity, jpeg_noise])
@pytest.mark.slow(seconds=3)
def test_text_that_stays_is_read(reader, cards, protect) -> None:
    found = read_words(protect(cards), list(zip(_NAMES, _NUMBERS, strict=True)), reader)
    assert found.exact.mean() > 0.6
    assert found.distance.mean() < 0.2
    assert found.exact_floor.sum() == 0
    assert found.distance_floor.mean() > 0.5


@pytest.mark.slow(seconds=3)
def test_constant_grey_shows_no_text(reader, cards) -> None:
    found = read_words(grey(cards), list(zip(_NAMES, _NUMBERS, strict=True)), reader)
    assert found.exact.sum() == 0
    assert found.distance.min() == 1


def test_without_the_package_it_is_said_what_to_install(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "rapidocr", None)
    with pytest.raises(TrainingError, match=r"langchain-vpp\[ocr\]") as caught:
        rapid_ocr()
    assert caught.value.__cause__ is caught.value.__context__ is None


_TWO = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)


def _says(*texts: str):
    return lambda _: texts


def test_case_spaces_and_punctuation_do_not_count() -> None:
    found = read_words(_TWO, [("Anna-Lena",), ("AB 12",)], _says("ANNA LENA | ab12"))
    assert found.exact.tolist() == [[1.0], [1.0]]


def test_the_best_attempt_counts() -> None:
    found = read_words(_TWO, [("1987",), ("1987",)], _says("", "born 1937", "l987"))
    assert found.distance.tolist() == [[0.25], [0.25]]
    assert found.exact.tolist() == [[0.0], [0.0]]


def test_a_word_that_stands_in_every_picture_is_its_own_floor() -> None:
    found = read_words(_TWO, [("7",), ("7",)], _says("7"))
    assert found.exact_floor.tolist() == found.exact.tolist() == [[1.0], [1.0]]


def test_a_picture_without_the_word_is_left_out() -> None:
    found = read_words(_TWO, [("name", None), ("name", "12")], _says("12"))
    assert found.exact.isnan().tolist() == [[False, True], [False, False]]
    mean = bootstrap_mean(found.exact[:, 1], torch.arange(2), generator=torch.Generator().manual_seed(0))
    assert mean.value == 1.0


def test_nothing_read_at_all_is_as_far_as_can_be() -> None:
    assert read_words(_TWO, [("ab",), ("cd",)], lambda _: ()).distance.tolist() == [[1.0], [1.0]]


@pytest.mark.parametrize(
    ("word", "text", "edits"),
    [
        ("abc", "xxabcxx", 0),
        ("abc", "xxabxx", 1),
        ("abc", "axbxc", 2),
        ("abc", "", 3),
        ("kitten", "sitting", 2),
    ],
)
def test_edits_are_those_to_the_nearest_part(word, text, edits) -> None:
    assert edits_within(word, text) == edits


def test_words_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="each picture"):
        read_words(_TWO, [("a",)], _says())
    with pytest.raises(ValueError, match="letter"):
        read_words(_TWO, [("-",), ("a",)], _says())


@pytest.mark.slow(seconds=1)
@pytest.mark.skipif(not shutil.which("tesseract"), reason="Tesseract is not installed")
def test_tesseract_reads_what_stays_and_nothing_from_grey(cards) -> None:
    words = list(zip(_NAMES, _NUMBERS, strict=True))
    reader = tesseract_ocr(layouts=(3,))
    assert read_words(cards, words, reader).distance.mean() < 0.2
    assert read_words(grey(cards), words, reader).distance.min() == 1


def test_without_tesseract_it_is_said_what_to_install(monkeypatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(TrainingError, match="no text was read: Tesseract is not installed"):
        tesseract_ocr()


def test_pictures_of_several_sizes_are_read() -> None:
    images = [torch.zeros(3, 8, 8, dtype=torch.uint8), torch.zeros(3, 4, 16, dtype=torch.uint8)]
    assert read_words(images, [("7",), ("8",)], _says("7")).exact.tolist() == [[1.0], [0.0]]
