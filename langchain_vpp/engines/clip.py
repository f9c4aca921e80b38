"""Frames of one video: what is covered in one frame is covered wherever another frame shows the same.

An engine judges each frame by itself, and may miss in one what it covers in the next. Whoever has all frames would then
look at the weakest. So covers are carried to the frames before and behind, to where these show the same pixels: in
place, or moved. The pixels that are put there are protected ones of the other frame, so that no frame shows more of a
thing than the frame that shows it least, as far as it is found again.
"""

from __future__ import annotations

from collections import deque
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_GRID: Final = 160
"""Longest side, in cells, at which frames are compared."""
_COVERED: Final = 20.0
"""Difference of a cell from its original, of 255, from which it counts as covered."""
_SAME: Final = 12.0
"""Difference of a cell from that of another frame, of 255, up to which both show the same."""
_ALIKE: Final = 0.75
"""Correlation from which a covered part counts as found again in another frame."""
_PLAIN: Final = 4.0
"""Deviation, of 255, below which a part has too little in it to be found again."""
_TILE: Final = 4
"""Side, in cells, of the tiles whose neighbours belong to one part."""
_MOST_PARTS: Final = 24
_STILL: Final = 0.6
"""Share of a part that has to be the same in another frame for it to be still there."""
_LARGEST_PART: Final = 0.35
"""Share of a frame above which a part is not looked for elsewhere."""


