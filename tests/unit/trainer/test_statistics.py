"""Statistics against an independent implementation, published figures and analytic values."""

from __future__ import annotations

import pytest
import torch

from trainer.statistics import (
    average_precision,
    bootstrap_mean,
    class_mean_precision,
    floor_from_tasks,
    wilson,
)


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _by_definition(scores: torch.Tensor, positive: torch.Tensor) -> float:
    total, recall = 0.0, 0.0
    for threshold in sorted(set(scores.tolist()), reverse=True):
        taken = scores >= threshold
        precision = float((positive & taken).sum() / taken.sum())
        now = float((positive & taken).sum() / positive.sum())
        total, recall = total + (now - recall) * precision, now
    return total


@pytest.mark.parametrize("steps", [1000, 3])
def test_average_precision_is_its_definition_also_with_equal_scores(steps) -> None:
    scores = torch.randint(steps, (50,), generator=_generator()) / steps
    positive = torch.rand(50, generator=_generator(1)) < 0.3
    assert float(average_precision(scores, positive)) == pytest.approx(
        _by_definition(scores, positive), abs=1e-6
    )


def test_average_precision_with_weights_is_that_of_repeated_images() -> None:
    scores = torch.tensor([0.9, 0.7, 0.7, 0.2])
    positive = torch.tensor([True, False, True, True])
    times = torch.tensor([[2.0, 1.0, 0.0, 3.0], [0.0, 1.0, 0.0, 0.0]])
    rows = torch.tensor([0, 0, 1, 3, 3, 3])
    weighted = average_precision(scores, positive, times)
    assert float(weighted[0]) == pytest.approx(_by_definition(scores[rows], positive[rows]))
    assert weighted[1].isnan()  # drew no positive image


def test_average_precision_of_a_constant_is_the_share_of_the_class() -> None:
    assert float(average_precision(torch.zeros(10), torch.arange(10) < 3)) == pytest.approx(0.3)


def test_class_mean_precision_of_a_perfect_reader_is_1_and_of_a_blind_one_its_floor() -> None:
    labels = torch.tensor([0, 1, 2, 0, -1, 1, 0, 2])
    perfect = torch.nn.functional.one_hot(labels.clamp(min=0), 3).float()
    found = class_mean_precision(perfect, labels, torch.arange(8), generator=_generator())
    assert found.per_class == (1.0, 1.0, 1.0)
    assert found.mean.value == found.mean.low == 1.0
    blind = class_mean_precision(torch.full((8, 3), 1 / 3), labels, torch.arange(8), generator=_generator())
    assert blind.mean.value == pytest.approx(blind.floor) == pytest.approx(1 / 3)
    assert blind.per_class[0] == pytest.approx(3 / 7)


def test_a_class_that_no_image_has_does_not_count() -> None:
    scores = torch.rand(6, 3, generator=_generator())
    found = class_mean_precision(
        scores, torch.tensor([0, 2, 0, 2, 2, 0]), torch.arange(6), generator=_generator()
    )
    assert found.per_class[1] is None
    assert found.floor == pytest.approx(0.5)


def test_one_class_alone_has_no_precision() -> None:
    with pytest.raises(ValueError, match="two classes"):
        class_mean_precision(
            torch.rand(4, 2), torch.zeros(4, dtype=torch.long), torch.arange(4), generator=_generator()
        )


def test_images_of_few_groups_give_a_wider_interval() -> None:
    scores = torch.arange(60).div(30, rounding_mode="floor").float()
    apart = bootstrap_mean(scores, torch.arange(60), generator=_generator())
    together = bootstrap_mean(scores, torch.arange(60) // 30, generator=_generator())
    assert apart.value == together.value == 0.5
    assert apart.low > 0.3
    assert (together.low, together.high) == (0.0, 1.0)


def test_no_score_at_all_has_no_mean() -> None:
    with pytest.raises(ValueError, match="no image"):
        bootstrap_mean(torch.full((3,), torch.nan), torch.arange(3), generator=_generator())


def _floor(answers: torch.Tensor, labels: torch.Tensor):
    half = len(labels) // 2
    return floor_from_tasks(
        answers[:half],
        labels[:half],
        answers[half:],
        labels[half:],
        torch.arange(half),
        generator=_generator(),
    )


def test_an_attribute_that_two_answers_tell_together_is_guessed_from_both() -> None:
    answers = torch.randint(2, (400, 2), generator=_generator())
    assert _floor(answers, answers[:, 0] ^ answers[:, 1]).value == 1.0


def test_an_attribute_that_no_answer_tells_is_guessed_by_its_commonest_class() -> None:
    answers = torch.randint(3, (400, 2), generator=_generator())
    labels = (torch.rand(400, generator=_generator(1)) < 0.25).long()
    floor = _floor(answers, labels)
    assert floor.low < float((labels[200:] == 0).float().mean()) < floor.high


def test_rare_combinations_of_answers_do_not_hide_what_one_answer_tells() -> None:
    answers = torch.randint(30, (400, 4), generator=_generator())
    answers[:, 2] = torch.randint(2, (400,), generator=_generator(1))
    assert _floor(answers, answers[:, 2]).value == 1.0


def test_images_without_a_class_or_with_answers_never_seen_are_no_error() -> None:
    answers = torch.tensor([[0], [0], [1], [7], [-1], [0]])
    labels = torch.tensor([1, 1, 0, 1, -1, 1])
    assert _floor(answers, labels).value == 1.0


def test_an_attribute_without_a_training_label_has_no_floor() -> None:
    with pytest.raises(ValueError, match="training"):
        _floor(torch.zeros(4, 1, dtype=torch.long), torch.tensor([-1, -1, 0, 1]))


@pytest.mark.parametrize(
    ("right", "count", "low", "high"),
    [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605)],
)
def test_wilsons_interval_is_the_published_one(right, count, low, high):
    # The last two are examples of Newcombe (1998), table I, method 3.
    assert wilson(right / count, count) == pytest.approx((low, high), abs=1e-4)
