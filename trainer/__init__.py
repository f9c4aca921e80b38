"""Learn a protector by querying a chat model as a black box, and measure what it hides and keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_vpp.extras import require
from langchain_vpp.lazy import lazy_names, redirect
from trainer.moved import HOMES, RENAMED

if TYPE_CHECKING:
    from trainer.data.dataset import load_dataset
    from trainer.evaluation import evaluate
    from trainer.training.config import TrainerConfig
    from trainer.training.trainer import Trainer

__all__ = ["Trainer", "TrainerConfig", "evaluate", "load_dataset"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Trainer": "trainer.training.trainer",
        "TrainerConfig": "trainer.training.config",
        "evaluate": "trainer.evaluation",
        "load_dataset": "trainer.data.dataset",
    },
    check=lambda: require("torch", extra="train", undone="nothing was loaded"),
)

redirect(HOMES, RENAMED)
