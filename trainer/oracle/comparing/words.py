"""Words of an answer, and the normal form in which answers are compared.

A text is cut into words, numbers, symbols and punctuation. A number is one word, however it is written. A letter keeps
its combining marks. Scripts without spaces (Chinese, Japanese, Thai, ...) give a word per character, so that words in a
row find a choice anywhere in a sentence.
"""

from __future__ import annotations

import html
import re
import unicodedata
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_UNITS: Final = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
_TENS: Final = {
    word: 10 * tens
    for tens, word in enumerate("twenty thirty forty fifty sixty seventy eighty ninety".split(), start=2)
}
_NUMBER_WORDS: Final = {word: str(value) for value, word in enumerate([*_UNITS])} | {
    word: str(value) for word, value in _TENS.items()
}
_DIGITS: Final = frozenset("123456789")
_COUNTED: Final = frozenset(
    "is are was be there's it's only just exactly number answer digit say says show shows see sees have has contain "
    "contains about approximately around to count total".split()
)
"""Words before "one" that make it a number; elsewhere it stands for something, as in "the red one"."""
ARTICLES: Final = frozenset({"a", "an", "the"})
_NO_NOUNS: Final = frozenset({"is", "was", "are", "or", "and", "nor", "because", "since", "seems", "would"})
_RANGE_WORDS: Final = frozenset(
    {"-", "~", "to", "through", "thru", "bis", "tot", "à", "a", "al", "до", "至", "到"}
)
_BETWEEN: Final = frozenset(
    {"between", "zwischen", "entre", "tussen", "tra", "fra", "между", "mellan", "mellem"}
)
_AND: Final = frozenset({"and", "und", "et", "y", "e", "en", "и", "og", "och"})
_SIGN_WORDS: Final = {"minus": "-", "negative": "-", "plus": "+", "positive": "+"}
_SPELLED_SYMBOLS: Final = {"percent": "%", "prozent": "%", "procent": "%", "&": "and"}

_UNSPACED_BLOCKS: Final = (
    (0x0E00, 0x109F),  # Thai, Lao, Tibetan, Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x1980, 0x1AAF),  # Tai scripts
    (0x3005, 0x3007),
    (0x3040, 0x30FF),  # kana
    (0x31F0, 0x31FF),
    (0x3400, 0x9FFF),  # Han
    (0xA000, 0xA4CF),  # Yi
    (0xA980, 0xA9DF),  # Javanese
    (0xAA60, 0xAADF),
    (0xF900, 0xFAFF),
    (0x1B000, 0x1B16F),
    (0x20000, 0x3FFFF),
)
_QUOTES: Final = "\u2018\u2019\u201a\u201b\u02bc\u02b9\u2032\u00b4`"
_SYMBOLS_AMONG_PUNCTUATION: Final = "%@&\u2030\u00a7"
_VARIANTS: Final = frozenset(map(chr, [*range(0xFE00, 0xFE10), *range(0x1F3FB, 0x1F400)]))
"""Selectors of how a character is drawn, and skin tones."""
_THIN_SPACE: Final = re.compile(r"(?<=\d)[\u00a0\u202f\u2009](?=\d{3}(?!\d))")

_EMPTY_BOX: Final = re.compile(r"\[[ \u00a0_]?\]|\([ \u00a0_]?\)")
_TICKED_BOX: Final = re.compile(r"[\[(][xX\u2022\u25cf\u2713\u2714*][\])]")
_STRUCK: Final = re.compile(r"~~[^~\n]+~~")
_CLOSING_TAG: Final = re.compile(r"</([A-Za-z][\w-]{0,30})>")
_TAG: Final = re.compile(r"</?([A-Za-z][\w-]{0,30})(?:\s[^<>]{0,200})?/?>")
_VOID_TAGS: Final = frozenset({"br", "hr", "img", "wbr"})
_MATHS: Final = re.compile(r"\$(?!\s)([^$\n]{1,80}?)(?<!\s)\$")
_WRAPPING: Final = re.compile(
    r"https?://\S+|<\|[^|<>\n]{1,40}\|>|[-=]{1,3}>"
    r"|\\(?:text|mathrm|mathbf|textbf|textit|mathit|mathsf|mbox|boxed|operatorname|quad|displaystyle)\b"
)

