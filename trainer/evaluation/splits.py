"""The splits of a data set with their labels, checked before anything is measured on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

from langchain_vpp.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from torch import Tensor

    from trainer.data.dataset import Dataset
    from trainer.data.format import Example, Split


class Splits(NamedTuple):
    """Examples and private labels of all three splits."""

    dataset: Dataset
    attributes: Mapping[str, tuple[str, ...]]
    """Private attribute -> its classes."""
    examples: Mapping[Split, tuple[Example, ...]]
    labels: Mapping[Split, Tensor]
    """Classes of the private attributes, shape ``[N, A]``; ``-1`` where unknown."""
    groups: Tensor
    """Group of each test image, numbered from 0, shape ``[N]``."""
    warnings: tuple[str, ...]


def checked_splits(dataset: Dataset, private_questions: Collection[str] = ()) -> Splits:
    """Label the splits of a data set and check that an attacker can be judged on them.

    Args:
        dataset: Images with private labels.
        private_questions: Private attributes that the chat model is to be asked about.

    Raises:
        DataError: If a split is empty, a question is about an unknown attribute, or an attribute has fewer than two
            classes on test.
    """
    examples: dict[Split, tuple[Example, ...]] = {
        "train": dataset.split("train"),
        "val": dataset.split("val"),
        "test": dataset.split("test"),
    }
    empty = [split for split, found in examples.items() if not found]
    if empty:
        raise DataError(f"no image in {', '.join(empty)}, so nothing was measured. Each split needs some.")
    attributes = dataset.private_attributes
    unknown = sorted(set(private_questions) - set(attributes))
    if unknown:
        raise DataError(
            f"private questions for {', '.join(unknown)}, which the data set doesn't label. Nothing was measured."
        )
    labels = {split: dataset.labels(found) for split, found in examples.items()}
    warnings = [
        warning
        for index, name in enumerate(attributes)
        if (warning := _check_classes(name, labels["test"][:, index], examples["test"]))
    ]
    return Splits(dataset, attributes, examples, labels, group_numbers(examples["test"]), tuple(warnings))


def group_numbers(examples: Sequence[Example]) -> Tensor:
    """Number the groups of examples from 0, shape ``[N]``; an example without a group is a group of its own."""
    names = [example.group or f"{row}/" for row, example in enumerate(examples)]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return torch.tensor([numbers[name] for name in names])


def _check_classes(name: str, classes: Tensor, examples: Sequence[Example]) -> str:
    """Require two classes of an attribute on test; return a warning if some images have a class unknown to train."""
    known = classes >= 0
    if len(torch.unique(classes[known])) < 2:
        raise DataError(
            f"private attribute {name!r} has fewer than two classes on test, so no attacker can be judged. "
            "Nothing was measured; add images of another class or remove the attribute."
        )
    unseen = sum(example.private.get(name) is not None for example in examples) - int(known.sum())
    return f"{unseen} test images have a class of {name!r} that train lacks; left out" if unseen else ""
