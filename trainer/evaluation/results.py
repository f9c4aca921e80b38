"""What an evaluation measures, and how it is scaled: 0 is a guess, 1 is what originals give away or keep."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field

from trainer.algorithms.pareto import hypervolume
from trainer.statistics import ConfidenceInterval, balanced_accuracy, interval, resampled_means, scale

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

OURS = "ours"
"""Name of the engine under evaluation."""

STRONGEST = "strongest"
"""Reader that takes each attribute from whichever of several attackers reads it best on the validation split."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


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
    means = resampled_means(scores, groups, generator)
    readings, scaled = [], []
    for column, mean in zip(columns, means.T, strict=True):
        known = column.scores.isfinite()
        accuracy = interval(mean) if known.any() else None
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
    return tuple(readings), interval(torch.stack(scaled).mean(dim=0)) if scaled else None
