"""Words that a document says a page has, beside those that were read from its picture.

The text of a document may be invisible, or differ from what the page shows: anybody can put harmless words over a name.
So it never makes a word visible. It makes words private that were misread or overlooked, and tells their exact spelling
where both agree.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from langchain_vpp.engines.words.folding import plain
from langchain_vpp.engines.words.geometry import overlap

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_vpp.engines.words.geometry import Box
    from langchain_vpp.engines.words.reader import Word
    from langchain_vpp.engines.words.verdict import Verdict

_TOUCHING: Final = 0.15
"""Share of the smaller box from which two words count as being at the same place."""
_SAME: Final = 0.5
"""Share of a word that was read from which a printed word is the same one."""
_ROW: Final = 64.0
"""Height, in pixels, of the strips in which neighbours are looked up."""


def merged(
    words: Sequence[Word], verdicts: Sequence[Verdict], printed: Sequence[Word], judged: Sequence[Verdict]
) -> tuple[list[Word], list[Verdict]]:
    """Merge what was read with what is printed: private is what either says to be private.

    Args:
        words: Words that were read from the picture.
        verdicts: A verdict for each of them.
        printed: Words of the document, at their places in the picture.
        judged: A verdict for each of these.

    Returns:
        The words that were read, and behind them the private ones that were overlooked; and a verdict for each.
    """
    found, kept = [*words], [*verdicts]
    places = _Places(words)
    line = max((word.line for word in words), default=0) + 1
    for word, verdict in zip(printed, judged, strict=True):
        at_place = places.touching(word.box)
        for index in at_place:
            if verdict.kind and (not kept[index].kind or (verdict.strong and not kept[index].strong)):
                kept[index] = verdict
            is_same = (
                overlap(words[index].box, word.box) >= _SAME and overlap(word.box, words[index].box) >= _SAME
            )
            if is_same and plain(word.text) == plain(words[index].text):
                found[index] = found[index]._replace(text=word.text)
        if verdict.kind and not at_place:
            found.append(word._replace(line=line + word.line))
            kept.append(verdict)
    return found, kept


class _Places:
    """Words by the strips of the picture that they stand in, so that neighbours are found without a look at all."""

    def __init__(self, words: Sequence[Word]) -> None:
        self._words = words
        self._strips: dict[int, list[int]] = {}
        for index, word in enumerate(words):
            for strip in _strips_of(word.box):
                self._strips.setdefault(strip, []).append(index)

    def touching(self, box: Box) -> list[int]:
        """Return the indices of the words that share a part of a box."""
        near = {index for strip in _strips_of(box) for index in self._strips.get(strip, ())}
        return [
            index
            for index in sorted(near)
            if max(overlap(box, self._words[index].box), overlap(self._words[index].box, box)) >= _TOUCHING
        ]


def _strips_of(box: Box) -> range:
    return range(int(box[1] // _ROW), int(box[3] // _ROW) + 1)
