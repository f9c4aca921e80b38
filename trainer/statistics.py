"""Statistics of measurements: intervals, precision, accuracy, and their scaling to chance.

Intervals come from a cluster bootstrap: whole groups of images are drawn with replacement, so that several images of
one person do not count as independent (Field and Welsh, 2007).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict
from torch import nn

if TYPE_CHECKING:
    from torch import Tensor

_RESAMPLES: Final = 1000
_READABLE: Final = 0.05
"""Smallest difference between the accuracy on originals and chance by which accuracies can be scaled."""
_Z: Final = 1.959964
"""95 % of a normal distribution lie within so many standard deviations of its mean."""


class ConfidenceInterval(BaseModel):
    """A value and its 95 % interval over images, or over groups of images where the data set has them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        """Write the value with two decimals and its interval in brackets.

        Example:
            >>> str(ConfidenceInterval(value=0.5, low=0.413, high=0.6))
            '0.50 [0.41, 0.60]'
        """
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"

    def __neg__(self) -> ConfidenceInterval:
        """Negate the quantity, as from a loss to a gain."""
        return ConfidenceInterval(value=-self.value, low=-self.high, high=-self.low)


def chance(labels: Tensor) -> float:
    """Compute the share of the commonest class, which a constant guess gets right.

    Args:
        labels: Class indices, shape ``[N]``, ``-1`` where unknown.
    """
    known = labels[labels >= 0]
    return float(torch.bincount(known).max() / len(known))


def balanced_accuracy(scores: Tensor, labels: Tensor) -> float:
    """Average the mean scores of the classes that occur.

    Args:
        scores: Score of each image in [0, 1], shape ``[N]``.
        labels: Class indices, shape ``[N]``.
    """
    return float(torch.stack([scores[labels == each].mean() for each in torch.unique(labels)]).mean())


def scale(accuracy: float, floor: float, ceiling: float) -> float | None:
    """Map an accuracy to 0 at the chance floor and 1 at the ceiling; ``None`` if the two can't be told apart.

    Example:
        >>> scale(0.75, 0.5, 1.0)
        0.5
    """
    return (accuracy - floor) / (ceiling - floor) if ceiling - floor >= _READABLE else None


def bootstrap_mean(scores: Tensor, groups: Tensor, *, generator: torch.Generator) -> ConfidenceInterval:
    """Compute the mean score of images and its bootstrap 95 % interval over groups.

    Args:
        scores: Score of each image, shape ``[N]``; NaN where there is nothing to judge.
        groups: Group of each image, numbered from 0, shape ``[N]``.
        generator: Source of randomness.

    Raises:
        ValueError: If no image has a score.
    """
    if not scores.isfinite().any():
        raise ValueError("no image has a score")
    return interval(resampled_means(scores[:, None], groups, generator)[:, 0])


def resampled_means(scores: Tensor, groups: Tensor, generator: torch.Generator) -> Tensor:
    """Compute the mean of each column, and then its means over resampled groups.

    Args:
        scores: Scores in columns, shape ``[N, C]``; NaN where there is nothing to judge.
        groups: Group of each row, numbered from 0, shape ``[N]``.
        generator: Source of randomness.

    Returns:
        Means, shape ``[1 + resamples, C]``; NaN in a resample that drew no score of a column.
    """
    size = int(groups.max()) + 1
    totals = torch.zeros(size, scores.shape[1]).index_add_(0, groups, scores.nan_to_num(0.0))
    counts = torch.zeros(size, scores.shape[1]).index_add_(0, groups, scores.isfinite().float())
    times = _resamples(groups, generator)
    return (times @ totals) / (times @ counts)


def _resamples(groups: Tensor, generator: torch.Generator) -> Tensor:
    """Count each group once, and then as often as it is drawn with replacement, shape ``[1 + resamples, G]``."""
    size = int(groups.max()) + 1
    drawn = torch.randint(size, (_RESAMPLES, size), generator=generator)
    times = torch.zeros(_RESAMPLES, size).scatter_add_(1, drawn, torch.ones(_RESAMPLES, size))
    return torch.cat([torch.ones(1, size), times])


