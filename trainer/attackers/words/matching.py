"""Matching: whether private text, or another word, was read where it stands."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from langchain_vpp import extras
from langchain_vpp.engines.words.vocabulary import is_name
from trainer.attackers.ocr import edits_within, fold

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from trainer.attackers.words.readers import Seen

    Box = tuple[float, float, float, float]

SHOWN_FROM: Final = 0.6
"""Share of the characters of private text that must be read for it to leak."""
_SHORTEST: Final = 4
"""Letters from which a word can be told by itself, or found inside a longer text."""
_REACH: Final = 12.0
"""Space, in heights, by which text may have moved to the left."""
_TOLERANCE: Final = 0.2
"""Edits per letter with which a word still counts as read."""
_COMMON: Final = 4.0
"""Zipf frequency from which a word tells nothing by itself."""
_WHOLE: Final = 8
"""Characters from which text such as an account number is looked for as a whole."""
_WORDS: Final = re.compile(r"[^\W_]+")
_PEOPLE: Final = "person"


class Row:
    """Text that was read on one row.

    Args:
        seen: All that was read.
        box: Box of the text that is looked for. What is read may have moved on its row, as what follows a plate does.
    """

    def __init__(self, seen: Iterable[Seen], box: Box) -> None:
        reach = _REACH * (box[3] - box[1])
        found = [each for each in seen if _on_row(each.box, box) and each.box[2] > box[0] - reach]
        found.sort(key=lambda each: each.box[0])
        self._tokens = {fold(token) for each in found for token in _WORDS.findall(each.text)}
        self._text = "".join(fold(each.text) for each in found)

    def shows(self, word: str) -> bool:
        """Say whether a word was read, up to a few wrong letters."""
        if len(word) < _SHORTEST:
            return word in self._tokens
        return word in self._text or edits_within(word, self._text) <= int(_TOLERANCE * len(word))

    def shows_most(self, text: str) -> bool:
        """Say whether most characters of a text were read, one after the other."""
        return edits_within(text, self._text) <= (1 - SHOWN_FROM) * len(text)


def is_leaked(text: str, kind: str, rows: Sequence[Row], others: Sequence[Row]) -> bool:
    """Say whether private text leaks: most of it was read, or a word that tells it.

    A word tells private text if it has at least four letters and is rare, or if it is a name and the text is about a
    person. What the same row of the original says beside the private text tells nothing.

    Args:
        text: The private text.
        kind: Its kind, such as ``private_person``.
        rows: What was read of the protected picture, a row for each line of the text.
        others: What the original says on the same rows outside private text.
    """
    words = [fold(each) for each in _WORDS.findall(text)]
    whole = "".join(words)

    def shown(word: str) -> bool:
        return any(row.shows(word) for row in rows) and not any(row.shows(word) for row in others)

    read = [word for word in words if shown(word)]
    if any(_tells(word, kind) for word in read) or sum(map(len, read)) >= SHOWN_FROM * len(whole) > 0:
        return True
    return (
        len(whole) >= _WHOLE
        and any(row.shows_most(whole) for row in rows)
        and not any(row.shows_most(whole) for row in others)
    )


def is_kept(word: Seen, seen: Iterable[Seen], *, moved: bool) -> bool:
    """Say whether a word of the original was read in the protected picture.

    Args:
        word: The word.
        seen: What was read.
        moved: Whether it also counts where it has moved on its row.
    """
    height = word.box[3] - word.box[1]
    text = fold(word.text)
    for each in seen:
        if not _on_row(each.box, word.box):
            continue
        apart = max(each.box[0] - word.box[2], word.box[0] - each.box[2])
        if not moved and apart > -0.5 * height:
            continue
        if text in fold(each.text) or edits_within(text, fold(each.text)) <= int(_TOLERANCE * len(text)):
            return True
    return False


def _tells(word: str, kind: str) -> bool:
    if sum(letter.isalpha() for letter in word) < _SHORTEST:
        return False
    if _PEOPLE in kind and is_name(word):
        return True
    wordfreq = extras.load("wordfreq", extra="words", undone="nothing was measured")
    return bool(wordfreq.zipf_frequency(word, "en") < _COMMON)


def _on_row(seen: Box, box: Box) -> bool:
    shared = min(seen[3], box[3]) - max(seen[1], box[1])
    return shared > 0.5 * min(seen[3] - seen[1], box[3] - box[1])
