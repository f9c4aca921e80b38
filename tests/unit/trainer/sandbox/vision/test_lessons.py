"""Drawn pictures come in the order in which they are learned from."""

from __future__ import annotations

import dataclasses

import torch

from tests.unit.trainer.sandbox.vision.drawn_course import COURSE
from trainer.sandbox.vision import lessons as lessons_module


def test_a_round_shows_each_kept_card_once_in_an_order_of_its_own():
    course = dataclasses.replace(COURSE, different=6)
    kept = lessons_module._draw_all(lessons_module._Drawings(course, 0), workers=0)
    assert len(kept) == 6
    lessons = lessons_module._Lessons(kept, course, 0, seed=0, end=18)
    rounds = [[lessons[6 * turn + place].image for place in range(6)] for turn in range(3)]
    orders = [
        [next(i for i, first in enumerate(rounds[0]) if torch.equal(image, first)) for image in each]
        for each in rounds
    ]
    assert [sorted(order) for order in orders] == [list(range(6))] * 3
    assert len({tuple(order) for order in orders}) == 3
    later = lessons_module._Lessons(kept, course, 7, seed=0, end=18)
    assert torch.equal(later[0].image, lessons[7].image)
