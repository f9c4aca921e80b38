"""Judging: from predictions and answers to readings, and from these to operating points."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import torch

from trainer.attackers.classifier import combine
from trainer.attackers.prompted import hear
from trainer.data.answers import answer_space, references
from trainer.evaluation.results import STRONGEST, OperatingPoint, Reading
from trainer.oracle.comparing import kind
from trainer.runtime.rng import keyed_generator
from trainer.statistics import (
    ConfidenceInterval,
    balanced_accuracy,
    chance,
    class_mean_precision,
    floor_from_tasks,
    interval,
    resampled_means,
    scale,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor

    from trainer.attackers.classifier import Scores
    from trainer.attackers.prompted import Style
    from trainer.evaluation.conditions import Condition
    from trainer.evaluation.questions import AskedQuestion, PictureQuestion, Questionnaire
    from trainer.evaluation.schedule import AttackOutcome
    from trainer.evaluation.settings import EvaluationSettings
    from trainer.evaluation.splits import Splits
    from trainer.oracle.query import Answer

CHAT_MODEL: Final = "chat model"
"""Reader of a chat model's answers; with a comma and the style where private questions are put in another style."""

Ceilings = dict[tuple[str, str], float]
"""Reader and subject -> accuracy on originals."""
Answers = dict["AskedQuestion", "Answer | None"]
"""Question -> answer; ``None`` where it is lost."""


class Column(NamedTuple):
    """Scores of one reader for one private attribute or question."""

    subject: str
    scores: Tensor
    """Score of each row in [0, 1], shape ``[N]``; NaN where there is nothing to judge."""
    classes: Tensor
    """Index of each row's class or reference answer, shape ``[N]``; used where there is a score."""
    floor: float
    """The chance floor."""
    ceiling: float | None
    """Score that is scaled to 1; ``None`` takes the mean score itself, as for the reading of originals."""
    unusable: int = 0
    refused: int = 0


def to_readings(
    reader: str, columns: Sequence[Column], groups: Tensor, *, generator: torch.Generator
) -> tuple[tuple[Reading, ...], ConfidenceInterval | None]:
    """Turn scores into readings with bootstrap intervals, and compute their mean scaled score.

    Whole groups are drawn with replacement, so that several images of one person don't count as independent. The mean
    takes the chance floors and ceilings as known, and leaves out columns that can't be scaled.

    Args:
        reader: Name of the reader.
        columns: Scores, all of the same length ``N``.
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


def class_columns(
    attributes: Sequence[str],
    predictions: Tensor,
    labels: Tensor,
    ceilings: Sequence[float] | None,
) -> list[Column]:
    """Score the classes that an attacker predicts.

    Args:
        attributes: Names of the private attributes, ``A``.
        predictions: Predicted classes, shape ``[N, A]``.
        labels: True classes, shape ``[N, A]``; ``-1`` where unknown.
        ceilings: Accuracy on originals of each attribute; ``None`` for the mean score itself.
    """
    columns = []
    for index, name in enumerate(attributes):
        known = labels[:, index]
        right = (predictions[:, index] == known).float().masked_fill(known < 0, math.nan)
        ceiling = None if ceilings is None else ceilings[index]
        columns.append(Column(name, right, known, chance(known), ceiling))
    return columns


def task_columns(
    pairs: Sequence[PictureQuestion],
    answers: Sequence[Answer | None],
    floors: Mapping[str, float],
    ceilings: Mapping[str, float] | None,
    same_meaning: Callable[[str, str], bool] | None = None,
) -> list[Column]:
    """Score the answers to task questions.

    Args:
        pairs: Questions that were asked, ``N``.
        answers: Answer to each; ``None`` for one that is lost, which has no score. A refusal or an answer that names no
            choice counts as wrong.
        floors: Subject -> chance floor; see :func:`~trainer.evaluation.questions.chance_floors`.
        ceilings: Subject -> score that is scaled to 1, 1.0 where it is missing; ``None`` for the mean score itself.
        same_meaning: Whether two answers to an open question mean the same; without it only equal words do.

    Returns:
        A column of length ``N`` for each subject that was asked about.
    """
    result = []
    for subject in dict.fromkeys(pair.subject for pair in pairs):
        names: dict[str, int] = {}
        scores, classes = torch.full((len(pairs),), math.nan), torch.zeros(len(pairs))
        kinds: Counter[str] = Counter()
        for position, (pair, answer) in enumerate(zip(pairs, answers, strict=True)):
            if pair.subject != subject or answer is None:
                continue
            found = kind(answer.text, pair.choices)
            kinds[found] += 1
            scores[position] = pair.score(answer.text, same_meaning) if found == "usable" else 0.0
            classes[position] = names.setdefault(pair.key, len(names))
        ceiling = None if ceilings is None else ceilings.get(subject, 1.0)
        unusable = kinds.total() - kinds["usable"]
        result.append(Column(subject, scores, classes, floors[subject], ceiling, unusable, kinds["refused"]))
    return result


class Judge:
    """Judges every condition of one evaluation by the accuracies that were reached on originals.

    Args:
        splits: True classes and groups of the test images.
        questionnaire: Chance floors of the questions.
        settings: Seed and styles of private questions.
        same_meaning: Whether two answers to an open question mean the same; without it only equal words do.
    """

    def __init__(
        self,
        splits: Splits,
        questionnaire: Questionnaire,
        settings: EvaluationSettings,
        same_meaning: Callable[[str, str], bool] | None,
    ) -> None:
        self._splits, self._questionnaire, self._settings = splits, questionnaire, settings
        self._same_meaning = same_meaning

    def point(
        self,
        condition: Condition,
        outcome: AttackOutcome,
        answers: Answers,
        *,
        repeated: Mapping[str, Scores] | None = None,
        originals: OperatingPoint | None = None,
    ) -> OperatingPoint:
        """Judge what attackers and the chat model made of one condition.

        Args:
            condition: The engine and the level.
            outcome: Results of the attacks.
            answers: Answers of the chat model, if it was asked.
            repeated: Scores for averages of repeated queries at the same level.
            originals: The judgement of originals; ``None`` for these themselves.
        """
        ceilings = _ceilings(originals, "attributes")
        attributes, leak = self._read_by_attackers(outcome.scores, ceilings)
        tasks, utility = self._answered_tasks(answers, _ceilings(originals, "tasks"))
        restored = outcome.suite.restored
        if restored is not None:
            found = self._read_in_reconstructions(outcome.restored, ceilings)
            restored = restored.model_copy(update={"attributes": found})
        return OperatingPoint(
            engine=condition.name,
            level=condition.level,
            leak=leak,
            utility=utility,
            attributes=attributes,
            tasks=tasks,
            private_answers=self._answered_private(answers, _ceilings(originals, "private_answers")),
            identity=outcome.suite.identity,
            restored=restored,
            repeated=() if repeated is None else self._read_by_attackers(repeated, ceilings)[0],
            words=outcome.suite.words,
        )

    def task_floors(self) -> dict[str, ConfidenceInterval]:
        """Measure how well the reference answers to the tasks alone tell each private attribute."""
        space, splits = answer_space(self._splits.dataset), self._splits
        train, test = (references(splits.examples[split], space) for split in ("train", "test"))
        return {
            name: floor_from_tasks(
                train,
                splits.labels["train"][:, index],
                test,
                splits.labels["test"][:, index],
                splits.groups,
                generator=self._generator("bootstrap"),
            )
            for index, name in enumerate(splits.attributes)
        }

    def _read_by_attackers(
        self, scores: Mapping[str, Scores], ceilings: Ceilings | None
    ) -> tuple[tuple[Reading, ...], ConfidenceInterval | None]:
        """Judge the strongest of several attackers, whose mean is the leak, and then each of them."""
        readers = dict(scores)
        if len(scores) > 1:
            best, _ = combine(tuple(scores.values()), self._splits.labels["val"])
            readers = {STRONGEST: best, **scores}
        leak: ConfidenceInterval | None = None
        result: list[Reading] = []
        for number, (name, each) in enumerate(readers.items()):
            readings, mean = self._read_classes(name, each.predictions, ceilings)
            leak = mean if number == 0 else leak
            result += [self._with_precision(reading, index, each) for index, reading in enumerate(readings)]
        return tuple(result), leak

    def _read_in_reconstructions(
        self, classes: Mapping[str, Tensor], ceilings: Ceilings | None
    ) -> tuple[Reading, ...]:
        return tuple(
            reading
            for name, predictions in classes.items()
            for reading in self._read_classes(name, predictions, ceilings)[0]
        )

    def _read_classes(
        self, reader: str, predictions: Tensor, ceilings: Ceilings | None
    ) -> tuple[tuple[Reading, ...], ConfidenceInterval | None]:
        names = tuple(self._splits.attributes)
        reached = None if ceilings is None else [ceilings[reader, name] for name in names]
        columns = class_columns(names, predictions, self._splits.labels["test"], reached)
        return to_readings(reader, columns, self._splits.groups, generator=self._generator("bootstrap"))

    def _with_precision(self, reading: Reading, index: int, scores: Scores) -> Reading:
        classes = self._splits.attributes[reading.subject]
        found = class_mean_precision(
            scores.test[:, index, : len(classes)],
            self._splits.labels["test"][:, index],
            self._splits.groups,
            generator=self._generator("bootstrap"),
        )
        each = {
            name: value for name, value in zip(classes, found.per_class, strict=True) if value is not None
        }
        return reading.model_copy(
            update={
                "class_mean_precision": found.mean,
                "precision_floor": found.floor,
                "class_precisions": each,
            }
        )

    def _answered_tasks(
        self, answers: Answers, ceilings: Ceilings | None
    ) -> tuple[tuple[Reading, ...], ConfidenceInterval | None]:
        pairs, replies = _in_style(answers, None)
        reached = None if ceilings is None else {subject: value for (_, subject), value in ceilings.items()}
        floors = self._questionnaire.task_floors
        columns = task_columns(pairs, replies, floors, reached, self._same_meaning)
        generator = self._generator("bootstrap/tasks")
        return to_readings(CHAT_MODEL, columns, self._groups_of(pairs), generator=generator)

    def _answered_private(self, answers: Answers, ceilings: Ceilings | None) -> tuple[Reading, ...]:
        """Judge the chat model's answers about private attributes, each style of asking apart."""
        result: list[Reading] = []
        for style in self._settings.styles:
            reader = CHAT_MODEL if style == "direct" else f"{CHAT_MODEL}, {style}"
            pairs, replies = _in_style(answers, style)
            columns = [
                self._private_column(
                    subject,
                    pairs,
                    replies,
                    None if ceilings is None else ceilings.get((reader, subject), 1.0),
                )
                for subject in dict.fromkeys(pair.subject for pair in pairs)
            ]
            generator = self._generator("bootstrap/private")
            result += to_readings(reader, columns, self._groups_of(pairs), generator=generator)[0]
        return tuple(result)

    def _private_column(
        self,
        subject: str,
        pairs: Sequence[PictureQuestion],
        replies: Sequence[Answer | None],
        ceiling: float | None,
    ) -> Column:
        """Score the answers about one private attribute; refusals and answers that name no class have no score."""
        mine = torch.tensor([pair.subject == subject for pair in pairs])
        own = [(pair, reply) for pair, reply in zip(pairs, replies, strict=True) if pair.subject == subject]
        options = self._splits.attributes[subject]
        labels = torch.tensor([options.index(pair.answer) for pair, _ in own])
        heard = hear([None if reply is None else reply.text for _, reply in own], options)
        scores, classes = torch.full((len(pairs),), math.nan), torch.zeros(len(pairs), dtype=torch.long)
        scores[mine], classes[mine] = heard.scores(labels), labels
        floor = self._questionnaire.private_floors[subject]
        return Column(subject, scores, classes, floor, ceiling, heard.refused + heard.unfit, heard.refused)

    def _groups_of(self, pairs: Sequence[PictureQuestion]) -> Tensor:
        groups = self._splits.groups
        return torch.stack([groups[pair.row] for pair in pairs]) if pairs else groups

    def _generator(self, purpose: str) -> torch.Generator:
        return keyed_generator(self._settings.seed, purpose)


def _ceilings(
    originals: OperatingPoint | None, table: Literal["attributes", "tasks", "private_answers"]
) -> Ceilings | None:
    """Collect the accuracies on originals that were measured."""
    if originals is None:
        return None
    readings: tuple[Reading, ...] = getattr(originals, table)
    return {
        (each.reader, each.subject): each.accuracy.value for each in readings if each.accuracy is not None
    }


def _in_style(answers: Answers, style: Style | None) -> tuple[list[PictureQuestion], list[Answer | None]]:
    """Select the questions of one style and their answers; ``None`` selects the tasks."""
    chosen = [asked for asked in answers if asked.style == style]
    return [asked.pair for asked in chosen], [answers[asked] for asked in chosen]
