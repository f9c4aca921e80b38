"""Judging: known predictions and answers give known readings."""

from __future__ import annotations

import math

import pytest
import torch

from trainer.evaluation.judging import Column, class_columns, task_columns, to_readings
from trainer.evaluation.questions import PictureQuestion
from trainer.oracle.ledger import Answer

ATTRIBUTES = ("hair", "skin")
LABELS = torch.tensor([[0, 1], [0, 0], [1, 1], [0, -1]])
GROUPS = torch.arange(4)
CHOICES = ("red", "blue")


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def _pairs(answers: list[str]) -> list[PictureQuestion]:
    return [
        PictureQuestion(row, "colour", "Which colour?", CHOICES, each) for row, each in enumerate(answers)
    ]


def test_perfect_predictions_scale_to_1_and_constant_ones_to_0() -> None:
    perfect = class_columns(ATTRIBUTES, LABELS, LABELS, [1.0, 1.0])
    readings, mean = to_readings("reader", perfect, GROUPS, generator=_generator())
    assert [(each.subject, each.accuracy.value, each.scaled, each.count) for each in readings] == [
        ("hair", 1.0, 1.0, 4),
        ("skin", 1.0, 1.0, 3),  # an unknown class is in no accuracy
    ]
    assert mean.value == 1.0
    constant = class_columns(ATTRIBUTES, torch.tensor([[0, 1]] * 4), LABELS, [1.0, 1.0])
    readings, mean = to_readings("reader", constant, GROUPS, generator=_generator())
    assert [(each.accuracy.value, each.chance) for each in readings] == [
        (0.75, 0.75),
        (pytest.approx(2 / 3), pytest.approx(2 / 3)),
    ]
    assert [each.scaled for each in readings] == [0.0, pytest.approx(0.0, abs=1e-6)]
    assert mean.value == pytest.approx(0.0, abs=1e-6)


def test_an_attribute_that_originals_hardly_show_is_in_no_mean() -> None:
    columns = class_columns(ATTRIBUTES, LABELS, LABELS, [0.76, 1.0])  # 0.76 on originals, 0.75 by chance
    readings, mean = to_readings("reader", columns, GROUPS, generator=_generator())
    assert [each.scaled for each in readings] == [None, 1.0]
    assert mean.value == 1.0
    _, nothing = to_readings("reader", columns[:1], GROUPS, generator=_generator())
    assert nothing is None


def test_originals_are_scaled_by_themselves() -> None:
    columns = class_columns(ATTRIBUTES, LABELS, LABELS, None)
    readings, _ = to_readings("reader", columns, GROUPS, generator=_generator())
    assert [each.scaled for each in readings] == [1.0, 1.0]


def test_a_column_without_a_score_is_a_reading_without_an_accuracy() -> None:
    empty = Column("hair", torch.full((4,), math.nan), torch.zeros(4), 0.5, 1.0, unusable=4, refused=3)
    (reading,), mean = to_readings("reader", [empty], GROUPS, generator=_generator())
    assert (reading.accuracy, reading.balanced_accuracy, reading.scaled, mean) == (None, None, None, None)
    assert (reading.count, reading.unusable, reading.refused) == (0, 4, 3)


def test_to_a_task_a_refusal_and_an_unfit_answer_are_wrong_and_a_lost_one_counts_as_nothing() -> None:
    texts = ["red", "I'm sorry, I can't say.", "green", None, "blue"]
    answers = [None if each is None else Answer(each) for each in texts]
    (column,) = task_columns(_pairs(["red"] * 5), answers, {"colour": 0.5}, None)
    assert column.scores[:3].tolist() == [1.0, 0.0, 0.0]
    assert math.isnan(column.scores[3])
    assert column.scores[4] == 0.0
    assert (column.unusable, column.refused) == (2, 1)


def test_a_task_that_originals_were_not_asked_is_scaled_to_always_right() -> None:
    (column,) = task_columns(_pairs(["red", "blue"]), [Answer("red"), Answer("blue")], {"colour": 0.5}, {})
    assert column.ceiling == 1.0
