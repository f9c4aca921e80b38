"""Layout: where plates stand, and where words go that stood close to what plates cover."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

from langchain_vpp.engines.words.geometry import height_of, same_row

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from langchain_vpp.engines.words.geometry import Box

_CLOSE: Final = 1.3
"""Space, in heights, up to which what follows on a row belongs to what stands before it, and moves with it."""
_SPACE: Final = 0.3
"""Space between a plate and what stands beside it, in heights."""
_LEFT: Final = 2.0
"""Left edges of plates that stand alone are moved to multiples of this many heights."""


class Item(NamedTuple):
    """A word that is to be shown, or the private words that one plate covers.

    Attributes:
        box: Its box in the original.
        width: Width of the plate; 0 for a word, which keeps its own.
        height: Height by which distances are measured; the same for private words with and without low letters.
    """

    box: Box
    width: float
    height: float

    @property
    def is_plate(self) -> bool:
        """Whether a plate stands here."""
        return self.width > 0


def left_edges(items: Sequence[Item], width: int) -> list[float | None]:
    """Return the left edge of each item in the protected picture.

    Plates are as wide as their kinds demand and not as the text below, and what follows a plate closely stands at a
    fixed distance from it. So no place tells how long the private text is. Items that stand apart stay where they are,
    unless something that moves needs their place; they move to the right then.

    Args:
        items: All items of a picture.
        width: Width of the picture, pixels.

    Returns:
        An edge for each item; ``None`` for a word that does not fit into the picture any more.
    """
    edges: list[float | None] = [item.box[0] for item in items]
    for row in _rows(items):
        _lay_out(items, row, edges, width)
    return edges


def _rows(items: Sequence[Item]) -> Iterator[list[int]]:
    """Yield the items of each row that has a plate, from left to right. Rows that overlap are one."""
    order = sorted(range(len(items)), key=lambda index: items[index].box[1])
    group, bottom = list[int](), -math.inf
    for index in [*order, -1]:
        if index < 0 or items[index].box[1] >= bottom - 0.3 * height_of(items[index].box):
            if any(items[each].is_plate for each in group):
                yield sorted(group, key=lambda each: items[each].box[0])
            group, bottom = [], -math.inf
        if index >= 0:
            group.append(index)
            bottom = max(bottom, items[index].box[3])


def _lay_out(items: Sequence[Item], row: Sequence[int], edges: list[float | None], width: int) -> None:
    """Place the items of a row one after the other."""
    for place, index in enumerate(row):
        item = items[index]
        before = [each for each in row[:place] if same_row(items[each].box, item.box)]
        last = max(before, key=lambda each: items[each].box[2], default=None)
        if last is not None and item.box[0] - items[last].box[2] < _CLOSE * item.height:
            edge = _edge_behind(item, items[last], edges[last])
        else:
            edge = _edge_apart(item, [(items[each], edges[each]) for each in before])
        fits = edge is not None and (item.is_plate or _end(item, edge) < width)
        edges[index] = edge if fits else None


def _edge_behind(item: Item, last: Item, edge: float | None) -> float | None:
    """Return the edge of an item that belongs to what stands before it."""
    if edge is None:
        return item.box[0] if item.is_plate else None
    space, gap = _SPACE * item.height, item.box[0] - last.box[2]
    if last.is_plate:
        return _end(last, edge) + space
    return _end(last, edge) + (min(space, gap) if item.is_plate else gap)


def _edge_apart(item: Item, before: Sequence[tuple[Item, float | None]]) -> float:
    """Return the edge of an item that stands apart from the items before it."""
    edge = item.box[0]
    if item.is_plate:
        grid = math.floor(edge / (_LEFT * item.height)) * _LEFT * item.height
        edge = grid if all(_end(*each) <= grid for each in before) else edge
    return max([edge, *(_end(*each) + _SPACE * item.height for each in before if _moves(*each))])


def _moves(item: Item, edge: float | None) -> bool:
    """Say whether an item takes other room than in the original."""
    return edge is not None and (item.is_plate or edge != item.box[0])


def _end(item: Item, edge: float | None) -> float:
    """Return the right edge of an item; a word that is not shown takes no room."""
    if edge is None:
        return -math.inf
    return edge + (item.width or item.box[2] - item.box[0])
