"""The fresh attacker judges what training's own assessor can't see."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from trainer.algorithms.interface import AnswerSpace
from trainer.training.batches import TrainingSplit
from trainer.training.calibration import leak_at, unread_attributes
from trainer.training.fresh_attack import FreshAttack
from trainer.training.validation import Validation

CLASSES = {"hue": ("blue", "red"), "side": ("left", "right")}
SPACE = AnswerSpace(("Bright?",), ("no", "yes"), torch.ones(1, 2, dtype=torch.bool))


def pictures(count, seed):
    """Grey noise with a red or blue square on one side; labels of hue and side."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(2, (count, 2), generator=generator)
    images = torch.randint(100, 140, (count, 3, 16, 16), generator=generator)
    for image, (red, right) in zip(images, labels.tolist(), strict=True):
        image[2 - 2 * red, 4:12, 8 * right : 8 * right + 8] = 240
    return images.to(torch.uint8), labels


class Covers(nn.Module):
    """Protector that turns grey in proportion to the level; what is red stays redder if told to."""

    def __init__(self, *, keeps_hue=False):
        super().__init__()
        self.keeps_hue = keeps_hue

    def forward(self, images, level):
        covered = torch.lerp(images, torch.full_like(images, 0.5), level.view(-1, 1, 1, 1))
        if self.keeps_hue:
            covered[:, 0] += 0.1 * (images[:, 0].amax(dim=(1, 2)) > 0.7).view(-1, 1, 1)
        return covered

    at_network_level = forward


class Blind(nn.Module):
    """Assessor that says the same of every picture."""

    attributes = CLASSES

    def forward(self, images, level):
        return torch.tensor([1.0, 0.0]).expand(len(images), 2, 2)


@pytest.fixture(scope="module")
def validation():
    images, labels = pictures(96, 1)
    return Validation(SPACE, images, labels, torch.zeros(96, 1, dtype=torch.long))


@pytest.fixture(scope="module")
def attack(validation):
    images, labels = pictures(256, 0)
    none = torch.zeros(256, 1, dtype=torch.long)
    split = TrainingSplit(images, labels, none, none, (), none)
    return FreshAttack(CLASSES, split, validation, images=256, seed=0)


@pytest.mark.trains
@pytest.mark.slow(seconds=4)
def test_the_fresh_front_agrees_with_what_is_shown_and_the_assessors_does_not(attack, validation):
    """A bed on which the two fronts differ: the assessor is blind, so by its front everything is hidden."""
    blind = [leak_at(Covers(), Blind(), validation, level) for level in (0.0, 1.0)]
    assert max(blind) < 0.1
    open_, covered = attack.readings(Covers(), (0.0, 1.0))
    assert open_.leak.low <= 1.0 <= open_.leak.high + 0.05
    assert open_.leak.value > 0.9
    assert covered.leak.low <= 0.0 <= covered.leak.high
    assert covered.accuracy.keys() == CLASSES.keys()


@pytest.mark.trains
@pytest.mark.slow(seconds=2)
def test_an_attribute_that_stays_readable_at_level_1_is_found(attack):
    reading = attack.readings(Covers(keeps_hue=True), (1.0,))[0]
    assert reading.accuracy["hue"] > 0.9
    assert reading.accuracy["side"] < 0.7
    assert 0.3 < reading.leak.value < 0.7


@pytest.mark.trains
def test_what_an_attacker_reads_and_the_assessor_does_not_is_named(attack, validation):
    assert unread_attributes(Blind(), validation, attack) == ("hue", "side")

    class Half(Blind):
        """Reads the hue well, and the side a little better than a guess."""

        def forward(self, images, level):
            red = images[:, 0].amax(dim=(1, 2)) > 0.9
            right = images.amax(dim=(1, 2))[:, 8:].mean(dim=1) > 0.7
            right ^= torch.arange(len(images)) % 3 == 0
            return nn.functional.one_hot(torch.stack([red, right], dim=1).long(), 2).float()

    assert unread_attributes(Half(), validation) == ()
    assert unread_attributes(Half(), validation, attack) == ("side",)


@pytest.mark.trains
def test_a_missing_label_counts_neither_for_nor_against(attack, validation):
    labels = validation.labels.clone()
    labels[::2, 0] = -1
    partly = FreshAttack(CLASSES, attack._split, validation._replace(labels=labels), images=256, seed=0)
    assert partly.readings(Covers(), (0.0,))[0].leak.value > 0.9
