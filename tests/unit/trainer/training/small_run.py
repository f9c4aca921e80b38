"""A run of seconds: pictures of 16 px with one to three questions each, and the smallest networks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from langchain_core.language_models import FakeListChatModel
from PIL import Image

from langchain_vpp.network.config import ProtectorConfig
from trainer import Trainer, TrainerConfig, load_dataset

if TYPE_CHECKING:
    from pathlib import Path

    from trainer.data.dataset import Dataset

_SMALL = {
    "steps": 6,
    "batch": 3,
    "pretraining_steps": 0,
    "student_steps": 1,
    "student_batch": 4,
    "assessor_steps": 1,
    "checkpoint_every": 2,
    "max_queries": 40,
    "audit_images": 0,
    "protector": ProtectorConfig(width=8, blocks=(0, 0, 0), working_resolution=32),
}


def small_config(**changes) -> TrainerConfig:
    return TrainerConfig.model_validate(_SMALL | changes)


def small_dataset(folder: Path) -> Dataset:
    lines = []
    for number in range(18):
        Image.new("RGB", (16, 16), (number, 0, 0)).save(folder / f"{number}.png")
        tasks = [
            {"question": f"Sign {sign}?", "answer": "ab"[number % 2], "choices": ["a", "b"]}
            for sign in range(1 + number % 3)
        ]
        split = "train" if number < 12 else "val" if number < 16 else "test"
        private = {"kind": "xy"[number // 2 % 2]}
        lines.append({"image": f"{number}.png", "split": split, "tasks": tasks, "private": private})
    (folder / "data.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return load_dataset(folder)


def small_trainer(dataset: Dataset, **changes) -> Trainer:
    """A trainer whose chat model gives the same answer to everything."""
    return Trainer(FakeListChatModel(responses=["a"]), dataset, small_config(**changes))
