"""Questions that are asked in other words."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_EMPTY: Final = frozenset((
    "a", "an", "the", "is", "are", "was", "were", "be", "do", "does", "did", "of", "on", "in", "at", "to", "for", "by",
    "it", "its", "this", "that", "there", "which", "what", "whats", "who", "whom", "please", "tell", "me", "show",
    "give", "can", "could", "you", "i", "my", "and", "given", "say",
))  # fmt: skip
"""Words that do not tell what a question is about."""
_SHARED: Final = 0.6
"""Share of the words of both questions that they must have in common."""


def same_question(question: str, known: Iterable[str]) -> str | None:
    """Find the known question that asks the same.

    Questions are the same if they differ in capitals, punctuation and words without content only, or if one has all
    words of the other and few more. Where each has a word that the other lacks, such as first and last, they differ.

    Args:
        question: A question.
        known: Questions to compare with.

    Returns:
        The most similar known question; ``None`` if none asks the same.

    Example:
        >>> same_question("what's the total", ["What is the total?", "When is it due?"])
        'What is the total?'
        >>> same_question("What is the first name?", ["What is the last name?"])
    """
    asked = _content(question)
    alike = ((_likeness(asked, _content(each)), each) for each in known)
    likeness, best = max(alike, key=lambda each: each[0], default=(0.0, ""))
    return best if likeness >= _SHARED else None


def _likeness(one: frozenset[str], other: frozenset[str]) -> float:
    if not one or not other:
        return float(one == other)
    return len(one & other) / len(one | other) if one <= other or other <= one else 0.0


def _content(question: str) -> frozenset[str]:
    plain = re.sub(r"['\u2019](?=\w)", "", question.casefold())
    words = (word for word in re.findall(r"\w+", plain) if word not in _EMPTY)
    return frozenset(word[:-1] if len(word) > 3 and word.endswith("s") else word for word in words)
