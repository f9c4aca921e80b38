"""Spelling: what a word consists of."""

from __future__ import annotations

import re
from typing import Final

_PUNCTUATION: Final = '""\'\u201c\u201d\u2018\u2019«»„()[]{}<>.,:;!?…*•·|-\u2013\u2014_→←✓✔✕+=~'
_WORD: Final = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]{1,3})?(?:s['\u2019])?")
_NUMBER: Final = re.compile(
    r"""[#x\u00d7~<>≈]?[-+\u2212]?[$€£¥₹]?(?:\d{1,3}|(?:19|20)\d\d|\d{1,3}(?:[,.'\u2019]\d{3})+)(?:[.,]\d{1,2})?
      (?:%|°|°C|px|rem|em|pt|fps|Hz|kHz|MHz|GHz|dB|ns|µs|us|sec|secs|mins|hrs|kB/s|MB/s|/s|/mo|/yr|bit|MiB|GiB|KiB|kbps|Mbps|[$€£¥₹]|ms|s|m|h|d|w|k|K|M|B|GB|MB|KB|kB|TB|km|kg|g|cm|mm|min|x|st|nd|rd|th|am|pm|AM|PM)?
      |\d{1,2}\.\d{3,4}(?:s|ms|%|x|MB|GB|kB|KB)?|\d{1,3}(?:,\d{3})+(?:ms|s|%|x|MB|GB|kB|KB)?
      |\d{1,5}(?:[.,]\d{1,2})[$€£¥₹]?|[$€£¥₹]\d{1,5}(?:[.,]\d{1,2})?
      |\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d{1,6})?)?(?:am|pm|AM|PM|h)?|v?\d{1,2}(?:\.\d{1,2}){1,2}|v\d{1,2}(?:\.\d{1,3}){1,2}
      |v?\d{1,3}(?:\.\d{1,4}){1,2}-(?:alpha|beta|rc|dev|pre|post|canary|next|lts|preview)[.\-]?\d{0,3}|\[?\d{1,3}/\d{1,3}\]?|\d{1,2}h\d{1,2}m?|[QKWSv][1-9]\d?|\d{1,2}/\d{1,3}|[AB]\d""",
    re.VERBOSE,
)
_DATE: Final = re.compile(
    r"(?:\d{1,2}[./\-]\d{1,2}[./\-](?P<late>\d{4}|\d{2})|(?P<early>\d{4})[\-/.]\d{2}[\-/.]\d{2}"
    r"(?:T\d{2}:\d{2}(?::\d{2}(?:[.,]\d{1,9})?)?(?:Z|[+\-]\d{2}:?\d{2})?)?)|\d{1,2}[./]\d{1,2}\.?"
    r"|\d{1,2}[/.]\d{2,4}"
)
_BORN: Final = 2013
"""A full date of an earlier year may be a date of birth."""


def core(text: str) -> str:
    """Return a word without the punctuation around it."""
    return text.strip(_PUNCTUATION)


def is_word(text: str) -> bool:
    """Say whether a text consists of letters, apart from an apostrophe."""
    return _WORD.fullmatch(text) is not None


def is_number(text: str) -> bool:
    """Say whether a text is a count, a time or two, an amount, a year or a share: short, or with separators."""
    parts = re.split(r"\s*[\-\u2013\u2014]\s*", text) if text[:1].isdigit() and ":" in text else [text]
    return len(parts) <= 2 and all(_NUMBER.fullmatch(part) for part in parts)


def is_date(text: str) -> bool:
    """Say whether a text is a date that can hardly be a date of birth."""
    match = _DATE.fullmatch(text)
    if match is None:
        return False
    year = match["late"] or match["early"] or ""
    return len(year) != 4 or int(year) >= _BORN


def is_plain_number(text: str) -> bool:
    """Say whether a text has digits alone and is no year, as parts of longer numbers and house numbers are."""
    return text.isdigit() and not (len(text) == 4 and text.startswith(("19", "20")))
