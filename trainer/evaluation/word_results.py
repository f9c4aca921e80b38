"""The report of an evaluation of words: its schema."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer.attackers.words.widths import Plate  # noqa: TC001  pydantic reads annotations
from trainer.evaluation.results import Record
from trainer.statistics import wilson

if TYPE_CHECKING:
    from collections.abc import Iterable


class Share(Record):
    """A share with its 95 % interval by Wilson's score."""

    count: int
    """Number of cases that are counted."""
    of: int
    """Number of all cases."""
    low: float | None = None
    """Lower end; ``None`` without cases."""
    high: float | None = None
    """Upper end; ``None`` without cases."""

    @property
    def value(self) -> float | None:
        """The share; ``None`` without cases."""
        return self.count / self.of if self.of else None

    @classmethod
    def of_cases(cls, cases: Iterable[bool]) -> Share:
        """Count the cases that are true.

        Example:
            >>> Share.of_cases([True, False]).value
            0.5
        """
        known = list(cases)
        if not known:
            return cls(count=0, of=0)
        low, high = wilson(sum(known) / len(known), len(known))
        return cls(count=sum(known), of=len(known), low=max(0.0, low), high=min(1.0, high))


class WordFigures(Record):
    """What leaves a set of pictures at one level."""

    clean: Share
    """Pictures in which no private text can be read, of all that have some."""
    leaked: Share
    """Private texts that can be read."""
    kept: Share
    """Other words that can be read, where they stood or elsewhere on their row."""
    in_place: Share
    """Other words that can be read where they stood."""
    over_covered: Share
    """Other words that can't be read, of those on rows with private text."""


class CandidateMatch(Record):
    """Success of a matcher that guesses which of many candidates stands below a plate."""

    plates: int
    candidates: int
    hits: float
    """Right first guesses; ties count in part."""
    expected_hits: float
    """Right first guesses by chance."""
    low: float
    """Lower end of the interval of the share of hits."""
    high: float
    """Upper end of the interval of the share of hits."""
    percentile: float
    """Mean share of candidates that fit worse than the right one; 0.5 is chance."""


class WordsAtLevel(Record):
    """What leaves the pictures at one level."""

    level: str
    """Name of the level."""
    figures: WordFigures
    by_picture: dict[str, WordFigures]
    """Kind of picture -> figures."""
    by_way: dict[str, WordFigures]
    """Way in which pictures were taken -> figures."""
    by_text: dict[str, Share]
    """Kind of private text -> texts that can be read."""
    by_attempt: dict[str, Share]
    """Reader and view -> private texts that can be read with these alone."""
    match: CandidateMatch | None = None
    """Success of the matcher at names; ``None`` where there are too few."""


class PictureAtLevel(Record):
    """What leaves one picture at one level."""

    leaks: tuple[tuple[str, ...], ...]
    """For each private text, the attempts that read it."""
    kept: tuple[bool, ...]
    """Whether each other word can be read, where it stood or elsewhere on its row."""
    in_place: tuple[bool, ...]
    """Whether each other word can be read where it stood."""
    plates: tuple[Plate, ...]
    """The places of names, for the matcher."""


class WordsOfPicture(Record):
    """What an attack found in one picture."""

    readable: tuple[bool, ...]
    """Whether each private text can be read in the original."""
    beside: tuple[bool, ...]
    """Whether each other word stands on a row with private text."""
    levels: dict[str, PictureAtLevel]
    """Name of a level -> what leaves the picture at it."""
    cpu_seconds: float = 0.0
    """CPU seconds that protection took, all levels together."""


class WordReport(Record):
    """Report of an evaluation of words."""

    artifact: str
    attack: str
    """Name of the attack: ``page`` or ``aimed``."""
    readers: tuple[str, ...]
    """Names of the attackers' readers. The first one says which other words there are."""
    pictures: int
    readable: Share
    """Private texts that can be read in the originals."""
    levels: tuple[WordsAtLevel, ...]
    cpu_seconds: float
    """CPU seconds that protection took for each picture, all levels together."""
