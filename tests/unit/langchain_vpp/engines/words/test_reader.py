"""The reader: words, boxes and certainties from what RapidOCR returns, with its networks replaced."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from langchain_vpp.engines.words.geometry import overlap
from langchain_vpp.engines.words.reader import RapidReader


def letters(text, certainty=0.9, start=10, width=10):
    """Letters of a line as the package gives them: certainties of all characters, boxes of those that are no spaces."""
    found = []
    for place, each in enumerate(text):
        left = start + width * place
        if not each.isspace():
            found.append((each, certainty, [[left, 5], [left + width, 5], [left + width, 25], [left, 25]]))
    return found


def answer(text, words=None, quad=((10, 5), (200, 5), (200, 25), (10, 25)), score=0.9):
    return SimpleNamespace(
        txts=(text,), scores=(score,), boxes=[quad], word_results=(words or letters(text),)
    )


@pytest.fixture
def reader():
    made = RapidReader.__new__(RapidReader)
    made.seen = []

    def engine(pixels):
        made.seen.append(pixels.shape)
        return made.answers.pop(0) if made.answers else SimpleNamespace(txts=None, boxes=None)

    made._engine = engine
    made.answers = []
    return made


def test_letters_are_grouped_into_words(reader):
    reader.answers = [answer("thank you")]
    words = reader.read(Image.new("RGB", (300, 60)))
    assert [(word.text, word.box) for word in words] == [
        ("thank", (10, 5, 60, 25)),
        ("you", (70, 5, 100, 25)),
    ]
    assert {word.line for word in words} == {0}
    assert all(word.upright and word.confidence == pytest.approx(0.9) for word in words)


def test_a_wide_gap_without_a_space_ends_a_word(reader):
    reader.answers = [answer("Nair10:14", [*letters("Nair"), *letters("10:14", start=80)])]
    assert [word.text for word in reader.read(Image.new("RGB", (300, 60)))] == ["Nair", "10:14"]


def test_certainties_that_the_package_leaves_out_come_from_the_mean(reader):
    reader.answers = [answer("ab c", letters("ab c", certainty=1.0), score=0.8)]
    assert [word.confidence for word in reader.read(Image.new("RGB", (300, 60)))] == pytest.approx([1.0, 0.2])


def test_a_line_whose_letters_are_missing_is_one_word_that_is_not_certain(reader):
    reader.answers = [answer("thank you", letters("thank"))]
    (word,) = reader.read(Image.new("RGB", (300, 60)))
    assert (word.text, word.confidence, word.box) == ("thank you", 0.0, (10, 5, 200, 25))


def test_a_line_that_is_not_level_is_one_word_that_is_not_upright(reader):
    reader.answers = [answer("thank you", quad=((10, 5), (200, 65), (190, 85), (5, 25)))]
    (word,) = reader.read(Image.new("RGB", (300, 120)))
    assert (word.upright, word.confidence) == (False, 0.0)


def test_long_pictures_are_read_in_overlapping_parts_and_boxes_stay_in_place(reader):
    reader.answers = [SimpleNamespace(txts=None, boxes=None), answer("thank")]
    words = reader.read(Image.new("RGB", (400, 8000)))
    assert max(max(shape[:2]) for shape in reader.seen) <= 2000
    assert sum(shape[0] for shape in reader.seen) > 8000
    assert words[0].box == (10, 1845, 60, 1865)


def test_large_pictures_are_reduced_and_boxes_are_of_the_picture(reader):
    reader.answers = [answer("thank")]
    words = reader.read(Image.new("RGB", (3200, 3200)))
    assert reader.seen == [(1600, 1600, 3)]
    assert words[0].box == pytest.approx((20, 10, 120, 50))


def test_text_that_can_not_be_read_is_a_word_without_text(reader):
    found = answer("thank")
    found.unread = [((30, 40), (90, 40), (90, 60), (30, 60))]
    reader.answers = [found]
    unread, thank = reader.read(Image.new("RGB", (300, 90)))
    assert (unread.text, unread.box, unread.confidence) == ("", (30, 40, 90, 60), 0.0)
    assert (thank.text, thank.line) == ("thank", 1)


@pytest.mark.slow(seconds=4)
def test_a_page_is_read():
    from PIL import ImageDraw, ImageFont

    image = Image.new("RGB", (420, 120), "white")
    ImageDraw.Draw(image).text(
        (20, 40), "thank you for the letter", fill="black", font=ImageFont.load_default(26)
    )
    made = RapidReader()
    made._engine._load_rec_model()
    recognize = made._engine.text_rec

    def half_blind(*given, **named):
        """Recognizes no text in what stands below."""
        result = recognize(*given, **named)
        result.txts = tuple(text if "letter" in text else "" for text in result.txts)
        return result

    made._engine.text_rec = half_blind
    ImageDraw.Draw(image).text((20, 80), "Uchenna", fill="black", font=ImageFont.load_default(26))
    found = made.read(image)
    assert [overlap((20, 84, 110, 108), word.box) > 0.8 for word in found if not word.text] == [True]
    words = [word for word in found if word.text]
    assert [word.text for word in words] == ["thank", "you", "for", "the", "letter"]
    assert np.all(np.diff([word.box[0] for word in words]) > 0)
