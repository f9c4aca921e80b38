"""Networks that have learned to read cards."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from trainer.algorithms.critical_history import CriticalHistory
from trainer.algorithms.interface import LabelledImages
from trainer.algorithms.surrogate import DistilledStudent, StudentSettings
from trainer.data.dataset import answer_space, references
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

    from torch import Tensor

    from trainer.data.dataset import Dataset
    from trainer.recipes.staff_cards.plan import StaffCardsPlan
    from trainer.sandbox.vision.course import Course
    from trainer.training.config import TrainerConfig

_STUDENT_RATE: Final = 3e-4
"""For a network that can read already, and whose batch norms are folded."""
_ASSESSOR_RATE: Final = 1e-4
"""Likewise; at that of the student it forgets faces, of which it sees few, and says the same of everybody."""
_logger = logging.getLogger(__name__)


def _assessor(
    attributes: Mapping[str, tuple[str, ...]], network: Path, state: Mapping[str, Tensor]
) -> Assessor:
    """Training's assessor in a state of its own; the folder gives the kind of network."""
    twin = LocalVisionModel.load(network, subject=CARDS)
    assessor = Assessor(attributes, AttributeReader(attributes, twin), learning_rate=_ASSESSOR_RATE)
    assessor.load_state_dict(state)
    return assessor


def _weights(out: Path) -> Path:
    """Of the chat model: those that come with the package, if they do."""
    return CARDS.weights if CARDS.weights.is_dir() else out / "model"


def _vision(
    faces: Path, folder: Path, plan: StaffCardsPlan, seed: int, *, device: str, workers: int
) -> LocalVisionModel:
    if CARDS.weights.is_dir():
        return LocalVisionModel.load(subject=CARDS)
    course = replace(card_course(faces), steps=plan.model_steps, batch=plan.model_batch)
    return _taught(course, folder, seed, device=device, workers=workers)


def _student(vision: LocalVisionModel, config: TrainerConfig, dataset: Dataset) -> DistilledStudent:
    """A student that can read cards before it sees the first answer."""
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
        network=VocabularyNetwork(space, vision),
    )


def _taught(course: Course, folder: Path, seed: int, *, device: str, workers: int) -> LocalVisionModel:
    """Train a local vision model, or load what was trained before."""
    if not (folder / "model.json").exists():
        checkpoint = folder / "checkpoint.pt"
        network = train(course, seed=seed, device=device, workers=workers, checkpoint=checkpoint)
        reached = save_weights(network, folder, course, seed=seed)
        checkpoint.unlink()
        _logger.info("reads %s", in_words(reached))
    return LocalVisionModel.load(folder, subject=course.subject)
