"""Recognizers: private text of a known form, such as mail addresses, account numbers and keys."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from langchain_vpp import extras
from langchain_vpp.engines.words.public import is_public, token_around

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

_UNDONE: Final = "Words were not judged"
_PATTERNS: Final[Mapping[str, str]] = {
    "IbanRecognizer": "IBAN",
    "CreditCardRecognizer": "CARD",
    "CryptoRecognizer": "ACCOUNT",
    "IpRecognizer": "ADDRESS",
    "MacAddressRecognizer": "ID",
    "UuidRecognizer": "ID",
    "UsSsnRecognizer": "ID",
    "UsItinRecognizer": "ID",
    "UsMbiRecognizer": "ID",
    "UkNinoRecognizer": "ID",
    "NhsRecognizer": "ID",
    "DeTaxIdRecognizer": "ID",
    "DeSocialSecurityRecognizer": "ID",
    "EsNifRecognizer": "ID",
    "EsNieRecognizer": "ID",
    "ItFiscalCodeRecognizer": "ID",
    "PlPeselRecognizer": "ID",
    "InAadhaarRecognizer": "ID",
    "InPanRecognizer": "ID",
    "SgFinRecognizer": "ID",
    "FiPersonalIdentityCodeRecognizer": "ID",
    "SePersonnummerRecognizer": "ID",
    "KrRrnRecognizer": "ID",
    "AuTfnRecognizer": "ID",
}
"""Recognizer of presidio-analyzer -> kind of what it finds.