def interval(means: Tensor) -> ConfidenceInterval:
    """Take the 95 % interval of a mean from its resampled values, leaving out resamples without a score.

    Args:
        means: The mean and then its resampled values, shape ``[1 + resamples]``; see :func:`resampled_means`.
    """
    low, high = means[1:].nanquantile(torch.tensor([0.025, 0.975])).tolist()
    return ConfidenceInterval(value=float(means[0]), low=low, high=high)


class Ends(NamedTuple):
    """Ends of an interval."""

    low: float
    high: float


def wilson(share: float, count: int) -> Ends:
    """Compute the 95 % interval of a share by Wilson's score (1927).

    Args:
        share: The observed share, in [0, 1].
        count: The number of observations, 1 or more.

    Example:
        >>> [round(end, 3) for end in wilson(1.0, 40)]
        [0.912, 1.0]
    """
    square = _Z * _Z / count
    centre = (share + square / 2) / (1 + square)
    half = _Z * math.sqrt(share * (1 - share) / count + square / (4 * count)) / (1 + square)
    return Ends(centre - half, centre + half)


class ClassMeanPrecision(NamedTuple):
    """Average precision of the classes of one private attribute."""

    per_class: tuple[float | None, ...]
    """Average precision of each class; ``None`` for a class that no image has, or that all have."""
    mean: ConfidenceInterval
    """Mean over the classes that occur (cMAP)."""
    floor: float
    """Mean share of these classes. Scores without information reach it in the long run; a random order of few images
    lies a little above it."""


def average_precision(scores: Tensor, positive: Tensor, weights: Tensor | None = None) -> Tensor:
    r"""Compute the area under the precision-recall curve as a sum of steps, without interpolation.

    .. math:: \mathrm{AP} = \sum_n (R_n - R_{n-1}) P_n

    Precision :math:`P_n` and recall :math:`R_n` are those of the images that score at least the :math:`n`-th distinct
    value. Equal scores are taken together, so that no order among them flatters a reader without information.

    Args:
        scores: Any finite values, shape ``[N]``.
        positive: Whether each image is of the class, shape ``[N]``.
        weights: Number of times that each image counts, in each of several resamples, shape ``[R, N]``. Without
            weights, each image counts once.

    Returns:
        Areas in [0, 1], shape ``[R]``, or ``[1]`` without weights; NaN in a resample that has no positive image.

    Example:
        >>> average_precision(torch.tensor([0.9, 0.8, 0.7]), torch.tensor([True, False, True]))
        tensor([0.8333])
    """
    times = torch.ones(1, len(scores)) if weights is None else weights
    order = scores.argsort(descending=True)
    ranked, times = scores[order], times[:, order]
    last = torch.cat([ranked[1:] != ranked[:-1], torch.ones(1, dtype=torch.bool)])
    found = (times * positive[order]).cumsum(dim=1)[:, last]
    seen = times.cumsum(dim=1)[:, last]
    steps = found.diff(dim=1, prepend=torch.zeros(len(times), 1))
    return (steps * found / seen.clamp(min=1)).sum(dim=1) / found[:, -1]


def class_mean_precision(
    scores: Tensor, labels: Tensor, groups: Tensor, *, generator: torch.Generator
) -> ClassMeanPrecision:
    """Compute the average precision of every class against the others, and their mean with its bootstrap interval.

    Args:
        scores: Score of each class, shape ``[N, K]``.
        labels: Class indices, shape ``[N]``, ``-1`` where unknown.
        groups: Group of each image, numbered from 0, shape ``[N]``.
        generator: Source of randomness.

    Raises:
        ValueError: If fewer than two classes occur, so that there is nothing to tell apart.
    """
    known = labels >= 0
    scores, labels = scores[known].float(), labels[known]
    present = [index for index in range(scores.shape[1]) if 0 < int((labels == index).sum()) < len(labels)]
    if not present:
        raise ValueError("fewer than two classes occur")
    times = _resamples(groups, generator)[:, groups[known]]
    precisions = torch.stack(
        [average_precision(scores[:, index], labels == index, times) for index in present]
    )
    values = dict(zip(present, precisions[:, 0].tolist(), strict=True))
    return ClassMeanPrecision(
        per_class=tuple(values.get(index) for index in range(scores.shape[1])),
        mean=interval(precisions.nanmean(dim=0)),
        floor=float(torch.stack([(labels == index).float().mean() for index in present]).mean()),
    )


