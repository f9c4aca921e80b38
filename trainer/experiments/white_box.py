"""White box: utility gradients through the sandbox's own network, the bound for every estimator."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from trainer.algorithms.interface import NoQueries, mean_reference_loss
from trainer.sandbox.vision.adapters import VocabularyNetwork

if TYPE_CHECKING:
    from trainer.algorithms.interface import AnswerSpace
    from trainer.sandbox.vision.local_model import LocalVisionModel


class WhiteBox(NoQueries):
    r"""Utility loss with true gradients through the sandbox's network, which no black box can give.

    .. math:: L_u(x) = \frac{1}{|Q_x|} \sum_{q \in Q_x} \frac{-\log p_M(y_q \mid x, q)}{\log K_q}

    Args:
        space: Questions and answers; all must be of the model's subject.
        vision: The chat model; images must have its size.
    """

    def __init__(self, space: AnswerSpace, vision: LocalVisionModel) -> None:
        self._space = space
        self._network = VocabularyNetwork(space, vision).requires_grad_(requires_grad=False)

    def loss(self, images: Tensor, references: Tensor, *, generator: torch.Generator) -> Tensor:  # noqa: ARG002
        """Return the utility loss per image, shape ``[B]``, differentiable in ``images``."""
        return mean_reference_loss(self._network(images).log_softmax(dim=-1), references, self._space.sizes)

    @torch.no_grad()
    def probabilities(self, images: Tensor) -> Tensor:
        """Return the chat model's probabilities, shape ``[B, Q, V]``."""
        result: Tensor = self._network(images).softmax(dim=-1)
        return result
