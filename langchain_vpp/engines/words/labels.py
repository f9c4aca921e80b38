"""Labels: words that say that what follows, stands beside or below is private."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple

from langchain_vpp.engines.words.geometry import height_of
from langchain_vpp.engines.words.segments import below, right_of, row_of
from langchain_vpp.engines.words.spelling import core
from langchain_vpp.engines.words.vocabulary import is_harmless, lines_of, listed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from langchain_vpp.engines.words.segments import Segment

_COLON: Final = re.compile(r"(?<=[\w.)*]):(?=\s|$)|(?<=[^\W\d]):(?=\S)")
_SEPARATOR: Final = re.compile(r"\s[·•|]\s|\s[\u2013\u2014-]\s")
_COLUMNS: Final = 4
"""Segments on a row from which it counts as the head of a table."""
_HARMLESS: Final = ("last login", "file name", "domain name")
"""Labels that end like one that announces something private."""
_OF_FILES: Final = ("size", "date modified", "last modified", "modified", "file size")
"""Heads of columns that tell that a table lists files."""
_PASSWORDS: Final = "KEY"
"""Kind of passwords and the like."""
_NAMES: Final = "NAME"
_SENTENCE: Final = 4
"""Words in small letters from which a text is no value."""
_BESIDE: Final = 25
"""Largest distance to a value beside its label, in heights of the label."""


class _Reach(NamedTuple):
    """Rows below a label that belong to it, with their largest distance and misalignment in heights of a line."""

    rows: int
    gap: float
    slack: float


_TABLE: Final = _Reach(rows=200, gap=3.5, slack=0.5)
_FORM: Final = _Reach(rows=1, gap=1.6, slack=3.0)
_CLOSE: Final = _Reach(rows=0, gap=0.7, slack=0.5)
_MORE_LINES: Final = 3
"""Further lines of a value, close below one another."""


def label_kind(text: str) -> str | None:
    """Return the kind of value that a label announces, or ``None`` if a text is no label.

    Args:
        text: A text without its colon, such as ``Date of birth``.
    """
    plain = _plain(text)
    return next((kind for kind, pattern in _compiled().items() if pattern.fullmatch(plain)), None)


def is_common(text: str) -> bool:
    """Say whether a label is a common word, so that it announces a value only with a colon or in a form."""
    return _plain(text) in listed("common_labels")


def _plain(text: str) -> str:
    plain = re.sub(r"\((?:optional|required)\)", "", text.casefold())
    return re.sub(r"\s+", " ", plain).strip(" *:·-\u2013|")


@cache
def _compiled() -> Mapping[str, re.Pattern[str]]:
    alternatives: dict[str, list[str]] = {}
    for line in lines_of("labels"):
        kind, _, labels = line.partition(":")
        alternatives.setdefault(kind, []).extend(label.strip() for label in labels.split(" | "))
    return {kind: re.compile("|".join(labels)) for kind, labels in alternatives.items()}


@cache
def _buttons() -> frozenset[str]:
    return frozenset(lines_of("buttons"))


class Announced(NamedTuple):
    """A word that a label says is private."""

    word: int
    kind: str


def announced(segments: Sequence[Segment]) -> Iterator[Announced]:
    """Yield the words that labels announce: after a colon, beside a label, below it, or in its column of a table.

    Args:
        segments: All segments of a picture.
    """
    kinds = [None if is_common(each.text) else label_kind(each.text) for each in segments]
    labels = {id(each) for each in segments if _is_caption(each.text)}
    buttons = {id(each) for each in segments if _plain(each.text) in _buttons()}
    captions = {id(each) for each in segments if _is_phrase(each.text)}
    for segment, kind in zip(segments, kinds, strict=True):
        yield from _after_colons(segment)
        found = _ends_with_label(segment) or kind
        if found is not None:
            # A password may be any word, also one that stands on buttons.
            ends = labels if found == _PASSWORDS else labels | buttons
            ends = ends | captions if found == _NAMES else ends
            yield from (
                Announced(word, found) for each in _values(segment, segments, ends) for word in each.words
            )


def _is_caption(text: str) -> bool:
    return label_kind(text) is not None or text.rstrip().endswith(":")


def _is_harmless(text: str) -> bool:
    return all(is_harmless(core(word).casefold()) for word in text.split())


def _is_phrase(text: str) -> bool:
    """Say whether a text is harmless words, all but the first in small letters: a caption, and nobody's name."""
    first, *others = text.split() or [""]
    return bool(others) and first[:1].isupper() and all(map(str.islower, others)) and _is_harmless(text)


