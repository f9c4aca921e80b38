"""Mentions of tokens in what a model says, whole or in pieces, and the values that take their places."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_GAPS: Final = " \\-\u00a0\u2010\u2011"
"""Characters that models write in the place of a token's underscore; a dash is escaped for a class of characters."""
_TAIL: Final = re.compile(rf"(?P<strict>\\?_|\\)?(?P<gap>[{_GAPS}])?(?P<digits>[0-9]*)", re.ASCII)
_JSON: Final = re.compile(r'\s*(?:\{\s*["}]|\[\s*[\["{\]\d-])')
_FENCE: Final = re.compile(r"```[^\n`]*\n?")
_NEVER: Final = re.compile(r"(?!)")


class Mentions:
    """Tokens in text.

    A token is found as it was made and as models like to write it: in other cases (``Name_1``), with an escaped
    underscore, and in capitals also with a space, a hyphen or nothing for the underscore. Brackets, asterisks, an
    apostrophe with an ``s`` and other letters of a word may stand around it.

    Args:
        values: Token -> value.
    """

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = dict(values)
        self._numbers: dict[str, set[str]] = {}
        for token in self._values:
            kind, _, number = token.rpartition("_")
            self._numbers.setdefault(kind, set()).add(number)
        kinds = "|".join(sorted(map(re.escape, self._numbers), key=len, reverse=True))
        self._pattern = (
            re.compile(
                rf"(?<![A-Za-z0-9])(?:(?P<any>(?i:{kinds}))\\?_|(?P<capitals>{kinds})[{_GAPS}]?)"
                r"(?P<number>[0-9]+)(?![0-9])",
                re.ASCII,
            )
            if kinds
            else _NEVER
        )
        self._longest = max((len(token) + 2 for token in self._values), default=0)

    def spans(self, text: str, start: int = 0) -> Iterator[tuple[int, int, str]]:
        """Yield the place of each token in a text, with its value."""
        for match in self._pattern.finditer(text, start):
            kind = (match["any"] or match["capitals"]).upper()
            value = self._values.get(f"{kind}_{match['number']}")
            if value is not None:
                yield match.start(), match.end(), value

    def restored(self, text: str, *, json_text: bool = False) -> str:
        """Return a text with values in the places of tokens.

        Args:
            text: What a model said.
            json_text: Whether the text is JSON for certain. Else that is told by how it begins, or by a fence.
        """
        return self.restored_after(str, text, context="", json_text=json_text)

    def restored_after(self, before: Callable[[], str], text: str, *, context: str, json_text: bool) -> str:
        """Return a piece of a text with values in the places of tokens.

        Args:
            before: Returns everything before it. That is needed only for values that JSON would escape.
            text: The piece, which ends where no token can go on.
            context: The character before it.
            json_text: As in :meth:`restored`.
        """
        whole, last, done = context + text, len(context), list[str]()
        for start, end, value in self.spans(whole, last):
            escaped = json.dumps(value, ensure_ascii=False)[1:-1]
            if escaped != value and (json_text or _is_json(before() + text[: start - len(context)])):
                value = escaped  # noqa: PLW2901  the same value, as it stands there
            done += [whole[last:start], value]
            last = end
        return "".join([*done, whole[last:]])

    def open_from(self, text: str) -> int:
        """Return the index from which the end of a text may be the beginning of a token; its length if none may."""
        for place in range(max(0, len(text) - self._longest), len(text)):
            is_joined = place and text[place - 1].isascii() and text[place - 1].isalnum()
            if not is_joined and self._may_begin(text[place:]):
                return place
        return len(text)

    def _may_begin(self, tail: str) -> bool:
        return any(_is_begun(tail, kind, numbers) for kind, numbers in self._numbers.items())


class MentionStream:
    """Restores a text that comes in pieces: what it gives out, joined, is the whole text restored.

    It holds back no more than what may become a token.

    Args:
        mentions: The tokens.
        json_text: Whether the text is JSON for certain.
    """

    def __init__(self, mentions: Mentions, *, json_text: bool = False) -> None:
        self._mentions = mentions
        self._json_text = json_text
        self._held = ""
        self._said: list[str] = []
        self._given: list[str] = []

    @property
    def said(self) -> str:
        """All that came in, but what is held back."""
        return "".join(self._said)

    @property
    def given(self) -> str:
        """All that was given out."""
        return "".join(self._given)

    def feed(self, piece: str) -> str:
        """Take a piece, and return what can be given out."""
        context = self._context()
        text = context + self._held + piece
        place = max(len(context), self._mentions.open_from(text))
        self._held = text[place:]
        return self._out(context, text[len(context) : place])

    def flush(self) -> str:
        """Return what was held back, at the end of the text."""
        held, self._held = self._held, ""
        return self._out(self._context(), held)

    def _context(self) -> str:
        return next((piece[-1] for piece in reversed(self._said) if piece), "")

    def _out(self, context: str, text: str) -> str:
        if not text:
            return ""
        given = self._mentions.restored_after(
            lambda: self.said, text, context=context, json_text=self._json_text
        )
        self._said.append(text)
        self._given.append(given)
        return given


def _is_begun(tail: str, kind: str, numbers: set[str]) -> bool:
    """Say whether a text may go on to be a token of a kind."""
    head = tail[: len(kind)]
    if not head.isascii() or not kind.startswith(head.upper()):
        return False
    if len(tail) <= len(kind):
        return True
    match = _TAIL.fullmatch(tail, len(kind))
    if match is None or (match["strict"] and match["gap"]) or (match["strict"] == "\\" and match["digits"]):
        return False
    if not match["strict"] and head != kind:
        return False
    return any(number.startswith(match["digits"]) for number in numbers)


def _is_json(before: str) -> bool:
    """Say whether a text that begins so is JSON there: from its beginning, or within a fence."""
    fences = list(_FENCE.finditer(before))
    if not fences:
        return _JSON.match(before) is not None
    return len(fences) % 2 == 1 and _JSON.match(before, fences[-1].end()) is not None
