"""The aimed attack: which places it looks at, and how often."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from trainer.attackers.words.aimed import NARROW, aimed_attempts

BOX = (100.0, 40.0, 160.0, 60.0)


def written(*places, ground="white"):
    """Draw a picture with ink at given places."""
    picture = Image.new("RGB", (600, 100), ground)
    for left in places:
        ImageDraw.Draw(picture).rectangle((left, 44, left + 30, 56), fill="black")
    return picture


def ink(lines):
    """Tell of each line how many separate marks of ink it has."""
    dark = [(np.asarray(each.convert("L")) < 100).any(axis=0).astype(int) for each in lines]
    return [str(int((np.diff(np.append([0], each)) == 1).sum())) for each in dark]


def test_a_word_in_its_place_is_seen_closely_and_one_that_moved_in_the_wide_crop():
    attempts = aimed_attempts({"one": written(110, 300)}, [BOX], {"given": ink})["one"]
    assert {name: seen[0].text for name, seen in attempts.items()} == {
        "given, as it is": "1",
        "given, sharpened": "1",
        "given, stretched": "1",
        "given, around": "2",
    }
    assert all(each.box == BOX for seen in attempts.values() for each in seen)


def test_the_same_pixels_are_read_once():
    read = []

    def counting(lines):
        read.extend(lines)
        return ink(lines)

    same = written(110)
    aimed_attempts({"one": same, "other": same.copy()}, [BOX], {"given": counting})
    assert 1 < len(read) == len({(each.size, each.tobytes()) for each in read})


def test_levels_that_differ_are_averaged():
    levels = {"one": written(), "other": written(110)}
    attempts = aimed_attempts(
        levels, [BOX], {"tesseract": lambda lines: [str(each.getpixel((25, 12))) for each in lines]}
    )
    assert attempts["one"]["tesseract, averaged"][0].text == str((128, 128, 128))
    assert "tesseract, sharpened" not in attempts["one"]  # it stretches contrast itself
    assert {name.split(", ")[1] for name in attempts["one"]} - {"around"} <= set(NARROW)


def test_originals_are_looked_at_as_they_are():
    assert [*aimed_attempts({"": written(110)}, [BOX], {"given": ink}, plain=True)[""]] == ["given, as it is"]


@pytest.mark.parametrize("box", [(-10.0, -5.0, 20.0, 12.0), (590.0, 95.0, 640.0, 130.0)])
def test_places_at_the_edge_are_cut_inside_the_picture(box):
    sizes = []
    aimed_attempts(
        {"": written()}, [box], {"given": lambda lines: [sizes.append(each.size) or "" for each in lines]}
    )
    assert all(min(size) >= 1 for size in sizes)
