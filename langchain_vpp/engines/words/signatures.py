"""Places of signatures: beside, above and below words such as "Signed", and below the closing of a letter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from langchain_vpp.engines.words.geometry import height_of, overlap
from langchain_vpp.engines.words.names import is_closing
from langchain_vpp.engines.words.spelling import core
from langchain_vpp.engines.words.vocabulary import listed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from langchain_vpp.engines.words.geometry import Box
    from langchain_vpp.engines.words.segments import Segment

_WORDS: Final = 6
"""Most words of a label: a longer text that speaks of signatures is a sentence."""
_LEFT, _RIGHT = 3.0, 25.0
"""Space before a label's beginning and after its end that a signature may take, in heights of the label."""
_ABOVE, _BELOW = 6.0, 8.0
"""Space above and below it."""
_LARGER: Final = 1.4
"""Height of a hand, as a multiple of its label's."""
_IN: Final = 0.5
"""Part of a text inside a place from which it stands there."""


def signed(segments: Sequence[Segment]) -> Iterator[int]:
    """Yield the words at places of signatures that are written larger than their label: a reader may read a hand.

    Args:
        segments: All segments of a picture.
    """
    for label, place in _places(segments):
        for segment in segments:
            if height_of(segment.box) > _LARGER * height_of(label.box) and overlap(segment.box, place) > _IN:
                yield from segment.words


def signature_places(segments: Sequence[Segment]) -> Iterator[Box]:
    """Return the places at which somebody may have signed. They reach beyond the picture, and over other words.

    Args:
        segments: All segments of a picture.
    """
    return (place for _, place in _places(segments))


def _places(segments: Sequence[Segment]) -> Iterator[tuple[Segment, Box]]:
    for segment in segments:
        words = [core(word).casefold() for word in segment.text.split()]
        is_label = len(words) <= _WORDS and not listed("signatures").isdisjoint(words)
        if is_label or is_closing(segment.text.split()):
            left, top, right, bottom = segment.box
            height = height_of(segment.box)
            above = _ABOVE * height if is_label else 0.0
            box = (left - _LEFT * height, top - above, right + _RIGHT * height, bottom + _BELOW * height)
            yield segment, box
