"""What an evaluation measures, and how it is scaled: 0 is a guess, 1 is what originals give away or keep."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from trainer.algorithms.pareto import hypervolume

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

OURS = "ours"
"""Name of the engine under evaluation."""

STRONGEST = "strongest"
"""Reader that takes each attribute from whichever of several attackers reads it best on the validation split."""

_RESAMPLES = 1000
_READABLE = 0.05
"""Least distance between the accuracy on originals and chance that can be scaled by."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ConfidenceInterval(_Record):
    """A mean and its bootstrap 95 % interval over images, or over groups of images where the data set has them."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        """As tables and sentences show it.

        Example:
            >>> str(ConfidenceInterval(value=0.5, low=0.413, high=0.6))
            '0.50 [0.41, 0.60]'
        """
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"

    def __neg__(self) -> ConfidenceInterval:
        """The same of the negated quantity: a loss as a gain."""
        return ConfidenceInterval(value=-self.value, low=-self.high, high=-self.low)


class Reading(_Record):
    """How well one reader tells one private attribute, or answers one question, at one operating point."""

    subject: str
    """The private attribute or the question."""
    reader: str
    """Name of the attacker, or ``"chat model"``."""
    accuracy: ConfidenceInterval | None
    """``None`` where nothing was answered."""
    balanced_accuracy: float | None
    """Mean over the classes that occur."""
    chance: float
    """Share of the commonest class or reference answer on the test split."""
    scaled: float | None
    """0 at chance, 1 at the reader's accuracy on originals (at 1.0 if it wasn't measured there); ``None`` where a
    reader does no better than chance on originals, which tells nothing about the protection."""
    count: int
    """What entered the accuracy: test images, or answers about them."""
    unusable: int = 0
    """Refusals and answers that name no class. For a task they count as wrong. For a private attribute they are left
    out of the accuracy: a refusal protects nobody, the next prompt may not be refused."""
    refused: int = 0
    """How many of these say that the model can't or won't tell."""
    class_mean_precision: ConfidenceInterval | None = None
    """Mean over the classes of the average precision (cMAP); ``None`` for a reader that gives no probabilities."""
    precision_floor: float | None = None
    """What scores without information reach: the mean share of the classes."""
    class_precisions: dict[str, float] = {}
    """Average precision of each class that some but not all test images have."""


class Search(_Record):
    """Protected pictures of people, looked up in a gallery that shows each person once."""

    gallery: Literal["originals", "protected"]
    """What the gallery shows: originals that the attacker has from elsewhere, or other pictures protected alike."""
    top1: ConfidenceInterval
    """Share of the pictures whose nearest in the gallery is of the same person."""
    top1_floor: float
    """Reached by always naming the commonest person."""
    auc: ConfidenceInterval
    """Probability that a picture is nearer to its person than to somebody else; 0.5 is chance."""
    same_picture: bool
    """Nobody has two pictures, so the gallery holds the original of every one that is looked up."""
    probes: int
    people: int


class Restored(_Record):
    """Originals reconstructed from protected pictures."""

    psnr: ConfidenceInterval
    """dB."""
    psnr_floor: float
    """Of the mean original, the same guess for every picture."""
    ssim: ConfidenceInterval
    ssim_floor: float
    attributes: tuple[Reading, ...]
    """What classifiers that know originals read in the reconstructions."""


class WordsRead(_Record):
    """Private words or numbers that an OCR engine read."""

    subject: str
    """What they are, as the data set calls them."""
    exact: ConfidenceInterval
    """Share of the pictures where they were read without a mistake."""
    exact_floor: float
    """The same for the words of another picture."""
    distance: ConfidenceInterval
    """Edits to what was read, as a share of the length: 0 is read, 1 is nothing of it."""
    distance_floor: float
    """To the words of another picture: a long text is never far from a short word."""
    count: int


class OperatingPoint(_Record):
    """One engine at one level."""

    engine: str
    """``"ours"``, or the name of a classical engine; ``"none"`` for originals."""
    level: float = Field(ge=0, le=1)
    leak: ConfidenceInterval | None
    """Mean over the private attributes of the strongest attacker's scaled accuracy; which attacker that is, for each
    attribute, was decided on the validation split."""
    utility: ConfidenceInterval | None
    """Mean over the questions of the chat model's scaled accuracy; ``None`` without a chat model."""
    attributes: tuple[Reading, ...]
    """By attacker and attribute."""
    tasks: tuple[Reading, ...] = ()
    private_answers: tuple[Reading, ...] = ()
    """The chat model itself, asked for the private attributes; a reader for each style of asking."""
    identity: tuple[Search, ...] = ()
    restored: Restored | None = None
    repeated: tuple[Reading, ...] = ()
    """What is read from averages of many protected views of each picture."""
    words: tuple[WordsRead, ...] = ()


