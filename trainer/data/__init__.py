"""Data sets: the folder format, loading, checks, train-test overlap, and pictures as they are sent.

Names are loaded on first use, so that importing the package loads no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_vpp.lazy import lazy_names

if TYPE_CHECKING:
    from trainer.data.answers import answer_space, references
    from trainer.data.checks import check_for_training
    from trainer.data.contamination import check_unseen, training_digest
    from trainer.data.dataset import Dataset, load_dataset
    from trainer.data.format import Example, Split, Task
    from trainer.data.wire import as_image, as_tensor

__all__ = [
    "Dataset",
    "Example",
    "Split",
    "Task",
    "answer_space",
    "as_image",
    "as_tensor",
    "check_for_training",
    "check_unseen",
    "load_dataset",
    "references",
    "training_digest",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Dataset": "trainer.data.dataset",
        "Example": "trainer.data.format",
        "Split": "trainer.data.format",
        "Task": "trainer.data.format",
        "answer_space": "trainer.data.answers",
        "as_image": "trainer.data.wire",
        "as_tensor": "trainer.data.wire",
        "check_for_training": "trainer.data.checks",
        "check_unseen": "trainer.data.contamination",
        "load_dataset": "trainer.data.dataset",
        "references": "trainer.data.answers",
        "training_digest": "trainer.data.contamination",
    },
)
