"""Names in text: runs of words with capitals that may be a person, a company or a place."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

from langchain_vpp.engines.words.labels import label_kind
from langchain_vpp.engines.words.public import is_public_path
from langchain_vpp.engines.words.spelling import core
from langchain_vpp.engines.words.verdict import Verdict
from langchain_vpp.engines.words.vocabulary import (
    frequency,
    is_family_name,
    is_given_name,
    is_harmless,
    is_name,
    is_ordinary,
    listed,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_STARTS: Final = 3.3
"""Least Zipf frequency of a word with a capital that begins a sentence and is shown."""
_ALONE: Final = 4.8
"""Least Zipf frequency of a word with a capital that stands alone, such as on a button, and is shown."""
_NOUN: Final = 3.3
"""Least Zipf frequency of a German noun that is shown."""


def named(texts: Sequence[str], languages: Sequence[str]) -> Iterator[tuple[int, Verdict]]:
    """Yield the words of a segment that may belong to a name, with their verdicts.

    Args:
        texts: The words of a segment.
        languages: Languages that the picture speaks.
    """
    for run in _runs(texts):
        yield from _judged(run, texts, languages)


def is_closing(texts: Sequence[str]) -> bool:
    """Say whether a segment closes a letter, so that a name stands below it."""
    return 0 < len(texts) <= 4 and core(texts[-1]).casefold() in listed("closings")


def _runs(texts: Sequence[str]) -> Iterator[list[int]]:
    """Yield runs of words with capitals, without the small words between them."""
    run: list[int] = []
    pending = False
    for index, text in enumerate(texts):
        word = core(text)
        if word[:1].isupper():
            run.append(index)
            pending = False
        elif not (run and not pending and word.casefold() in listed("joiners")) and run:
            yield run
            run = []
        else:
            pending = True
        bare = text.rstrip("\"')»”")
        ends = bare.endswith(":") or (bare.endswith((".", "!", "?", ";", ",")) and len(word) > 2)
        if ends and run and word.casefold().rstrip(".") not in listed("legal_forms"):
            yield run
            run = []
    if run:
        yield run


def _judged(
    run: Sequence[int], texts: Sequence[str], languages: Sequence[str]
) -> Iterator[tuple[int, Verdict]]:
    words = [core(texts[index]).casefold().rstrip(".") for index in run]
    risky = [
        not is_harmless(word) and not is_public_path(core(texts[index]))
        for index, word in zip(run, words, strict=True)
    ]
    legal = [place for place, word in enumerate(words) if word in listed("legal_forms") and place > 0]
    if legal:
        yield from ((index, Verdict("COMPANY", strong=True)) for index in run[: legal[-1] + 1])
        return
    titled = _follows_title(run, words, texts)
    if not any(risky):
        # Names that are ordinary words, such as Will or May, are names after a title or a greeting.
        for index, word in zip(run, words, strict=True):
            if titled and is_name(word) and index == titled:
                yield index, Verdict("NAME", strong=True)
        for (one, given), (other, family) in pairwise(zip(run, words, strict=True)):
            if is_given_name(given) and is_family_name(family):
                yield from ((index, Verdict("NAME", strong=True)) for index in (one, other))
        return
    hidden = _hidden(run, words, risky, texts, languages)
    if not hidden:
        return
    strong = any(is_name(words[place]) and not is_harmless(words[place]) for place in hidden) or bool(titled)
    first = min(hidden)
    # Words of interfaces belong to a name if they follow it, or are names themselves and stand before it.
    while first > 0 and is_name(words[first - 1]):
        first -= 1
    verdict = Verdict("NAME" if strong or len(hidden) > 1 else "TEXT", strong=strong)
    for place in range(first, _end(words, hidden) + 1):
        yield run[place], verdict


def _end(words: Sequence[str], hidden: Sequence[int]) -> int:
    """Return the place of the last word of a run that may belong to a name.

    What follows a name belongs to it if it is a name, or a word such as Bank. If the name is one of a person, or no
    word at all, the next word belongs to it too, whatever it is.
    """
    last = hidden[-1]
    if last + 1 < len(words) and (is_name(words[last]) or frequency(words[last], ("en",)) == 0):
        last += 1
    ends = [
        place
        for place in range(last, len(words))
        if is_name(words[place]) or words[place] in listed("trades")
    ]
    return max([last, *ends])


def _follows_title(run: Sequence[int], words: Sequence[str], texts: Sequence[str]) -> int:
    """Return the index of the first word after a title or greeting, or 0."""
    if len(run) > 1 and words[0] in listed("titles"):
        return run[1]
    before = core(texts[run[0] - 1]).casefold().rstrip(".") if run[0] > 0 else ""
    return run[0] if before in listed("titles") else 0


def _hidden(
    run: Sequence[int],
    words: Sequence[str],
    risky: Sequence[bool],
    texts: Sequence[str],
    languages: Sequence[str],
) -> list[int]:
    """Return the places in a run that may be a name."""
    places = [place for place, each in enumerate(risky) if each]
    if len(places) > 1:
        return places
    place = places[0]
    index, word = run[place], words[place]
    of_trade = any(each in listed("trades") for each in words[place + 1 :])
    common = frequency(word, languages)
    begins = (
        index == 0
        or texts[index - 1].rstrip("\"')»”").endswith((".", "!", "?", ":"))
        or not core(texts[index - 1])
    )
    follower = core(texts[index + 1]) if index + 1 < len(texts) else ""
    if begins and follower.islower() and not _ends(texts[index]) and common >= _STARTS:
        return [] if not is_name(word) or is_ordinary(word) else places
    # A word after a label is its value, as in a table whose columns touch.
    labelled = place > 0 and label_kind(" ".join(words[:place])) is not None
    if is_name(word) or of_trade or labelled or len(word) < 3:
        return places
    whole = len(texts) == len(run) or (begins and texts[index].endswith((".", "!", "?")))
    if whole and common >= _ALONE and not texts[index].isupper():
        return []
    if texts[index].isupper() and len(texts) == len(run) and common >= _STARTS:
        return []
    german = "de" in languages and frequency(word, ("de",)) >= _NOUN
    return [] if german and not begins else places


def _ends(text: str) -> bool:
    return text.endswith((",", ":", ";", ".", "!", "?"))
