"""A data set's questions and answers, as indices for training and as queries for the chat model.

Each picture is asked with its own choices, as they are written. Answers are compared, and counted as one, in the normal
form of :mod:`trainer.oracle.comparing`.
"""

from __future__ import annotations

from collections import defaultdict
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from trainer.algorithms.interface import AnswerSpace, Phrasing
from trainer.oracle.comparing import choice_keys, chosen, matching
from trainer.oracle.query import Query

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trainer.data.dataset import Dataset
    from trainer.data.format import Example, Task
    from trainer.oracle.query import Answer


class AskedTasks(NamedTuple):
    """The tasks of some pictures, as indices."""

    references: Tensor
    """Index of the reference answer to each question, shape ``[N, Q]``; ``-1`` where it can't be asked."""
    phrasings: Tensor
    """Index of the phrasing in which each question is asked, shape ``[N, Q]``; ``-1`` where it can't be asked."""


def answer_space(dataset: Dataset) -> AnswerSpace:
    """Collect the training questions, the answers that each may have, and the ways to ask them.

    A task with choices is asked with these. An open one is asked with all training answers to its question.
    """
    questions = dataset.questions
    number = {question: index for index, question in enumerate(questions)}
    texts, lists = _Texts(), [dict[tuple[str, ...], None]() for _ in questions]
    open_questions = set()
    for example, is_training in _training_first(dataset):
        for task in example.tasks:
            question = number.get(task.question)
            if question is None:
                continue
            if task.choices:
                if task.choices not in lists[question]:
                    lists[question][task.choices] = None
                    texts.add(question, task.choices)
            elif is_training:
                open_questions.add(question)
                for answer in (task.answer, *task.answers):
                    texts.add(question, (answer,))
    columns = {key: column for column, key in enumerate(sorted(texts.spelled))}
    usual = [
        texts.phrasing(question, columns)
        if question in open_questions
        else _phrasing(question, next(iter(own)), columns)
        for question, own in enumerate(lists)
    ]
    others = [
        phrasing
        for question, own in enumerate(lists)
        for phrasing in (_phrasing(question, choices, columns) for choices in own)
        if phrasing != usual[question]
    ]
    candidates = torch.zeros(len(questions), len(columns), dtype=torch.bool)
    for phrasing in (*usual, *others):
        candidates[phrasing.question, list(phrasing.columns)] = True
    return AnswerSpace(questions, tuple(texts.spelled[key] for key in columns), candidates, (*usual, *others))


def asked_tasks(examples: Sequence[Example], space: AnswerSpace) -> AskedTasks:
    """Index the reference answer to each question about each picture, and the phrasing in which it is asked."""
    ways = {(each.question, each.choices): index for index, each in enumerate(space.phrasings)}
    phrasings = torch.full((len(examples), len(space.questions)), -1)
    for row, question, task in _tasks(examples, space):
        way = ways.get((question, task.choices), -1) if task.choices else question
        phrasings[row, question] = way
    known = references(examples, space).masked_fill(phrasings < 0, -1)
    return AskedTasks(known, phrasings.masked_fill(known < 0, -1))


def references(examples: Sequence[Example], space: AnswerSpace) -> Tensor:
    """Index the reference answer to each question, ``[N, Q]``; ``-1`` if not asked or not in the vocabulary."""
    ways = {(each.question, each.choices): each for each in space.phrasings}
    by_key = cache(lambda question: _columns_by_key(space, question))
    table = torch.full((len(examples), len(space.questions)), -1)
    for row, question, task in _tasks(examples, space):
        position = matching(task.answer, task.choices) if task.choices else None
        way = ways.get((question, task.choices))
        if position is None or way is None:
            key = (
                choice_keys(task.choices)[position]
                if position is not None
                else choice_keys((task.answer,))[0]
            )
            table[row, question] = by_key(question).get(key, -1)
        else:
            table[row, question] = way.columns[position]
    return table


def as_query(space: AnswerSpace, image: bytes, phrasing: int) -> Query:
    """Ask a question about an encoded picture.

    Args:
        space: Questions and answers.
        image: The picture, exactly as it is sent.
        phrasing: Index of the phrasing; that of the question asks it as usual.
    """
    asked = space.phrasings[phrasing]
    return Query(image, space.questions[asked.question], asked.choices)


def is_right(space: AnswerSpace, answer: Answer, phrasing: int, reference: int) -> float:
    """Score an answer: 1 if it names the reference answer, else 0."""
    asked = space.phrasings[phrasing]
    index = chosen(answer.text, asked.choices)
    return float(index is not None and asked.columns[index] == reference)


class _Texts:
    """Answers by their keys, in the spelling that came first."""

    def __init__(self) -> None:
        self.spelled: dict[str, str] = {}
        self._of_question: dict[int, dict[str, str]] = defaultdict(dict)

    def add(self, question: int, answers: Sequence[str]) -> None:
        """Add answers of one list."""
        for key, answer in zip(choice_keys(answers), answers, strict=True):
            self.spelled.setdefault(key, answer)
            self._of_question[question].setdefault(key, answer)

    def phrasing(self, question: int, columns: dict[str, int]) -> Phrasing:
        """Ask a question with all of its answers, sorted by their keys."""
        keys, answers = zip(*sorted(self._of_question[question].items()), strict=True)
        return Phrasing(question, answers, tuple(columns[key] for key in keys))


def _training_first(dataset: Dataset) -> Iterator[tuple[Example, bool]]:
    """Go through the pictures that a run asks about: those of train, then those of val, whose choices are known too."""
    for split in ("train", "val"):
        for example in dataset.split(split):
            yield example, split == "train"


def _phrasing(question: int, choices: tuple[str, ...], columns: dict[str, int]) -> Phrasing:
    return Phrasing(question, choices, tuple(columns[key] for key in choice_keys(choices)))


def _tasks(examples: Sequence[Example], space: AnswerSpace) -> Iterator[tuple[int, int, Task]]:
    """Go through the tasks whose question is known; yields row, index of the question, and task."""
    questions = {question: index for index, question in enumerate(space.questions)}
    for row, example in enumerate(examples):
        for task in example.tasks:
            if task.question in questions:
                yield row, questions[task.question], task


def _columns_by_key(space: AnswerSpace, question: int) -> dict[str, int]:
    columns = space.candidates[question].nonzero()[:, 0].tolist()
    return {choice_keys((space.answers[column],))[0]: column for column in columns}
