"""Plates: the boxes that cover private words, of sizes that do not tell what is below."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

from langchain_vpp.engines.words.geometry import around, height_of
from langchain_vpp.engines.words.layout import Item, left_edges

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from langchain_vpp.engines.words.geometry import Box
    from langchain_vpp.engines.words.reader import Word
    from langchain_vpp.engines.words.tokens import TokenSource
    from langchain_vpp.engines.words.verdict import Verdict

_GAP: Final = 1.3
"""Space between words, as a part of their height, from which they get plates of their own."""
_UNIT: Final = 4.0
"""Width of a plate for each value that it covers, in heights: a token of ten letters fits on it."""
_ABOVE: Final = 0.06
"""Space above and below, in heights."""
_HEIGHT: Final = 1.2
"""Heights are powers of this number, because a line with a j or g is read as a higher one."""


class Plate(NamedTuple):
    """A covered place.

    Attributes:
        box: Its edges, whole numbers of pixels.
        caption: Tokens of what it covers, separated by spaces.
    """

    box: tuple[int, int, int, int]
    caption: str


class Shown(NamedTuple):
    """A word that is shown.

    Attributes:
        word: Its index among all words.
        shift: Pixels by which it moves to the right; negative to the left.
    """

    word: int
    shift: int


def plates_of(
    words: Sequence[Word], verdicts: Sequence[Verdict], tokens: TokenSource, size: tuple[int, int]
) -> tuple[list[Plate], list[Shown]]:
    """Cover the private words of a picture.

    Args:
        words: All words.
        verdicts: A verdict for each word.
        tokens: Names the private text.
        size: Width and height of the picture, in pixels.

    Returns:
        The plates; and the words that are shown: the index of each, and by how many pixels it moves to the right.
    """
    runs = list(_runs(words, verdicts))
    free = [index for index, verdict in enumerate(verdicts) if not verdict.kind]
    items = [*(_item(run, words, verdicts) for run in runs), *(_word(words[index]) for index in free)]
    edges = left_edges(items, size[0])
    plates = [
        Plate(_placed(item, edge, size), _caption(run, words, verdicts, tokens))
        for run, item, edge in zip(runs, items, edges, strict=False)
    ]
    shown = [
        Shown(index, round(edge - words[index].box[0]))
        for index, edge in zip(free, edges[len(runs) :], strict=True)
        if edge is not None
    ]
    return plates, shown


def pieces_of(shown: Iterable[Shown], words: Sequence[Word]) -> list[tuple[Box, int]]:
    """Return boxes around shown words that follow each other on a line, each with the pixels by which it moves.

    Args:
        shown: The words, in reading order.
        words: All words.
    """
    pieces: list[list[Shown]] = []
    for each in shown:
        last = pieces[-1][-1] if pieces else None
        follows = last is not None and (last.word, last.shift) == (each.word - 1, each.shift)
        if follows and words[each.word - 1].line == words[each.word].line:
            pieces[-1].append(each)
        else:
            pieces.append([each])
    return [(around(words[each.word].box for each in piece), piece[0].shift) for piece in pieces]


def _runs(words: Sequence[Word], verdicts: Sequence[Verdict]) -> Iterator[list[int]]:
    """Yield private words that stand together on a line."""
    run: list[int] = []
    for index, word in enumerate(words):
        last = words[run[-1]] if run else None
        if last is not None and (
            not verdicts[index].kind
            or last.line != word.line
            or word.box[0] - last.box[2] > _GAP * height_of(word.box)
        ):
            yield run
            run = []
        if verdicts[index].kind:
            run.append(index)
    if run:
        yield run


def _word(word: Word) -> Item:
    return Item(word.box, 0.0, height_of(word.box))


def _item(run: Sequence[int], words: Sequence[Word], verdicts: Sequence[Verdict]) -> Item:
    """Return private words of a line, with the size of their plate, which depends on their kinds alone."""
    box = around(words[index].box for index in run)
    height = _HEIGHT ** math.ceil(math.log(max(4.0, height_of(box)), _HEIGHT))
    values = 1 + sum(verdicts[one].kind != verdicts[other].kind for one, other in pairwise(run))
    return Item(box, _UNIT * height * values, height)


def _placed(item: Item, edge: float | None, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return the box of a plate, inside the picture."""
    middle = (item.box[1] + item.box[3]) / 2
    left = item.box[0] if edge is None else edge
    return (
        max(0, math.floor(left)),
        max(0, math.floor(middle - (0.5 + _ABOVE) * item.height)),
        min(size[0], math.ceil(left + item.width)),
        min(size[1], math.ceil(middle + (0.5 + _ABOVE) * item.height)),
    )


def _caption(
    run: Sequence[int], words: Sequence[Word], verdicts: Sequence[Verdict], tokens: TokenSource
) -> str:
    """Return the tokens of a run; words of one kind that follow each other are one value."""
    values: list[tuple[str, list[str]]] = []
    for index in run:
        kind = verdicts[index].kind
        if not values or values[-1][0] != kind:
            values.append((kind, []))
        values[-1][1].append(words[index].text)
    return " ".join(tokens.token(kind, " ".join(texts)) for kind, texts in values)
