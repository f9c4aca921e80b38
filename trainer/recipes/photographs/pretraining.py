"""Training of the protector on masks that teachers draw, without a query and without a private label.

The network learns one map from picture and level to a mask. Every face and every line of text counts alike, whether it
is 12 or 200 pixels high. A pixel of a scene that is hidden without need costs as much as one of skin that is shown: the
artifact's detector covers most faces anyway, and a network that covers half of a scene keeps nobody's privacy better.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from langchain_vpp.network.protector import Protector, ProtectorConfig
from trainer.recipes.photographs.regions import LEVELS, Region, RegionMap
from trainer.recipes.photographs.scenes import draw_scene
from trainer.runtime.checkpoint import save_state
from trainer.runtime.optim import OneCycle, fit
from trainer.runtime.precision import cpu_precision

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from trainer.recipes.photographs.scenes import Pixels, Scene, Taught

_SHARES: Final = (0.35, 0.35, 0.2, 0.1)
"""Share of the pictures that learn each of :data:`LEVELS`."""
_WHOLE: Final = {Region.FACE: 1000.0, Region.TEXT: 800.0}
"""Cost of a whole face and of a whole line of text, in pixels of the scene."""
_PIXEL: Final = (1.0, 6.0)
"""Least and greatest cost of a pixel of one."""
_COSTS: Final = {Region.AROUND: 0.5}
"""Cost of a pixel that is to vanish, where it is not that of a pixel of the scene."""
_AVERAGED: Final = 0.998
_CHECKPOINT_EVERY: Final = 50
_TELL_EVERY: Final = 50
_logger = logging.getLogger(__name__)


class Pretraining(NamedTuple):
    """Settings of the training on teachers' masks."""

    steps: int
    batch: int = 8
    side: int = 192
    """Side of the pictures, in pixels."""
    rate: float = 2e-3
    """Peak of the learning rate."""
    seed: int = 0


class Lesson(NamedTuple):
    """A batch to learn from."""

    images: Tensor
    """``[B, 3, side, side]`` in [0, 1]."""
    level: Tensor
    """``[B]``."""
    hidden: Tensor
    """What is to vanish: ``[B, 1, side, side]``, 1 or 0."""
    cost: Tensor
    """Cost of an error at each pixel, same shape."""


def lesson(scenes: Sequence[Scene], generator: np.random.Generator) -> Lesson:
    """Choose a level for each picture, and mark what is to vanish there.

    Args:
        scenes: The pictures.
        generator: Chooses the levels.
    """
    levels = generator.choice(list(LEVELS), size=len(scenes), p=_SHARES)
    targets = [_target(each.regions, LEVELS[level]) for each, level in zip(scenes, levels, strict=True)]
    masks, costs = zip(*targets, strict=True)
    images = torch.from_numpy(np.stack([each.pixels for each in scenes])).permute(0, 3, 1, 2).float() / 255
    return Lesson(
        images,  # numpy's order of axes is already the layout in which convolutions are fastest
        torch.from_numpy(levels).float(),
        torch.from_numpy(np.stack(masks))[:, None].float(),
        torch.from_numpy(np.stack(costs))[:, None],
    )


def _target(regions: RegionMap, hidden: Region) -> tuple[np.ndarray, np.ndarray]:
    """Return the mask of what is to vanish, and the cost of an error at each pixel."""
    mask = (regions & hidden) > 0
    cost = np.ones(regions.shape, np.float32)
    for region, price in _COSTS.items():
        cost[mask & (regions == region)] = price
    # Nobody knows what is right there: a weak finding is as often a plate as a face.
    cost[((regions & Region.UNSURE) > 0) & ~mask] = 0
    for region, whole in _WHOLE.items():
        cost = np.maximum(cost, _each_alike((regions & region) > 0, whole))
    return mask, cost


def _each_alike(mask: np.ndarray, whole: float) -> np.ndarray:
    """Return the cost of each pixel where every connected part of a mask costs as much, and 0 outside."""
    count, labels, statistics, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    areas = statistics[:count, cv2.CC_STAT_AREA].astype(np.float32)
    price = np.clip(whole / np.maximum(areas, 1), *_PIXEL)
    price[0] = 0  # the background
    return np.asarray(price[labels], np.float32)


def mask_loss(protector: Protector, taught: Lesson) -> Tensor:
    """Return the mean cost of a batch: the cross-entropy of the mask, weighted by the cost of each pixel."""
    openness = protector.openness(taught.images, taught.level)
    shown = ((openness + 0.2) / 1.4).clamp(1e-5, 1 - 1e-5)
    error = nn.functional.binary_cross_entropy(shown, 1 - taught.hidden, reduction="none")
    return (error * taught.cost).mean()


def pretrain(
    photographs: Sequence[Taught],
    portraits: Sequence[Pixels],
    config: ProtectorConfig,
    settings: Pretraining,
    checkpoint: Path,
    *,
    start: Protector | None = None,
) -> Protector:
    """Train a protector on teachers' masks, or resume its training.

    Args:
        photographs: Photographs with region maps.
        portraits: Faces to paste.
        config: Shape of the protector.
        settings: Steps, sizes and seed.
        checkpoint: File to resume from if it exists, and to save to.
        start: Protector of the same shape whose features training starts from; its last convolution is made anew.

    Returns:
        The protector with the mean of its weights over the last steps.
    """
    torch.manual_seed(settings.seed)  # a script: the initial weights have no other source
    protector = Protector(config).to(memory_format=torch.channels_last)
    if start is not None:
        features = {
            name: tensor for name, tensor in start.state_dict().items() if not name.startswith("head.")
        }
        protector.load_state_dict(features, strict=False)
    average = torch.optim.swa_utils.AveragedModel(
        protector,
        multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(_AVERAGED),  # type: ignore[no-untyped-call]
    )
    descent = OneCycle(
        protector.parameters(),
        steps=settings.steps,
        learning_rate=settings.rate,
        weight_decay=1e-4,
        warm_up=0.1,
        clip=1.0,
    )
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        protector.load_state_dict(state["protector"])
        average.load_state_dict(state["average"])
        descent.load_state_dict(state)

    def loss(step: int) -> Tensor:
        generator = np.random.default_rng((settings.seed, step))
        scenes = [draw_scene(photographs, portraits, settings.side, generator) for _ in range(settings.batch)]
        return mask_loss(protector, lesson(scenes, generator))

    def after_step(step: int, error: Tensor) -> None:
        average.update_parameters(protector)
        if step % _TELL_EVERY == 0 or step == settings.steps:
            _logger.info("pretraining: %d of %d, error %.3f", step, settings.steps, error.item())
        if step % _CHECKPOINT_EVERY == 0 or step == settings.steps:
            state = {"protector": protector.state_dict(), "average": average.state_dict()}
            save_state(state | descent.state_dict(), checkpoint)

    with cpu_precision():
        fit(descent, loss, range(descent.done, settings.steps), on_step=after_step)
    averaged = average.module
    assert isinstance(averaged, Protector)
    return averaged.eval()
