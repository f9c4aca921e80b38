"""Gaps: where one word ends and the next begins, from the pixels between them."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

from langchain_vpp.engines.words.geometry import around, height_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL import Image

    from langchain_vpp.engines.words.geometry import Box
    from langchain_vpp.engines.words.reader import Word

_REACH: Final = 0.7
"""Distance from an edge, in heights, within which a gap is looked for: readers place letters roughly."""
_END: Final = 0.25
"""Space, in heights, that the outer words of a line get beyond their letters."""
_CONTRAST: Final = 0.25
"""Contrast of a column of pixels with ink, as a part of the line's largest."""


def refined(image: Image.Image, words: Sequence[Word]) -> list[Word]:
    """Move the edges between the words of a line into the gaps that the picture shows there.

    Args:
        image: The picture.
        words: All words of it, as a reader returns them.
    """
    found = list(words)
    lines: dict[int, list[int]] = {}
    for index, word in enumerate(words):
        lines.setdefault(word.line, []).append(index)
    for line in lines.values():
        boxes = _fitted(image, [words[index].box for index in line])
        for index, box in zip(line, boxes, strict=True):
            found[index] = words[index]._replace(box=box)
    return found


def _fitted(image: Image.Image, boxes: Sequence[Box]) -> list[Box]:
    edges = [list(box) for box in boxes]
    height = max(height_of(box) for box in boxes)
    edges[0][0] -= _END * height
    edges[-1][2] += _END * height
    whole = around((left, top, right, bottom) for left, top, right, bottom in edges)
    start, top = max(0, int(whole[0])), max(0, int(whole[1]))
    line = np.asarray(
        image.crop((start, top, int(whole[2]) + 1, int(whole[3]) + 1)).convert("L"), dtype=np.int16
    )
    contrast = line.max(0) - line.min(0)
    empty = contrast < _CONTRAST * max(1, int(contrast.max(initial=0)))
    for left, right in pairwise(edges):
        begin = max(0, round(left[2] - _REACH * height) - start, round((left[0] + left[2]) / 2) - start)
        end = min(
            len(empty), round(right[0] + _REACH * height) - start, round((right[0] + right[2]) / 2) - start
        )
        first, last = _widest(empty[begin:end])
        if last > first:
            left[2], right[0] = start + begin + first, start + begin + last
        else:
            left[2] = right[0] = (left[2] + right[0]) / 2
    return [(left, upper, max(left + 1, right), lower) for left, upper, right, lower in edges]


def _widest(empty: np.ndarray) -> tuple[int, int]:
    """Return the longest run of true values, as its first index and the one after its last."""
    steps = np.diff(np.concatenate(([0], empty.astype(np.int8), [0])))
    starts, ends = np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)
    if not len(starts):
        return 0, 0
    longest = int(np.argmax(ends - starts))
    return int(starts[longest]), int(ends[longest])
