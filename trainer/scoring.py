"""From the text of an answer to a task loss."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainer.ledger import Answer

_NUMBER_WORDS = {
    word: str(value)
    for value, word in enumerate(
        ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    )
}
_ARTICLES = {"a", "an", "the"}


def normalise(text: str) -> str:
    """Lower case, no punctuation, no articles, number words as digits, single spaces (as VQA evaluation does).

    Example:
        >>> normalise("  The number is Three. ")
        'number is 3'
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    words = re.findall(r"[\w'+-]+", folded)
    return " ".join(_NUMBER_WORDS.get(word, word) for word in words if word not in _ARTICLES)


def chosen(text: str, choices: Sequence[str]) -> int | None:
    """Which choice an answer names: the one that it equals, or else the only one that it contains as whole words.

    Returns:
        The index, or ``None`` if the answer names no choice or several.

    Example:
        >>> chosen("It is a red sign.", ["red", "green"])
        0
        >>> chosen("red or green", ["red", "green"]) is None
        True
    """
    answer = normalise(text)
    options = [normalise(choice) for choice in choices]
    if answer in options:
        return options.index(answer)
    named = [index for index, option in enumerate(options) if option and f" {option} " in f" {answer} "]
    # "dark brown" contains "brown": the longest named choice holds the others.
    longest = [
        index
        for index in named
        if not any(other != index and f" {options[index]} " in f" {options[other]} " for other in named)
    ]
    return longest[0] if len(longest) == 1 else None


def accuracy(text: str, answer: str, *, choices: Sequence[str] = (), answers: Sequence[str] = ()) -> float:
    """Score of one answer in [0, 1].

    With ``answers`` of several annotators it is the VQA soft accuracy ``min(1, agreeing / 3)`` (Antol et al., 2015),
    else 1 for the reference answer and 0 for any other.
    """
    if answers:
        agreeing = Counter(normalise(each) for each in answers)[normalise(text)]
        return min(1.0, agreeing / 3)
    if choices:
        index = chosen(text, choices)
        return float(index is not None and normalise(choices[index]) == normalise(answer))
    return float(normalise(text) == normalise(answer))


def distribution(answer: Answer, options: Sequence[str], *, smoothing: float = 0.05) -> list[float]:
    """The chat model's answer as probabilities over the options of a question.

    With log-probabilities, those of the first token, each counted for the option that it names; otherwise the option
    that the text names, smoothed. An answer that fits no option says nothing and counts as uniform.
    """
    mass = [0.0] * len(options)
    for token, logprob in (answer.logprobs or {}).items():
        index = chosen(token, options)
        if index is not None:
            mass[index] += math.exp(logprob)
    total = sum(mass)
    if total > 0.5:  # less: the answer did not begin with an option
        return [each / total for each in mass]
    index = chosen(answer.text, options)
    if index is None:
        return [1 / len(options)] * len(options)
    return [
        smoothing / len(options) + (1 - smoothing) * (position == index) for position in range(len(options))
    ]
