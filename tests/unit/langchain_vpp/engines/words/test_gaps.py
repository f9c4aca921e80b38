"""Edges between words lie in the gaps of the picture."""

from __future__ import annotations

from PIL import Image, ImageDraw

from langchain_vpp.engines.words.gaps import refined
from langchain_vpp.engines.words.reader import Word


def test_an_edge_that_a_reader_places_in_a_letter_moves_into_the_gap():
    image = Image.new("RGB", (300, 60), "white")
    draw = ImageDraw.Draw(image)
    draw.rectangle((40, 20, 99, 39), fill="black")
    draw.rectangle((110, 20, 200, 39), fill="black")
    words = [Word("one", (40, 18, 92, 42), 1.0, 0), Word("two", (96, 18, 200, 42), 1.0, 0)]
    left, right = refined(image, words)
    assert (left.box[2], right.box[0]) == (100, 110)
    assert left.box[0] < 40
    assert right.box[2] > 200


def test_words_that_touch_share_an_edge():
    image = Image.new("RGB", (300, 60), "white")
    ImageDraw.Draw(image).line((40, 30, 200, 30), fill="black", width=8)
    words = [Word("one", (40, 18, 92, 42), 1.0, 0), Word("two", (96, 18, 200, 42), 1.0, 0)]
    left, right = refined(image, words)
    assert left.box[2] == right.box[0] == 94
