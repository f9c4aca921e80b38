"""Drawn cards with a map of their parts: fields to keep, private parts to hide, lines of text."""

from __future__ import annotations

import io
import logging
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from trainer.sandbox.drawing.cards import CARD_TASKS, CARD_VIEW, TEXTS, draw_card
from trainer.sandbox.drawing.portraits import read_portraits

if TYPE_CHECKING:
    from pathlib import Path

    from trainer.sandbox.drawing.cards import Card
    from trainer.sandbox.drawing.portraits import Portrait

OTHER, FIELD, PRIVATE = range(3)
LINES: Final = (*TEXTS, *(task for task in CARD_TASKS if task != "stripe"))
"""Lines of text without their captions: the private ones, then the fields."""
_logger = logging.getLogger(__name__)


class _Drawing(NamedTuple):
    file: bytes
    regions: Tensor
    lines: Tensor


class DrawnCards(NamedTuple):
    """Pictures of cards with the kind and the line of each pixel."""

    images: Tensor
    """``uint8``, shape ``[N, 3, H, W]``."""
    regions: Tensor
    """Kind of each pixel, ``uint8``, shape ``[N, H, W]``; see :func:`draw_regions`."""
    lines: Tensor
    """Line of each pixel, ``uint8``, shape ``[N, H, W]``; see :func:`draw_lines`."""


class _Drawings(Dataset[_Drawing]):
    """Cards with portraits for training, drawn on demand."""

    def __init__(self, portraits: tuple[Portrait, ...], count: int, key: tuple[int, int]) -> None:
        self._portraits, self._count, self._key = portraits, count, key

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> _Drawing:
        generator = np.random.default_rng((*self._key, index))
        portrait = self._portraits[int(generator.integers(len(self._portraits)))]
        card = draw_card(generator, portrait.open(), portrait.attributes)
        buffer = io.BytesIO()
        card.image.save(buffer, "JPEG", quality=int(generator.integers(75, 96)))
        return _Drawing(buffer.getvalue(), draw_regions(card), draw_lines(card))


def draw_regions(card: Card) -> Tensor:
    """Map each pixel of a card to its kind, ``FIELD`` or ``PRIVATE`` with captions, or ``OTHER``; uint8 ``[H, W]``."""
    regions = Image.new("L", card.image.size, OTHER)
    pen = ImageDraw.Draw(regions)
    for name in ("portrait", *TEXTS, *(f"{text} caption" for text in TEXTS)):
        pen.polygon(card.outline(name), fill=PRIVATE)
    for name in (*CARD_TASKS, *(f"{task} caption" for task in CARD_TASKS if task != "stripe")):
        pen.polygon(card.outline(name), fill=FIELD, outline=FIELD, width=3)
    return torch.from_numpy(np.array(regions))


def draw_lines(card: Card) -> Tensor:
    """Map each pixel of a card to its line of text: 1 + its position in :data:`LINES`, or 0; uint8 ``[H, W]``."""
    lines = Image.new("L", card.image.size)
    pen = ImageDraw.Draw(lines)
    for number, name in enumerate(LINES, start=1):
        pen.polygon(card.outline(name), fill=number)
    return torch.from_numpy(np.array(lines))


def draw_cards(faces: Path, count: int, key: tuple[int, int], workers: int) -> DrawnCards:
    """Draw cards with portraits for training.

    Args:
        faces: Portraits; see :mod:`trainer.sandbox.drawing.portraits`. Only those for training are used.
        count: Number of cards.
        key: Seed and stream; each key gives other drawings.
        workers: Processes that draw; 0 draws in this process.

    Raises:
        DataError: If the portraits can't be used.
    """
    drawings = _Drawings(read_portraits(faces)["train"], count, key)
    _logger.info("drawing %d cards", count)
    width, height = CARD_VIEW
    images = torch.empty((count, 3, height, width), dtype=torch.uint8)
    regions, lines = (torch.empty((count, height, width), dtype=torch.uint8) for _ in range(2))
    loader = DataLoader(drawings, batch_size=None, num_workers=workers, generator=torch.Generator())
    for index, drawing in enumerate(loader):
        pixels = np.asarray(Image.open(io.BytesIO(drawing.file)))
        images[index] = torch.from_numpy(pixels.copy()).permute(2, 0, 1)
        regions[index], lines[index] = drawing.regions, drawing.lines
    return DrawnCards(images, regions, lines)
