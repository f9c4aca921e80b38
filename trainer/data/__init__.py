"""Data sets: the folder format, loading, checks, train-test overlap, and pictures as they are sent.

Names are loaded on first use, so that importing the package loads no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from trainer.data.answers import answer_space, references
    from trainer.data.checks import check_for_training
    from trainer.data.contamination import check_unseen, training_digest
    from trainer.data.dataset import Dataset, load_dataset
    from trainer.data.format import Example, Split, Task

__all__ = [
    "Dataset",
    "Example",
    "Split",
    "Task",
    "answer_space",
    "check_for_training",
    "check_unseen",
    "load_dataset",
    "references",
    "training_digest",
]

_HOMES: Final = {
    "Dataset": "trainer.data.dataset",
    "Example": "trainer.data.format",
    "Split": "trainer.data.format",
    "Task": "trainer.data.format",
    "answer_space": "trainer.data.answers",
    "check_for_training": "trainer.data.checks",
    "check_unseen": "trainer.data.contamination",
    "load_dataset": "trainer.data.dataset",
    "references": "trainer.data.answers",
    "training_digest": "trainer.data.contamination",
}


def __getattr__(name: str) -> Any:
    """Load a public name on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
