"""The matcher finds names below boxes of exact width, and not below plates of one width."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from trainer.attackers.words.readers import Seen
from trainer.attackers.words.widths import Plate, match_plates, plate_at
from trainer.sandbox.drawing.documents.people import invent_people

NAMES = list(dict.fromkeys(person.name for person in invent_people(np.random.default_rng(5), 600)))[:500]


def plates(width_of):
    font = ImageFont.load_default(16)
    texts = NAMES[:60]
    return [Plate(text, (0, 0, font.getlength(text), 20), width_of(font.getlength(text))) for text in texts]


def test_boxes_of_exact_width_give_names_away():
    found = match_plates(plates(lambda width: width + 6), NAMES)
    assert np.mean([each.percentile for each in found]) > 0.95
    assert sum(each.hit for each in found) > 2


def test_plates_of_one_width_leave_chance():
    found = match_plates(plates(lambda width: 80.0), NAMES)
    assert sum(each.hit for each in found) < 1
    assert abs(np.mean([each.percentile for each in found]) - 0.5) < 0.15


def test_letters_that_peek_out_count_more_than_any_width():
    known = plates(lambda width: 80.0)
    peeking = known[0]._replace(fragments=(NAMES[0].split()[0].casefold(),))
    assert match_plates([peeking, *known[1:]], NAMES)[0].hit > 0.01


def test_too_few_plates_tell_nothing():
    assert match_plates(plates(lambda width: width)[:3], NAMES) == []


def test_a_plate_is_measured_through_its_token():
    picture = Image.new("RGB", (400, 100), "white")
    draw = ImageDraw.Draw(picture)
    draw.rectangle((90, 38, 209, 62), fill=(214, 216, 220))
    draw.text((94, 42), "NAME_1", fill=(30, 32, 36), font=ImageFont.load_default(16))
    seen = [
        Seen("NAME_1", (94, 42, 150, 58)),
        Seen("Uch", (160, 42, 180, 58)),
        Seen("far", (300, 42, 330, 58)),
    ]
    plate = plate_at(picture, "Uchenna", (100.0, 40.0, 170.0, 60.0), seen)
    assert abs(plate.width - 120) <= 1
    assert plate.fragments == ("uch",)
