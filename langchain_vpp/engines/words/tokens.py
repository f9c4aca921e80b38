"""Tokens: names that stand in the place of private text, such as ``NAME_1``."""

from __future__ import annotations

from typing import Protocol

from langchain_vpp.engines.words.folding import plain


class TokenSource(Protocol):
    """Anything that names private values, the same value always alike."""

    def token(self, kind: str, value: str) -> str:
        """Return the token of a value.

        Args:
            kind: A word in capitals.
            value: The private text.
        """
        ...


class TokenNumbers:
    """Numbers the values of each kind in the order in which they are first seen.

    Values that differ only in case, accents, spaces and punctuation are one.

    Example:
        >>> tokens = TokenNumbers()
        >>> tokens.token("NAME", "Ada Lovelace"), tokens.token("NAME", "ada lovelace,"), tokens.token("NAME", "Bo")
        ('NAME_1', 'NAME_1', 'NAME_2')
    """

    def __init__(self) -> None:
        self._numbers: dict[str, dict[str, int]] = {}

    def token(self, kind: str, value: str) -> str:
        """Return the token of a value; see :class:`TokenSource`."""
        known = self._numbers.setdefault(kind, {})
        return f"{kind}_{known.setdefault(plain(value), len(known) + 1)}"
