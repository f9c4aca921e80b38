"""Verdicts on words."""

from __future__ import annotations

from enum import IntEnum
from typing import Final, NamedTuple


class Stage(IntEnum):
    """Kinds of words that a level shows."""

    RECOGNIZED = 0
    """All but what is recognised as private."""
    NUMBERS = 1
    """Words that are known to be harmless, and numbers and dates that identify nobody."""
    VOCABULARY = 2
    """Words that are known to be harmless."""
    NOTHING = 3
    """No word."""

    @classmethod
    def of(cls, level: float) -> Stage:
        """Return the stage of a level: each covers a quarter, and shows no more than those below it.

        Args:
            level: Privacy level from 0 (most useful) to 1 (most private).
        """
        return cls(sum(level > bound for bound in (0.25, 0.5, 0.75)))


class Verdict(NamedTuple):
    """Judgement of a word.

    Attributes:
        kind: Kind of private text, a word in capitals; empty for a word that may be shown.
        strong: Whether something told the kind. Else the word is merely not known to be harmless.
    """

    kind: str = ""
    strong: bool = False


SHOWN: Final = Verdict()
"""Verdict on a word that may be shown."""
