"""Questions about pictures that measuring asks, and what a chat model's answers to them are worth."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

import torch

from trainer.evaluation.results import Column
from trainer.oracle.scoring import accuracy, kind, normalise
from trainer.runtime.rng import keyed_generator

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor

    from trainer.data.format import Example
    from trainer.oracle.query import Answer

OTHER_QUESTIONS: Final = "(other questions)"
LEAST_PER_QUESTION: Final = 20
"""References that a question needs for a chance floor of its own; rarer ones are pooled."""


class PictureQuestion(NamedTuple):
    """A question about a picture."""

    row: int
    """Of the examples."""
    subject: str
    """What the answer counts for: the question, or :data:`OTHER_QUESTIONS`."""
    question: str
    choices: tuple[str, ...]
    answer: str
    answers: tuple[str, ...] = ()

    def score(self, text: str, same_meaning: Callable[[str, str], bool] | None = None) -> float:
        """Judge a usable answer, in [0, 1]."""
        return accuracy(
            text, self.answer, choices=self.choices, answers=self.answers, same_meaning=same_meaning
        )


def task_questions(examples: Sequence[Example]) -> dict[str, list[PictureQuestion]]:
    """All task questions about some pictures, by subject."""
    asked = [(row, task) for row, example in enumerate(examples) for task in example.tasks]
    frequency = Counter(task.question for _, task in asked)
    by_subject: dict[str, list[PictureQuestion]] = defaultdict(list)
    for row, task in asked:
        subject = task.question if frequency[task.question] >= LEAST_PER_QUESTION else OTHER_QUESTIONS
        by_subject[subject].append(
            PictureQuestion(row, subject, task.question, task.choices, normalise(task.answer), task.answers)
        )
    return dict(by_subject)


def draw_questions(
    by_subject: Mapping[str, Sequence[PictureQuestion]], count: int, *, seed: int
) -> list[PictureQuestion]:
    """Draw about the same number of pairs for each subject, as far as they last."""
    drawn: list[PictureQuestion] = []
    for index, (subject, pairs) in enumerate(by_subject.items()):
        share, rest = divmod(count, len(by_subject))
        order = torch.randperm(len(pairs), generator=keyed_generator(seed, f"task/{subject}"))
        drawn += [pairs[position] for position in order[: share + (index < rest)]]
    return drawn


def chance_floors(by_subject: Mapping[str, Sequence[PictureQuestion]]) -> dict[str, float]:
    """Share of the commonest reference answer of each subject."""
    return {
        subject: max(Counter(pair.answer for pair in pairs).values()) / len(pairs)
        for subject, pairs in by_subject.items()
    }


def group_numbers(examples: Sequence[Example]) -> Tensor:
    """Number the groups of some pictures from 0, shape ``[N]``; a picture without one is its own."""
    names = [example.group or f"{row}/" for row, example in enumerate(examples)]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return torch.tensor([numbers[name] for name in names])


def columns(
    pairs: Sequence[PictureQuestion],
    answers: Sequence[Answer | None],
    floors: Mapping[str, float],
    ceilings: Mapping[str, float] | None,
    same_meaning: Callable[[str, str], bool] | None = None,
) -> list[Column]:
    """Score the answers of each subject.

    Args:
        pairs: What was asked, ``N``.
        answers: To each; ``None`` for one that is lost, which counts as nothing. A refusal or an answer that names no
            choice counts as wrong.
        floors: See :func:`chance_floors`.
        ceilings: By subject what counts as 1, 1.0 where it is missing; ``None`` for the mean score itself.
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
            classes[position] = names.setdefault(pair.answer, len(names))
        ceiling = None if ceilings is None else ceilings.get(subject, 1.0)
        unusable = kinds.total() - kinds["usable"]
        result.append(Column(subject, scores, classes, floors[subject], ceiling, unusable, kinds["refused"]))
    return result
