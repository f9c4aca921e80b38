"""Local vision model for staff cards."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor, nn

from trainer.sandbox.drawing.cards import CARD_TASKS, CARD_VIEW
from trainer.sandbox.drawing.portraits import PORTRAIT_ATTRIBUTES
from trainer.sandbox.vision import questions
from trainer.sandbox.vision.local_model import AttributeNetwork, Block, Subject

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CARD_CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    name: task.choices for name, task in CARD_TASKS.items()
} | dict(PORTRAIT_ATTRIBUTES)
"""Attribute of the cards, task or private -> the words that may answer a question about it."""

_MAPS: Final = 4
"""Attention maps for each attribute: a date has several digits, a face several parts."""


class CardNetwork(AttributeNetwork):
    """Network for cards: reads the fields at an eighth of the resolution and the portrait at a sixteenth.

    Each attribute has attention maps of its own, since its place differs from card to card. The cells at a sixteenth
    pass on what surrounds each cell at an eighth, so that a date next to "Born" is no expiry. A picture takes about 0.8
    billion multiplications.
    """

    def __init__(self) -> None:
        super().__init__()
        self.fine = nn.Sequential(
            Block(3, 24, 2),
            Block(24, 48, 2),
            Block(48, 64, 1),
            Block(64, 96, 2),
            Block(96, 96, 1),
            Block(96, 96, 1),
        )
        widths = (96, 160, 160, 160, 160)
        self.coarse = nn.Sequential(
            *(Block(*pair, stride=2 if place == 0 else 1) for place, pair in enumerate(pairwise(widths)))
        )
        self.context = nn.Conv2d(160, 96, kernel_size=1)
        self.merge = Block(96, 96, 1)
        self.fields = _Readers(96, {name: CARD_CHOICES[name] for name in CARD_TASKS}, dropout=0.0)
        # There are only a few thousand faces, and each is seen many times.
        self.portrait = _Readers(160, {name: CARD_CHOICES[name] for name in PORTRAIT_ATTRIBUTES}, dropout=0.3)

    def attend(
        self, images: Tensor, attributes: Sequence[str]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the logits of attributes and their attention maps; every attribute has maps of its own."""
        fine = self.fine(images - 0.5)
        coarse = self.coarse(fine)
        around = nn.functional.interpolate(self.context(coarse), scale_factor=2.0, mode="nearest")
        merged = self.merge(torch.relu(fine + around))
        logits, maps = {}, {}
        for name in attributes:
            readers, cells = (self.fields, merged) if name in CARD_TASKS else (self.portrait, coarse)
            logits[name], maps[name] = readers(cells, name)
        return logits, maps


class _Readers(nn.Module):
    """Attention maps over the cells for each attribute, and a linear layer on the cells that they gather."""

    def __init__(self, channels: int, choices: Mapping[str, Sequence[str]], dropout: float) -> None:
        super().__init__()
        self.look = nn.ModuleDict({name: nn.Conv2d(channels, _MAPS, kernel_size=1) for name in choices})
        self.norm = nn.LayerNorm(channels)
        self.dropout = nn.Dropout(dropout)
        self.heads = nn.ModuleDict(
            {name: nn.Linear(_MAPS * channels, len(words)) for name, words in choices.items()}
        )

    def forward(self, cells: Tensor, name: str) -> tuple[Tensor, Tensor]:
        """Map cells ``[B, C, h, w]`` to logits ``[B, choices]`` and attention maps ``[B, maps, h, w]``."""
        look = self.look[name](cells)
        maps = look.flatten(2).float().softmax(2)
        gathered = torch.bmm(maps, cells.flatten(2).transpose(1, 2).float())  # [B, maps, C]
        logits = self.heads[name](self.dropout(self.norm(gathered)).flatten(1))
        return logits, maps.unflatten(2, look.shape[2:])


CARDS: Final = Subject(
    "cards",
    CARD_CHOICES,
    questions.CARD_PATTERNS,
    CARD_VIEW,
    CardNetwork,
    Path(__file__).with_name("card_weights"),
)
"""The staff cards of :mod:`trainer.sandbox.drawing.cards`."""
