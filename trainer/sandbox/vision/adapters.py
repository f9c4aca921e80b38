"""Adapters that let a local vision model's network serve as a student, a white box or an attacker."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from langchain_vpp.errors import DataError
from trainer.oracle.comparing import normalise

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainer.algorithms.interface import AnswerSpace
    from trainer.sandbox.vision.local_model import LocalVisionModel


class VocabularyNetwork(nn.Module):
    """Answers a data set's questions in the data set's vocabulary with a local vision model's network.

    Args:
        space: Questions and answers, all of the model's subject.
        vision: The model; images must have its subject's size.

    Raises:
        DataError: If the model does not understand a question.
    """

    def __init__(self, space: AnswerSpace, vision: LocalVisionModel) -> None:
        super().__init__()
        self.network = vision.network
        self._attributes = tuple(_attribute(vision, question) for question in space.questions)
        self._size = len(space.answers)
        answers = list(map(normalise, space.answers))
        self._columns = {
            name: [answers.index(normalise(choice)) for choice in vision.subject.choices[name]]
            for name in self._attributes
        }

    def forward(self, images: Tensor) -> Tensor:
        """Map images in [0, 1], ``[B, 3, H, W]``, to logits ``[B, Q, V]``, ``-inf`` for answers not offered."""
        believed = self.network(images, self._attributes)
        result = images.new_full(
            (len(images), len(self._attributes), self._size), -torch.inf, dtype=torch.float32
        )
        for question, name in enumerate(self._attributes):
            result[:, question, self._columns[name]] = believed[name].float()
        return result


class AttributeReader(nn.Module):
    """Reads private attributes with a local vision model's network, as the provider itself could.

    Args:
        attributes: Private attributes and their classes, all of the model's subject.
        vision: The model; images must have its subject's size.
    """

    def __init__(self, attributes: Mapping[str, tuple[str, ...]], vision: LocalVisionModel) -> None:
        super().__init__()
        self.network = vision.network
        self._columns = {
            name: [vision.subject.choices[name].index(each) for each in classes]
            for name, classes in attributes.items()
        }

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Map images in [0, 1], ``[B, 3, H, W]``, to logits of each attribute, ``[B, K_a]``."""
        believed = self.network(images, tuple(self._columns))
        return tuple(believed[name][:, columns].float() for name, columns in self._columns.items())


def _attribute(vision: LocalVisionModel, question: str) -> str:
    attribute = vision.route(question)
    if attribute is None:
        raise DataError("the sandbox's chat model does not understand a question of the data set.")
    return attribute