class QueryCount(_Record):
    """Queries that an evaluation needed, and how many of them were new to the ledger."""

    tasks: int = 0
    private: int = 0
    originals: int = 0
    """Of those above, how many showed unprotected images."""
    paid: int = 0
    """New ones; the others had been answered in an earlier call."""
    lost: int = 0
    """Sent by a process that died before the answer arrived: never asked again and in no accuracy."""


class Report(_Record):
    """Everything that was measured, with what is needed to repeat it."""

    format: Literal[1] = 1
    created_with: dict[str, str]
    """Package to version."""
    artifact_digest: str
    """Of the artifact or engine; empty for an engine that has none."""
    data_digest: str
    seed: int
    model: str | None
    """The chat model, as ``class:name``."""
    judge: str | None = None
    """The chat model that decided which answers to open questions mean the same, as ``class:name``."""
    images: dict[str, int]
    """Images used of each split."""
    attacker: str
    """Who the attackers were and how they were trained."""
    task_floors: dict[str, ConfidenceInterval] = {}
    """Accuracy of guessing each private attribute from the reference answers to the tasks alone: no protector that
    keeps the tasks can go below it."""
    originals: OperatingPoint
    points: tuple[OperatingPoint, ...]
    queries: QueryCount
    warnings: tuple[str, ...] = ()
    not_tested: tuple[str, ...] = ()

    @property
    def engines(self) -> tuple[str, ...]:
        """Names of the engines, ours first."""
        return tuple(dict.fromkeys(point.engine for point in self.points))

    def of(self, engine: str) -> tuple[OperatingPoint, ...]:
        """Operating points of an engine by rising level."""
        return tuple(
            sorted((each for each in self.points if each.engine == engine), key=lambda point: point.level)
        )

    def hypervolume(self, engine: str) -> float | None:
        """Area that an engine's points dominate, reference leak 1 and utility 0; ``None`` if utility wasn't measured.

        Leaks and utilities beyond [0, 1] are noise and count as its ends.
        """
        measured = [
            (max(point.leak.value, 0.0), min(point.utility.value, 1.0))
            for point in self.of(engine)
            if point.leak and point.utility
        ]
        if not measured:
            return None
        useful = [(leak, utility) for leak, utility in measured if leak < 1 and utility > 0]
        return hypervolume(useful) if useful else 0.0

    @property
    def best_baseline(self) -> str | None:
        """The classical engine with the largest hypervolume."""
        known = {engine: self.hypervolume(engine) for engine in self.engines if engine != OURS}
        volumes = {engine: volume for engine, volume in known.items() if volume is not None}
        return max(volumes, key=volumes.__getitem__) if volumes else None

    @property
    def advantage(self) -> float | None:
        """Our hypervolume as a multiple of the best classical engine's; ``None`` if one is missing or zero."""
        ours, best = self.hypervolume(OURS), self.best_baseline
        theirs = self.hypervolume(best) if best else None
        return ours / theirs if ours is not None and theirs else None


def chance(labels: Tensor) -> float:
    """Share of the commonest class; ``labels`` holds class indices, shape ``[N]``, ``-1`` where unknown."""
    known = labels[labels >= 0]
    return float(torch.bincount(known).max() / len(known))


def balanced_accuracy(scores: Tensor, labels: Tensor) -> float:
    """Mean score averaged over the classes that occur.

    Args:
        scores: In [0, 1], shape ``[N]``.
        labels: Class indices, shape ``[N]``.
    """
    return float(torch.stack([scores[labels == each].mean() for each in torch.unique(labels)]).mean())


