"""Sizes and settings of the staff cards' recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

from langchain_vpp.network.protector import ProtectorConfig
from trainer.training.config import TrainerConfig

_HERE: Final = Path(__file__).parent


class StaffCardsPlan(NamedTuple):
    """Sizes of everything but the training of the protector."""

    train: int = 9000
    val: int = 240
    test: int = 490
    largest: int = 320
    """Cards of one size: with others, all would be padded to the largest, at the cost of half as much time again."""
    model_steps: int = 2400
    model_batch: int = 48
    student_steps: int = 800
    student_cards: int = 8000
    start_steps: int = 4000
    start_cards: int = 5000
    lesson_steps: int = 1500
    lesson_cards: int = 10_000
    following_steps: int = 1000


SMOKE: Final = StaffCardsPlan(
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
"""The smallest sizes: they show that everything runs, and nothing else."""


def settings(*, smoke: bool = False) -> TrainerConfig:
    """Read the settings of the training."""
    config = TrainerConfig.model_validate_json((_HERE / "config.json").read_bytes())
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
