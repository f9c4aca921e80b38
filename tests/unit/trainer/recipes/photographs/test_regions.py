"""Region maps: what teachers found vanishes at the level it belongs to, and at every higher one."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from PIL import Image, ImageDraw

from trainer.recipes.photographs.regions import LEVELS, PRESETS, Findings, Region, head_of, region_map, skin

FACE = (40.0, 30.0, 60.0, 56.0)


def findings(**changes):
    found = {"faces": [(*FACE, 0.9)], "texts": [], "people": [], "carriers": []}
    return Findings(**(found | changes))


def hidden(regions, level):
    return (regions & LEVELS[level]) > 0


def test_every_level_hides_what_lower_ones_hide():
    assert all(low & high == low for low, high in itertools.pairwise(LEVELS.values()))
    assert set(PRESETS.values()) <= set(LEVELS)


def test_a_face_vanishes_first_its_head_next_and_the_person_then():
    image = Image.new("RGB", (160, 120), (20, 90, 200))
    ImageDraw.Draw(image).rectangle(FACE, fill=(140, 100, 80))
    drawn = region_map(image, findings(people=[(20.0, 10.0, 90.0, 118.0)]), None)
    shares = [hidden(drawn, level).mean() for level in LEVELS]
    assert shares == sorted(set(shares))
    assert hidden(drawn, 0.25)[43, 50]
    assert not hidden(drawn, 0.25)[22, 50], "hair"
    assert hidden(drawn, 0.5)[22, 50]
    assert not hidden(drawn, 0.5)[110, 30], "clothes"
    assert hidden(drawn, 0.75)[110, 30]
    assert not hidden(drawn, 1.0)[5, 150], "the scene"


def test_text_vanishes_at_every_level_and_a_screen_at_the_highest():
    texts, carriers = [[100.0, 80.0, 150.0, 80.0, 150.0, 95.0, 100.0, 95.0]], [(100.0, 20.0, 140.0, 60.0)]
    drawn = region_map(Image.new("RGB", (160, 120)), findings(texts=texts, carriers=carriers), None)
    assert all(hidden(drawn, level)[88, 125] for level in LEVELS)
    assert [bool(hidden(drawn, level)[40, 120]) for level in LEVELS] == [False, False, False, True]


def test_what_may_be_a_face_is_marked_as_unsure_alone():
    drawn = region_map(Image.new("RGB", (160, 120)), findings(faces=[(*FACE, 0.15)]), None)
    assert drawn[43, 50] == Region.UNSURE


def test_a_head_reaches_beyond_its_face_on_every_side():
    left, top, right, bottom = head_of(FACE)
    assert left < FACE[0]
    assert top < FACE[1]
    assert right > FACE[2]
    assert bottom > FACE[3]


@pytest.mark.parametrize(
    "tone", [(60, 40, 30), (140, 100, 80), (235, 200, 180)], ids=["dark", "brown", "light"]
)
def test_skin_is_found_by_the_colour_of_each_persons_own_face(tone):
    image = Image.new("RGB", (160, 160), (20, 90, 200))
    draw = ImageDraw.Draw(image)
    draw.rectangle(FACE, fill=tone)
    draw.rectangle((40, 90, 60, 130), fill=tone)  # an arm
    draw.rectangle((120, 90, 140, 130), fill=tone)  # wood, of nobody
    people = np.zeros((160, 160), bool)
    people[20:150, 30:80] = True
    found = skin(image, [FACE], people)
    assert found[95:125, 45:55].all()
    assert not found[60:80, 40:60].any(), "clothes"
    assert not found[:, 100:].any()