class ClassMeanPrecision(NamedTuple):
    """Average precision of the classes of one private attribute."""

    per_class: tuple[float | None, ...]
    """``None`` for a class that no image has, or that all have."""
    mean: ConfidenceInterval
    """Over the classes that occur (cMAP)."""
    floor: float
    """Mean share of these classes, which scores without information reach in the long run: a random order of few
    images lies a little above it."""


def average_precision(scores: Tensor, positive: Tensor, weights: Tensor | None = None) -> Tensor:
    r"""Area under the precision-recall curve as a sum of steps, without interpolation.

    .. math:: \mathrm{AP} = \sum_n (R_n - R_{n-1}) P_n

    with precision :math:`P_n` and recall :math:`R_n` of the images that score at least the :math:`n`-th distinct
    value: equal scores are taken together, so that no order among them flatters a reader that can't tell.

    Args:
        scores: Any finite values, shape ``[N]``.
        positive: Which images are of the class, shape ``[N]``.
        weights: How often each image counts, in several resamples: ``[R, N]``. Once each if not given.

    Returns:
        In [0, 1], shape ``[R]``, or ``[1]`` without weights; NaN in a resample that has no positive image.

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
    """Average precision of every class against the others, their mean and its bootstrap interval over groups.

    Args:
        scores: Of each class, shape ``[N, K]``.
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
        mean=_estimate(precisions.nanmean(dim=0)),
        floor=float(torch.stack([(labels == index).float().mean() for index in present]).mean()),
    )


def bootstrap_mean(scores: Tensor, groups: Tensor, *, generator: torch.Generator) -> ConfidenceInterval:
    """Mean score of images and its bootstrap 95 % interval over groups.

    Args:
        scores: Shape ``[N]``; NaN where there is nothing to judge.
        groups: Group of each image, numbered from 0, shape ``[N]``.
        generator: Source of randomness.

    Raises:
        ValueError: If no image has a score.
    """
    if not scores.isfinite().any():
        raise ValueError("no image has a score")
    return _estimate(_resampled_means(scores[:, None], groups, generator)[:, 0])


def floor_from_tasks(
    train_answers: Tensor,
    train_labels: Tensor,
    test_answers: Tensor,
    test_labels: Tensor,
    groups: Tensor,
    *,
    generator: torch.Generator,
) -> ConfidenceInterval:
    """Accuracy of guessing a private attribute from the reference answers to the tasks, without any picture.

    No protector that keeps the tasks can go below it. The guess is the commonest class among the training images with
    the same answers, or the commonest of all where there is none. Whether all answers count, those to one question, or
    none is decided by leaving out one training image after the other: many questions make combinations so rare that
    they tell less than one of them.

    Args:
        train_answers: Index of the reference answer to each question, shape ``[M, Q]``, ``-1`` where there is none.
        train_labels: Classes, shape ``[M]``, ``-1`` where unknown.
        test_answers: Shape ``[N, Q]``.
        test_labels: Shape ``[N]``.
        groups: Group of each test image, numbered from 0, shape ``[N]``.
        generator: Of the bootstrap over groups.

    Raises:
        ValueError: If no training image or no test image has a known class.
    """
    known = train_labels >= 0
    if not known.any():
        raise ValueError("no training image has a known class")
    # The first column is the same for all: on its own it is the guess from no answer.
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
    """How many images with the same answers are of each class: ``[N, K]``."""
    _, keys = torch.unique(torch.cat([answers, asked]), dim=0, return_inverse=True)
    table = torch.zeros(int(keys.max()) + 1, int(labels.max()) + 1)
    table.index_put_((keys[: len(answers)], labels), torch.ones(len(answers)), accumulate=True)
    return table[keys[len(answers) :]]


def _right_without_itself(answers: Tensor, labels: Tensor) -> Tensor:
    """Which images are guessed right by the others."""
    own = nn.functional.one_hot(labels, int(labels.max()) + 1)
    votes = _votes(answers, labels, answers) - own
    among_all = own.sum(dim=0) - own
    guesses = torch.where(votes.sum(dim=1) > 0, votes.argmax(dim=1), among_all.argmax(dim=1))
    return guesses == labels