# Patterns over shapes: a letter, m combining mark, 9 digit, u character of an unspaced script, s symbol, p punctuation.
_PIECE: Final = (
    r"(?P<word>9*a[a9m]*(?:'a[a9m]*)*(?:\^9+)?(?:(?:\+\+?|#)(?![a9u+#]))?|um*)"
    r"|(?P<number>(?:(?<![a9m)\].,/'-])-)?(?:9+(?:[.,:/'^-]9+)*|(?<![a9.])\.9+))"
    r"|(?P<symbol>[s+#^~][m]*)"
    r"|(?P<mark>[p.,:/'\n-])"
)
_PLAIN: Final = re.compile(_PIECE)
_SIGNED: Final = re.compile(r"(?P<graded>(?<![a9m'])aa?-(?![a9m]))|" + _PIECE)
"""For grades and blood groups, such as ``A-``."""


class Token(NamedTuple):
    """A piece of a text."""

    text: str
    """In small letters, compatible characters made one."""
    kind: Literal["word", "number", "symbol", "mark"]
    start: int
    end: int
    raw: str

    @property
    def is_content(self) -> bool:
        """Whether it is more than punctuation."""
        return self.kind != "mark"

    @property
    def is_unspaced(self) -> bool:
        """Whether it belongs to a script that is written without spaces."""
        return _shape(self.text[:1]) == "u"


def tokens(text: str, *, signed: bool = False) -> list[Token]:
    """Cut a text into tokens.

    Args:
        text: An answer or a choice.
        signed: Whether ``A-`` is a word, not a letter and a dash.
    """
    return list(_cut(_unwrapped(text), signed=signed))


def loose(given: Sequence[Token]) -> list[Token]:
    """Replace number words by digits, and what is written in two ways by one of them."""
    result: list[Token] = []
    for position, token in enumerate(given):
        text = _SPELLED_SYMBOLS.get(token.text, token.text).replace("\u0451", "\u0435").replace("\u0131", "i")
        if token.kind == "number":
            result.append(token._replace(text=_value(text)))
        elif text not in _NUMBER_WORDS or (text == "one" and not _is_counted(given, position)):
            result.append(token._replace(text=text))
        else:
            result.append(token._replace(text=_NUMBER_WORDS[text], kind="number"))
            _add_tens(result)
    return result


def _add_tens(result: list[Token]) -> None:
    """Make one number of tens and units at the end: "twenty-one"."""
    units = result[-1]
    width = 3 if len(result) > 2 and result[-2].text == "-" else 2
    tens = result[-width] if len(result) >= width else units
    if tens.raw.casefold() in _TENS and units.text in _DIGITS:
        text = str(int(tens.text) + int(units.text))
        result[-width:] = [units._replace(text=text, start=tens.start)]


def joined(given: Sequence[Token]) -> str:
    """Join tokens without punctuation: with spaces, except within an unspaced script."""
    content = [token for token in given if token.is_content]
    parts = [token.text for token in content[:1]]
    for left, right in pairwise(content):
        parts += ["" if left.is_unspaced and right.is_unspaced else " ", right.text]
    return "".join(parts)


@lru_cache(maxsize=4096)
def normalise(text: str) -> str:
    """Normalise an answer as VQA evaluation does: no case, punctuation or articles, number words as digits.

    A number stays one word: ``1,000`` is 1000, and ``3.5`` keeps its point. An answer that is an article alone, such as
    ``A``, keeps it. ``none`` is 0.

    Example:
        >>> normalise("  The number is Three. ")
        'number is 3'
        >>> [normalise(each) for each in ("1,000", "3.5", "A.", "none")]
        ['1000', '3.5', 'a', '0']
    """
    content = [token for token in loose(tokens(text)) if token.is_content]
    content = [token for token in content if token.kind != "symbol"] or content
    kept = [
        token
        for token, after in pairwise([*content, None])
        if token is not None and (token.text not in ARTICLES or after is None or after.text in _NO_NOUNS)
    ]
    form = joined(kept)
    if form == "none":
        return "0"
    return form if form == text else normalise(form)


