"""Questions about pictures: which ones an evaluation asks, and how they are put to a chat model."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

import torch

from trainer.attackers.prompted import ask
from trainer.evaluation.conditions import ORIGINALS, REPEATED
from trainer.evaluation.results import OURS
from trainer.oracle.comparing import choice_keys, matching
from trainer.oracle.query import Query
from trainer.oracle.scoring import accuracy
from trainer.runtime.rng import keyed_generator

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from trainer.attackers.prompted import Style
    from trainer.data.format import Example, Task
    from trainer.evaluation.conditions import Condition
    from trainer.evaluation.settings import EvaluationSettings
    from trainer.evaluation.splits import Splits

OTHER_QUESTIONS: Final = "(other questions)"
LEAST_PER_QUESTION: Final = 20
"""References that a question needs for a chance floor of its own; rarer ones are pooled."""


class PictureQuestion(NamedTuple):
    """A question about a picture and its reference answers."""

    row: int
    """Row of the examples."""
    subject: str
    """The question, or :data:`OTHER_QUESTIONS`, under which the answer is counted."""
    question: str
    choices: tuple[str, ...]
    answer: str
    """As it is written; one of the choices, if there are any."""
    answers: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Form under which the reference answer is counted."""
        if self.answer not in self.choices:
            return choice_keys((self.answer,))[0]
        return choice_keys(self.choices)[self.choices.index(self.answer)]

    def score(self, text: str, same_meaning: Callable[[str, str], bool] | None = None) -> float:
        """Score a usable answer, in [0, 1]."""
        return accuracy(
            text, self.answer, choices=self.choices, answers=self.answers, same_meaning=same_meaning
        )


class AskedQuestion(NamedTuple):
    """A question about a test image in the style in which it is put."""

    pair: PictureQuestion
    style: Style | None
    """Style of a private question; ``None`` for a task."""

    def query(self, image: bytes, seed: int) -> Query:
        """Put the question about an encoded picture.

        Args:
            image: The picture, exactly as it is sent.
            seed: Seed of the evaluation, which decides the order of a private question's choices.
        """
        pair, style = self
        if style is None:
            return Query(image, pair.question, pair.choices)
        generator = keyed_generator(seed, f"ask/{style}/{pair.subject}/{pair.row}")
        return ask(image, pair.question, pair.choices, style, generator=generator)


class Questionnaire(NamedTuple):
    """All questions of an evaluation, and the accuracy of guessing their answers."""

    tasks: tuple[AskedQuestion, ...]
    private: tuple[AskedQuestion, ...]
    """Every style asks the same questions about the same pictures."""
    task_floors: Mapping[str, float]
    """Subject -> share of its commonest reference answer."""
    private_floors: Mapping[str, float]
    """Private attribute -> share of its commonest class."""
    query_originals: bool
    """Whether the questions are also asked about unprotected pictures."""

    @classmethod
    def draw(cls, splits: Splits, settings: EvaluationSettings) -> Questionnaire:
        """Draw task and private questions about test images."""
        count, seed, examples = settings.queries_per_point, settings.seed, splits.examples["test"]
        tasks = task_questions(examples)
        private = {
            name: [
                PictureQuestion(row, name, question, splits.attributes[name], example.private[name])
                for row, example in enumerate(examples)
                if example.private.get(name) in splits.attributes[name]
            ]
            for name, question in settings.private_questions.items()
        }
        drawn = draw_questions(private, count, seed=seed)
        return cls(
            tuple(AskedQuestion(pair, None) for pair in draw_questions(tasks, count, seed=seed)),
            tuple(AskedQuestion(pair, style) for style in settings.styles for pair in drawn),
            chance_floors(tasks),
            chance_floors(private),
            settings.query_originals,
        )

    def under(self, condition: Condition) -> tuple[AskedQuestion, ...]:
        """List the questions under a condition: tasks, and private ones about the protector's pictures and originals.

        There is none about averages of repeated queries, nor about originals unless the settings say so.
        """
        if condition.name == REPEATED or (condition.name == ORIGINALS and not self.query_originals):
            return ()
        return self.tasks + (self.private if condition.name in {OURS, ORIGINALS} else ())

    def rows(self, condition: Condition) -> frozenset[int]:
        """Rows of the test images that are asked about under a condition."""
        return frozenset(asked.pair.row for asked in self.under(condition))


def task_questions(examples: Sequence[Example]) -> dict[str, list[PictureQuestion]]:
    """Collect all task questions about examples, by subject."""
    asked = [(row, task) for row, example in enumerate(examples) for task in example.tasks]
    frequency = Counter(task.question for _, task in asked)
    by_subject: dict[str, list[PictureQuestion]] = defaultdict(list)
    for row, task in asked:
        subject = task.question if frequency[task.question] >= LEAST_PER_QUESTION else OTHER_QUESTIONS
        by_subject[subject].append(
            PictureQuestion(row, subject, task.question, task.choices, _reference(task), task.answers)
        )
    return dict(by_subject)


def _reference(task: Task) -> str:
    """Reference answer of a task: the choice that it names, if there are choices."""
    index = matching(task.answer, task.choices) if task.choices else None
    return task.answer if index is None else task.choices[index]


def draw_questions(
    by_subject: Mapping[str, Sequence[PictureQuestion]], count: int, *, seed: int
) -> list[PictureQuestion]:
    """Draw about the same number of (image, question) pairs for each subject, as far as they last."""
    drawn: list[PictureQuestion] = []
    for index, (subject, pairs) in enumerate(by_subject.items()):
        share, rest = divmod(count, len(by_subject))
        order = torch.randperm(len(pairs), generator=keyed_generator(seed, f"task/{subject}"))
        drawn += [pairs[position] for position in order[: share + (index < rest)]]
    return drawn


def chance_floors(by_subject: Mapping[str, Sequence[PictureQuestion]]) -> dict[str, float]:
    """Compute the share of the commonest reference answer of each subject."""
    return {
        subject: max(Counter(pair.key for pair in pairs).values()) / len(pairs)
        for subject, pairs in by_subject.items()
    }
