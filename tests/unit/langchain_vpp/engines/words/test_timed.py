"""Reading within a time limit: long pictures in strips, each by itself."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from PIL import Image, ImageDraw

from langchain_vpp.engines.words import Word, Words
from langchain_vpp.engines.words.timed import TimedReader
from langchain_vpp.errors import ProtectionError

LONG = (640, 6_000)
PITCH = 50


class Rows:
    """Finds a word in every dark row of a picture, wholly in sight or not."""

    def __init__(self, fails_below=None):
        self.sizes, self.fails_below = [], fails_below

    def read(self, image):
        self.sizes.append(image.size)
        pixels = np.asarray(image.convert("L"))[:, 50] < 128
        edges = np.flatnonzero(np.diff(np.r_[False, pixels, False].astype(int)))
        if self.fails_below is not None and len(self.sizes) == self.fails_below:
            raise RuntimeError("secret")
        return [
            Word("hello" if bottom - top == 20 else "hxllo", (40, top, 90, bottom), 0.99, number)
            for number, (top, bottom) in enumerate(
                zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
            )
        ]


def page(size=LONG):
    image = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(image)
    for top in range(10, size[1] - 30, PITCH):
        draw.rectangle((40, top, 89, top + 19), fill="black")
    return image


def read(reader, image, **options):
    return TimedReader(reader, **{"seconds": 60, "on_failure": "cover", **options}).read(image)


def test_every_word_of_a_long_page_is_found_once_and_whole():
    reader = Rows()
    words = read(reader, page())
    assert [word.text for word in words] == ["hello"] * len(words)
    assert [word.box[1] for word in words] == [*range(10, LONG[1] - 30, PITCH)]
    assert len({word.line for word in words}) == len(words)
    assert len(reader.sizes) > 2
    assert max(size[1] for size in reader.sizes) <= 2_000


@pytest.mark.parametrize("size", [(640, 2_000), (3_024, 1_964), (200, 300)])
def test_other_pages_are_read_whole(size):
    reader = Rows()
    read(reader, page(size))
    assert reader.sizes == [size]


def test_a_strip_that_can_not_be_read_is_covered_alone():
    image = page()
    result = Words(reader=Rows(fails_below=2), recognizers=[]).protect(image, 0.5)
    same = [
        np.array_equal(np.asarray(image.crop(box)), np.asarray(result.crop(box)))
        for box in ((40, top, 90, top + 20) for top in range(10, LONG[1] - 30, PITCH))
    ]
    covered = np.asarray(result.crop((0, 1_900, LONG[0], 3_700)))
    assert np.ptp(covered, axis=(0, 1)).max() == 0
    assert sum(same[: 1_800 // PITCH]) == 1_800 // PITCH
    assert sum(same[-(LONG[1] - 3_900) // PITCH :]) > 30


def test_each_strip_has_the_full_time():
    class Slow:
        def read(self, image):
            threading.Event().wait(0.15)
            return []

    assert read(Slow(), page(), seconds=0.4) == []


def test_a_long_page_of_which_no_strip_can_be_read_is_not_read():
    class Failing:
        def read(self, image):
            raise RuntimeError("secret")

    assert read(Failing(), page()) is None
    with pytest.raises(ProtectionError) as raised:
        read(Failing(), page(), on_failure="raise")
    assert "secret" not in str(raised.value)
