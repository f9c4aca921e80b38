"""Training samples come in the order of training."""

from __future__ import annotations

import dataclasses

import torch

from tests.unit.trainer.sandbox.vision.drawn_course import COURSE
from trainer.sandbox.vision.samples import DrawnPictures, TrainingOrder, draw_all


def test_a_round_shows_each_kept_card_once_in_an_order_of_its_own():
    course = dataclasses.replace(COURSE, different=6)
    kept = draw_all(DrawnPictures(course, 0), workers=0)
    assert len(kept) == 6
    samples = TrainingOrder(kept, course, seed=0, first=0, end=18)
    rounds = [[samples[6 * turn + place].image for place in range(6)] for turn in range(3)]
    orders = [
        [next(i for i, first in enumerate(rounds[0]) if torch.equal(image, first)) for image in each]
        for each in rounds
    ]
    assert [sorted(order) for order in orders] == [list(range(6))] * 3
    assert len({tuple(order) for order in orders}) == 3
    later = TrainingOrder(kept, course, seed=0, first=7, end=18)
    assert torch.equal(later[0].image, samples[7].image)
