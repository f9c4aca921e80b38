"""A small network that answers questions about images: the kind that student and privacy assessor are."""

from __future__ import annotations

import itertools
import re
import zlib
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Sequence

_BASIS = 32
"""Linear answer maps that the network combines; also the largest question set that is told apart exactly."""


class VQANetwork(nn.Module):
    """Maps images and question vectors to logits over an answer vocabulary.

    A convolutional trunk runs once per image: space-to-depth by 2, four 3x3 convolutions with batch normalisation, and
    both maximum and mean over positions (the maximum finds small things such as digits, the mean counts). A grid adds
    the maxima within its cells, so that where something stands is kept, such as the strokes of a digit. Each question
    reads the pooled vector through a linear map of its own, a combination of ``K`` basis maps chosen by its vector, so
    further questions about an image are almost free.

    A moving network takes clips: the trunk sees each frame with its change from the frame before, so that directions of
    motion can be told apart, and the maximum and the mean over frames are read. An image is a clip of one frame.

    Batch normalisation lets it learn from a few thousand images within a minute on a CPU. Gradients for the protector
    are taken in evaluation mode.

    Args:
        questions: Vectors that encode the questions, shape ``[Q, D]``; see :func:`question_vectors`.
        answers: Size :math:`V` of the answer vocabulary.
        width: Channels of the last convolutions; the first have a third and two thirds of it.
        grid: Cells along each side of the image whose maxima are read too; 0 for none.
        conditioned: Whether :meth:`forward` takes a privacy level, as one more channel.
        moving: Whether images may be clips, shape ``[B, T, 3, H, W]``.
    """

    questions: Tensor

    def __init__(
        self,
        questions: Tensor,
        answers: int,
        *,
        width: int = 96,
        grid: int = 0,
        conditioned: bool = False,
        moving: bool = False,
    ) -> None:
        super().__init__()
        self.conditioned, self.grid, self.moving = conditioned, grid, moving
        self.answers = answers
        self.register_buffer("questions", questions)
        self.trunk = nn.Sequential(
            _convolution(12 * (1 + moving) + conditioned, width // 3),
            _convolution(width // 3, 2 * width // 3, stride=2),
            _convolution(2 * width // 3, width),
            nn.MaxPool2d(2),
            _convolution(width, width),
        )
        basis = min(questions.shape[1], _BASIS)
        self.choose = nn.Linear(questions.shape[1], basis, bias=False)
        nn.init.eye_(self.choose.weight)
        self.heads = nn.Linear((1 + moving) * (2 + grid**2) * width, basis * answers)

    def forward(self, images: Tensor, level: Tensor | None = None) -> Tensor:
        """Answer every question about every image, or every clip.

        Args:
            images: RGB in [0, 1], shape ``[B, 3, H, W]`` or ``[B, T, 3, H, W]``, sides multiples of 8.
            level: Privacy level in [0, 1], shape ``[B]``, if and only if the network is conditioned.

        Returns:
            Logits, shape ``[B, Q, V]``.
        """
        return torch.einsum("bkv,qk->bqv", self._basis_answers(images, level), self.choose(self.questions))

    def read(self, images: Tensor, questions: Tensor) -> Tensor:
        """Answer one question about each image, or each clip.

        Args:
            images: RGB in [0, 1], shape ``[B, 3, H, W]`` or ``[B, T, 3, H, W]``, sides multiples of 8.
            questions: Index of the question, shape ``[B]``.

        Returns:
            Logits, shape ``[B, V]``.
        """
        return torch.einsum(
            "bkv,bk->bv", self._basis_answers(images, None), self.choose(self.questions)[questions]
        )

    def see_as(self, other: VQANetwork) -> None:
        """Copy the trunk of a network of the same width, without its channel for a level.

        Args:
            other: The network to copy from; conditioned on a level or not.
        """
        state = other.trunk.state_dict()
        inputs = self.trunk.state_dict()["0.0.weight"].shape[1]
        state["0.0.weight"] = state["0.0.weight"][:, :inputs]
        self.trunk.load_state_dict(state)

    def _basis_answers(self, images: Tensor, level: Tensor | None) -> Tensor:
        if not self.moving:
            seen = self._seen(nn.functional.pixel_unshuffle(images * 2 - 1, 2), level)
        else:
            blocks = with_changes(nn.functional.pixel_unshuffle(as_clips(images) * 2 - 1, 2))
            levels = None if level is None else level.repeat_interleave(blocks.shape[1])
            frames = self._seen(blocks.flatten(0, 1).contiguous(memory_format=torch.channels_last), levels)
            frames = frames.reshape(*blocks.shape[:2], -1)
            seen = torch.cat([frames.amax(dim=1), frames.mean(dim=1)], dim=1)
        result: Tensor = self.heads(seen).float().unflatten(1, (-1, self.answers))
        return result

    def _seen(self, blocks: Tensor, level: Tensor | None) -> Tensor:
        """Map pictures after space-to-depth, ``[N, C, h, w]``, to vectors."""
        if self.conditioned:
            if level is None:
                raise ValueError("this network is conditioned on a level")
            blocks = torch.cat([blocks, level[:, None, None, None].expand(-1, 1, *blocks.shape[-2:])], dim=1)
        positions = self.trunk(blocks)
        pooled = [positions.amax(dim=(2, 3)), positions.mean(dim=(2, 3))]
        if self.grid:
            pooled.append(nn.functional.adaptive_max_pool2d(positions, self.grid).flatten(1))
        return torch.cat(pooled, dim=1)


def as_clips(images: Tensor) -> Tensor:
    """Return clips ``[B, T, C, H, W]`` as they are, and images ``[B, C, H, W]`` as clips of one frame."""
    return images if images.ndim == 5 else images[:, None]


def with_changes(clips: Tensor) -> Tensor:
    """Add to the channels of each frame its change from the frame before.

    Args:
        clips: Shape ``[B, T, C, H, W]``.

    Returns:
        Shape ``[B, T, 2 C, H, W]``; the first frame has not changed.
    """
    change = torch.cat([torch.zeros_like(clips[:, :1]), clips.diff(dim=1)], dim=1)
    return torch.cat([clips, change], dim=2)


def question_vectors(questions: Sequence[str], *, buckets: int = 256) -> Tensor:
    """Encode questions for a :class:`VQANetwork`.

    A closed set of up to 32 questions is told apart exactly (one-hot). A larger one is encoded as normalised signed
    counts of hashed words and word pairs, so that similar wordings share what was learned.

    Returns:
        Vectors of length 1, shape ``[Q, Q]`` or ``[Q, buckets]``; the same in every process.
    """
    if len(questions) <= _BASIS:
        return torch.eye(len(questions))
    vectors = torch.zeros(len(questions), buckets)
    for row, question in zip(vectors, questions, strict=True):
        words = re.findall(r"\w+", question.casefold())
        for term in [*words, *(f"{left} {right}" for left, right in itertools.pairwise(words))]:
            digest = zlib.crc32(term.encode())
            row[digest % buckets] += 1.0 if digest & 0x8000_0000 else -1.0
    return nn.functional.normalize(vectors, dim=1)


def _convolution(inputs: int, outputs: int, *, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )
