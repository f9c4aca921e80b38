"""Hidden values in text: where they stand in it, however they are spelled there."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from langchain_vpp.engines.words.folding import folded, plain
from langchain_vpp.engines.words.vocabulary import is_harmless, is_ordinary, listed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_vpp.engines.words.folding import Folded

_FEWEST: Final = 3
"""Letters and digits of the shortest value that is looked for."""
_SURE: Final = 8
"""Letters and digits from which a value is found inside of longer words too."""
_SHORT_WORD: Final = 4
"""Letters of a single word up to which it is looked for with a capital, or as it was hidden, only."""
_WIDEST: Final = 4
"""Characters that may stand between two letters of a value."""
_STRUCTURE: Final = frozenset('"{}[]')
"""Characters that never stand inside of a value: they part the fields of JSON."""
_PREFIX: Final = 2
_SPACED: Final = ((0, 0x590), (0x1E00, 0x2000))
"""Code points of the alphabets that put spaces between words."""
_PART: Final = re.compile(r"[^\W\d_]+")


class Spot(NamedTuple):
    """A hidden value in a text.

    Attributes:
        start: Index of its first character.
        end: Index after its last character.
        kind: Kind of the value, a word in capitals.
        value: The value, as it was hidden.
    """

    start: int
    end: int
    kind: str
    value: str


class _Sought(NamedTuple):
    kind: str
    value: str
    is_part: bool


class HiddenValues:
    """Finds values in text, whatever their case, accents, spaces, hyphens and grouping.

    Short values are ambiguous, and rules decide. Those of fewer than three letters and digits are not looked for; those
    of three with a digit are found as they were hidden only; a single word of up to four letters with a capital, or as
    it was hidden: "may I" is no month of May. Values of fewer than eight letters must stand as words, or with an ``s``
    behind them. The parts of a name are looked for with a capital, unless they are ordinary words.

    Scripts that write no spaces have neither rule: there two letters suffice.
    """

    def __init__(self) -> None:
        self._sought: dict[str, _Sought] = {}
        self._lengths: dict[str, list[int]] = {}

    def add(self, kind: str, value: str) -> None:
        """Look for a value from now on, and for the parts of a name."""
        letters = plain(value)
        fewest = _FEWEST if letters and _is_spaced(letters[0]) else _PREFIX
        if len(letters) >= fewest and any(letter.isalnum() for letter in letters):
            self._add(letters, _Sought(kind, value, is_part=False))
        if kind == "NAME":
            for part in _parts_of(value):
                if plain(part) not in self._sought:
                    self._add(plain(part), _Sought(kind, part, is_part=True))

    def find(self, text: str, start: int = 0, end: int | None = None) -> Iterator[Spot]:
        """Yield what stands in a part of a text, from left to right, of several at one place the longest."""
        if not self._sought:
            return
        searched = text[start:end]
        letters = folded(searched)
        place, last = 0, len(letters.text)
        while place < last:
            length = self._length_at(searched, letters, place)
            if not length:
                place += 1
                continue
            found = self._sought[letters.text[place : place + length]]
            yield Spot(
                start + letters.starts[place],
                start + letters.ends[place + length - 1],
                found.kind,
                found.value,
            )
            place += length

    def _add(self, letters: str, sought: _Sought) -> None:
        self._sought[letters] = sought
        lengths = self._lengths.setdefault(letters[:_PREFIX], [])
        if len(letters) not in lengths:
            lengths.append(len(letters))
            lengths.sort(reverse=True)

    def _length_at(self, text: str, letters: Folded, place: int) -> int:
        """Return the number of letters of the longest value at a place; 0 if there is none."""
        for length in self._lengths.get(letters.text[place : place + _PREFIX], ()):
            found = letters.text[place : place + length]
            sought = self._sought.get(found) if len(found) == length else None
            if sought is not None and _is_whole(text, letters, place, place + length - 1):
                written = text[letters.starts[place] : letters.ends[place + length - 1]]
                if _is_meant(written, found, sought):
                    return length
        return 0


def _is_whole(text: str, letters: Folded, first: int, last: int) -> bool:
    """Say whether letters stand together, and are no part of a longer word."""
    starts, ends = letters.starts, letters.ends
    # A letter that folds into several, such as a ligature, is part of the value as a whole or not at all.
    is_cut = (first and starts[first - 1] == starts[first]) or starts[last : last + 1] == starts[
        last + 1 : last + 2
    ]
    gaps = (text[ends[each] : starts[each + 1]] for each in range(first, last))
    return (
        not is_cut
        and all(len(gap) <= _WIDEST and _STRUCTURE.isdisjoint(gap) for gap in gaps)
        and (last - first + 1 >= _SURE or _stands_alone(letters, first, last))
    )


def _is_meant(written: str, found: str, sought: _Sought) -> bool:
    """Say whether letters are the value, and no other word: short ones are ambiguous."""
    if written == sought.value or not _is_spaced(found[0]):
        return True
    if sought.is_part:
        return written[0].isupper()
    if not found.isalpha():
        return len(found) > _FEWEST
    is_word = len(sought.value.split()) == 1
    return not is_word or len(found) > _SHORT_WORD or written[0].isupper()


def _stands_alone(letters: Folded, first: int, last: int) -> bool:
    """Say whether letters are no part of a longer word, apart from an ``s`` behind them."""
    if _is_joined(letters, first - 1):
        return False
    behind = last
    if (
        letters.text[last + 1 : last + 2] == "s"
        and last - first + 1 > _SHORT_WORD
        and _is_joined(letters, last)
    ):
        behind = last + 1
    return not _is_joined(letters, behind)


def _is_joined(letters: Folded, place: int) -> bool:
    """Say whether nothing stands between a letter and the next one, in scripts where that makes a word."""
    if place < 0 or place + 1 >= len(letters.text):
        return False
    touch = letters.ends[place] == letters.starts[place + 1]
    return touch and _is_spaced(letters.text[place]) and _is_spaced(letters.text[place + 1])


def _is_spaced(letter: str) -> bool:
    return any(low <= ord(letter) < high for low, high in _SPACED)


def _parts_of(name: str) -> Iterator[str]:
    parts = _PART.findall(name)
    if len(parts) > 1:
        for part in parts:
            small = part.casefold()
            is_common = is_harmless(small) or is_ordinary(small) or small in listed("titles")
            if part[0].isupper() and len(plain(part)) >= _FEWEST and not is_common:
                yield part
