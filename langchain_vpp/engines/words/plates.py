"""Plates: the boxes that cover private words, of sizes that do not tell what is below."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

from langchain_vpp.engines.words.geometry import around, height_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from langchain_vpp.engines.words.geometry import Box
    from langchain_vpp.engines.words.reader import Word
    from langchain_vpp.engines.words.tokens import TokenSource
    from langchain_vpp.engines.words.verdict import Verdict

_GAP: Final = 1.3
"""Space between words, as a part of their height, from which they get plates of their own."""
_UNIT: Final = 4.0
"""Widths of plates are multiples of this many heights, so that they tell a length to about eleven letters."""
_LEFT: Final = 2.0
"""Left edges are moved to multiples of this many heights where nothing stands in the way."""
_AFTER: Final = 0.5
"""Space that a plate covers after the last letter, in heights: the next word is covered too, because its place would
tell where the private one ends."""
_ABOVE: Final = 0.06
"""Space above and below, in heights."""
_HEIGHT: Final = 1.2
"""Heights are powers of this number, because a line with a j or g is read as a higher one."""
_TOUCHED: Final = 0.15
_SPACE: Final = 0.3
"""Space between a plate and what follows it, in heights."""


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
        shift: Pixels by which it moves to the right.
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
        The plates; and the words that are shown, which are neither private nor under a plate: the index of each, and
        by how many pixels it moves to the right.
    """
    plates = [
        Plate(_padded(run, words, verdicts, size), _caption(run, words, verdicts, tokens))
        for run in _runs(words, verdicts)
    ]
    moved = _moved(words, verdicts, plates, size[0])
    shown = [
        Shown(index, moved.get(index, 0))
        for index, verdict in enumerate(verdicts)
        if not verdict.kind
        and (index in moved or not any(_covers(plate.box, words[index].box) for plate in plates))
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


def _moved(
    words: Sequence[Word], verdicts: Sequence[Verdict], plates: Sequence[Plate], width: int
) -> dict[int, int]:
    """Return words that a plate would cover and that fit behind it, with the pixels by which they move.

    A word that follows a private one closely tells by its place where that one ends. Behind the plate it tells nothing.
    """
    moved: dict[int, int] = {}
    for plate in sorted(plates, key=lambda each: -each.box[0]):
        height = plate.box[3] - plate.box[1]
        row = sorted(
            (
                index
                for index, word in enumerate(words)
                if not verdicts[index].kind and _on_row(plate.box, word.box)
            ),
            key=lambda index: words[index].box[0],
        )
        chain: list[int] = []
        for index in row:
            edge = words[chain[-1]].box[2] if chain else plate.box[2]
            if words[index].box[0] - edge > (_GAP if chain else 0) * height:
                break
            chain.append(index)
        if not chain:
            continue
        shift = math.ceil(plate.box[2] + _SPACE * height - words[chain[0]].box[0])
        end = words[chain[-1]].box[2] + shift
        obstacles: list[float] = [
            other.box[0] for other in plates if other is not plate and _on_row(plate.box, other.box)
        ]
        obstacles += [words[index].box[0] + moved.get(index, 0) for index in row if index not in chain]
        if (
            not any(index in moved for index in chain)
            and end < min((*obstacles, width - 1)) - _SPACE * height
        ):
            moved.update(dict.fromkeys(chain, shift))
    return moved


def _on_row(plate: Box, box: Box) -> bool:
    """Say whether a box stands on the row of a plate and does not end before it."""
    high = min(plate[3], box[3]) - max(plate[1], box[1])
    return high > 0.3 * (box[3] - box[1]) and box[0] >= plate[0]


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


def _padded(
    run: Sequence[int], words: Sequence[Word], verdicts: Sequence[Verdict], size: tuple[int, int]
) -> tuple[int, int, int, int]:
    """Return the box of a plate: enlarged, and snapped to a grid."""
    box = around(words[index].box for index in run)
    height = _HEIGHT ** math.ceil(math.log(max(4.0, height_of(box)), _HEIGHT))
    middle = (box[1] + box[3]) / 2
    grid = math.floor(box[0] / (_LEFT * height)) * _LEFT * height
    before = max(
        (word.box[2] for word, verdict in zip(words, verdicts, strict=True)
         if not verdict.kind and word.box[2] <= box[0] + 1 and word.box[1] < box[3] and word.box[3] > box[1]),
        default=0.0,
    )  # fmt: skip
    left = grid if grid >= before else box[0] - _ABOVE * height
    units = math.ceil((box[2] + _AFTER * height - left) / (_UNIT * height))
    return (
        max(0, math.floor(left)),
        max(0, math.floor(middle - (0.5 + _ABOVE) * height)),
        min(size[0], math.ceil(left + units * _UNIT * height)),
        min(size[1], math.ceil(middle + (0.5 + _ABOVE) * height)),
    )


def _covers(plate: Box, word: Box) -> bool:
    """Say whether a plate hides a word's first letters, or more than an edge of it."""
    wide = min(plate[2], word[2]) - max(plate[0], word[0])
    high = min(plate[3], word[3]) - max(plate[1], word[1])
    if wide <= 0 or high <= 0.3 * height_of(word):
        return False
    return plate[0] <= word[0] < plate[2] or wide > _TOUCHED * (word[2] - word[0])


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