Left out are those that find any short number or word, and that of mail addresses, which downloads a list of domains.
"""
_SURE: Final = 0.3
"""Least score of a finding. Recognizers with a checksum give 1 where it is right, and drop the finding where not."""
_REGIONS: Final = (None, "US", "GB", "DE", "FR", "ES", "IT", "NL", "PL", "IN", "AU", "BR", "JP")
_DIGITS: Final = re.compile(r"[+(]?\d[\d ()./\-]{5,}\d")
_OWN: Final = (
    ("EMAIL", r"[\w.+\-]+\s?@\s?[\w\-]+(?:\.[\w\-]+)+"),
    ("URL", r"(?:https?|wss?|ftp|ssh|git|postgres(?:ql)?|mysql|mongodb(?:\+srv)?|redis|amqp)s?:?//?\S+|www\.\S+"),
    ("URL", (r"\b(?:[a-z0-9\-]+\.)+(?:com|org|net|io|dev|app|ai|co|example|test|local|internal|cloud|edu|gov|info|biz"
            r"|eu|de|at|ch|fr|es|it|nl|pl|uk|us|jp|cn|ru|br|au|ca)\b(?:[:/]\S*)?")),
    ("KEY", (r"\b(?:sk|pk|rk|ghp|gho|ghs|github_pat|glpat|pat|xox[abeprs]|npm|pypi|hf|AKIA|ASIA|AIza|ya29|eyJ|whsec|SG)"
            r"[\-_.]?[\w\-./+=]{8,}")),
    ("KEY", r"\b(?:SHA256|SHA1|MD5):\S+"),
    ("KEY", r"-----BEGIN.*|ssh-(?:rsa|ed25519)\s+\S+"),
    ("KEY", r"(?i)\w{0,40}(?:key|token|secret|passw(?:or)?d|pwd|credential|auth)\w*\s*[=:]\s*\S+"),
    ("KEY", r"(?=\S*\d)(?=\S*[A-Za-z])[A-Za-z0-9+/_\-=]{16,}"),
    ("KEY", r"\b[0-9a-f]{12,}\b"),
    ("HANDLE", r"(?<!\w)@\s?[\w.\-]{2,}"),
    ("CHANNEL", r"(?<!\w)#\s?[\w.\-]*[a-zA-Z][\w.\-]*"),
    ("HANDLE", r"\b[\w.\-]+@[\w.\-]+"),
    ("PATH", r"(?=\S*[A-Za-z])(?:~|[A-Za-z]:|\b[\w.\-]+)?(?:[/\\][\w.\-~]+){2,}"),
    ("PATH", r"\b[\w.]+(?:-[\w.]+)+/[\w.\-]+"),
    ("ADDRESS", (r"\b\d{1,4}[a-z]?,?\s+(?:[A-Z][\w.'\-]*\s+){1,3}(?i:street|str|road|rd|avenue|ave|lane|ln|drive|dr|"
                r"boulevard|blvd|court|ct|square|sq|place|pl|way|close|terrace|crescent|hill|view|row|mews|parade|gardens"
                r"|grove|walk|rise|parkway|highway|hwy)\b\.?")),
    ("ADDRESS", r"(?i)\b[\w\-]*(?:stra(?:ß|ss)e|str\.|weg|gasse|platz|allee|ufer|damm)\s+\d{1,4}\s?[a-z]?\b"),
    ("ADDRESS", (r"(?i)\b(?:rue|avenue|calle|plaza|via|viale|piazza|corso|rua|ul\.|ulica)\s+(?:[\w.'\-]+\s+){0,3}"
                r"[\w.'\-]+,?\s*\d{0,4}\b")),
    ("ADDRESS", r"\b(?:[A-Z]{1,2}-\d{4}|\d{5})\s+[A-ZÄÖÜ][\w.\-]+(?:\s+[A-ZÄÖÜ][\w.\-]+)*"),
    ("ADDRESS", r"\b[A-Z][\w.\-]+,?\s+[A-Z]{2}\s+\d{5}(?:-\d{4})?\b"),
    ("ADDRESS", r"\b[A-Z]{1,2}\d[A-Z\d]?\s+\d[A-Z]{2}\b"),
)  # fmt: skip


class Finding(NamedTuple):
    """Part of a line that is private.

    Attributes:
        kind: A word in capitals that names what it is, for the token that takes its place.
        start: Index of the first character.
        end: Index after the last character.
    """

    kind: str
    start: int
    end: int


class Recognizer(Protocol):
    """Anything that finds private text in a line.

    Example:
        >>> class Projects:
        ...     def find(self, text):
        ...         place = text.find("Bluebird")
        ...         return [] if place < 0 else [Finding("PROJECT", place, place + 8)]
    """

    def find(self, text: str) -> Iterable[Finding]:
        """Return the private parts of a line of text."""
        ...


class FormRecognizer:
    """Finds mail and web addresses, keys, tokens, handles, channels, paths and postal addresses by their form."""

    def find(self, text: str) -> Iterator[Finding]:
        """Return the private parts of a line; see :class:`Recognizer`."""
        for kind, pattern in _compiled():
            for match in pattern.finditer(text):
                if not (is_public(match[0]) or is_public(token_around(text, *match.span()))):
                    yield Finding(kind, *match.span())


class ChecksumRecognizer:
    """Finds account, card and identity numbers with the pattern recognizers of presidio-analyzer.

    No language model is loaded: these recognizers look at patterns and checksums alone.

    Raises:
        MissingExtraError: If the extra ``words`` is missing or can't be loaded.
    """

    def __init__(self) -> None:
        package = extras.load("presidio_analyzer.predefined_recognizers", extra="words", undone=_UNDONE)
        self._parts: list[tuple[str, Any]] = [
            (kind, getattr(package, name)()) for name, kind in _PATTERNS.items() if hasattr(package, name)
        ]

    def find(self, text: str) -> Iterator[Finding]:
        """Return the private parts of a line; see :class:`Recognizer`."""
        if not any(letter.isdigit() or letter == "@" for letter in text):
            return
        for kind, part in self._parts:
            for found in part.analyze(text, part.supported_entities, None) or ():
                if found.score >= _SURE and not is_public(text[found.start : found.end]):
                    yield Finding(kind, found.start, found.end)


class PhoneRecognizer:
    """Finds telephone numbers of many countries with the package phonenumbers.

    Raises:
        MissingExtraError: If the extra ``words`` is missing or can't be loaded.
    """

    def __init__(self) -> None:
        self._package: Any = extras.load("phonenumbers", extra="words", undone=_UNDONE)

    def find(self, text: str) -> Iterator[Finding]:
        """Return the private parts of a line; see :class:`Recognizer`."""
        if not _DIGITS.search(text):
            return
        possible = self._package.Leniency.POSSIBLE
        for region in _REGIONS:
            for match in self._package.PhoneNumberMatcher(text, region, leniency=possible):
                if sum(letter.isdigit() for letter in match.raw_string) >= 7 and not _is_date(
                    match.raw_string
                ):
                    yield Finding("PHONE", match.start, match.end)


def default_recognizers() -> tuple[Recognizer, ...]:
    """Return the recognizers that are used unless others are given.

    Raises:
        MissingExtraError: If the extra ``words`` is missing or can't be loaded.
    """
    return ChecksumRecognizer(), PhoneRecognizer(), FormRecognizer()


def _is_date(text: str) -> bool:
    return bool(re.fullmatch(r"\s*(?:\d{1,2}[./\-]\d{1,2}[./\-]\d{2,4}|\d{4}-\d{2}-\d{2}).*", text))


@cache
def _compiled() -> Sequence[tuple[str, re.Pattern[str]]]:
    return [(kind, re.compile(pattern)) for kind, pattern in _OWN]
