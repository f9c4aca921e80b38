"""Where the default protector starts from: a network that knows already which parts of a card are fields.

Which of a card's lines may be kept is said by small captions. A protector that starts next to the identity must learn
to read them from nothing but the gradient of answers, and fades everything alike instead (``docs/measurements/``).
Whoever draws cards knows where everything stands. So the network first learns from drawings, without a query and
without a private label, to keep the four fields with their captions, and to turn everything else to grey, the sooner
the higher the level. Training through the chat model goes on from there, and decides what of it is needed.
"""

from __future__ import annotations

import io
import logging
import math
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from langchain_vpp.network.config import STRIDE
from langchain_vpp.network.protector import Protector, ProtectorConfig
from trainer.algorithms.pareto import sample_levels
from trainer.runtime.checkpoint import save_checkpoint
from trainer.runtime.precision import cpu_precision
from trainer.runtime.rng import keyed_generator
from trainer.sandbox.drawing.cards import CARD_VIEW, TASKS, TEXTS, draw_card
from trainer.sandbox.drawing.portraits import read_portraits

if TYPE_CHECKING:
    from pathlib import Path

    from trainer.sandbox.drawing.cards import Card
    from trainer.sandbox.drawing.portraits import Portrait

_STREAM: Final = 104
"""Second word of a drawing's seed: no picture of the data set or of the chat model's course comes again."""
BATCH: Final = 8
_PEAK_RATE: Final = 3e-3
GREY_FROM: Final = 0.25
"""Network level from which nothing but the fields is left; below, what else there is fades in proportion."""
SIZES: Final = tuple((8 * side, 8 * round(0.7 * side)) for side in (32, 36, 40, 44, 48))
"""Widths and heights to learn at: a card that was larger arrives at the working resolution."""
OTHER, FIELD, PRIVATE = range(3)
LINES: Final = (*TEXTS, *(task for task in TASKS if task != "stripe"))
"""The private ones and then the fields, without their captions."""
_PRIVATE_WEIGHT: Final = 3.0
"""What an error in a private region costs in the end: a line that may be either is better lost than shown."""
_CHECKPOINT_EVERY: Final = 200
_COLOURS: Final = 3 * STRIDE**2
ONE_GREY: Final = 128
"""A whole grey level: one between two would show how little the mask is open by which of them it is rounded to."""
_logger = logging.getLogger(__name__)


class _Drawing(NamedTuple):
    file: bytes
    regions: Tensor
    """See :func:`draw_regions`."""
    lines: Tensor
    """See :func:`draw_lines`."""


class Drawn(NamedTuple):
    """Cards, and what is where on them."""

    images: Tensor
    """``uint8``, shape ``[N, 3, H, W]``."""
    regions: Tensor
    """``uint8``, shape ``[N, H, W]``; see :func:`draw_regions`."""
    lines: Tensor
    """Likewise; see :func:`draw_lines`."""


class _Drawings(Dataset[_Drawing]):
    """Cards with portraits for training, and what is where on them."""

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
    """What each pixel of a card belongs to, uint8 ``[H, W]``: fields or private parts, with captions, or neither."""
    regions = Image.new("L", card.image.size, OTHER)
    pen = ImageDraw.Draw(regions)
    for name in ("portrait", *TEXTS, *(f"{text} caption" for text in TEXTS)):
        pen.polygon(card.outline(name), fill=PRIVATE)
    for name in (*TASKS, *(f"{task} caption" for task in TASKS if task != "stripe")):
        pen.polygon(card.outline(name), fill=FIELD, outline=FIELD, width=3)
    return torch.from_numpy(np.array(regions))


def draw_lines(card: Card) -> Tensor:
    """Which line of text each pixel of a card belongs to, uint8 ``[H, W]``: its place in :data:`LINES` and 1, or 0."""
    lines = Image.new("L", card.image.size)
    pen = ImageDraw.Draw(lines)
    for number, name in enumerate(LINES, start=1):
        pen.polygon(card.outline(name), fill=number)
    return torch.from_numpy(np.array(lines))


def private_weight(done: float) -> float:
    """What an error in private regions costs, as a multiple of one in fields.

    As much for the first third of the steps, then more and more until two thirds. With the final weight from the start
    it never learns to tell lines apart: after 3,000 steps it kept the stripe and nothing else.

    Args:
        done: Share of the steps, in [0, 1].
    """
    return 1 + (_PRIVATE_WEIGHT - 1) * min(max(3 * done - 1, 0.0), 1.0)


