"""Networks that read cards: the chat model's, and the one that student and assessor start from."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from trainer.algorithms.critical_history import CriticalHistory
from trainer.algorithms.interface import LabelledImages
from trainer.algorithms.surrogate import DistilledStudent, StudentSettings
from trainer.data.answers import answer_space, references
from trainer.sandbox.chat_model import SandboxChatModel
from trainer.sandbox.vision.adapters import AttributeReader, VocabularyNetwork
from trainer.sandbox.vision.card_model import CARDS
from trainer.sandbox.vision.course import card_course
from trainer.sandbox.vision.local_model import LocalVisionModel
from trainer.sandbox.vision.train import train
from trainer.sandbox.vision.weights import in_words, save_weights
from trainer.training.assessor import Assessor

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from trainer.data.dataset import Dataset
    from trainer.recipes.staff_cards.plan import StaffCardsJob
    from trainer.sandbox.vision.course import Course
    from trainer.training.config import TrainerConfig

_STUDENT_RATE: Final = 3e-4
"""Learning rate of a student that can read already and whose batch norms are folded."""
_ASSESSOR_RATE: Final = 1e-4
"""Learning rate of the assessor. At the student's rate it forgets faces, which are rare, and predicts the same class
for everyone."""
_logger = logging.getLogger(__name__)


def train_chat_model(job: StaffCardsJob) -> SandboxChatModel:
    """Train the chat model's network, unless its weights are there, and return the chat model."""
    if not CARDS.weights.is_dir():
        course = replace(card_course(job.faces), steps=job.plan.model_steps, batch=job.plan.model_batch)
        _train_reader(course, job.model, job.config.seed, job)
    return load_chat_model(job.model)


def load_chat_model(weights: Path) -> SandboxChatModel:
    """Load the chat model for cards."""
    vision = LocalVisionModel.load(weights, subject=CARDS)
    return SandboxChatModel(model_name=CARDS.name, vision=vision)


def train_starting_network(job: StaffCardsJob) -> None:
    """Train the network that student and assessor start from, unless its weights are there.

    Its seed is not the chat model's, so that its weights and its drawings differ.
    """
    course = replace(
        card_course(job.faces),
        steps=job.plan.student_steps,
        batch=job.plan.model_batch,
        different=job.plan.student_cards,
    )
    _train_reader(course, job.student, job.config.seed + 1, job)


def new_student(weights: Path, config: TrainerConfig, dataset: Dataset) -> DistilledStudent:
    """Build a student that can read cards before it sees the first answer.

    Args:
        weights: Weights that it starts from.
        config: Settings of the protector's training.
        dataset: The data set.
    """
    space, examples = answer_space(dataset), dataset.split("train")
    return DistilledStudent(
        space,
        LabelledImages(
            dataset.pixels(examples, config.protector.working_resolution), references(examples, space)
        ),
        CriticalHistory(config.history_capacity, replay=config.replay),
        StudentSettings(
            steps=config.student_steps,
            batch=config.student_batch,
            learning_rate=_STUDENT_RATE,
            query_choice=config.query_choice,
        ),
        network=VocabularyNetwork(space, LocalVisionModel.load(weights, subject=CARDS)),
    )


def new_assessor(weights: Path, attributes: Mapping[str, tuple[str, ...]]) -> Assessor:
    """Build an assessor that can read portraits on cards.

    Args:
        weights: Weights that it starts from.
        attributes: Private attributes and their classes.
    """
    reader = AttributeReader(attributes, LocalVisionModel.load(weights, subject=CARDS))
    return Assessor(attributes, reader, learning_rate=_ASSESSOR_RATE)


def _train_reader(course: Course, folder: Path, seed: int, job: StaffCardsJob) -> None:
    """Train a network that reads cards, unless its weights are there."""
    if (folder / "model.json").exists():
        return
    checkpoint = folder / "checkpoint.pt"
    network = train(course, seed=seed, device=job.device, workers=job.workers, checkpoint=checkpoint)
    reached = save_weights(network, folder, course, seed=seed)
    checkpoint.unlink()
    _logger.info("reads %s", in_words(reached))
