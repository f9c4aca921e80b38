"""Rules that answer questions about a document from its words."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from langchain_vpp.engines.words.segments import below, right_of, segments_of
from trainer.sandbox.vision.questions import route

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from langchain_vpp.engines.words.reader import Word
    from langchain_vpp.engines.words.segments import Segment
    from trainer.sandbox.vision.questions import Patterns

_COVERED: Final = r"[A-Z]{2,}_\d+"
_QUANTITY: Final = r"(?:TEXT|NUMBER|AMOUNT|DATE|ID|PHONE)_\d+"
"""Token that may stand for a number or a date: a name is no price."""
_MONEY: Final = rf"(?:[$€£]\s?\d[\d.,]*\d|\d[\d.,]*\s?(?:[$€£]|EUR\b|USD\b)|{_QUANTITY})"
_DATE: Final = (
    r"(?:\d{1,2}[./\-]\d{1,2}[./\-]\d{2,4}|\d{4}-\d{2}-\d{2}|\d{1,2}\.?\s[A-Z][a-z]+\s\d{4}"
    rf"|[A-Z][a-z]+\s\d{{1,2}},?\s\d{{4}}|{_COVERED})"
)
_PHONE: Final = rf"(?:[+(]?\d[\d ()/.\-]{{5,}}\d|{_COVERED})"
_MAIL: Final = rf"(?:[\w.+\-]+@[\w.\-]+\w|{_COVERED})"
_IBAN: Final = rf"(?:[A-Z]{{2}}\d{{2}}(?: ?[\dA-Z]{{2,4}}){{2,8}}|{_COVERED})"
_NUMBER: Final = rf"(?:\d+|{_QUANTITY})"
_TEXT: Final = r"[^\s:].*?(?=\s*(?:<|$))"
_SPLIT_TOKEN: Final = re.compile(
    r"\b(NAME|COMPANY|ADDRESS|EMAIL|PHONE|HANDLE|CHANNEL|IBAN|CARD|ACCOUNT|ID|DATE|KEY|URL|PATH|TEXT|NUMBER|AMOUNT)"
    r"\s?_\s?(\d+)\b"
)
"""A token as readers sometimes read it, with a space in it."""


class Rule(NamedTuple):
    """Way to find an answer.

    Attributes:
        value: Form of the answer, a regular expression.
        labels: Words before the answer, beside it or above it, a regular expression; the best ones first.
        around: Text around the answer, which is its group ``value``.
        alone: Form of an answer that may stand anywhere.
        whole: Texts that are the answer, such as those of buttons.
    """

    value: str = _TEXT
    labels: tuple[str, ...] = ()
    around: tuple[str, ...] = ()
    alone: str = ""
    whole: str = ""


def _words(*words: str) -> frozenset[str]:
    return frozenset(words)


_BUTTON: Final = _words("button", "click", "press")
PATTERNS: Final[Patterns] = MappingProxyType({
    "total": ((_words("total", "sum"),), (_words("amount"), _words("due", "paid", "pay", "owed"))),
    "due": ((_words("due", "deadline", "payable"),), (_words("pay", "paid"), _words("by", "when", "until"))),
    "sender": (
        (_words("from", "sender", "supplier", "seller"),), (_words("who", "whom"), _words("wrote", "sent", "send")),
    ),
    "payer": ((_words("who", "whom"), _words("pay", "payer", "billed")), (_words("customer", "payer"),)),
    "recipient": ((_words("recipient", "addressed"),),),
    "iban": ((_words("iban", "account"),),),
    "invoice_number": ((_words("invoice", "bill"), _words("number", "no")), (_words("reference"),)),
    "subject": ((_words("subject", "about", "topic"),),),
    "time": ((_words("begin", "start", "when"), _words("meeting", "appointment", "call", "lunch")),),
    "price": ((_words("cost", "price"),), (_words("offer"), _words("much", "cost", "price"))),
    "unread": ((_words("unread"),),),
    "phone": ((_words("phone", "telephone", "mobile"),), (_words("phone"), _words("number"))),
    "mail": ((_words("email"),), (_words("mail"), _words("addres"))),
    "cancel": ((_words("cancel", "abort", "discard"),), (_BUTTON, _words("cancel", "abort", "discard"))),
    "save": ((_BUTTON, _words("save", "submit", "confirm")),),
    "first_name": ((_words("first", "given"), _words("name")),),
    "last_name": ((_words("last", "family", "surname"), _words("name")), (_words("surname"),)),
    "city": ((_words("city", "town"),),),
    "street": ((_words("street"),),),
    "company": ((_words("company"),),),
    "born": ((_words("born", "birth", "birthday"),),),
    "visits": ((_words("visit"),),),
    "newsletter": ((_words("newsletter"),),),
})  # fmt: skip
"""Questions that are understood; the words of each pattern are without an s at the end."""

_RULES: Final[Mapping[str, Rule]] = MappingProxyType({
    "total": Rule(_MONEY, (r"(?:grand )?total(?: amount| due)?", r"amount due", r"balance due", r"to pay")),
    "due": Rule(_DATE, (r"due(?: date| on| by)?", r"payment due", r"(?:please )?pay by", r"payable by")),
    "sender": Rule(labels=(r"from", r"sender", r"supplier", r"company", r"seller", r"issued by")),
    "payer": Rule(labels=(r"bill(?:ed)? to", r"customer(?: name)?", r"recipient", r"to")),
    "recipient": Rule(labels=(r"to", r"recipient", r"dear", r"hello")),
    "iban": Rule(_IBAN, (r"iban", r"account"), alone=r"[A-Z]{2}\d{2}(?: ?\d{4}){3,6}(?: ?\d{1,4})?|IBAN_\d+"),
    "invoice_number": Rule(r"\S+", (r"invoice (?:no\.?|number)", r"reference")),
    "subject": Rule(labels=(r"subject", r"about", r"re")),
    "time": Rule(around=(
        rf"(?:begins|starts|meeting|start)\b[^.]*?\bat (?P<value>\d{{1,2}}:\d{{2}}|{_QUANTITY})",
        rf"(?:begins|starts)\b.*?(?P<value>\d{{1,2}}:\d{{2}}|{_QUANTITY})",
    )),
    "price": Rule(around=(rf"(?:offer|price|costs?)\b.*?(?P<value>{_MONEY})",)),
    "unread": Rule(around=(rf"(?P<value>{_NUMBER}) unread", rf"unread\W{{0,3}}(?P<value>{_NUMBER})")),
    "phone": Rule(_PHONE, (r"(?:tele)?phone", r"mobile", r"tel\.?", r"call me", r"call"),
                  alone=r"\+\d[\d ()/.\-]{6,}\d|PHONE_\d+"),
    "mail": Rule(_MAIL, (r"e-?mail(?: address)?", r"mail"), alone=r"[\w.+\-]+@[\w.\-]+\w|EMAIL_\d+"),
    "cancel": Rule(whole=r"cancel|discard|go back|abort|dismiss|not now"),
    "save": Rule(whole=r"save(?: and continue)?|submit|confirm|apply"),
    "first_name": Rule(labels=(r"first name", r"given names?")),
    "last_name": Rule(labels=(r"last name", r"family name", r"surname")),
    "city": Rule(labels=(r"city", r"town")),
    "street": Rule(labels=(r"street(?: and number)?", r"address")),
    "company": Rule(labels=(r"company(?: \(optional\))?", r"employer")),
    "born": Rule(_DATE, (r"date of birth", r"birth ?date", r"born")),
    "visits": Rule(_NUMBER, (r"visits",)),
    "newsletter": Rule(r"(?:on|off|yes|no|TEXT_\d+)\b", (r"newsletter",)),
})  # fmt: skip
_LABEL: Final = re.compile(
    "|".join(label for rule in _RULES.values() for label in rule.labels), re.IGNORECASE
)


def answer(words: Sequence[Word], question: str) -> str | None:
    """Answer a question about a document from its words.

    Args:
        words: All words that were read, tokens of covered text among them.
        question: English, about one thing in :data:`PATTERNS`.

    Returns:
        The answer as it stands in the document; ``None`` if the question is not understood, or nothing answers it.
    """
    attribute = route(question, PATTERNS)
    if attribute is None:
        return None
    segments = [_mended(each) for each in segments_of(words)]
    found = next(_answers(_RULES[attribute], segments), None)
    if found is None:
        return None
    found = found.strip(" .,;·|")
    return _grouped(found) if attribute == "iban" and "_" not in found else found


def understands(question: str) -> bool:
    """Say whether a question is about something that the rules know."""
    return route(question, PATTERNS) is not None


def _answers(rule: Rule, segments: Sequence[Segment]) -> Iterator[str]:
    """Yield possible answers, the best first."""
    for label in rule.labels:
        for segment in segments:
            yield from _labelled(label, rule.value, segment, segments)
    for pattern in rule.around:
        text = " ".join(each.text for each in segments)
        yield from (match["value"] for match in re.finditer(pattern, text, re.IGNORECASE))
    if rule.alone:
        yield from (match[0] for each in segments for match in re.finditer(rule.alone, each.text))
    if rule.whole:
        yield from (
            each.text for each in segments if re.fullmatch(rule.whole, each.text.strip(), re.IGNORECASE)
        )


def _labelled(label: str, value: str, segment: Segment, segments: Sequence[Segment]) -> Iterator[str]:
    """Yield the value after a label, beside it or below it."""
    match = re.search(
        rf"(?:^|[·|]\s*|\s)(?:{label})\s*(?P<colon>:)?(?:\s+|(?<=:)|$)", segment.text, re.IGNORECASE
    )
    if match is None or (match.start() > 0 and not match["colon"]):
        return
    rest = segment.text[match.end() :]
    if rest:
        # Without a colon a longer text is a sentence, unless its value has a form of its own.
        if (match["colon"] or value is not _TEXT) and (found := re.match(value, rest)):
            yield found[0]
        return
    for place in (right_of(segment, segments), below(segment, segments, gap=1.6, slack=3.0)):
        if place is None or _LABEL.fullmatch(place.text.strip(" :*")):
            continue
        if found := re.match(value, place.text):
            yield found[0]


def _mended(segment: Segment) -> Segment:
    """Write tokens in a segment's text as they were painted."""
    return segment._replace(text=_SPLIT_TOKEN.sub(r"\1_\2", segment.text))


def _grouped(iban: str) -> str:
    """Write an account number in groups of four, whatever spaces were read."""
    plain = iban.replace(" ", "")
    return " ".join(plain[start : start + 4] for start in range(0, len(plain), 4))