class _Frame:
    """A frame before and after its protection, as images and as cells."""

    def __init__(self, original: Image.Image, protected: Image.Image) -> None:
        scale = min(1.0, _GRID / max(original.size))
        size = max(1, round(original.width * scale)), max(1, round(original.height * scale))
        self.cells = _cells(original, size)
        self.gray = self.cells.mean(axis=2)
        self.covered = np.abs(_cells(protected, size) - self.cells).max(axis=2) > _COVERED
        self.pixels = np.asarray(protected).copy()
        self._parts: list[_Part] | None = None

    def image(self) -> Image.Image:
        """Return the protected frame as a new image."""
        return Image.fromarray(self.pixels)

    def cover(self, part: _Part, other: _Frame, place: tuple[int, int]) -> None:
        """Put protected pixels of a part of another frame to a place, unless it is covered."""
        height, width = part.mask.shape
        box = np.s_[place[0] : place[0] + height, place[1] : place[1] + width]
        if not (part.mask & ~self.covered[box]).any():
            return
        self.covered[box] |= part.mask
        self._parts = None
        rows, from_rows = self._span(0, place[0], part.top, height)
        columns, from_columns = self._span(1, place[1], part.left, width)
        target, mask = self.pixels[rows, columns], part.mask
        mask = mask[_stretched(target.shape[0], height)][:, _stretched(target.shape[1], width)]
        np.copyto(target, other.pixels[from_rows, from_columns], where=mask[..., None])

    def parts(self) -> list[_Part]:
        """Return the covered parts, the largest first."""
        if self._parts is None:
            self._parts = list(_parts(self.covered))
        return self._parts

    def _span(self, axis: int, place: int, start: int, cells: int) -> tuple[slice, slice]:
        """Return the pixels of some cells along an axis, and as many pixels of the cells that begin elsewhere."""
        pixels, of = self.pixels.shape[axis], self.covered.shape[axis]
        first = place * pixels // of
        count = (place + cells) * pixels // of - first
        other = min(start * pixels // of, pixels - count)
        return slice(first, first + count), slice(other, other + count)


class _Part(NamedTuple):
    """Covered cells that belong together: the box that they fill, and which of its cells they are."""

    top: int
    left: int
    mask: Any


class Steadier:
    """Carries covers between the frames of a video as they come.

    Args:
        ahead: Covers are carried back to at least so many frames. They leave some at once, half as many.

    Example:
        >>> picture = Image.new("RGB", (64, 48))
        >>> steadier = Steadier(ahead=2)
        >>> [len(list(steadier.push(picture, picture))) for _ in range(5)]
        [0, 0, 0, 2, 0]
        >>> len(list(steadier.rest()))
        3
    """

    def __init__(self, ahead: int) -> None:
        self._ahead = ahead
        self._at_once = max(1, ahead // 2)
        self._held: deque[_Frame] = deque()

    def push(self, original: Image.Image, protected: Image.Image) -> Iterator[Image.Image]:
        """Take the next frame, and yield those that no later one changes any more.

        Args:
            original: The frame, RGB.
            protected: The frame after its protection, by itself, of the same size.
        """
        frame = _Frame(original, protected)
        if self._held:
            _carry(self._held[-1], frame)
        self._held.append(frame)
        if len(self._held) <= self._ahead + self._at_once:
            return
        self._carry_back()
        while len(self._held) > self._ahead:
            yield self._held.popleft().image()

    def rest(self) -> Iterator[Image.Image]:
        """Yield the frames that are still held back, once all have come."""
        self._carry_back()
        while self._held:
            yield self._held.popleft().image()

    def _carry_back(self) -> None:
        for later, earlier in pairwise(reversed(self._held)):
            _carry(later, earlier)


def steadied(originals: Sequence[Image.Image], protected: Sequence[Image.Image]) -> list[Image.Image]:
    """Cover in each frame of a video what is covered in the frames beside it.

    Args:
        originals: RGB frames of one size, in the order of time.
        protected: The same frames after protection, each by itself.

    Returns:
        New RGB frames.
    """
    steadier = Steadier(ahead=len(originals))
    for pair in zip(originals, protected, strict=True):
        for _ in steadier.push(*pair):
            pass
    return list(steadier.rest())


def _carry(source: _Frame, target: _Frame) -> None:
    """Cover in one frame what another one covers."""
    if source.gray.shape != target.gray.shape or not source.covered.any():
        return
    same = _smoothed(np.abs(source.cells - target.cells).max(axis=2)) < _SAME
    for part in source.parts():
        place = _place_of(part, source, target, same)
        if place is not None:
            target.cover(part, source, place)


def _place_of(part: _Part, source: _Frame, target: _Frame, same: Any) -> tuple[int, int] | None:
    """Return top and left of a part in another frame: where it was if it still is there, or where it went."""
    height, width = part.mask.shape
    here = same[part.top : part.top + height, part.left : part.left + width]
    # The scene around a thing stays when the thing goes on, so most of the part has to be the same.
    if here[part.mask].mean() >= _STILL:
        return part.top, part.left
    if height * width > _LARGEST_PART * same.size:
        return None
    return _found(source.gray, target.gray, part)


def _parts(covered: Any) -> Iterator[_Part]:
    """Yield the covered parts of a frame, the largest first."""
    height, width = covered.shape
    rows, columns = -(-height // _TILE), -(-width // _TILE)
    padded = np.zeros((rows * _TILE, columns * _TILE), dtype=bool)
    padded[:height, :width] = covered
    free: Any = padded.reshape(rows, _TILE, columns, _TILE).any(axis=(1, 3))
    labels = _labelled(free)
    numbers, sizes = np.unique(labels[free], return_counts=True)
    for number in numbers[np.argsort(-sizes, kind="stable")][:_MOST_PARTS]:
        downs, rights = np.nonzero(labels == number)
        top, left = downs.min() * _TILE, rights.min() * _TILE
        bottom, right = (downs.max() + 1) * _TILE, (rights.max() + 1) * _TILE
        yield _Part(int(top), int(left), covered[top:bottom, left:right].copy())


def _labelled(free: Any) -> Any:
    """Return a number for each tile: the same for tiles that hang together, and 0 for those that are not marked."""
    labels = np.where(free, np.arange(1, free.size + 1).reshape(free.shape), 0)
    while True:
        padded = np.pad(labels, 1)
        around = np.lib.stride_tricks.sliding_window_view(padded, (3, 3)).max(axis=(2, 3))
        spread = np.where(free, around, 0)
        # A label is the number of a tile of its part, which may know a larger one by now.
        spread = np.where(free, spread.ravel()[spread - 1], 0)
        if np.array_equal(spread, labels):
            return labels
        labels = spread


def _stretched(pixels: int, cells: int) -> Any:
    """Return for each pixel along an axis the cell that it lies in."""
    return np.arange(pixels) * cells // pixels


def _found(source: Any, target: Any, part: _Part) -> tuple[int, int] | None:
    """Return top and left of the place where a frame shows a part of another one; ``None`` if it is not there."""
    height, width = part.mask.shape
    template = source[part.top : part.top + height, part.left : part.left + width]
    template = template - template.mean()
    if template.std() < _PLAIN:
        return None
    likeness = _correlation(target, template)
    best = np.unravel_index(np.argmax(likeness), likeness.shape)
    return (int(best[0]), int(best[1])) if likeness[best] >= _ALIKE else None


def _correlation(picture: Any, template: Any) -> Any:
    """Return the correlation of a template of mean 0 with each part of a picture that is as large."""
    height, width = template.shape
    rows, columns = picture.shape[0] - height + 1, picture.shape[1] - width + 1
    spectrum = np.fft.rfft2(picture) * np.conj(np.fft.rfft2(template, picture.shape))
    shared = np.fft.irfft2(spectrum, picture.shape)[:rows, :columns]
    area = height * width
    total, squares = _sums(picture, height, width), _sums(picture**2, height, width)
    deviation = np.sqrt(np.maximum(squares - total**2 / area, 1e-6))
    # Where a place is plain, its correlation is noise.
    return np.where(
        deviation / np.sqrt(area) < _PLAIN, 0.0, shared / (deviation * np.sqrt((template**2).sum()))
    )


def _sums(picture: Any, height: int, width: int) -> Any:
    """Return the sum of each part of a picture that has a height and a width."""
    table = np.pad(picture.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    return (
        table[height:, width:] - table[:-height, width:] - table[height:, :-width] + table[:-height, :-width]
    )


def _smoothed(cells: Any) -> Any:
    """Return the mean of each cell and its neighbours."""
    return _sums(np.pad(cells, 1, mode="edge"), 3, 3) / 9


def _cells(image: Image.Image, size: tuple[int, int]) -> Any:
    return np.asarray(image.resize(size, Image.Resampling.BOX), dtype=np.float32)
