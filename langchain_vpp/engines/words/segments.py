"""Segments: words that stand together on a line, and what stands beside and below them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from langchain_vpp.engines.words.geometry import around, height_of, same_row

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from langchain_vpp.engines.words.geometry import Box
    from langchain_vpp.engines.words.reader import Word

_GAP: Final = 1.3
"""Space between words, as a part of their height, from which they belong to different segments."""

_TOUCH: Final = 0.7
"""Space between pieces of a line, as a part of their height, up to which a detector may have cut it in two."""


class Segment(NamedTuple):
    """Words that stand together on a line.

    Attributes:
        words: Indices of the words, in reading order.
        text: The words with a space between them.
        starts: Index in ``text`` of the first character of each word.
        box: Box around the words.
    """

    words: tuple[int, ...]
    text: str
    starts: tuple[int, ...]
    box: Box

    def within(self, start: int, end: int) -> Iterator[int]:
        """Yield the indices of the words that share a character with a part of the text."""
        ends = (*(each - 1 for each in self.starts[1:]), len(self.text))
        for word, begins, ended in zip(self.words, self.starts, ends, strict=True):
            if begins < end and start < ended:
                yield word


def segments_of(words: Sequence[Word]) -> list[Segment]:
    """Group words into segments, from the top down, and from left to right where they share a row."""
    pieces: list[list[int]] = []
    for index, word in enumerate(words):
        last = words[pieces[-1][-1]] if pieces else None
        if last is not None and last.line == word.line and _near(last, word):
            pieces[-1].append(index)
        else:
            pieces.append([index])
    return [_segment(words, each) for each in _joined(words, pieces)]


def right_of(segment: Segment, segments: Sequence[Segment]) -> Segment | None:
    """Return the nearest segment to the right on the same row."""
    beside = [each for each in segments if each.box[0] >= segment.box[2] and same_row(each.box, segment.box)]
    return min(beside, key=lambda each: each.box[0], default=None)


def row_of(segment: Segment, segments: Sequence[Segment]) -> list[Segment]:
    """Return all segments on the row of a segment, among them itself."""
    return [each for each in segments if same_row(each.box, segment.box)]


def below(segment: Segment, segments: Sequence[Segment], *, gap: float, slack: float) -> Segment | None:
    """Return the nearest segment below that is aligned on the left, on the right or in the middle.

    Args:
        segment: The segment above.
        segments: All segments.
        gap: Largest distance, as a multiple of the segment's height.
        slack: Largest difference of the edges or middles that are aligned, as a multiple of the segment's height.
    """
    height = height_of(segment.box)
    under = [
        each
        for each in segments
        if -0.3 * height <= each.box[1] - segment.box[3] <= gap * height
        and each.box[0] < segment.box[2]
        and each.box[2] > segment.box[0]
        and _misaligned(each.box, segment.box) < slack * height
        and not same_row(each.box, segment.box)
    ]
    return min(under, key=lambda each: (each.box[1], each.box[0]), default=None)


def _misaligned(one: Box, other: Box) -> float:
    left, right = abs(one[0] - other[0]), abs(one[2] - other[2])
    return min(left, right, abs(one[0] + one[2] - other[0] - other[2]) / 2)


def _near(left: Word, right: Word) -> bool:
    height = min(height_of(left.box), height_of(right.box))
    return right.box[0] - left.box[2] < _GAP * height


def _joined(words: Sequence[Word], pieces: list[list[int]]) -> list[list[int]]:
    """Join pieces that touch on a row: a detector may cut a name in two."""
    boxes = [around(words[index].box for index in piece) for piece in pieces]
    order = sorted(range(len(pieces)), key=lambda each: boxes[each][0])
    following: dict[int, int] = {}
    taken: set[int] = set()
    for left in order:
        height = height_of(boxes[left])
        for right in order:
            gap = boxes[right][0] - boxes[left][2]
            free = right != left and right not in taken and boxes[right][0] > boxes[left][0]
            if free and -0.5 * height < gap < _TOUCH * height and same_row(boxes[left], boxes[right]):
                following[left] = right
                taken.add(right)
                break
    joined = []
    for start in range(len(pieces)):
        if start in taken:
            continue
        chain, place = list(pieces[start]), start
        while place in following:
            place = following[place]
            chain += pieces[place]
        joined.append(chain)
    return joined


def _segment(words: Sequence[Word], piece: Sequence[int]) -> Segment:
    starts, length = [], 0
    for index in piece:
        starts.append(length)
        length += len(words[index].text) + 1
    text = " ".join(words[index].text for index in piece)
    return Segment(tuple(piece), text, tuple(starts), around(words[index].box for index in piece))