def scale(accuracy: float, floor: float, ceiling: float) -> float | None:
    """Map an accuracy to 0 at the chance floor and 1 at the ceiling; ``None`` if the two can't be told apart.

    Example:
        >>> scale(0.75, 0.5, 1.0)
        0.5
    """
    return (accuracy - floor) / (ceiling - floor) if ceiling - floor >= _READABLE else None


class Column(NamedTuple):
    """What one reader made of one private attribute or question."""

    subject: str
    scores: Tensor
    """In [0, 1], shape ``[N]``; NaN where there is nothing to judge."""
    classes: Tensor
    """Index of the class or reference answer, shape ``[N]``; used where there is a score."""
    floor: float
    """The chance floor."""
    ceiling: float | None
    """What counts as 1; ``None`` for the mean score itself, as for the reading of originals."""
    unusable: int = 0
    refused: int = 0


def judge(
    reader: str, columns: Sequence[Column], groups: Tensor, *, generator: torch.Generator
) -> tuple[tuple[Reading, ...], ConfidenceInterval | None]:
    """Turn scores into readings with bootstrap intervals, and their mean scaled score.

    Whole groups are drawn with replacement, so that several images of one person don't count as independent. The mean
    takes the chance floors and ceilings as known, and leaves out columns that can't be scaled.

    Args:
        reader: Who read.
        columns: All of the same length ``N``.
        groups: Group of each row, numbered from 0, shape ``[N]``.
        generator: Source of randomness.

    Returns:
        A reading for each column, and the mean; ``None`` if no column can be scaled.
    """
    if not columns:
        return (), None
    scores = torch.stack([column.scores for column in columns], dim=1)
    means = _resampled_means(scores, groups, generator)
    readings, scaled = [], []
    for column, mean in zip(columns, means.T, strict=True):
        known = column.scores.isfinite()
        accuracy = _estimate(mean) if known.any() else None
        value = None
        if accuracy is not None:
            ceiling = accuracy.value if column.ceiling is None else column.ceiling
            value = scale(accuracy.value, column.floor, ceiling)
            if value is not None:
                scaled.append((mean - column.floor) / (ceiling - column.floor))
        readings.append(
            Reading(
                subject=column.subject,
                reader=reader,
                accuracy=accuracy,
                balanced_accuracy=balanced_accuracy(column.scores[known], column.classes[known])
                if accuracy
                else None,
                chance=column.floor,
                scaled=value,
                count=int(known.sum()),
                unusable=column.unusable,
                refused=column.refused,
            )
        )
    return tuple(readings), _estimate(torch.stack(scaled).mean(dim=0)) if scaled else None


def _resampled_means(scores: Tensor, groups: Tensor, generator: torch.Generator) -> Tensor:
    """Mean of each column, and then its means over resampled groups: shape ``[1 + resamples, C]``."""
    size = int(groups.max()) + 1
    totals = torch.zeros(size, scores.shape[1]).index_add_(0, groups, scores.nan_to_num(0.0))
    counts = torch.zeros(size, scores.shape[1]).index_add_(0, groups, scores.isfinite().float())
    times = _resamples(groups, generator)
    return (times @ totals) / (times @ counts)


def _resamples(groups: Tensor, generator: torch.Generator) -> Tensor:
    """How often each group counts: once, and then as drawn with replacement: shape ``[1 + resamples, G]``."""
    size = int(groups.max()) + 1
    drawn = torch.randint(size, (_RESAMPLES, size), generator=generator)
    times = torch.zeros(_RESAMPLES, size).scatter_add_(1, drawn, torch.ones(_RESAMPLES, size))
    return torch.cat([torch.ones(1, size), times])


def _estimate(means: Tensor) -> ConfidenceInterval:
    """From the mean and its resampled values; a resample that drew no image of a rare column is left out."""
    low, high = means[1:].nanquantile(torch.tensor([0.025, 0.975])).tolist()
    return ConfidenceInterval(value=float(means[0]), low=low, high=high)
