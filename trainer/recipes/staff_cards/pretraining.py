"""Pretraining of the protector on drawings, from which it learns which parts of a card are fields.

Small captions tell which of a card's lines may be kept. A protector that starts next to the identity would have to
learn to read captions from nothing but the gradient of answers, and fades everything alike instead. Drawings come with
the place of every part. So the network first learns from them, without a query and without a private label, to keep the
four fields with their captions, and to turn everything else to grey, the sooner the higher the level. Training through
the chat model continues from there, and decides how much of the fields is needed.
"""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor, nn

from langchain_vpp.network.config import STRIDE
from langchain_vpp.network.protector import Protector, ProtectorConfig
from trainer.algorithms.pareto import sample_levels
from trainer.recipes.staff_cards.drawn_cards import FIELD, OTHER, PRIVATE, draw_cards
from trainer.runtime.checkpoint import save_state
from trainer.runtime.optim import OneCycle, fit
from trainer.runtime.precision import cpu_precision
from trainer.runtime.rng import keyed_generator

if TYPE_CHECKING:
    from pathlib import Path

_STREAM: Final = 104
"""Second word of a drawing's seed; no picture of the data set or of the chat model's course has the same."""
BATCH: Final = 8
"""Cards per step."""
_PEAK_RATE: Final = 3e-3
GREY_FROM: Final = 0.25
"""Network level from which only the fields are left; below it, everything else fades in proportion to the level."""
SIZES: Final = tuple((8 * side, 8 * round(0.7 * side)) for side in (32, 36, 40, 44, 48))
"""Widths and heights of training pictures; a larger card arrives at the working resolution."""
_PRIVATE_WEIGHT: Final = 3.0
"""Final cost of an error in a private region; a line that may be either is better lost than shown."""
_CHECKPOINT_EVERY: Final = 200
_TELL_EVERY: Final = 50
_COLOURS: Final = 3 * STRIDE**2
ONE_GREY: Final = 128
"""Grey of the closed mask. A whole grey level: a fraction would be rounded up or down with the mask's openness, and the
rounding would show it."""
_logger = logging.getLogger(__name__)


def private_weight(done: float) -> float:
    """Return the cost of an error in private regions, as a multiple of one in fields.

    It equals that of fields for the first third of the steps, then rises until two thirds. With the final weight from
    the start the protector never learns to tell lines apart.

    Args:
        done: Share of the steps taken, in [0, 1].
    """
    return 1 + (_PRIVATE_WEIGHT - 1) * min(max(3 * done - 1, 0.0), 1.0)


def regional_error(images: Tensor, wanted: Tensor, regions: Tensor, weight: float) -> Tensor:
    """Sum the mean absolute errors of the kinds of regions: a line of text counts as much as the desk around the card.

    Args:
        images: Output of the protector, ``[B, 3, H, W]``.
        wanted: Wanted output, same shape.
        regions: Kind of each pixel, ``[B, H, W]``.
        weight: Weight of private regions; see :func:`private_weight`.
    """
    error = (images - wanted).abs().mean(dim=1)
    weights = {OTHER: 1.0, FIELD: 1.0, PRIVATE: weight}
    inside = ((cost, regions == kind) for kind, cost in weights.items())
    return torch.stack([cost * error[region].mean() for cost, region in inside if region.any()]).sum()


def wanted_images(images: Tensor, level: Tensor, regions: Tensor) -> Tensor:
    """Return images whose fields are kept and whose other parts are greyer the higher the level.

    Args:
        images: ``[B, 3, H, W]`` in [0, 1].
        level: Network levels in [0, 1], ``[B]``.
        regions: Kind of each pixel, ``[B, H, W]``.
    """
    grey = (level / GREY_FROM).clamp(max=1)[:, None, None, None]
    return torch.where((regions == FIELD)[:, None], images, images.lerp(torch.full_like(images, 0.5), grey))


def paint_one_grey(protector: Protector) -> None:
    """Make the colour of the closed mask the same grey everywhere, whatever the input.

    A trained network paints greys that differ by one level depending on what was there, which is enough to re-identify
    people. What is kept comes through the open mask and stays as it is.

    Args:
        protector: Changed in place.
    """
    assert protector.head.bias is not None
    with torch.no_grad():
        protector.head.weight[:_COLOURS] = 0
        protector.head.bias[:_COLOURS] = math.log(ONE_GREY / (255 - ONE_GREY))


def pretrain_protector(
    faces: Path,
    config: ProtectorConfig,
    *,
    cards: int,
    steps: int,
    seed: int,
    checkpoint: Path,
    workers: int = 1,
) -> Protector:
    """Train a protector on drawings, or resume its training.

    Args:
        faces: Portraits; see :mod:`trainer.sandbox.drawing.portraits`. Only those for training are used.
        config: Shape of the protector.
        cards: Number of cards to draw.
        steps: Optimizer steps of 8 cards.
        seed: Seed of weights, drawings and order.
        checkpoint: File to resume from if it exists, and to save to.
        workers: Processes that draw.

    Raises:
        DataError: If the portraits can't be used.
    """
    torch.manual_seed(seed)  # a script: the initial weights have no other source
    protector = Protector(config).to(memory_format=torch.channels_last)
    descent = OneCycle(
        protector.parameters(), steps=steps, learning_rate=_PEAK_RATE, weight_decay=0.0, warm_up=0.1, clip=1.0
    )
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        protector.load_state_dict(state["protector"])
        descent.load_state_dict(state)
    if descent.done == steps:
        return protector.eval()
    images, regions, _ = draw_cards(faces, cards, (seed, _STREAM), workers)

    def loss(step: int) -> Tensor:
        generator = keyed_generator(seed, "start", step)
        rows = torch.randint(cards, (BATCH,), generator=generator)
        size = draw_size(generator)
        batch = resize(images[rows].float() / 255, size)
        kinds = nn.functional.interpolate(regions[rows][:, None], size, mode="nearest")[:, 0]
        level = sample_levels(BATCH, generator=generator)
        protected = protector.at_network_level(batch, level)
        wanted = wanted_images(batch, level, kinds)
        return regional_error(protected, wanted, kinds, private_weight(step / steps))

    def after_step(step: int, error: Tensor) -> None:
        if step % _TELL_EVERY == 0 or step == steps:
            _logger.info("pretraining: %d of %d, error %.3f", step, steps, error.item())
        if step % _CHECKPOINT_EVERY == 0 or step == steps:
            state = {"protector": protector.state_dict(), "step": step} | descent.state_dict()
            save_state(state, checkpoint)

    with cpu_precision():
        fit(descent, loss, range(descent.done, steps), on_step=after_step)
    return protector.eval()


def draw_size(generator: torch.Generator) -> tuple[int, int]:
    """Draw the height and width of a training batch from :data:`SIZES`."""
    width, height = SIZES[int(torch.randint(len(SIZES), (), generator=generator))]
    return height, width


def resize(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Scale images in [0, 1] to a height and width, in the memory layout in which convolutions are fastest."""
    scaled = nn.functional.interpolate(images, size, mode="bilinear", antialias=True).clamp(0, 1)
    return scaled.contiguous(memory_format=torch.channels_last)
