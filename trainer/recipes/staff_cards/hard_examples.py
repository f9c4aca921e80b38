"""Hard-example mining: training of the protector on drawn cards on which it shows a private line or hides a field.

Training through the chat model leaves rare mistakes, such as a number that is taken for an expiry date and shown whole.
More drawings do not help, because almost all of them hold nothing to learn. So many cards are drawn and protected, and
the protector learns from those on which it errs, again and again with other light, sizes and places. Whatever is closed
on all other cards has to stay closed, with a margin: rounding to int8 opens masks that are barely closed. It takes no
query and no private label, because drawings come with the place of every part.
"""

from __future__ import annotations

import copy
import logging
from typing import TYPE_CHECKING, Final, NamedTuple, cast

import torch
from torch import Tensor, nn

from langchain_vpp.network.protector import smooth_mask
from trainer.recipes.staff_cards.drawn_cards import FIELD, LINES, PRIVATE, draw_cards
from trainer.recipes.staff_cards.pretraining import BATCH, GREY_FROM, ONE_GREY, draw_size, resize
from trainer.runtime.optim import OneCycle, average_weights, fit
from trainer.runtime.precision import cpu_precision
from trainer.runtime.rng import keyed_generator
from trainer.sandbox.drawing.cards import TEXTS

if TYPE_CHECKING:
    from pathlib import Path

    from langchain_vpp.network.protector import Protector
    from trainer.recipes.staff_cards.drawn_cards import DrawnCards

_STREAM: Final = 108
"""Second word of a drawing's seed; see :mod:`trainer.recipes.staff_cards.pretraining`."""
_LOOKED_AT: Final = 0.7
"""Network level at which mistakes are looked for, about that of the preset ``balanced``."""
_SHOWS, _HIDES = 5 / 255, 24 / 255
"""Distance from grey above which a pixel shows something, and distance from the original above which it hides it."""
_SHOWN, _KEPT = 0.15, 0.6
"""Share of its pixels from which on a private line is a mistake, and share below which a field is one."""
_PRIVATE_ROWS, _FIELD_ROWS = 3, 2
"""Cards of a batch that showed a private line, and that hid a field. The others are any."""
_PEAK_RATE: Final = 1e-3
_AVERAGING: Final = 0.99
"""Decay of the average over steps that becomes the protector."""
_SHIFT: Final = 6
"""Furthest that cards are shifted, pixels."""
_MARGIN: Final = 0.12
"""Distance below 0 that the openness of a closed mask must keep, so that rounding to int8 does not open it."""
_CLOSED: Final = -0.02
"""Openness below which a mask counts as closed before the training."""
_PRIVATE_WEIGHT: Final = 3.0
"""Weight of errors in private regions."""
_TELL_EVERY: Final = 50
_logger = logging.getLogger(__name__)


class HardExamples(NamedTuple):
    """Drawn cards, and the rows of those on which a protector errs."""

    drawn: DrawnCards
    showing: Tensor
    """Rows of cards that show a private line."""
    hiding: Tensor
    """Rows of cards that hide a field."""


