"""Presets: the most private levels that keep a share of the utility at level 0."""

from __future__ import annotations

import pytest
import torch

from langchain_vpp.artifact import FrontPoint
from trainer.algorithms.interface import AnswerSpace, NoQueries
from trainer.training.calibration import (
    leak_at,
    level_knots,
    presets,
    unanswered_questions,
    unread_attributes,
)
from trainer.training.validation import Validation


class Grey:
    """Turns everything grey in proportion to the level."""

    def at_network_level(self, images, level):
        return torch.lerp(images, torch.full_like(images, 0.5), level.view(-1, 1, 1, 1))

    def __call__(self, images, level):
        return self.at_network_level(images, level)


class Bright:
    """Reads whether a picture is brighter than 0.6, the class 1."""

    def __init__(self):
        self.attributes = {"brightness": ("dark", "bright")}

    def eval(self):
        return self

    def __call__(self, images, level):
        bright = images.mean(dim=(1, 2, 3)) - 0.6
        return torch.stack([-bright, bright], dim=-1)[:, None]


@pytest.fixture
def validation():
    images = torch.zeros(8, 3, 8, 8, dtype=torch.uint8)
    images[4:] = 255
    labels = torch.arange(8)[:, None] // 4
    space = AnswerSpace(("Bright?",), ("no", "yes"), torch.ones(1, 2, dtype=torch.bool))
    return Validation(space, images, labels, labels.clone())


def test_the_leak_falls_where_the_assessor_no_longer_reads(validation):
    leaks = [leak_at(Grey(), Bright(), validation, level) for level in (0.0, 0.5, 1.0)]
    assert leaks == [1.0, 1.0, 0.0]


def test_a_missing_label_is_no_misreading(validation):
    labels = validation.labels.clone()
    labels[::2] = -1
    assert leak_at(Grey(), Bright(), validation._replace(labels=labels), 0.0) == 1.0


def test_what_is_read_by_luck_alone_is_named(validation):
    assert unread_attributes(Bright(), validation) == ()
    other = torch.tensor([0, 1, 1, 0, 1, 0, 0, 1])[:, None]
    assert unread_attributes(Bright(), validation._replace(labels=other)) == ("brightness",)
    few = torch.tensor([0, -1, -1, -1, -1, -1, -1, 1])[:, None]  # two right guesses prove nothing
    assert unread_attributes(Bright(), validation._replace(labels=few)) == ("brightness",)


def test_knots_rise_from_the_open_end_to_the_closed_one(validation):
    knots = level_knots(Grey(), Bright(), validation)
    assert len(knots) == 9
    assert list(knots) == sorted(knots)
    assert 0 <= knots[0] <= knots[-1] <= 1


class Expects(NoQueries):
    """Expects right answers for as many pictures as still show something."""

    def posteriors(self, images):
        shown = (images - 0.5).abs().mean(dim=(1, 2, 3)) > 0.2
        bright = images.mean(dim=(1, 2, 3)) > 0.5
        right = torch.where(shown, bright, ~bright).long()
        return nn_one_hot(right)


def nn_one_hot(answers):
    return torch.nn.functional.one_hot(answers, 2).float()[:, None]


def test_presets_come_from_what_the_estimator_expects(validation):
    found = presets(Grey(), Expects(), validation, front=())
    assert found == {"low": 0.55, "balanced": 0.55, "high": 1.0}


def front(*utilities):
    levels = torch.linspace(0, 1, len(utilities)).tolist()
    return [
        FrontPoint(level=level, leak=0.5, utility=utility)
        for level, utility in zip(levels, utilities, strict=True)
    ]


def test_an_estimator_that_expects_nothing_leaves_it_to_the_front(validation):
    found = presets(Grey(), NoQueries(), validation, front(1.0, 0.98, 0.9, 0.5, 0.0))
    assert found == {"low": 0.15, "balanced": 0.3, "high": 1.0}


def test_utility_that_rises_with_the_level_counts_as_noise(validation):
    found = presets(Grey(), NoQueries(), validation, front(1.0, 0.5, 1.0, 1.0, 1.0))
    assert found["low"] == found["balanced"] == 0.0


def test_without_a_front_there_are_no_presets(validation):
    assert presets(Grey(), NoQueries(), validation, front=()) == {}


def test_questions_that_the_student_answers_by_luck_alone_are_named(validation):
    assert unanswered_questions(Expects(), validation) == ()
    assert unanswered_questions(NoQueries(), validation) == ()
    luck = torch.tensor([0, 1, 1, 0, 1, 0, 0, 1])[:, None]
    assert unanswered_questions(Expects(), validation._replace(references=luck)) == ("Bright?",)
    unknown = torch.full((8, 1), -1)
    assert unanswered_questions(Expects(), validation._replace(references=unknown)) == ()
