"""Vocabularies: words that everybody uses, and words that are names."""

from __future__ import annotations

import math
import pkgutil
import re
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final

from langchain_vpp import extras

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

LANGUAGES: Final = (
    "en", "de", "fr", "es", "it", "nl", "pt", "pl", "sv", "da", "nb", "fi", "cs", "hu", "ro", "tr", "ca", "id",
    "ru", "uk", "bg", "el",
)  # fmt: skip
"""Languages with a vocabulary. Their scripts tell capitals from small letters, by which names can be told."""
_LEXICON: Final = Path(__file__).with_name("lexicon")
_UNDONE: Final = "Words were not judged"
_SHARE: Final = 0.7
"""A language counts as spoken in a picture if it knows at least this share of what the best one knows."""
_FILE_MODE: Final = re.compile(r"[dl\-][rwxst\-]{9}[@+.]?")
_PARTS: Final = re.compile(r"[A-Z]?[^\W\d_A-Z]+|[A-Z]+(?![^\W\d_A-Z])|\d+")
_NUMBERED: Final = re.compile(r"[A-Z]\d|\d[A-Z]")
"""Capitals beside digits, as in account numbers."""
_ENDINGS: Final = (("s", ""), ("es", ""), ("ed", ""), ("ed", "e"), ("ing", ""), ("ing", "e"), ("er", ""), ("ers", ""),
                   ("ly", ""), ("ies", "y"), ("able", ""), ("able", "e"))  # fmt: skip
_BEGINNINGS: Final = ("un", "re", "de", "pre", "non", "auto", "sub", "multi", "over")


def frequency(word: str, languages: Iterable[str]) -> float:
    """Return how common a word is where it is most common.

    Args:
        word: The word, in small letters.
        languages: Codes of languages in :data:`LANGUAGES`.

    Returns:
        The Zipf frequency: 3 is once in a million words, 6 once in a thousand; 0 below 3.
    """
    return max((_vocabulary(language).get(word, 0.0) for language in languages), default=0.0)


def spoken(words: Iterable[str]) -> tuple[str, ...]:
    """Guess the languages of a text; English is always among them, because interfaces speak it.

    Args:
        words: Words in small letters, without punctuation.
    """
    seen = [word for word in words if len(word) > 1 and word.isalpha()]
    known = {
        language: sum(max(0.0, _vocabulary(language).get(word, 0.0) - 4) for word in seen)
        for language in LANGUAGES
    }
    best = max(known.values(), default=0.0)
    others = (each for each in LANGUAGES[1:] if best > 0 and known[each] >= _SHARE * best and len(seen) >= 8)
    return ("en", *others) if best > known["en"] * _SHARE else ("en",)


def is_name(word: str) -> bool:
    """Say whether a word, in small letters, is a given or family name somewhere in the world."""
    return word in _names("first") or word in _names("last")


def is_given_name(word: str) -> bool:
    """Say whether a word, in small letters, is a given name somewhere in the world."""
    return word in _names("first")


def is_family_name(word: str) -> bool:
    """Say whether a word, in small letters, is a family name somewhere in the world."""
    return word in _names("last")


def is_ordinary(word: str) -> bool:
    """Say whether a word that is a name too is an ordinary word where it is written small."""
    return word in listed("ordinary")


def is_harmless(word: str) -> bool:
    """Say whether a word belongs to the words of interfaces and documents, which are shown with capitals too."""
    return word in listed("harmless")


def is_code(text: str) -> bool:
    """Say whether a text is an identifier, file or path made of words of interfaces and code alone.

    Example:
        >>> is_code("src/components/index.ts"), is_code("getUserById"), is_code("granite-harbor/api")
        (True, True, False)
    """
    parts = code_parts(text)
    numbered = any(part.isdigit() for part in parts)
    if _NUMBERED.search(text) or (numbered and text.upper() == text):
        return False
    return len(parts) > 1 and all(_is_code_part(part) for part in parts)


def code_parts(text: str) -> list[str]:
    """Return the parts of an identifier: of ``getUserById2`` they are get, User, By, Id and 2."""
    return _PARTS.findall(text)


def is_command(word: str) -> bool:
    """Say whether a word, in small letters, belongs to commands and code and is no name."""
    return word in listed("code") and not is_name(word)


def is_derived(word: str, languages: Iterable[str], *, least: float) -> bool:
    """Say whether a word, in small letters, is formed from one that is at least so common, as ``reopened`` is."""
    if languages != ("en",) and "en" not in languages:
        return False
    stems = {word, *(word.removesuffix(end) + put for end, put in _ENDINGS if word.endswith(end))}
    stems |= {stem.removeprefix(each) for stem in stems for each in _BEGINNINGS if stem.startswith(each)}
    return any(len(stem) > 3 and stem != word and frequency(stem, ("en",)) >= least for stem in stems)


def is_file_mode(text: str) -> bool:
    """Say whether a text is the mode of a file, such as ``drwxr-xr-x``."""
    return _FILE_MODE.fullmatch(text) is not None


def _is_code_part(part: str) -> bool:
    if part.isdigit():
        return len(part) < 4
    small = part.casefold()
    return is_harmless(small) or small in listed("code")


@cache
def listed(name: str) -> frozenset[str]:
    """Return the words of a list that comes with this package."""
    return frozenset(word for line in lines_of(name) for word in line.split())


def lines_of(name: str) -> list[str]:
    """Return the lines of a list that comes with this package, without its comments."""
    lines = (_LEXICON / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


@cache
def _vocabulary(language: str) -> Mapping[str, float]:
    wordfreq = extras.load("wordfreq", extra="words", undone=_UNDONE)
    # The small lists end at once in a million words, a Zipf frequency of 3.
    frequencies = wordfreq.get_frequency_dict(language, wordlist="small")
    return {word: 9 + math.log10(share) for word, share in frequencies.items()}


@cache
def _names(part: str) -> frozenset[str]:
    people = extras.load("faker.providers.person", extra="words", undone=_UNDONE)
    found: set[str] = set()
    for module in pkgutil.iter_modules(people.__path__):
        provider = import_module(f"faker.providers.person.{module.name}").Provider
        for name in _listed_by(provider, part):
            found.update(each for each in name.casefold().replace("-", " ").split() if len(each) > 1)
    return frozenset(found)


def _listed_by(provider: type, part: str) -> Iterator[str]:
    for attribute in dir(provider):
        if "name" in attribute and part in attribute:
            names = getattr(provider, attribute)
            if isinstance(names, dict | list | tuple):
                yield from (each for each in names if isinstance(each, str))
