"""Weights of local vision models on disk, their cards, and the accuracy of a model on fresh pictures."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from safetensors.torch import save as save_tensors

from trainer.sandbox.vision.local_model import LocalVisionModel
from trainer.sandbox.vision.samples import STREAMS, encode_picture

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from trainer.data.format import Split
    from trainer.sandbox.vision.course import Course
    from trainer.sandbox.vision.local_model import AttributeNetwork

TEST_PICTURES: Final = 1000
"""Fresh pictures on which saved weights are measured."""
TEST_QUALITY: Final = 85
"""JPEG quality of these pictures."""
_BATCH: Final = 50


def save_weights(network: AttributeNetwork, folder: Path, course: Course, *, seed: int) -> dict[str, float]:
    """Write half-precision weights and their card, and measure the written weights.

    Args:
        network: The trained network.
        folder: Gets ``model.safetensors`` and ``model.json``; made if it is missing.
        course: Course of the training.
        seed: Seed of the training.

    Returns:
        Attribute -> accuracy, which is on the card too.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        name: (tensor.half() if tensor.is_floating_point() else tensor).cpu().contiguous()
        for name, tensor in network.state_dict().items()
    }
    weights = save_tensors(tensors)
    card: dict[str, Any] = {
        **course.about,
        "seed": seed,
        "steps": course.steps,
        "batch": course.batch,
        "different": course.different or course.steps * course.batch,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "sha256": hashlib.sha256(weights).hexdigest(),
    }
    (folder / "model.safetensors").write_bytes(weights)
    _write_card(folder, card)
    reached = accuracies(
        LocalVisionModel.load(folder, subject=course.subject), course, seed=seed, pictures=TEST_PICTURES
    )
    card["test"] = f"{TEST_PICTURES} fresh pictures, JPEG quality {TEST_QUALITY}"
    card["accuracy"] = reached
    _write_card(folder, card)
    return reached


def accuracies(
    model: LocalVisionModel, course: Course, *, seed: int, pictures: int, split: Split = "test"
) -> dict[str, float]:
    """Measure a model on fresh pictures after a JPEG round trip.

    Args:
        model: The model.
        course: Course that draws the pictures.
        seed: Seed of the pictures.
        pictures: Number of pictures.
        split: Split that they are drawn for.

    Returns:
        Attribute -> accuracy.
    """
    right = dict.fromkeys(course.subject.choices, 0)
    for start in range(0, pictures, _BATCH):
        samples = []
        for index in range(start, min(start + _BATCH, pictures)):
            picture = course.draw(np.random.default_rng((seed, STREAMS[split], index)), split)
            samples.append(encode_picture(picture, course.subject, TEST_QUALITY).decode(course.subject))
        believed = model.log_probabilities(torch.stack([sample.image for sample in samples]))
        for column, name in enumerate(right):
            truth = torch.stack([sample.labels[column] for sample in samples])
            right[name] += int((believed[name].argmax(1) == truth).sum())
    return {name: count / pictures for name, count in right.items()}


def in_words(reached: Mapping[str, float]) -> str:
    """Write accuracies as a line of text."""
    return ", ".join(f"{name} {value:.3f}" for name, value in reached.items())


def _write_card(folder: Path, card: Mapping[str, Any]) -> None:
    (folder / "model.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
