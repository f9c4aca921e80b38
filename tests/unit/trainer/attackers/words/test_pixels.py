"""Words that are shown are found by their pixels, wherever they stand on their row."""

from __future__ import annotations

import pytest
from PIL import Image, ImageDraw, ImageFont

from trainer.attackers.words.pixels import Found, shown_words

FONT = ImageFont.load_default(20)
BOX = (60.0, 30.0, 60.0 + FONT.getlength("please"), 56.0)


def page(*places, text="please", ground="white"):
    picture = Image.new("RGB", (400, 90), ground)
    for place in places:
        ImageDraw.Draw(picture).text(place, text, fill="black", font=FONT)
    return picture


def beside_a_plate():
    picture = page((60, 30))
    ImageDraw.Draw(picture).rectangle((BOX[2], 20, 300, 60), fill=(214, 216, 220))
    return picture


@pytest.mark.parametrize(
    ("protected", "found"),
    [
        (page((60, 30)), Found(shown=True, in_place=True)),
        (page((210, 30)), Found(shown=True, in_place=False)),
        (beside_a_plate(), Found(shown=True, in_place=True)),
        (page((60, 60)), Found(shown=False, in_place=False)),
        (page((60, 30), text="please"[:3]), Found(shown=False, in_place=False)),
        (page(), Found(shown=False, in_place=False)),
        (page(ground="black"), Found(shown=False, in_place=False)),
    ],
    ids=[
        "in place",
        "moved",
        "beside a plate",
        "on another row",
        "cut",
        "covered",
        "covered with its colour",
    ],
)
def test_a_word_is_found_where_its_ink_is(protected, found):
    assert shown_words(page((60, 30)), protected, [BOX]) == [found]


def test_a_box_without_ink_is_no_word():
    assert shown_words(page(), page(), [BOX]) == [Found(shown=False, in_place=False)]
