"""Folding: texts reduced to their letters and digits, so that spellings of one value can be compared."""

from __future__ import annotations

import functools
import html
import re
import unicodedata
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Iterator

# Letters as JSON, URLs and HTML write them.
_ESCAPE: Final = re.compile(r"\\u[0-9a-fA-F]{4}|\\[nrt]|(?:%[0-9a-fA-F]{2})+|&#?\w{2,8};")
_QUOTES: Final = "\"'`\u201c\u201d\u201e\u2018\u2019\u00ab\u00bb"
_ENDS: Final = ".,;:!?\u2026"
_PAIRS: Final = {"(": ")", "[": "]", "{": "}", "<": ">"}


class Folded(NamedTuple):
    """The letters and digits of a text, and where each of them stands.

    Attributes:
        text: Letters and digits, small and without accents.
        starts: For each of them, the index in the text where it begins.
        ends: For each of them, the index in the text after it.
    """

    text: str
    starts: list[int]
    ends: list[int]


def folded(text: str) -> Folded:
    """Fold a text. Letters that are escaped for JSON, a URL or HTML count as what they stand for."""
    letters: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    for start, end, piece in _pieces(text):
        for letter in piece:
            for each in _plain(letter):
                letters.append(each)
                starts.append(start)
                ends.append(end)
    return Folded("".join(letters), starts, ends)


def plain(value: str) -> str:
    """Return what spellings of a value share: its letters and digits; of a value without any, the value itself.

    Example:
        >>> plain("DE89 3704") == plain("de89-3704.")
        True
    """
    return "".join(map(_plain, value)) or unicodedata.normalize("NFKC", value).casefold()


def trimmed(value: str) -> str:
    """Return a value without the quotes, brackets and punctuation that only stand beside it."""
    text = value.strip()
    while text:
        before = text
        text = text.rstrip(_ENDS).strip(_QUOTES).strip()
        for left, right in _PAIRS.items():
            if text.startswith(left) and (text.endswith(right) or right not in text):
                text = text[1:]
                text = text.removesuffix(right)
            elif text.endswith(right) and left not in text:
                text = text[:-1]
        if text == before:
            break
    return text or value


@functools.lru_cache(maxsize=8192)
def _plain(letter: str) -> str:
    return "".join(each for each in unicodedata.normalize("NFKD", letter).casefold() if each.isalnum())


def _pieces(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield the pieces of a text, each a letter or an escape, with its place and what it stands for."""
    last = 0
    for escape in _ESCAPE.finditer(text):
        for place in range(last, escape.start()):
            yield place, place + 1, text[place]
        yield escape.start(), escape.end(), _meaning(escape.group())
        last = escape.end()
    for place in range(last, len(text)):
        yield place, place + 1, text[place]


def _meaning(escape: str) -> str:
    if escape[0] == "%":
        return unquote(escape)
    if escape[0] == "&":
        # What is no entity stands for itself.
        return html.unescape(escape)
    return chr(int(f"0x{escape[2:]}", base=0)) if escape[1] == "u" else " "
