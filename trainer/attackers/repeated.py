"""One picture asked for many times: what a provider can lay over each other."""

from __future__ import annotations

import hashlib
from itertools import product
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from PIL import Image

from langchain_vpp.images.codec import decode_image, encode_image

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_vpp.engines import Engine

_LEAST_SIDE: Final = 8


class View(NamedTuple):
    """How the picture is shown once more: cut first, then scaled, then protected."""

    level_change: float
    """Added to the level asked for; the sum is kept in [0, 1]."""
    scale: float
    """Of both sides after cutting."""
    left: float
    """What is cut off, as a share of the width; likewise the others of width or height."""
    top: float
    right: float
    bottom: float


def views(
    *,
    level_changes: Sequence[float] = (0.0, 0.05, 0.1),
    scales: Sequence[float] = (1.0, 0.8, 0.6),
    margins: Sequence[tuple[float, float, float, float]] = (
        (0.0, 0.0, 0.0, 0.0),
        (0.04, 0.0, 0.0, 0.06),
        (0.0, 0.05, 0.07, 0.0),
    ),
) -> tuple[View, ...]:
    """Every combination of levels, sizes and crops.

    Args:
        level_changes: Not below 0 to model a client whose lowest level is the one that is evaluated.
        scales: In (0, 1].
        margins: Left, top, right and bottom, each at least 0, and those on opposite sides less than 1 together.

    Raises:
        ValueError: If a scale or margin is out of its range, or there is no view.
    """
    if not all(0 < scale <= 1 for scale in scales):
        raise ValueError("a scale must be in (0, 1]")
    for left, top, right, bottom in margins:
        if min(left, top, right, bottom) < 0 or left + right >= 1 or top + bottom >= 1:
            raise ValueError("margins must not be negative and leave something between them")
    found = tuple(
        View(change, scale, *margin) for change, scale, margin in product(level_changes, scales, margins)
    )
    if not found:
        raise ValueError("at least one view is needed")
    return found


class RepeatedQueries:
    """An engine that gives what is learned from many protected views of a picture: their registered average.

    Each view is protected by the engine under test and encoded as it is sent, then brought back to its place in the
    picture and averaged with the others. Where the cut lies is told to the attacker, who could find it by matching:
    what comes out is the most that averaging gives. Noise that is drawn anew averages out; the cells of a mosaic, which
    lie elsewhere in every crop and size, cross each other into finer ones.

    Give it to an evaluation in place of the engine, so that classifiers learn from and are judged by such averages.

    Args:
        engine: What protects.
        shown: The views of every picture.

    Raises:
        ValueError: If there is no view.
    """

    name = "repeated queries"

    def __init__(self, engine: Engine, shown: Sequence[View]) -> None:
        if not shown:
            raise ValueError("at least one view is needed")
        self._engine, self._shown = engine, tuple(shown)

    @property
    def digest(self) -> str:
        """sha256, in hex, of the views and of the engine's digest, if it has one."""
        inner = getattr(self._engine, "digest", "")
        return hashlib.sha256(f"repeated/1/{inner}/{self._shown}".encode()).hexdigest()

    def protect(self, image: Image.Image, level: float) -> Image.Image:
        """Average the views of a picture; see :meth:`~langchain_vpp.engines.Engine.protect`."""
        total = np.zeros((image.height, image.width, 3))
        count = np.zeros((image.height, image.width, 1))
        for view in self._shown:
            box = _box(image.size, view)
            size = (box[2] - box[0], box[3] - box[1])
            small = tuple(max(_LEAST_SIDE, round(side * view.scale)) for side in size)
            shown = image.crop(box).resize((small[0], small[1]), Image.Resampling.BOX)
            sent = self._engine.protect(shown, min(1.0, max(0.0, level + view.level_change)))
            arrived = decode_image(encode_image(sent)).resize(size, Image.Resampling.BICUBIC)
            total[box[1] : box[3], box[0] : box[2]] += np.asarray(arrived)
            count[box[1] : box[3], box[0] : box[2]] += 1
        average = np.where(count > 0, total / np.maximum(count, 1), 128)
        return Image.fromarray(average.round().astype(np.uint8))


def _box(size: tuple[int, int], view: View) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of what is left, in pixels, at least one each way."""
    width, height = size
    left, top = round(width * view.left), round(height * view.top)
    return (
        left,
        top,
        max(left + 1, width - round(width * view.right)),
        max(top + 1, height - round(height * view.bottom)),
    )