def mean_precision(
    scores: Tensor, positive: Tensor, groups: Tensor, *, generator: torch.Generator
) -> ConfidenceInterval:
    """Compute the mean average precision of labels of which an image can have several, and its bootstrap interval.

    The resamples are moved so that their mean is the value.

    Args:
        scores: Score of each label, shape ``[N, K]``.
        positive: Whether each image has each label, shape ``[N, K]``. Labels that no image has don't count.
        groups: Group of each image, numbered from 0, shape ``[N]``.
        generator: Source of randomness.

    Raises:
        ValueError: If no image has a label.
    """
    present = [index for index in range(positive.shape[1]) if bool(positive[:, index].any())]
    if not present:
        raise ValueError("no image has a label")
    times = _resamples(groups, generator)[:, groups]
    precisions = [average_precision(scores[:, index].float(), positive[:, index], times) for index in present]
    means = torch.stack(precisions).nanmean(dim=0)
    # Images that are drawn twice make a resample look more precise than all images are.
    bias = means[1:].nanmean() - means[0]
    return interval(torch.cat([means[:1], means[1:] - bias]))


def floor_from_tasks(
    train_answers: Tensor,
    train_labels: Tensor,
    test_answers: Tensor,
    test_labels: Tensor,
    groups: Tensor,
    *,
    generator: torch.Generator,
) -> ConfidenceInterval:
    """Measure the accuracy of guessing a private attribute from the reference answers to the tasks, without pictures.

    No protector that keeps the tasks can go below this accuracy. The guess is the commonest class among the training
    images with the same answers, or the commonest class of all where no training image has them. Leave-one-out accuracy
    on the training images decides whether to use all answers, one question's answers, or none: combinations of many
    answers are too rare to generalise.

    Args:
        train_answers: Index of the reference answer to each question, shape ``[M, Q]``, ``-1`` where there is none.
        train_labels: Classes of the training images, shape ``[M]``, ``-1`` where unknown.
        test_answers: Index of the reference answer to each question, shape ``[N, Q]``.
        test_labels: Classes of the test images, shape ``[N]``, ``-1`` where unknown.
        groups: Group of each test image, numbered from 0, shape ``[N]``.
        generator: Source of randomness of the bootstrap.

    Raises:
        ValueError: If no training image or no test image has a known class.
    """
    known = train_labels >= 0
    if not known.any():
        raise ValueError("no training image has a known class")
    # A first column that is the same for all images: used alone, it is the guess from no answer.
    answers, asked = (nn.functional.pad(each, (1, 0)) for each in (train_answers[known], test_answers))
    labels, columns = train_labels[known], range(answers.shape[1])
    chosen = max(
        (*([each] for each in columns), list(columns)),
        key=lambda chosen: int(_right_without_itself(answers[:, chosen], labels).sum()),
    )
    votes = _votes(answers[:, chosen], labels, asked[:, chosen])
    usual = torch.bincount(labels).argmax()
    guesses = torch.where(votes.sum(dim=1) > 0, votes.argmax(dim=1), usual)
    right = (guesses == test_labels).float().masked_fill(test_labels < 0, math.nan)
    return bootstrap_mean(right, groups, generator=generator)


def _votes(answers: Tensor, labels: Tensor, asked: Tensor) -> Tensor:
    """Count the images of each class among those with the same answers, shape ``[N, K]``."""
    _, keys = torch.unique(torch.cat([answers, asked]), dim=0, return_inverse=True)
    table = torch.zeros(int(keys.max()) + 1, int(labels.max()) + 1)
    table.index_put_((keys[: len(answers)], labels), torch.ones(len(answers)), accumulate=True)
    return table[keys[len(answers) :]]


def _right_without_itself(answers: Tensor, labels: Tensor) -> Tensor:
    """Decide for each image whether the other ones guess it right, shape ``[M]``."""
    own = nn.functional.one_hot(labels, int(labels.max()) + 1)
    votes = _votes(answers, labels, answers) - own
    among_all = own.sum(dim=0) - own
    guesses = torch.where(votes.sum(dim=1) > 0, votes.argmax(dim=1), among_all.argmax(dim=1))
    return guesses == labels
