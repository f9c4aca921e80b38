"""Kinds of regions: what a picture of text is made of, each shown or covered as a whole."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from langchain_vpp.engines.words.spelling import core, is_date
from langchain_vpp.engines.words.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from langchain_vpp.engines.words.reader import Word

KINDS: Final[Mapping[str, str]] = MappingProxyType({
    "words": "words of a public vocabulary that are part of no name",
    "numbers": "short numbers, times and counts that identify nobody",
    "amounts": "amounts of money",
    "dates": "dates that are no dates of birth",
    "names": "names of people",
    "companies": "names of companies and organisations",
    "addresses": "postal and network addresses",
    "mails": "mail addresses",
    "phones": "telephone numbers",
    "handles": "user names, hosts and channels",
    "accounts": "numbers of accounts and cards, IBANs",
    "ids": "numbers of documents, customers, invoices and the like",
    "births": "dates of birth",
    "secrets": "keys, tokens and passwords",
    "links": "web addresses and paths",
    "other": "all other text, which is not known to be harmless",
    "faces": "heads",
    "codes": "QR codes and bar codes",
    "background": "the picture in full detail, without its text, faces and codes",
})  # fmt: skip
"""Kind -> what belongs to it."""
HARMLESS: Final = frozenset({"words", "numbers", "amounts", "dates"})
"""Kinds that are known to be harmless; all others are private."""
_OF_VERDICTS: Final[Mapping[str, str]] = MappingProxyType({
    "NAME": "names", "COMPANY": "companies", "ADDRESS": "addresses", "EMAIL": "mails", "PHONE": "phones",
    "HANDLE": "handles", "CHANNEL": "handles", "IBAN": "accounts", "CARD": "accounts", "ACCOUNT": "accounts",
    "ID": "ids", "DATE": "births", "KEY": "secrets", "URL": "links", "PATH": "links",
})  # fmt: skip
_TOKENS: Final[Mapping[str, str]] = MappingProxyType(
    {"words": "TEXT", "numbers": "NUMBER", "amounts": "AMOUNT", "dates": "DATE"}
)
"""Kind of a harmless word -> what stands in its token where it is covered."""
_AMOUNT: Final = re.compile(r"[$€£¥₹]|\d[.,]\d{2}(?!\d)(?![.,\-/]\d)")


def kinds_of(words: Sequence[Word], verdicts: Sequence[Verdict]) -> list[str | None]:
    """Return the kind of each word; ``None`` for one that is never shown, such as a denied word.

    Args:
        words: All words of a picture.
        verdicts: A verdict for each word where words, numbers and dates that identify nobody are shown.
    """
    return [_kind(word.text, verdict) for word, verdict in zip(words, verdicts, strict=True)]


def covering(
    verdicts: Sequence[Verdict], kinds: Sequence[str | None], shown: Collection[str]
) -> list[Verdict]:
    """Return a verdict for each word where some kinds are shown and all others are covered."""
    return [
        Verdict()
        if kind in shown
        else Verdict(verdict.kind or _TOKENS.get(kind or "", "TEXT"), strong=verdict.strong)
        for verdict, kind in zip(verdicts, kinds, strict=True)
    ]


def _kind(text: str, verdict: Verdict) -> str | None:
    if verdict.strong:
        return _OF_VERDICTS.get(verdict.kind)
    if verdict.kind:
        return "other"
    plain = core(text)
    if not any(letter.isdigit() for letter in plain):
        return "words"
    if is_date(plain):
        return "dates"
    return "amounts" if _AMOUNT.search(text) else "numbers"
