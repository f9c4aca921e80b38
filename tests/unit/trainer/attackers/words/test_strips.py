"""Strips show the places of private text, and what is read in them is put back where it stands."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from trainer.attackers.words.readers import Seen
from trainer.attackers.words.strips import strips_of

SIZE = (400, 300)
BOXES = [(100.0, 40.0, 160.0, 60.0), (120.0, 200.0, 180.0, 220.0), (170.0, 201.0, 200.0, 219.0)]


def test_strips_that_overlap_are_one():
    assert len(strips_of(BOXES, SIZE).boxes) == 2


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_text_is_placed_where_it_stands(scale):
    picture = Image.new("RGB", SIZE, "white")
    for shade, box in enumerate(BOXES[:2]):
        picture.paste((shade, 0, 0), [round(edge) for edge in box])
    strips = strips_of(BOXES, SIZE)
    stacked = strips.stack(picture)
    found = []
    for shade in (0, 1):
        rows, columns = np.where((np.asarray(stacked) == (shade, 0, 0)).all(axis=2))
        ends = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        found.append(Seen(str(shade), tuple(float(end * scale) for end in ends)))
    assert [each.box for each in strips.placed(found, scale)] == BOXES[:2]


def test_no_private_text_gives_no_strips():
    assert strips_of([], SIZE).boxes == ()