@lru_cache(maxsize=4096)
def exact(text: str) -> str:
    """Form of a choice as it is written, without case and punctuation; of a choice without words all of it."""
    return joined(tokens(text, signed=True)) or " ".join(_compatible(text).casefold().split())


def _cut(text: str, *, signed: bool) -> Iterator[Token]:
    """Cut a text along its shape."""
    text = _compatible(text)
    shape = "".join(map(_shape, text))
    found: list[Token] = []
    for match in (_SIGNED if signed else _PLAIN).finditer(shape):
        kind = match.lastgroup or "mark"
        raw = text[match.start() : match.end()]
        folded = unicodedata.normalize("NFKC", raw.casefold()).replace("i\u0307", "i")
        if kind == "number":
            folded = _plain_number(folded)
        found.append(
            Token(folded, "word" if kind == "graded" else kind, match.start(), match.end(), raw)  # type: ignore[arg-type]
        )
    yield from _with_signs(_with_ranges(found), signed=signed)


def _with_ranges(given: Sequence[Token]) -> list[Token]:
    """Make one token of a range: ``20 to 29``, ``20 - 29``, ``between 20 and 29``."""
    result: list[Token] = []
    for token in given:
        result.append(token)
        if token.kind != "number" or len(result) < 2:
            continue
        before = result[-2]
        if _is_plain(before) and token.text.startswith("-") and before.end < token.start:
            result[-2:] = [_range(before, token)]
        elif _is_grouped(before, token):
            result[-2:] = [before._replace(text=before.text + token.text, end=token.end)]
        elif len(result) > 2 and _is_plain(result[-3]) and _is_plain(token):
            between = len(result) > 3 and result[-4].text in _BETWEEN
            if before.text in _RANGE_WORDS or (between and before.text in _AND):
                result[-3:] = [_range(result[-3], token)]
    return result


def _range(first: Token, last: Token) -> Token:
    text = f"{first.text}-{last.text.lstrip('-')}"
    return Token(text, "number", first.start, last.end, text)


def _is_grouped(before: Token, token: Token) -> bool:
    """Whether two numbers are one with a space before its last three digits, such as 12 000."""
    return (
        before.kind == "number"
        and before.text.isdigit()
        and len(before.raw.split()[-1]) <= 3
        and bool(re.fullmatch(r"\d{3}", token.raw))
        and token.start == before.end + 1
    )


def _is_plain(token: Token) -> bool:
    """Whether a token is a number without a sign, and no range."""
    return token.kind == "number" and token.text.replace(".", "", 1).isdigit()


def _with_signs(given: Sequence[Token], *, signed: bool) -> Iterator[Token]:
    """Read ``minus 5`` as ``-5``, and ``A minus`` or ``A negative`` as ``A-`` where signs matter."""
    held: Token | None = None
    for token in given:
        if held is None:
            held = token
        elif held.text in {"minus", "negative"} and _is_plain(token):
            held = token._replace(text=f"-{token.text}", start=held.start)
        elif signed and (sign := _spelled_sign(held, token)):
            held = held._replace(text=held.text + sign, end=token.end)
        else:
            yield held
            held = token
    if held is not None:
        yield held


def _spelled_sign(grade: Token, token: Token) -> str:
    """Sign that a word gives to the letters before it; "a positive sign" has none."""
    letters = grade.raw.isalpha() and len(grade.raw) < 3
    spelled = letters and (token.text in {"minus", "plus"} or grade.raw.isupper())
    return _SIGN_WORDS.get(token.text, "") if spelled else ""


