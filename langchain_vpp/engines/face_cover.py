"""Covering of faces that a small detector finds, beside a network that has learned what to hide."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from langchain_vpp.engines.learned import open_session
from langchain_vpp.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_Pixels: TypeAlias = npt.NDArray[np.uint8]
_Box: TypeAlias = "tuple[float, float, float, float]"
"""Left, upper, right and lower edge, in pixels."""

_MULTIPLE: Final = 32
_GREY: Final = 128
"""Grey of covered faces, and of what is added to fill a multiple of 32 pixels."""


class _Oval(NamedTuple):
    """Shape of a cover, in shares of the width and the height of a face."""

    across: float
    """Half the width."""
    down: float
    """Half the height."""
    raised: float
    """Distance of its middle above that of the face."""


_PARTLY: Final = 0.2
"""Share of a weak finding's box that must be hidden for it to count."""
_HEAD: Final = _Oval(0.8, 0.95, 0.12)  # raised, because hair belongs to it
_FACE: Final = _Oval(0.65, 0.7, 0.04)


class FaceCover:
    """Paints one grey over every face that a detector finds, or over the whole head.

    One session serves all threads, and each call computes in the thread that made it.

    Args:
        graph: The serialised graph, from ``image`` (uint8, ``[1, H, W, 3]``, both sides multiples of 32) to ``boxes``
            (float32, ``[N, 4]``: left, upper, right and lower edge in pixels) and ``scores`` (float32, ``[N]``).
        threshold: Score from which something is taken for a face.
        scales: Sizes at which a picture is searched, as shares of its own: smaller ones for larger faces.
        heads_from: Level from which the whole head is covered; below it the face alone.
        sure: Score from which a finding counts by itself. A weaker one counts only where an engine hides part of the
            face, too: alone, each takes many a plate for a face, but seldom the same one.

    Raises:
        ArtifactError: If ONNX Runtime can't load the graph, or it has other inputs or outputs.
    """

    def __init__(
        self,
        graph: bytes,
        *,
        threshold: float,
        scales: Sequence[float],
        heads_from: float = 0.0,
        sure: float = 0.0,
    ) -> None:
        self._threshold, self._scales = threshold, tuple(scales)
        self._heads_from, self._sure = heads_from, sure
        failure = ""
        try:
            self._session = open_session(graph)
            names = [each.name for each in (*self._session.get_inputs(), *self._session.get_outputs())]
            if names != ["image", "boxes", "scores"]:
                failure = "other inputs or outputs"
        except Exception as error:  # noqa: BLE001  its exceptions have no other common base
            failure = type(error).__name__
        if failure:
            raise ArtifactError(
                f"the face detector of the artifact can't be used ({failure}). Nothing was loaded. "
                "Get the artifact again from where it was trained, or install a newer onnxruntime."
            )

    def cover(self, seen: _Pixels, shown: _Pixels, level: float = 1.0) -> _Pixels:
        """Return what is to be shown with every face covered that is found in what was seen.

        Args:
            seen: The picture, ``[H, W, 3]``.
            shown: The picture that an engine made of it, of the same shape. It is not changed.
            level: 0 most useful, 1 most private.
        """
        result = shown.copy()
        oval = _FACE if level < self._heads_from else _HEAD
        hidden = (seen != shown).any(axis=2)
        for left, top, right, bottom, score in self._found(seen, self._scales):
            if score < self._sure and not _is_partly(hidden, (left, top, right, bottom)):
                continue
            _paint_oval(
                result,
                ((left + right) / 2, (top + bottom) / 2 - oval.raised * (bottom - top)),
                (oval.across * (right - left), oval.down * (bottom - top)),
            )
        return result

    def find(self, seen: _Pixels, scales: Sequence[float]) -> Iterator[_Box]:
        """Yield boxes around faces: left, upper, right and lower edge. A face may have several.

        Args:
            seen: The picture, ``[H, W, 3]``.
            scales: Sizes at which it is searched, as shares of its own.
        """
        for left, top, right, bottom, _ in self._found(seen, scales):
            yield left, top, right, bottom

    def _found(
        self, seen: _Pixels, scales: Sequence[float]
    ) -> Iterator[tuple[float, float, float, float, float]]:
        for scale in scales:
            boxes, scores = self._session.run(["boxes", "scores"], {"image": _scaled(seen, scale)[None]})
            # A score that is no number counts as a face.
            counts = ~(scores < self._threshold)
            for box, score in zip(boxes[counts] / np.float32(scale), scores[counts].tolist(), strict=True):
                left, top, right, bottom = box.tolist()
                yield left, top, right, bottom, score


def _scaled(pixels: _Pixels, scale: float) -> _Pixels:
    """Scale a picture, and fill it up with grey to multiples of 32 pixels at its right and lower edge."""
    height, width = (max(1, round(side * scale)) for side in pixels.shape[:2])
    if scale != 1:
        smaller = Image.fromarray(pixels).resize((width, height), Image.Resampling.BOX)
        pixels = np.asarray(smaller)
    down, across = (math.ceil(side / _MULTIPLE) * _MULTIPLE - side for side in (height, width))
    return np.pad(pixels, ((0, down), (0, across), (0, 0)), constant_values=_GREY)


def _is_partly(hidden: npt.NDArray[np.bool_], box: _Box) -> bool:
    """Say whether part of a box is hidden; of one at no place nobody knows."""
    if not all(map(math.isfinite, box)):
        return True
    left, top, right, bottom = box
    part = hidden[
        max(0, math.floor(top)) : max(0, math.ceil(bottom)),
        max(0, math.floor(left)) : max(0, math.ceil(right)),
    ]
    return bool(part.size) and float(part.mean()) >= _PARTLY


def _paint_oval(pixels: _Pixels, middle: tuple[float, float], reach: tuple[float, float]) -> None:
    """Paint an oval, given by its middle and half its width and height, in place."""
    height, width = pixels.shape[:2]
    ends = (middle[0] - reach[0], middle[1] - reach[1], middle[0] + reach[0], middle[1] + reach[1])
    if not all(map(math.isfinite, ends)):
        pixels[:] = _GREY  # nobody knows where the face is
        return
    left, top = max(0, math.floor(ends[0])), max(0, math.floor(ends[1]))
    right, bottom = min(width, math.ceil(ends[2])), min(height, math.ceil(ends[3]))
    if left >= right or top >= bottom:
        return
    x = (np.arange(left, right) + 0.5 - middle[0]) / max(reach[0], 1)
    y = (np.arange(top, bottom) + 0.5 - middle[1]) / max(reach[1], 1)
    pixels[top:bottom, left:right][x**2 + y[:, None] ** 2 <= 1] = _GREY
