"""Readers of lines: what a reader of pages gets, and which text belongs to which line."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from trainer.attackers.words.lines import LINE_READERS, stacked_lines
from trainer.attackers.words.readers import Seen, installed_readers


def line(ground, ink, size=(120, 20)):
    picture = Image.new("RGB", size, ground)
    ImageDraw.Draw(picture).rectangle((10, 6, 30, 14), fill=ink)
    return picture


def test_each_word_belongs_to_the_line_it_was_read_in_from_left_to_right():
    def read(page):
        rows = np.flatnonzero((np.asarray(page.convert("L")) < 128).any(axis=1))
        first, second = rows[0], rows[-1]
        return [
            Seen("below", (40, second - 9, 80, second)),
            Seen("Byron", (70, first, 90, first + 9)),
            Seen("Ada", (30, first, 60, first + 9)),
        ]

    assert stacked_lines(read)([line("white", "black"), line("white", "black")]) == ["Ada Byron", "below"]
    assert stacked_lines(read)([]) == []


def test_dark_lines_become_light_and_faint_ones_clear():
    seen = []
    stacked_lines(lambda page: seen.append(np.asarray(page)) or [])(
        [line((20, 20, 24), (60, 60, 60)), line((250, 250, 250), (230, 230, 230))]
    )
    (page,) = seen
    assert np.median(page) == 255
    assert page.min() < 10
    assert (page < 128).any(axis=(1, 2)).sum() > 30  # both lines have ink


@pytest.mark.slow(seconds=2)
@pytest.mark.parametrize("name", installed_readers())
def test_readers_read_lines(name):
    picture = Image.new("RGB", (220, 34), "white")
    ImageDraw.Draw(picture).text((10, 4), "Uchenna", fill="black", font_size=22)
    (text,) = LINE_READERS[name]()([picture])
    assert text.strip() == "Uchenna"
