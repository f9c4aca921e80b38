"""Strips: the places of private text, cut out and stacked, so that attackers look at little else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from trainer.attackers.words.readers import Seen

    Box = tuple[float, float, float, float]

_BEFORE: Final = 4.0
"""Space before private text that belongs to its strip, in heights."""
_AFTER: Final = 12.0
"""Space after it, in heights: what follows a plate moves behind it."""
_ABOVE: Final = 0.5
_SPACE: Final = 14
"""Pixels between strips."""


class Strips(NamedTuple):
    """Places in a picture, each with the row at which it stands in the stack."""

    boxes: tuple[tuple[int, int, int, int], ...]
    rows: tuple[int, ...]
    size: tuple[int, int]

    def stack(self, picture: Image.Image) -> Image.Image:
        """Cut the places out of a picture and stack them."""
        stacked = Image.new("RGB", self.size, picture.getpixel((0, 0)))
        for box, row in zip(self.boxes, self.rows, strict=True):
            stacked.paste(picture.crop(box), (0, row))
        return stacked

    def placed(self, seen: Iterable[Seen], scale: float) -> Iterator[Seen]:
        """Yield what was read in a stack, where it stands in the picture.

        Args:
            seen: Text that was read in the stack.
            scale: Enlargement of the stack.
        """
        for each in seen:
            left, top, right, bottom = (edge / scale for edge in each.box)
            middle = (top + bottom) / 2
            for box, row in zip(self.boxes, self.rows, strict=True):
                if row - _SPACE / 2 <= middle < row + box[3] - box[1] + _SPACE / 2:
                    x, y = box[0], box[1] - row
                    yield each._replace(box=(left + x, top + y, right + x, bottom + y))


def strips_of(boxes: Sequence[Box], size: tuple[int, int]) -> Strips:
    """Choose the strips around boxes of private text; those that overlap become one.

    Args:
        boxes: The boxes.
        size: Width and height of the picture.
    """
    wide: list[list[int]] = []
    for left, top, right, bottom in sorted(boxes, key=lambda box: (box[1], box[0])):
        height = bottom - top
        strip = [
            max(0, int(left - _BEFORE * height)),
            max(0, int(top - _ABOVE * height)),
            min(size[0], int(right + _AFTER * height) + 1),
            min(size[1], int(bottom + _ABOVE * height) + 1),
        ]
        last = next((each for each in wide if _overlap(each, strip)), None)
        if last is None:
            wide.append(strip)
        else:
            last[:] = [
                min(last[0], strip[0]),
                min(last[1], strip[1]),
                max(last[2], strip[2]),
                max(last[3], strip[3]),
            ]
    rows, row = [], _SPACE
    for strip in wide:
        rows.append(row)
        row += strip[3] - strip[1] + _SPACE
    whole = (max((strip[2] - strip[0] for strip in wide), default=1), row)
    return Strips(tuple((a, b, c, d) for a, b, c, d in wide), tuple(rows), whole)


def _overlap(one: Sequence[int], other: Sequence[int]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
