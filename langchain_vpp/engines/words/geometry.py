"""Boxes, in pixels of a picture; edges lie between pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable

Box: TypeAlias = tuple[float, float, float, float]
"""Left, upper, right and lower edge."""


def height_of(box: Box) -> float:
    """Return the height of a box."""
    return box[3] - box[1]


def scaled(box: Box, factor: float, *, by: tuple[float, float] = (0, 0)) -> Box:
    """Move a box by so many pixels to the right and down, and then multiply its edges by a factor."""
    right, down = by
    return (
        (box[0] + right) * factor,
        (box[1] + down) * factor,
        (box[2] + right) * factor,
        (box[3] + down) * factor,
    )


def around(boxes: Iterable[Box]) -> Box:
    """Return the smallest box that holds all boxes."""
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)


def same_row(one: Box, other: Box) -> bool:
    """Say whether two boxes share at least half of the lower one's height."""
    shared = min(one[3], other[3]) - max(one[1], other[1])
    return shared >= 0.5 * min(height_of(one), height_of(other))


def overlap(one: Box, other: Box) -> float:
    """Return the area that two boxes share, as a part of the first one's."""
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    area = (one[2] - one[0]) * (one[3] - one[1])
    return max(0.0, wide) * max(0.0, high) / area if area > 0 else 0.0
