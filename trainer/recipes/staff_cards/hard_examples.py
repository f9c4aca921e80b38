"""A last lesson from drawings: cards on which the protector shows a private line, or hides a field.

Training through the chat model leaves a number that is taken for an expiry date, and shown whole, on one card of fifty.
More drawings do not help, because there is nothing to be learned from the other 49. So many cards are drawn and
protected, those on which it errs are found, and it learns from these, again and again with other light, sizes and
places. What is closed on all others has to stay closed, with a margin: rounding to int8 opens masks that only just are.
No query, and no private label: whoever draws cards knows where everything stands.
"""

from __future__ import annotations

import copy
import logging
from typing import TYPE_CHECKING, Final, NamedTuple

import torch
from torch import Tensor, nn

from langchain_vpp.network.protector import smooth_mask
from trainer.recipes.staff_cards.drawn_cards import FIELD, LINES, PRIVATE, draw_cards
from trainer.recipes.staff_cards.pretraining import BATCH, GREY_FROM, ONE_GREY, SIZES
from trainer.runtime.precision import cpu_precision
from trainer.runtime.rng import keyed_generator
from trainer.sandbox.drawing.cards import TEXTS

if TYPE_CHECKING:
    from pathlib import Path

    from langchain_vpp.network.protector import Protector
    from trainer.recipes.staff_cards.drawn_cards import Drawn

_STREAM: Final = 108
"""Second word of a drawing's seed; see :mod:`trainer.recipes.staff_cards.pretraining`."""
_LOOKED_AT: Final = 0.7
"""Network level at which mistakes are looked for: about that of ``balanced``."""
_SHOWS, _HIDES = 5 / 255, 24 / 255
"""Further from grey, a pixel shows something; further from the original, it does not show that."""
_SHOWN, _KEPT = 0.15, 0.6
"""A private line is a mistake from the first share of its pixels on, a field below the second."""
_PRIVATE_ROWS, _FIELD_ROWS = 3, 2
"""Of a batch: cards that showed too much, and too little. The others are any."""
_PEAK_RATE: Final = 1e-3
_SHIFT: Final = 6
_MARGIN: Final = 0.12
"""How far below 0 the openness of a closed mask has to be, so that rounding to int8 does not open it."""
_CLOSED: Final = -0.02
"""What counts as closed before the lesson, likewise."""
_PRIVATE_WEIGHT: Final = 3.0
_logger = logging.getLogger(__name__)


class HardExamples(NamedTuple):
    """Cards, and rows of those on which a protector errs."""

    drawn: Drawn
    showing: Tensor
    """Those that show a private line."""
    hiding: Tensor
    """Those that hide a field."""


@torch.no_grad()
def find_hard_examples(
    protector: Protector, faces: Path, *, cards: int, seed: int, workers: int = 1
) -> HardExamples:
    """Draw cards, and find those on which a protector errs.

    Args:
        protector: One whose closed mask shows one grey; see
            :func:`~trainer.recipes.staff_cards.pretraining.paint_one_grey`.
        faces: See :mod:`trainer.sandbox.drawing.portraits`; only those for training are used.
        cards: How many are drawn.
        seed: Of the drawings.
        workers: Processes that draw.

    Raises:
        DataError: If the portraits can't be used.
    """
    drawn = draw_cards(faces, cards, (seed, _STREAM), workers)
    showing, hiding = [], []
    with cpu_precision():
        for rows in torch.split(torch.arange(cards), BATCH):
            images = drawn.images[rows].float() / 255
            protected = protector.at_network_level(images, torch.full((len(rows),), _LOOKED_AT))
            opened = (protected - ONE_GREY / 255).abs().amax(dim=1) > _SHOWS
            kept = (protected - images).abs().amax(dim=1) < _HIDES
            shown = torch.stack(
                [
                    _share(opened if name in TEXTS else kept, drawn.lines[rows] == number)
                    for number, name in enumerate(LINES, start=1)
                ],
                dim=1,
            )
            showing.append((shown[:, : len(TEXTS)] > _SHOWN).any(dim=1))
            hiding.append((shown[:, len(TEXTS) :] < _KEPT).any(dim=1))
    found = HardExamples(drawn, torch.cat(showing).nonzero()[:, 0], torch.cat(hiding).nonzero()[:, 0])
    _logger.info(
        "of %d cards, %d show a private line and %d hide a field",
        cards,
        len(found.showing),
        len(found.hiding),
    )
    return found


