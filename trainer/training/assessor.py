"""The privacy assessor: a white-box classifier of the private attributes that is trained along with the protector."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from trainer.algorithms.vqa_network import VQANetwork, question_vectors
from trainer.data.wire import encode
from trainer.runtime.optim import descend

if TYPE_CHECKING:
    from collections.abc import Mapping

    from langchain_vpp.network.protector import Protector

_GRID = 4
"""Cells along each side of a picture. Without them the assessor hardly reads a number on a shirt, say."""


class Assessor(nn.Module):
    """Classifies every private attribute from protected images, given the level at which they were protected.

    Args:
        attributes: Private attributes and their classes.
        network: Network that has learned to classify originals already, in place of a new
            :class:`~trainer.algorithms.vqa_network.VQANetwork`: maps images ``[B, 3, H, W]`` in [0, 1] to logits
            ``[B, K]`` of each attribute. It is not told the level. The protector is not made to hide what the assessor
            can't learn, so give a network where the data set is too small to learn from, such as for faces on cards.
        learning_rate: Learning rate for AdamW.
        width: Channels of a new network's last convolutions.
        moving: Whether a new network reads clips.

    Attributes:
        attributes, learning_rate: The arguments.
        has_learned: Whether a network was given; it is then not pretrained on originals.
    """

    allowed: Tensor

    def __init__(
        self,
        attributes: Mapping[str, tuple[str, ...]],
        network: nn.Module | None = None,
        *,
        learning_rate: float = 1e-3,
        width: int = 96,
        moving: bool = False,
    ) -> None:
        super().__init__()
        self.attributes, self.learning_rate = dict(attributes), learning_rate
        self.has_learned = network is not None
        sizes = torch.tensor([len(classes) for classes in attributes.values()])
        self._widest = int(sizes.max())
        self.reader: nn.Module = (
            VQANetwork(
                question_vectors(tuple(attributes)),
                self._widest,
                width=width,
                grid=_GRID,
                conditioned=True,
                moving=moving,
            )
            if network is None
            else network
        )
        self.register_buffer("allowed", torch.arange(self._widest) < sizes[:, None])

    def forward(self, images: Tensor, level: Tensor) -> Tensor:
        """Classify images or clips.

        Args:
            images: In [0, 1], shape ``[B, 3, H, W]`` or ``[B, T, 3, H, W]``.
            level: Network levels in [0, 1], shape ``[B]``.

        Returns:
            Logits, shape ``[B, A, K]``, with ``-inf`` for classes that an attribute does not have.
        """
        if self.has_learned:
            each = [
                nn.functional.pad(read, (0, self._widest - read.shape[1])) for read in self.reader(images)
            ]
            logits = torch.stack(each, dim=1)
        else:
            logits = self.reader(images, level)
        return logits.masked_fill(~self.allowed, -math.inf)

    def loss(self, images: Tensor, level: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy on labelled images; labels of shape ``[B, A]``, ``-1`` for an unlabelled attribute."""
        logits = self(images, level)
        return nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-1)

    def learn(
        self, optimizer: torch.optim.Optimizer, images: Tensor, level: Tensor, labels: Tensor
    ) -> Tensor:
        """Take one training step on labelled images, and return the loss; see :meth:`loss`."""
        self.train()
        loss = self.loss(images, level, labels)
        descend(optimizer, loss, clip=1.0)
        return loss.detach()


@torch.no_grad()
def as_assessed(
    protector: Protector, images: Tensor, level: Tensor, *, originals: float, generator: torch.Generator
) -> Tensor:
    """Prepare images for an assessor to learn from: most are protected, some stay originals, all are encoded.

    Args:
        protector: Protector.
        images: In [0, 1], shape ``[B, 3, H, W]``.
        level: Network levels, shape ``[B]``.
        originals: Share of the images that stay originals, in [0, 1].
        generator: Chooses the originals.

    Returns:
        The images as they arrive, in [0, 1], shape ``[B, 3, H, W]``.
    """
    protected = protector.at_network_level(images, level)
    left = torch.rand(len(images), generator=generator) < originals
    return encode(torch.where(left.reshape(-1, *[1] * (images.ndim - 1)), images, protected))[1].float() / 255


def privacy_loss(logits: Tensor, *, pull: float = 0.1) -> Tensor:
    r"""Measure how far posteriors are from uninformative.

    .. math:: L_p = \frac1A \sum_a \Bigl(1 + \frac{1}{\log K_a}
        \bigl(\sum_k p_{ak} \log p_{ak} + c\,\mathrm{KL}(U \,\|\, p_a)\bigr)\Bigr)

    The entropy of the assessor's posterior needs no labels and does not reward confident *wrong* answers, which a
    retrained attacker would simply invert. Its gradient vanishes where the assessor is certain, so a strong assessor
    would stop the protector from learning. A little of the divergence from uniform has a gradient there too.

    Args:
        logits: Shape ``[B, A, K]``, ``-inf`` for classes that an attribute does not have.
        pull: :math:`c`, not negative.

    Returns:
        Loss per image, shape ``[B]``: 0 where every posterior is uniform; at most 1 without the pull.
    """
    finite = logits.isfinite()
    classes = finite.sum(dim=-1).clamp(min=2)
    log_posterior = logits.log_softmax(dim=-1).masked_fill(~finite, 0.0)
    negative_entropy = (log_posterior.exp() * log_posterior).sum(dim=-1)
    divergence = -log_posterior.sum(dim=-1) / classes - classes.log()
    return (1 + (negative_entropy + pull * divergence) / classes.log()).mean(dim=-1)