@torch.no_grad()
def find_hard_examples(
    protector: Protector, faces: Path, *, cards: int, seed: int, workers: int = 1
) -> HardExamples:
    """Draw cards, and find those on which a protector errs.

    Args:
        protector: A protector whose closed mask shows one grey; see
            :func:`~trainer.recipes.staff_cards.pretraining.paint_one_grey`.
        faces: Portraits; see :mod:`trainer.sandbox.drawing.portraits`. Only those for training are used.
        cards: Number of cards to draw.
        seed: Seed of the drawings.
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
    """Train a copy of a protector on its mistakes.

    Args:
        protector: Is not changed.
        mistakes: The protector's own; see :func:`find_hard_examples`.
        steps: Optimizer steps of 8 cards.
        seed: Seed of the batches.

    Returns:
        The exponential moving average of the copy's weights over the steps.
    """
    before = protector.eval()
    learning = copy.deepcopy(protector).train()
    mean = average_weights(learning, _AVERAGING)
    descent = OneCycle(
        learning.parameters(), steps=steps, learning_rate=_PEAK_RATE, weight_decay=0.0, warm_up=0.1, clip=1.0
    )

    def loss(step: int) -> Tensor:
        images, kinds, level = _draw_batch(mistakes, keyed_generator(seed, "mistakes", step))
        with torch.no_grad():
            openness_before = before.openness(images, level)
        return mask_error(learning.openness(images, level), openness_before, images, kinds, level)

    def after_step(step: int, error: Tensor) -> None:
        mean.update_parameters(learning)
        if step % _TELL_EVERY == 0 or step == steps:
            _logger.info("hard examples: %d of %d, error %.3f", step, steps, error.item())

    with cpu_precision():
        fit(descent, loss, range(steps), on_step=after_step)
    return cast("Protector", mean.module.eval())


def mask_error(openness: Tensor, before: Tensor, images: Tensor, kinds: Tensor, level: Tensor) -> Tensor:
    """Compute the error of a mask that hides fields, shows private parts, or changes anything else.

    Args:
        openness: Openness of the mask, ``[B, 1, H, W]``; see
            :meth:`~langchain_vpp.network.protector.Protector.openness`.
        before: Openness before the training, same shape.
        images: In [0, 1], ``[B, 3, H, W]``.
        kinds: Kind of each pixel, ``[B, 1, H, W]``; see
            :func:`~trainer.recipes.staff_cards.drawn_cards.draw_regions`.
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


def _draw_batch(mistakes: HardExamples, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Draw the images of a batch, the kind of each of their pixels, and their levels."""
    drawn = mistakes.drawn
    anything = torch.arange(len(drawn.images))

    def draw(rows: Tensor, count: int) -> Tensor:
        """Draw some of the rows; any rows, if there are none."""
        chosen = rows if len(rows) else anything
        return chosen[torch.randint(len(chosen), (count,), generator=generator)]

    rows = torch.cat(
        [
            draw(mistakes.showing, _PRIVATE_ROWS),
            draw(mistakes.hiding, _FIELD_ROWS),
            draw(anything, BATCH - _PRIVATE_ROWS - _FIELD_ROWS),
        ]
    )
    size = draw_size(generator)
    shift = torch.randint(-_SHIFT, _SHIFT + 1, (2,), generator=generator).tolist()
    light = 0.85 + 0.3 * torch.rand((BATCH, 1, 1, 1), generator=generator)
    tint = 0.94 + 0.12 * torch.rand((BATCH, 3, 1, 1), generator=generator)
    images = (torch.roll(drawn.images[rows].float() / 255, shift, (2, 3)) * light * tint).clamp(0, 1)
    kinds = torch.roll(drawn.regions[rows][:, None], shift, (2, 3))
    # Half of the levels over all of the front, half where ``balanced`` and ``high`` are.
    even = torch.rand((BATCH,), generator=generator)
    level = torch.where(torch.arange(BATCH) % 2 == 0, GREY_FROM + (1 - GREY_FROM) * even, even)
    level = level[torch.randperm(BATCH, generator=generator)]
    return resize(images, size), nn.functional.interpolate(kinds, size, mode="nearest"), level


def _share(of: Tensor, inside: Tensor) -> Tensor:
    """Return the share of each image's pixels inside a region that are set, ``[B]``."""
    return (of & inside).sum(dim=(1, 2)) / inside.sum(dim=(1, 2)).clamp(min=1)


def _mean(error: Tensor, inside: Tensor) -> Tensor:
    """Average over each image's pixels inside a region, then over images, so that small portraits count like large."""
    return ((error * inside).sum(dim=(1, 2, 3)) / inside.sum(dim=(1, 2, 3)).clamp(min=1)).mean()