def _unwrapped(text: str) -> str:
    """Remove mark-up that is not said: tags in pairs, control tokens, LaTeX commands, addresses, what is struck out."""
    if "&" in text:
        text = html.unescape(text)
    if _EMPTY_BOX.search(text):
        text = _TICKED_BOX.sub(" \u2611 ", _EMPTY_BOX.sub(" \u2610 ", text))
    text = _MATHS.sub(r" \1 ", _WRAPPING.sub(" ", _STRUCK.sub(" ", text)))
    pairs = {name.casefold() for name in _CLOSING_TAG.findall(text)} | _VOID_TAGS
    return _TAG.sub(lambda tag: " " if tag[1].casefold() in pairs else tag[0], text)


def _compatible(text: str) -> str:
    """Make compatible characters one, except where that would make another number: 10\u00b2 is not 102."""
    text = _THIN_SPACE.sub(",", text)
    if text.isascii():
        return text.replace("`", "'")
    return unicodedata.normalize("NFKC", "".join(map(_compatible_character, text)))


_REPLACED: Final = {
    **dict.fromkeys(_QUOTES, "'"),
    **dict.fromkeys("\u2212\u02d7", "-"),
    **dict.fromkeys("\u2044\u2215", "/"),
    "\u301c": "~",
    "\u2116": " # ",
    "\u20e3": "",
}


@lru_cache(maxsize=4096)
def _compatible_character(character: str) -> str:
    category, decomposition = unicodedata.category(character), unicodedata.decomposition(character)
    if character in _REPLACED:
        return _REPLACED[character]
    if category in {"Cf", "Pd"} or character in _VARIANTS:
        return "-" if category == "Pd" else ""
    if category == "Nd":
        return str(unicodedata.digit(character))
    if decomposition.startswith("<fraction>"):
        return " " + unicodedata.normalize("NFKC", character).replace("\u2044", "/") + " "
    if decomposition.startswith("<super>") and category == "No":
        return f"^{unicodedata.normalize('NFKC', character)}"
    return character


@lru_cache(maxsize=4096)
def _shape(character: str) -> str:
    """Class of a character, for the patterns of tokens; one that they name stands for itself."""
    if not character or character in ".,:/'\n-+#^~":
        return character or " "
    category, point = unicodedata.category(character), ord(character)
    if category[0] in "LN" and category != "Nd":
        return "u" if any(low <= point <= high for low, high in _UNSPACED_BLOCKS) else "a"
    is_symbol = category in {"Sc", "Sm", "So"} and character != "|"
    if is_symbol or character in _SYMBOLS_AMONG_PUNCTUATION:
        return "s"
    return {"M": "m", "N": "9", "Z": " ", "C": " "}.get(category[0], "p")


def _plain_number(text: str) -> str:
    """Write a number with a point for decimals and without grouping, each part of a range for itself."""
    return "".join(
        part if part in "-/:^" else _ungrouped(part) for part in re.split(r"([-/:^])", text)
    ).replace("'", "")


def _ungrouped(text: str) -> str:
    if re.fullmatch(r"\d{1,3}(?:[,']\d{3})+(?:\.\d+)?|\d{1,2}(?:,\d{2})+,\d{3}(?:\.\d+)?", text):
        return text.replace(",", "").replace("'", "")
    if re.fullmatch(r"\d{1,3}(?:\.\d{3})+,\d+|\d{1,3}(?:\.\d{3}){2,}", text):
        return text.replace(".", "").replace(",", ".")
    if re.fullmatch(r"\d+,\d+", text):
        return text.replace(",", ".")
    return f"0{text}" if text.startswith(".") else text


def _value(text: str) -> str:
    """Drop zeros after the point: 4.0 is 4. Three digits after a point may be thousands, and stay."""
    return re.sub(r"\.00?(?!\d)|(\.[1-9])0(?!\d)", lambda match: match[1] or "", text)


def _is_counted(given: Sequence[Token], position: int) -> bool:
    """Whether "one" at a position is a number: alone, after a word of counting, or before what is counted."""
    before = given[position - 1] if position else None
    after = given[position + 1] if position + 1 < len(given) else None
    if before is None or before.kind == "mark":
        return after is None or after.text not in {"of", "is", "on", "in", "at"}
    return before.text in _COUNTED or before.text in _TENS
