"""Local vision model for drawn films: it looks at the frames of a clip together."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor, nn

from trainer.algorithms.vqa_network import with_changes
from trainer.sandbox.drawing.films import ACTION, FILM_ATTRIBUTES, FILM_SECONDS
from trainer.sandbox.drawing.scenes import SCENE_SIZE
from trainer.sandbox.vision import questions
from trainer.sandbox.vision.local_model import AttributeNetwork, Block, Subject

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FILM_CHOICES: Final[Mapping[str, tuple[str, ...]]] = dict(FILM_ATTRIBUTES) | {"action": ACTION.choices}
"""Attribute of the films, private or task -> the words that may answer a question about it."""

_CHANNELS: Final = 96


class FilmNetwork(AttributeNetwork):
    """Network for films: convolutions over each frame and its change from the frame before, pooled over all frames."""

    def __init__(self) -> None:
        super().__init__()
        widths = ((6, 24, 2), (24, 48, 2), (48, 64, 1), (64, _CHANNELS, 2), (_CHANNELS, _CHANNELS, 1))
        self.blocks = nn.ModuleList(Block(*width) for width in widths)
        self.norm = nn.LayerNorm(4 * _CHANNELS)
        self.heads = nn.ModuleDict(
            {name: nn.Linear(4 * _CHANNELS, len(choices)) for name, choices in FILM_CHOICES.items()}
        )

    def attend(
        self, images: Tensor, attributes: Sequence[str]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the logits of attributes; no attribute has maps of its own.

        Args:
            images: Strips of frames, ``[B, 3, T H, W]``, or clips, ``[B, T, 3, H, W]``, in [0, 1].
            attributes: Keys of :data:`FILM_CHOICES`.
        """
        frames = images if images.ndim == 5 else _frames_of(images)
        cells = with_changes(frames - 0.5).flatten(0, 1)
        for block in self.blocks:
            cells = block(cells)
        seen = torch.cat([cells.mean(dim=(2, 3)), cells.amax(dim=(2, 3))], dim=1)
        seen = seen.reshape(*frames.shape[:2], -1)  # [B, T, 2 C]
        summary = self.norm(torch.cat([seen.mean(dim=1), seen.amax(dim=1)], dim=1))
        return {name: self.heads[name](summary) for name in attributes}, {}


def _frames_of(strips: Tensor) -> Tensor:
    """Cut strips, ``[B, 3, T H, W]``, into clips ``[B, T, 3, H, W]``."""
    count, channels, height, width = strips.shape
    return strips.reshape(count, channels, FILMS.frames, height // FILMS.frames, width).transpose(1, 2)


FILMS: Final = Subject(
    "sandbox-films",
    FILM_CHOICES,
    questions.FILM_PATTERNS,
    (SCENE_SIZE, SCENE_SIZE * FILM_SECONDS),
    FilmNetwork,
    Path(__file__).with_name("film_weights"),
    frames=FILM_SECONDS,
)
"""The drawn films of :mod:`trainer.sandbox.drawing.films`."""
