"""Aimed attack: readers of lines that are told where each private text stands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from PIL import ImageFilter, ImageOps

from trainer.attackers.words.lines import STRETCHING
from trainer.attackers.words.readers import Seen, averaged

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from PIL import Image

    from trainer.attackers.words.lines import LineReader

    Box = tuple[float, float, float, float]

_SIDE: Final = 0.5
"""Space beside the text, in heights, in a narrow crop."""
_ABOVE: Final = 0.2
"""Space above and below it, in heights."""
_BEFORE, _AFTER = 4.0, 12.0
"""Space beside it, in heights, in a wide crop: what stood behind covered text moves on its row."""
NARROW: Final = ("as it is", "sharpened", "stretched", "averaged")
"""Views of the narrow crop."""


def aimed_attempts(
    levels: Mapping[str, Image.Image],
    boxes: Sequence[Box],
    readers: Mapping[str, LineReader],
    *,
    plain: bool = False,
) -> dict[str, dict[str, list[Seen]]]:
    """Read the places of private text in protected copies of a picture.

    Each line of private text is cut out closely (as it is, sharpened, with its contrast stretched, and in the mean over
    all levels), and with its surroundings, because words may have moved on their row. A reader of lines scales every
    crop to its own height, so that small letters are enlarged too.

    Args:
        levels: Name of a level -> the picture protected at it.
        boxes: Boxes of the lines of private text.
        readers: Name of a reader -> the reader.
        plain: Only look closely at the pictures as they are, as for originals.

    Returns:
        Level -> reader and view -> what was read, each text at the box of its line.
    """
    found: dict[str, dict[str, list[Seen]]] = {level: {} for level in levels}
    mean = averaged(list(levels.values())) if len(levels) > 1 else None
    for name, read in readers.items():
        crops = [
            (level, view, box, crop)
            for level, picture in levels.items()
            for box in boxes
            for view, crop in _crops(picture, mean, box, stretching=name in STRETCHING)
            if view == NARROW[0] or not plain
        ]
        # Levels often show the same at a place, and the same pixels are read once.
        fresh = {(crop.size, crop.tobytes()): crop for *_, crop in crops}
        known = dict(zip(fresh, read(list(fresh.values())), strict=True))
        for level, view, box, crop in crops:
            text = known[crop.size, crop.tobytes()]
            found[level].setdefault(f"{name}, {view}", []).append(Seen(text, box))
    return found


def _crops(
    picture: Image.Image, mean: Image.Image | None, box: Box, *, stretching: bool
) -> Iterator[tuple[str, Image.Image]]:
    """Yield views of the place of a line of text; fewer for a reader that stretches contrast by itself."""
    narrow = _cut(picture, box, _SIDE, _SIDE)
    yield "as it is", narrow
    yield "around", _cut(picture, box, _BEFORE, _AFTER)
    if not stretching:
        yield "sharpened", narrow.filter(ImageFilter.UnsharpMask(3, 250, 0))
        yield "stretched", _stretched(narrow)
    if mean is not None:
        averages = _cut(mean, box, _SIDE, _SIDE)
        yield "averaged", averages if stretching else _stretched(averages)


def _stretched(picture: Image.Image) -> Image.Image:
    return ImageOps.equalize(picture.convert("L")).convert("RGB")


def _cut(picture: Image.Image, box: Box, before: float, after: float) -> Image.Image:
    """Cut a box out, with space beside it in heights, inside the picture."""
    left, top, right, bottom = box
    height = bottom - top
    edges = (
        max(0, int(left - before * height)),
        max(0, int(top - _ABOVE * height)),
        min(picture.width, int(right + after * height) + 1),
        min(picture.height, int(bottom + _ABOVE * height) + 1),
    )
    return picture.crop((*edges[:2], max(edges[0] + 1, edges[2]), max(edges[1] + 1, edges[3])))
