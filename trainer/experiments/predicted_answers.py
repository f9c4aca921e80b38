"""Share of a chat model's answers about protected pictures that a student foresees, by what it learned from.

Cheaper than training protectors, and closer to the question what an answer is worth: a student of the labels alone
against students that were fitted on some of the model's answers, all about pictures of one fixed protector.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import torch

from trainer.algorithms.critical_history import CriticalHistory
from trainer.algorithms.interface import LabelledImages, Records, no_probes
from trainer.algorithms.query_choice import expected_disagreement, query_criticality
from trainer.algorithms.surrogate import DistilledStudent, StudentSettings
from trainer.data.answers import as_query
from trainer.data.wire import as_image, encode
from trainer.oracle.query import Answer
from trainer.oracle.scoring import chosen, distribution
from trainer.runtime.rng import keyed_generator

if TYPE_CHECKING:
    from torch import Tensor

    from langchain_vpp.network.protector import Protector
    from trainer.algorithms.interface import AnswerSpace
    from trainer.sandbox.vision.local_model import LocalVisionModel
    from trainer.training.batches import TrainingSplit

_ROUNDS: Final = 60
"""Calls of :meth:`~trainer.algorithms.surrogate.DistilledStudent.fit`, two steps each."""
_BATCH: Final = 100


class Way(NamedTuple):
    """A way to learn from answers."""

    name: str
    answers: int = 0
    choice: str = "uniform"
    """Choice of the second half of the questions: ``uniform``, ``critical`` or ``disagreement``."""
    anchor: float = 0.5
    replay: str = "critical"


WAYS: Final = (
    Way("labels alone"),
    Way("200 answers", 200),
    Way("500 answers", 500),
    Way("500 answers, half where the answer is about to flip", 500, choice="critical"),
    Way("500 answers, half where the two students differ", 500, choice="disagreement"),
    Way("500 answers, no labelled pictures beside them", 500, anchor=0.0),
    Way("500 answers, critical ones more often and uncorrected", 500, replay="critical-uncorrected"),
    Way("2,000 answers", 2000),
)


class Bench:
    """Protected pictures, and what a chat model says about them.

    Args:
        protector: Protector, uncalibrated.
        start: State of a student of the labels alone.
        space: Questions and answers.
        splits: Training pictures, and others to test on.
        model: The chat model.
        width: Channels of the student's last convolutions.
        seed: Seed of levels, questions and fits.
    """

    def __init__(
        self,
        protector: Protector,
        start: dict[str, Tensor],
        space: AnswerSpace,
        splits: tuple[TrainingSplit, TrainingSplit],
        *,
        model: LocalVisionModel,
        width: int,
        seed: int,
    ) -> None:
        self._protector, self._start, self._space, self._model = protector, start, space, model
        self._width, self._seed = width, seed
        self._train, test = splits
        self._pool = self._protected(self._train.images, "pool")
        held_out = self._protected(test.images, "test")
        self._test = (
            held_out,
            torch.tensor(
                [
                    [self._answer(image, question) for question in range(len(space.questions))]
                    for image in held_out
                ]
            ),
        )

    def foreseen(self, way: Way) -> float:
        """Fit a student in a way, and return the share of answers about other pictures that it foresees."""
        student = self._student(way)
        if way.choice == "uniform":
            self._learn(student, self._uniform(way.answers), _ROUNDS)
        else:
            first = way.answers // 2
            self._learn(student, self._uniform(first), _ROUNDS // 3)
            self._learn(student, self._chosen(student, way, way.answers - first), _ROUNDS - _ROUNDS // 3)
        images, answers = self._test
        predicted = torch.cat(
            [student.posteriors(part.float() / 255).argmax(dim=-1) for part in torch.split(images, _BATCH)]
        )
        usable = answers >= 0
        return float((predicted == answers)[usable].float().mean())

    def _student(self, way: Way) -> DistilledStudent:
        history = CriticalHistory(10_000, replay=way.replay)  # type: ignore[arg-type]
        settings = StudentSettings(steps=2, anchor=way.anchor, width=self._width)
        labelled = LabelledImages(self._train.images, self._train.references)
        student = DistilledStudent(self._space, labelled, history, settings)
        student.network.load_state_dict(self._start)
        return student

    def _learn(self, student: DistilledStudent, pairs: list[tuple[int, int]], rounds: int) -> None:
        """Have pairs answered and fit the student, also if there are none: on labels then."""
        if pairs:
            student.observe(self._records(pairs), no_probes(self._pool[:0], self._train.references[:0]))
        for turn in range(rounds):
            student.fit(generator=keyed_generator(self._seed, "fit", len(pairs), turn))

    def _uniform(self, count: int) -> list[tuple[int, int]]:
        size = len(self._space.questions)
        order = torch.randperm(len(self._pool) * size, generator=keyed_generator(self._seed, "ask"))
        return [(pair // size, pair % size) for pair in order[:count].tolist()]

    def _chosen(self, student: DistilledStudent, way: Way, count: int) -> list[tuple[int, int]]:
        """Choose among all pairs by criticality, blurred as in training."""
        before = self._student(way)
        scores = []
        for part in torch.split(self._pool, _BATCH):
            images = part.float() / 255
            now = student.posteriors(images)
            scores.append(
                query_criticality(now)
                if way.choice == "critical"
                else expected_disagreement(now, before.posteriors(images))
            )
        worth = torch.cat(scores)
        worth = worth + torch.rand(worth.shape, generator=keyed_generator(self._seed, "blur"))
        size = len(self._space.questions)
        return [(pair // size, pair % size) for pair in worth.flatten().topk(count).indices.tolist()]

    @torch.no_grad()
    def _protected(self, images: Tensor, purpose: str) -> Tensor:
        generator, parts = keyed_generator(self._seed, purpose), []
        for part in torch.split(images, _BATCH):
            levels = torch.rand(len(part), generator=generator)
            parts.append(encode(self._protector.at_network_level(part.float() / 255, levels))[1])
        return torch.cat(parts)

    def _answer(self, image: Tensor, question: int) -> int:
        """Index of the model's answer in the vocabulary; -1 for one that names no choice."""
        text = self._text(image, question)
        named = chosen(text, self._space.phrasings[question].choices)
        return -1 if named is None else self._space.phrasings[question].columns[named]

    def _text(self, image: Tensor, question: int) -> str:
        prompt = as_query(self._space, b"", question).prompt
        return self._model.answer(as_image(image / 255), prompt).text

    def _records(self, pairs: list[tuple[int, int]]) -> Records:
        targets = torch.zeros(len(pairs), len(self._space.answers))
        for target, (row, question) in zip(targets, pairs, strict=True):
            asked = self._space.phrasings[question]
            answer = Answer(self._text(self._pool[row], question), None)
            target[list(asked.columns)] = torch.tensor(distribution(answer, asked.choices))
        rows, questions = torch.tensor(pairs).T
        return Records(self._pool[rows], questions, targets)