def train_on_hard_examples(
    protector: Protector, mistakes: HardExamples, *, steps: int, seed: int
) -> Protector:
    """Go on with a protector so that it does not err any more.

    Args:
        protector: Is left as it is.
        mistakes: Its own.
        steps: Optimizer steps of 8 cards.
        seed: Of what is drawn for each step.

    Returns:
        The mean of its weights over the last steps, weighted exponentially.
    """
    before = protector.eval()
    learning = copy.deepcopy(protector).train()
    mean = copy.deepcopy(protector).eval()
    optimizer = torch.optim.AdamW(learning.parameters(), lr=_PEAK_RATE, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _PEAK_RATE, total_steps=steps, pct_start=0.1)
    with cpu_precision():
        for step in range(steps):
            images, kinds, level = _lesson(mistakes, keyed_generator(seed, "mistakes", step))
            with torch.no_grad():
                openness_before = before.openness(images, level)
            error = lesson_error(learning.openness(images, level), openness_before, images, kinds, level)
            optimizer.zero_grad(set_to_none=True)
            error.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(learning.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            kept = min(0.99, (step + 1) / (step + 10))
            with torch.no_grad():
                for average, value in zip(mean.parameters(), learning.parameters(), strict=True):
                    average.lerp_(value, 1 - kept)
            if (step + 1) % 50 == 0 or step + 1 == steps:
                _logger.info("mistakes: %d of %d, error %.3f", step + 1, steps, error.item())
    return mean


def lesson_error(openness: Tensor, before: Tensor, images: Tensor, kinds: Tensor, level: Tensor) -> Tensor:
    """What a mask is to pay: for fields that it hides, private parts that it shows, and whatever else it changes.

    Args:
        openness: Of the mask, ``[B, 1, H, W]``; see :meth:`~langchain_vpp.network.protector.Protector.openness`.
        before: Of the protector before the lesson, same shape.
        images: In [0, 1], ``[B, 3, H, W]``.
        kinds: The kind of each pixel, ``[B, 1, H, W]``; see :func:`~trainer.recipes.staff_cards.pretraining.draw_regions`.
        level: Network levels, ``[B]``.
    """
    mask, mask_before = smooth_mask(openness), smooth_mask(before)
    grey = (level / GREY_FROM).clamp(max=1)[:, None, None, None]
    field, private = (kinds == FIELD).float(), (kinds == PRIVATE).float()
    other = 1 - field - private
    wanted = field + private * mask_before * (1 - grey) + other * mask_before
    contrast = (images - ONE_GREY / 255).abs().mean(dim=1, keepdim=True).clamp(min=0.1)
    error = (mask - wanted).abs() * contrast
    closed = (level >= GREY_FROM)[:, None, None, None] * torch.maximum(private, other * (before <= _CLOSED))
    margin = torch.relu(openness + _MARGIN) * closed
    return (
        _mean(error, field) + _mean(error + margin, private) * _PRIVATE_WEIGHT + _mean(error + margin, other)
    )


def _lesson(mistakes: HardExamples, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Images of a batch, the kind of each of their pixels, and levels."""
    drawn = mistakes.drawn

    def some(of: Tensor, count: int) -> Tensor:
        """Rows of one kind; of any, if there is none of it."""
        chosen = of if len(of) else torch.arange(len(drawn.images))
        return chosen[torch.randint(len(chosen), (count,), generator=generator)]

    anything = torch.arange(len(drawn.images))
    rows = torch.cat(
        [
            some(mistakes.showing, _PRIVATE_ROWS),
            some(mistakes.hiding, _FIELD_ROWS),
            some(anything, BATCH - _PRIVATE_ROWS - _FIELD_ROWS),
        ]
    )
    width, height = SIZES[int(torch.randint(len(SIZES), (), generator=generator))]
    shift = torch.randint(-_SHIFT, _SHIFT + 1, (2,), generator=generator).tolist()
    light = 0.85 + 0.3 * torch.rand((BATCH, 1, 1, 1), generator=generator)
    tint = 0.94 + 0.12 * torch.rand((BATCH, 3, 1, 1), generator=generator)
    images = (torch.roll(drawn.images[rows].float() / 255, shift, (2, 3)) * light * tint).clamp(0, 1)
    images = nn.functional.interpolate(images, (height, width), mode="bilinear", antialias=True).clamp(0, 1)
    kinds = torch.roll(drawn.regions[rows][:, None], shift, (2, 3))
    # Half of the levels over all of the front, half where ``balanced`` and ``high`` are.
    even = torch.rand((BATCH,), generator=generator)
    level = torch.where(torch.arange(BATCH) % 2 == 0, GREY_FROM + (1 - GREY_FROM) * even, even)
    level = level[torch.randperm(BATCH, generator=generator)]
    return (
        images.contiguous(memory_format=torch.channels_last),
        nn.functional.interpolate(kinds, (height, width), mode="nearest"),
        level,
    )


def _share(of: Tensor, inside: Tensor) -> Tensor:
    """Share of each image's pixels inside, ``[B]``."""
    return (of & inside).sum(dim=(1, 2)) / inside.sum(dim=(1, 2)).clamp(min=1)


def _mean(error: Tensor, inside: Tensor) -> Tensor:
    """Mean over each image's pixels inside, and over images: a small portrait counts as much as a large one."""
    return ((error * inside).sum(dim=(1, 2, 3)) / inside.sum(dim=(1, 2, 3)).clamp(min=1)).mean()
