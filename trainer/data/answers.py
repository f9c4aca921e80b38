"""A data set's questions and answers, as indices for training and as queries for the chat model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from trainer.algorithms.interface import AnswerSpace
from trainer.oracle.query import Query
from trainer.oracle.scoring import chosen, normalise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from trainer.data.dataset import Dataset
    from trainer.data.format import Example
    from trainer.oracle.query import Answer


def answer_space(dataset: Dataset) -> AnswerSpace:
    """Collect the training questions and the options of each: its choices, or else every training answer to it."""
    questions = dataset.questions
    allowed: dict[str, dict[str, None]] = {question: {} for question in questions}
    for example in dataset.split("train"):
        for task in example.tasks:
            for text in task.choices or (task.answer, *task.answers):
                allowed[task.question][normalise(text)] = None
    answers = tuple(sorted({answer for each in allowed.values() for answer in each}))
    candidates = torch.tensor([[answer in allowed[question] for answer in answers] for question in questions])
    return AnswerSpace(questions, answers, candidates)


def references(examples: Sequence[Example], space: AnswerSpace) -> Tensor:
    """Index the reference answer to each question, ``[N, Q]``; ``-1`` if not asked or not in the vocabulary."""
    question_index = {question: index for index, question in enumerate(space.questions)}
    answer_index = {answer: index for index, answer in enumerate(space.answers)}
    table = torch.full((len(examples), len(space.questions)), -1)
    for row, example in zip(table, examples, strict=True):
        for task in example.tasks:
            if task.question in question_index:
                row[question_index[task.question]] = answer_index.get(normalise(task.answer), -1)
    return table


def options(space: AnswerSpace, question: int) -> tuple[str, ...]:
    """List the answers that a question may have."""
    return tuple(
        answer for answer, allowed in zip(space.answers, space.candidates[question], strict=True) if allowed
    )


def as_query(space: AnswerSpace, image: bytes, question: int) -> Query:
    """Ask a question about an encoded picture."""
    return Query(image, space.questions[question], options(space, question))


def is_right(space: AnswerSpace, answer: Answer, question: int, reference: int) -> float:
    """Score an answer: 1 if it names the reference answer, else 0."""
    allowed = options(space, question)
    index = chosen(answer.text, allowed)
    return float(index is not None and allowed[index] == space.answers[reference])