def _is_sentence(text: str) -> bool:
    """Say whether a text is a sentence, such as a note below a heading, and no value."""
    return sum(word.strip(".,").isalpha() and word.islower() for word in text.split()) >= _SENTENCE


def _ends_with_label(segment: Segment) -> str | None:
    """Return the kind of a label with a colon at the end of a segment, whose value stands elsewhere."""
    if not segment.text.rstrip().endswith(":"):
        return None
    return _label_before(segment.text.rstrip()[:-1])


def _label_before(text: str) -> str | None:
    """Return the kind of the label at the end of a text; the longest counts."""
    words = text.split()
    if text.casefold().endswith(_HARMLESS):
        return None
    for count in range(min(4, len(words)), 0, -1):
        kind = label_kind(" ".join(words[-count:]))
        if kind is not None:
            return kind
    return None


def _after_colons(segment: Segment) -> Iterator[Announced]:
    """Yield the values after labels with colons, each up to the next label or a separator."""
    colons = list(_COLON.finditer(segment.text))
    for place, match in enumerate(colons):
        kind = _label_before(segment.text[: match.start()])
        if kind is None:
            continue
        end = colons[place + 1].start() if place + 1 < len(colons) else len(segment.text)
        separator = _SEPARATOR.search(segment.text, match.end())
        end = min(end, separator.start()) if separator else end
        yield from (Announced(word, kind) for word in segment.within(match.end(), end))


def _values(segment: Segment, segments: Sequence[Segment], labels: AbstractSet[int]) -> Iterator[Segment]:
    """Yield the segments that hold the value of a label that stands alone."""
    colon = segment.text.rstrip().endswith(":")
    beside = right_of(segment, segments)
    near = beside is not None and beside.box[0] - segment.box[2] < _BESIDE * height_of(segment.box)
    row = row_of(segment, segments)
    if len(row) >= _COLUMNS and not colon:
        if any(_plain(each.text) in _OF_FILES for each in row):
            return  # names of files are judged by themselves
        yield from _chain(segment, segments, labels, _TABLE)
        # A form beside other columns looks like the head of a table; but in a head only labels stand side by side.
        if beside is not None and near and id(beside) not in labels and not _is_harmless(beside.text):
            yield beside
            yield from _chain(beside, segments, labels, _CLOSE)
        return
    if beside is None or not near or id(beside) in labels:
        yield from _chain(segment, segments, labels, _FORM)
        return
    yield beside
    yield from _chain(beside, segments, labels, _CLOSE)
    under = below(segment, segments, gap=_FORM.gap, slack=_FORM.slack)
    under_beside = right_of(under, segments) if under is not None else None
    in_rows = under_beside is not None and abs(under_beside.box[0] - beside.box[0]) < height_of(beside.box)
    if not colon and not in_rows:
        yield from _chain(segment, segments, labels, _FORM)


def _chain(
    segment: Segment, segments: Sequence[Segment], labels: AbstractSet[int], reach: _Reach
) -> Iterator[Segment]:
    """Yield the segments below one another, down to the next label."""
    current: Segment | None = segment
    for count in range(reach.rows + _MORE_LINES):
        near = reach if count < reach.rows else _CLOSE
        current = below(current, segments, gap=near.gap, slack=near.slack) if current else None
        if current is None or id(current) in labels or _is_sentence(current.text):
            return
        yield current