def regional_error(images: Tensor, wanted: Tensor, regions: Tensor, weight: float) -> Tensor:
    """Mean absolute error of each kind of region, summed: a line of text counts as much as the desk around the card.

    Args:
        images: What the protector returns, ``[B, 3, H, W]``.
        wanted: What it should, same shape.
        regions: The kind of each pixel, ``[B, H, W]``.
        weight: Of private regions; see :func:`private_weight`.
    """
    error = (images - wanted).abs().mean(dim=1)
    weights = {OTHER: 1.0, FIELD: 1.0, PRIVATE: weight}
    inside = ((cost, regions == kind) for kind, cost in weights.items())
    return torch.stack([cost * error[region].mean() for cost, region in inside if region.any()]).sum()


def wanted_images(images: Tensor, level: Tensor, regions: Tensor) -> Tensor:
    """Images whose fields are kept, and whose other parts are the greyer the higher the level.

    Args:
        images: ``[B, 3, H, W]`` in [0, 1].
        level: Network levels in [0, 1], ``[B]``.
        regions: The kind of each pixel, ``[B, H, W]``.
    """
    grey = (level / GREY_FROM).clamp(max=1)[:, None, None, None]
    return torch.where((regions == FIELD)[:, None], images, images.lerp(torch.full_like(images, 0.5), grey))


def paint_one_grey(protector: Protector) -> None:
    """Make the picture that shows where the mask is closed the same grey everywhere, whatever the input.

    It has learned to paint grey, but grey levels that differ by one, with what was there before: people were found
    again by it. What is kept comes through the mask, and stays as it is.

    Args:
        protector: Changed in place.
    """
    assert protector.head.bias is not None
    with torch.no_grad():
        protector.head.weight[:_COLOURS] = 0
        protector.head.bias[:_COLOURS] = math.log(ONE_GREY / (255 - ONE_GREY))


def start_protector(
    faces: Path,
    config: ProtectorConfig,
    *,
    cards: int,
    steps: int,
    seed: int,
    checkpoint: Path,
    workers: int = 1,
) -> Protector:
    """Train a protector on drawings, or go on with one.

    Args:
        faces: See :mod:`trainer.sandbox.drawing.portraits`; only those for training are used.
        config: Of the protector.
        cards: How many are drawn.
        steps: Optimizer steps of 8 cards.
        seed: Of weights, drawings and order.
        checkpoint: File to go on from if it exists, and to save to.
        workers: Processes that draw.

    Raises:
        DataError: If the portraits can't be used.
    """
    torch.manual_seed(seed)  # a script: the initial weights have no other source
    protector = Protector(config).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(protector.parameters(), lr=_PEAK_RATE, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _PEAK_RATE, total_steps=steps, pct_start=0.1)
    parts: dict[str, Any] = {"protector": protector, "optimizer": optimizer, "schedule": schedule}
    done = 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        done = state.pop("step")
        for name, part in parts.items():
            part.load_state_dict(state[name])
    if done == steps:
        return protector.eval()
    images, regions, _ = draw_cards(faces, cards, (seed, _STREAM), workers)
    with cpu_precision():
        for step in range(done, steps):
            generator = keyed_generator(seed, "start", step)
            rows = torch.randint(cards, (BATCH,), generator=generator)
            width, height = SIZES[int(torch.randint(len(SIZES), (), generator=generator))]
            batch = nn.functional.interpolate(
                images[rows].float() / 255, (height, width), mode="bilinear", antialias=True
            ).clamp(0, 1)
            kinds = nn.functional.interpolate(regions[rows][:, None], (height, width), mode="nearest")[:, 0]
            level = sample_levels(BATCH, generator=generator)
            protected = protector.at_network_level(batch.contiguous(memory_format=torch.channels_last), level)
            wanted = wanted_images(batch, level, kinds)
            error = regional_error(protected, wanted, kinds, private_weight(step / steps))
            optimizer.zero_grad(set_to_none=True)
            error.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(protector.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            if (step + 1) % 50 == 0 or step + 1 == steps:
                _logger.info("start: %d of %d, error %.3f", step + 1, steps, error.item())
            if (step + 1) % _CHECKPOINT_EVERY == 0 or step + 1 == steps:
                save_checkpoint(
                    {name: part.state_dict() for name, part in parts.items()} | {"step": step + 1}, checkpoint
                )
    return protector.eval()


def draw_cards(faces: Path, count: int, key: tuple[int, int], workers: int) -> Drawn:
    """Draw cards with portraits for training.

    Args:
        faces: See :func:`start_protector`.
        count: How many.
        key: Seed and stream: other drawings for each.
        workers: Processes that draw.

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
    return Drawn(images, regions, lines)
