"""The privacy assessor: a white-box classifier of the private attributes, always retrained against the protector."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from trainer.algorithms.reader import Reader, question_vectors

if TYPE_CHECKING:
    from collections.abc import Mapping


class Assessor(nn.Module):
    """Reads every private attribute from protected images, knowing the level at which they were protected.

    Args:
        attributes: Private attributes and their classes.
    """

    allowed: Tensor

    def __init__(self, attributes: Mapping[str, tuple[str, ...]]) -> None:
        super().__init__()
        sizes = torch.tensor([len(classes) for classes in attributes.values()])
        widest = int(sizes.max())
        self.reader = Reader(question_vectors(tuple(attributes)), widest, conditioned=True)
        self.register_buffer("allowed", torch.arange(widest) < sizes[:, None])

    def forward(self, images: Tensor, level: Tensor) -> Tensor:
        """Logits, shape ``[B, A, K]`` with ``-inf`` for classes it lacks. Images in [0, 1], level ``[B]``."""
        result: Tensor = self.reader(images, level).masked_fill(~self.allowed, -math.inf)
        return result

    def loss(self, images: Tensor, level: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy on images whose labels (``[B, A]``) are known; ``-1`` marks an unlabelled attribute."""
        logits = self(images, level)
        return nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-1)


def privacy_loss(logits: Tensor) -> Tensor:
    r"""How far posteriors are from uninformative.

    .. math:: L_p = \frac1A \sum_a \Bigl(1 + \frac{1}{\log K_a} \sum_k p_{ak} \log p_{ak}\Bigr)

    The entropy of the assessor's posterior needs no labels and does not reward confident *wrong* answers, which a
    retrained attacker would simply invert.

    Args:
        logits: Shape ``[B, A, K]``, ``-inf`` for classes that an attribute does not have.

    Returns:
        Loss in [0, 1] per image, shape ``[B]``: 0 where every posterior is uniform.
    """
    log_posterior = logits.log_softmax(dim=-1)
    classes = logits.isfinite().sum(dim=-1).clamp(min=2)
    negative_entropy = (log_posterior.exp() * log_posterior.masked_fill(~logits.isfinite(), 0.0)).sum(dim=-1)
    return (1 + negative_entropy / classes.log()).mean(dim=-1)
