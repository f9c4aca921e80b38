"""Repeated queries: many protected views of one picture, which a provider could average."""

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
    """One more way to show a picture: cropped first, then scaled, then protected."""

    level_change: float
    """Added to the requested level; the sum is clamped to [0, 1]."""
    scale: float
    """Scale of both sides after cropping, in (0, 1]."""
    left: float
    """Share of the width that is cropped at the left."""
    top: float
    """Share of the height that is cropped at the top."""
    right: float
    """Share of the width that is cropped at the right."""
    bottom: float
    """Share of the height that is cropped at the bottom."""


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
    """Combine levels, scales and crops in every way.

    Args:
        level_changes: Added to the requested level; none is negative for a client whose lowest level is evaluated.
        scales: Scales of both sides, in (0, 1].
        margins: Shares cropped at left, top, right and bottom, each at least 0; opposite ones sum to less than 1.

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
    """Engine that returns the registered average of many protected views of a picture.

    Each view is protected by the engine under test and encoded as it is sent, then moved back to its place in the
    picture and averaged with the others. The attacker is told where each crop lies, which it could find by matching, so
    the result is the most that averaging gives. Noise that is drawn anew averages out; the cells of a mosaic, which lie
    elsewhere in every crop and size, cross each other into finer ones.

    Give it to an evaluation in place of the engine: classifiers then learn from and are judged by such averages.

    Args:
        engine: The engine under test.
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
        """SHA-256, in hex, of the views and of the engine's digest, if it has one."""
        inner = getattr(self._engine, "digest", "")
        return hashlib.sha256(f"repeated/1/{inner}/{self._shown}".encode()).hexdigest()

    def protect(self, image: Image.Image, level: float) -> Image.Image:
        """Protect and average the views of a picture; see :meth:`~langchain_vpp.engines.Engine.protect`."""
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
    """Return left, top, right and bottom of a crop, in pixels; at least one pixel each way."""
    width, height = size
    left, top = round(width * view.left), round(height * view.top)
    return (
        left,
        top,
        max(left + 1, width - round(width * view.right)),
        max(top + 1, height - round(height * view.bottom)),
    )
