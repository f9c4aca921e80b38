"""Checks of a data set before anything is paid."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Final

import torch

from langchain_vpp.errors import DataError
from trainer.data.answers import answer_space, references
from trainer.data.format import folded
from trainer.data.index import Fault
from trainer.oracle.comparing import normalise

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trainer.algorithms.interface import AnswerSpace
    from trainer.data.dataset import Dataset
    from trainer.data.format import Split

_TELLING: Final = 0.1
"""Warn if a task's answers alone reveal at least this share of a private attribute (0 = chance, 1 = always right)."""
_DEVIATIONS: Final = 3.0
"""Standard deviations of guessing by which the answers must exceed chance."""

_MOST_ANSWERS: Final = 36
"""Warn of a question with more answers: each of its prompts lists them all."""

_Pairs = list[tuple[str, str]]
"""Task answers and classes of a private attribute of the same images."""


def check_for_training(dataset: Dataset) -> tuple[str, ...]:
    """Find what would make a training run worthless, before anything is paid.

    Returns:
        Warnings, a sentence each: task answers that give a private attribute away on their own, with the accuracy
        that no protector can go below while it keeps the task; questions with very many answers; reference answers that
        can't be reached; and names that differ in capitals, spaces, dashes, quotes or marks only, and so count as
        different.

    Raises:
        DataError: If a picture of the validation split can't be read, a private attribute can't be measured on it, or a
            question has one possible answer only.
    """
    for fault in training_faults(dataset):
        raise DataError(fault.sentence(dataset.folder))
    examples = dataset.split("val")
    for example in examples:
        dataset.open_frames(example)
    return training_warnings(dataset)


def require_pictures(dataset: Dataset, learner: str) -> None:
    """Refuse a data set that has videos.

    Args:
        dataset: The data set.
        learner: Who takes pictures only, for the message.

    Raises:
        DataError: If it has any.
    """
    if dataset.has_clips:
        raise DataError(
            f"{learner} takes pictures, and {dataset.folder} has videos; nothing was sent. Take frames out of them, or "
            "leave these lines out."
        )


def training_faults(dataset: Dataset) -> Iterator[Fault]:
    """Find questions of which nothing can be learned, and attributes whose leak can't be measured on val."""
    yield from _faults_of_questions(answer_space(dataset))
    yield from _faults_of_labels(dataset)


def training_warnings(dataset: Dataset) -> tuple[str, ...]:
    """Find what makes a training run worth less; see :func:`check_for_training`."""
    space, examples = answer_space(dataset), dataset.split("val")
    asked = sum(len(example.tasks) for example in examples)
    missing = asked - int((references(examples, space) >= 0).sum())
    warnings = [*_giveaways(dataset), *_long_prompts(space)]
    if missing:
        warnings.append(
            f"{missing} of {asked} questions on val are new, or have a reference answer that train lacks: left out"
        )
    return (*warnings, *_spellings(dataset))


def _spellings(dataset: Dataset) -> Iterator[str]:
    """Warn of names that are meant to be one, as "Male" and "male " are."""
    classes: dict[str, set[str]] = defaultdict(set)
    for example in dataset.examples:
        for name, value in example.private.items():
            classes[name].add(value)
    named = {f"classes of {name!r}": values for name, values in sorted(classes.items())}
    named["private attributes"] = set(classes)
    named["questions"] = {task.question for example in dataset.examples for task in example.tasks}
    for kind, texts in named.items():
        alike: dict[str, list[str]] = defaultdict(list)
        for text in sorted(texts):
            alike[folded(text)].append(text)
        for spellings in alike.values():
            if len(spellings) > 1:
                shown = ", ".join(map(repr, spellings))
                yield (
                    f"the {kind} {shown} differ in capitals or spaces, or in dashes, quotes or marks, only and count "
                    "as different: write them alike"
                )


def _faults_of_questions(space: AnswerSpace) -> Iterator[Fault]:
    """Find questions with one possible answer."""
    for phrasing in space.phrasings:
        if len(phrasing.choices) < 2:
            yield Fault(
                f"the question {space.questions[phrasing.question]!r} has one possible answer only, so nothing can be "
                "learned from it",
                "give it choices, add images with another answer, or remove it",
            )


def _long_prompts(space: AnswerSpace) -> list[str]:
    """Warn of questions whose prompts list very many answers, which the provider reads with every picture."""
    most = dict.fromkeys(space.questions, 0)
    for phrasing in space.phrasings:
        question = space.questions[phrasing.question]
        most[question] = max(most[question], len(phrasing.choices))
    return [
        f"the question {question!r} has {count} possible answers, and each of its prompts lists them all: that costs "
        "tokens with every picture, and the provider reads the answers of all pictures. Give its tasks choices of "
        "their own, or fewer different answers"
        for question, count in most.items()
        if count > _MOST_ANSWERS
    ]


def _faults_of_labels(dataset: Dataset) -> Iterator[Fault]:
    """Find private attributes whose leak can't be measured on the validation split."""
    labels = dataset.labels(dataset.split("val"))
    for name, column in zip(dataset.private_attributes, labels.T, strict=True):
        if len(torch.unique(column[column >= 0])) < 2:
            yield Fault(
                f"private attribute {name!r} has fewer than two classes of train on val: its leak can't be measured",
                "label images of another class there or remove the attribute",
            )


def _giveaways(dataset: Dataset) -> list[str]:
    """Warn of task answers from which a private attribute can be guessed."""
    pairs: dict[tuple[str, str, Split], _Pairs] = defaultdict(list)
    for example in dataset.examples:
        for task in example.tasks:
            for name, value in example.private.items():
                pairs[name, task.question, example.split].append((normalise(task.answer), value))
    warnings = []
    for name in dataset.private_attributes:
        for question in dataset.questions:
            known, held_out = pairs[name, question, "train"], pairs[name, question, "val"]
            if not known or not held_out:
                continue
            right, chance = _guessed(known, held_out)
            noise = math.sqrt(chance * (1 - chance) / len(held_out))
            if right - chance > max(_TELLING * (1 - chance), _DEVIATIONS * noise):
                warnings.append(
                    f"the answer to {question!r} tells {name!r} right for {right:.0%} of the images of val "
                    f"({chance:.0%} by guessing): while this task is kept, protection can't go below that floor"
                )
    return warnings


def _guessed(known: Sequence[tuple[str, str]], held_out: Sequence[tuple[str, str]]) -> tuple[float, float]:
    """Accuracy of guessing a class from the answer as in ``known``, and of guessing the most frequent class."""
    guesses: dict[str, Counter[str]] = defaultdict(Counter)
    for answer, value in known:
        guesses[answer][value] += 1
    usual = Counter(value for _, value in known).most_common(1)[0][0]
    best = {answer: counts.most_common(1)[0][0] for answer, counts in guesses.items()}
    right = sum(best.get(answer, usual) == value for answer, value in held_out) / len(held_out)
    chance = Counter(value for _, value in held_out).most_common(1)[0][1] / len(held_out)
    return right, chance
