"""Learn a protector by querying a chat model as a black box, and measure what it hides and keeps."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from langchain_vpp.extras import require

if TYPE_CHECKING:
    from trainer.data.dataset import load_dataset
    from trainer.evaluation import evaluate
    from trainer.training.config import TrainerConfig
    from trainer.training.trainer import Trainer

__all__ = ["Trainer", "TrainerConfig", "evaluate", "load_dataset"]

_HOMES = {
    "Trainer": "trainer.training.trainer",
    "TrainerConfig": "trainer.training.config",
    "evaluate": "trainer.evaluation",
    "load_dataset": "trainer.data.dataset",
}


def __getattr__(name: str) -> Any:
    """Load a public name on first use: the command line must not wait for torch to say ``--help``."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    require("torch", extra="train", undone="nothing was loaded")
    return getattr(import_module(_HOMES[name]), name)
