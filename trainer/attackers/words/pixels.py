"""Words that stand in a protected picture as they stood in the original, found by their pixels and without a reader."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from PIL import Image

    Box = tuple[float, float, float, float]

_INK: Final = 0.25
"""Contrast of a pixel with ink, as a part of the word's largest."""
_SAME: Final = 6
"""Largest difference of a pixel that was copied."""
_WHOLE: Final = 0.85
"""Share of a word's ink from which it counts as shown. A reader may miss a fifth of a word's letters, too."""
_BESIDE: Final = 0.5
"""Distance, in heights, up to which a word stands in its place."""


class Found(NamedTuple):
    """Whether a word is shown, on its row and in its place."""

    shown: bool
    in_place: bool


def shown_words(original: Image.Image, protected: Image.Image, boxes: Iterable[Box]) -> list[Found]:
    """Look for the pixels of words of the original on the same rows of the protected picture.

    Args:
        original: The original.
        protected: The protected picture, as large.
        boxes: Boxes of words in the original.
    """
    before = np.asarray(original.convert("L"), dtype=np.int16)
    after = np.asarray(protected.convert("L"), dtype=np.int16)
    return [_found(before, after, box) for box in boxes]


def _found(before: np.ndarray, after: np.ndarray, box: Box) -> Found:
    left, top = max(0, int(box[0])), max(0, int(box[1]))
    word = before[top : int(box[3]) + 1, left : int(box[2]) + 1]
    ground = np.median(word)
    contrast = np.abs(word - ground)
    ink = contrast > _INK * max(1, int(contrast.max(initial=0)))
    if not ink.any():
        return Found(shown=False, in_place=False)
    rows, columns = np.nonzero(ink)
    band = after[top : top + word.shape[0]]
    places = band.shape[1] - word.shape[1] + 1
    # The pixels of ink alone: a plate may stand close to a word, and take its ground.
    same = np.zeros(places, dtype=np.int32)
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        same += np.abs(band[row, column : column + places] - word[row, column]) <= _SAME
    # Where one colour covers all, the ink's pixels may be the same, but nothing is written in them.
    windows = np.lib.stride_tricks.sliding_window_view(band, word.shape[1], axis=1)
    written = np.ptp(windows, axis=(0, 2)) > contrast.max() / 2
    enough = np.flatnonzero((same >= _WHOLE * len(rows)) & written)
    near = np.abs(enough - left) <= _BESIDE * (box[3] - box[1])
    return Found(shown=bool(len(enough)), in_place=bool(near.any()))
