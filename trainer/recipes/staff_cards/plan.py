"""Plan of the staff cards' recipe: folders, sizes and settings."""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

from langchain_vpp.network.protector import ProtectorConfig
from trainer.sandbox.vision.card_model import CARDS
from trainer.training.config import TrainerConfig

_CONFIG: Final = Path(__file__).parent / "config.json"


class StaffCardsPlan(NamedTuple):
    """Sizes of all steps except the protector's training through the chat model."""

    train: int = 9000
    """Cards in the train split."""
    val: int = 240
    """Cards in the validation split."""
    test: int = 490
    """Cards in the test split."""
    largest: int = 320
    """Width of the largest card, pixels. With larger ones all would be padded, which takes half as long again."""
    model_steps: int = 2400
    """Optimizer steps of the chat model's network."""
    model_batch: int = 48
    """Cards per step of networks that learn to read."""
    student_steps: int = 800
    """Optimizer steps of the network that student and assessor start from."""
    student_cards: int = 8000
    """Cards that this network is trained on."""
    start_steps: int = 4000
    """Optimizer steps of the protector's pretraining on drawings."""
    start_cards: int = 5000
    """Cards of the pretraining."""
    lesson_steps: int = 1500
    """Optimizer steps on hard examples."""
    lesson_cards: int = 10_000
    """Cards among which hard examples are mined."""
    following_steps: int = 1000
    """Steps of the assessor that follows the protector through the hard examples."""


SMOKE_PLAN: Final = StaffCardsPlan(
    train=60,
    val=24,
    test=12,
    model_steps=2,
    model_batch=2,
    student_steps=2,
    student_cards=8,
    start_steps=2,
    start_cards=8,
    lesson_steps=2,
    lesson_cards=8,
    following_steps=2,
)
"""Smallest sizes, which only show that every step runs."""


def read_config(*, smoke: bool = False) -> TrainerConfig:
    """Read the settings of the protector's training.

    Args:
        smoke: Replace sizes by the smallest.
    """
    config = TrainerConfig.model_validate_json(_CONFIG.read_bytes())
    if not smoke:
        return config
    small = ProtectorConfig(width=8, blocks=(1, 1, 1), working_resolution=64)
    update = {
        "protector": small,
        "steps": 4,
        "batch": 4,
        "pretraining_steps": 2,
        "max_queries": 30,
        "validations": 0,
    }
    return config.model_copy(update=update)


class StaffCardsJob(NamedTuple):
    """Everything that a run of the recipe is given."""

    faces: Path
    """Portraits; see :mod:`trainer.sandbox.drawing.portraits`."""
    out: Path
    """Folder for everything that the recipe makes."""
    plan: StaffCardsPlan
    """Sizes; an unfinished run must be resumed with the same."""
    config: TrainerConfig
    """Settings of the protector's training."""
    device: str = "cpu"
    """Device on which networks learn to read cards."""
    workers: int = 1
    """Processes that draw cards."""

    @property
    def data(self) -> Path:
        """Folder of the data set."""
        return self.out / "data"

    @property
    def run(self) -> Path:
        """Folder of the protector's training."""
        return self.out / "run"

    @property
    def artifact(self) -> Path:
        """Folder of the finished artifact."""
        return self.out / "artifact"

    @property
    def student(self) -> Path:
        """Weights of the network that student and assessor start from."""
        return self.out / "student"

    @property
    def assessor(self) -> Path:
        """File of the assessor that followed the protector to the end."""
        return self.out / "assessor.pt"

    @property
    def model(self) -> Path:
        """Weights of the chat model's network: those that come with the package, if they do."""
        return CARDS.weights if CARDS.weights.is_dir() else self.out / "model"
