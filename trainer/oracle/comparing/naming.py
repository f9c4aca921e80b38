"""The choice that an answer names.

An answer that equals a choice names it. Otherwise the choices that it mentions as whole words count, the longest at
each place, unless it takes them back. Exactly one must be left: several, like none, name nothing.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections import defaultdict
from functools import cache, lru_cache, partial
from itertools import pairwise
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from trainer.oracle.comparing.negation import taken_back
from trainer.oracle.comparing.refusals import refused
from trainer.oracle.comparing.thoughts import said, without_thoughts
from trainer.oracle.comparing.words import ARTICLES, exact, joined, loose, normalise, tokens

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trainer.oracle.comparing.words import Token

AnswerKind = Literal["usable", "refused", "empty", "unfit"]

_QUESTION_MARKS: Final = frozenset("?？؟")
_SENTENCE_ENDS: Final = _QUESTION_MARKS | frozenset(".!\n。！")
_FARTHEST: Final = 20
"""Tokens on either side that make the clause of a mention."""
_EDGES: Final = " \t\n*_`\"'\u201c\u201d\u201e\u00ab\u00bb()[]{}.,:;!?\u2026"
"""Characters that may surround a choice without letters."""
_LABEL: Final = re.compile(r"\s*[(\[]?([A-Za-z]|\d{1,2})[)\].:]+\s*(\S.*)", re.DOTALL)
_BEFORE_WORDS: Final = frozenset(
    {"ال", "وال", "بال", "لل", "ה", "l'", "d'", "s'", "c'", "dell'", "nell'", "un'", "all'"}
)
"""Articles and elisions, which are written together with the word after them."""
_AFTER_WORDS: Final = re.compile(
    r"'s|(?:으로|로|이라고|라고|이|가|은|는|을|를|의|에|도|만|와|과|이나|인|색)?(?:입니다|이다|다|이에요|예요|에요|이야|야|임|요|이고|이며|같아요|"
    r"같습니다|보입니다)?|[dt][ıiuü]r"
)
"""Endings that are written together with the word before them: particles of Korean, a copula of Turkish, a genitive."""
_HANGUL: Final = re.compile(r"[\uac00-\ud7a3]")
_MAY_FOLLOW_A_LETTER: Final = frozenset(
    "is was are were isn't or and nor because since as would could should seems appears matches fits has in on at of "
    "to for but then being if est es è é ist".split()
)
_MAY_FOLLOW_I: Final = frozenset({"is", "or", "and", "nor", "because", "since"})
_BEFORE_LETTERS: Final = frozenset(
    "answer option choice letter type group class category label opción respuesta réponse option antwort lettre "
    "letra buchstabe lettera opção opzione вариант ответ".split()
)
_WORDS_OF_ONE_LETTER: Final = frozenset("aioeyuàáéóйвиускоаяі")
"""Letters that are words of some language."""
_POLAR: Final = frozenset(
    "yes no true false ja nein oui non sí si sì não sim да нет nee nej tak nie ano ne evet hayır var yok 是 否 是的 "
    "不是 はい いいえ 예 네 아니요 아니오 نعم لا हाँ नहीं כן לא ใช่ ไม่ใช่ ya tidak có không".split()
)
_HEDGES: Final = frozenset(
    "or maybe perhaps possibly probably could might may but however although though actually wait otherwise unless "
    "alternatively oder vielleicht aber ou peut-être mais o quizás quizá pero forse ma talvez mas или может но 或 但 "
    "也".split()
)
_DENIALS: Final = frozenset("no non não nein nee nie не нет ne ei nem لا לא tidak không нема ні".split())
_CONNECTING: Final = frozenset({"and", "or", "nor", "then", "und", "et", "y", "e", "и", "a", "the", "&", "/"})


class _Mention(NamedTuple):
    first: int
    """First token."""
    last: int
    """Last token."""
    choice: int | None
    """``None`` where several choices read alike."""


class _Line(NamedTuple):
    """The words of a text in a row without gaps, to be searched fast."""

    text: tuple[Token, ...]
    content: tuple[int, ...]
    """Positions of the tokens that are more than punctuation."""
    row: str
    starts: tuple[int, ...]
    """Where each of them begins in the row."""

    @classmethod
    def of(cls, text: Sequence[Token]) -> _Line:
        content = tuple(position for position, token in enumerate(text) if token.is_content)
        starts, length = [], 0
        for position in content:
            starts.append(length)
            length += len(text[position].text)
        return cls(tuple(text), content, "".join(text[position].text for position in content), tuple(starts))

    def find(self, wanted: _Line) -> Iterator[tuple[int, int]]:
        """Find whole words in a row; yields the first and the last token of each place."""
        place = self.row.find(wanted.row) if wanted.row else -1
        while place >= 0:
            found = self._whole(wanted, place)
            if found is not None:
                yield found
            place = self.row.find(wanted.row, place + 1)

    def _whole(self, wanted: _Line, place: int) -> tuple[int, int] | None:
        end = place + len(wanted.row)
        first, last = bisect_right(self.starts, place) - 1, bisect_right(self.starts, end - 1) - 1
        before = self._word(first)[: place - self.starts[first]]
        after = self._word(last)[end - self.starts[last] :]
        if before and before not in _BEFORE_WORDS:
            return None
        if after and not self._may_end_with(last, after):
            return None
        own = {self.starts[each] - place for each in range(first + 1, last + 1)}
        if any(self._splits_a_number(place + cut) for cut in own ^ set(wanted.starts[1:])):
            return None
        if not all(self._may_close_up(place + cut) for cut in own - set(wanted.starts)):
            return None
        return self.content[first], self.content[last]

    def _word(self, number: int) -> str:
        return self.text[self.content[number]].text

    def _may_end_with(self, number: int, after: str) -> bool:
        hangul = _HANGUL.match(after) is not None
        return _AFTER_WORDS.fullmatch(after) is not None and (
            hangul or len(self._word(number)) > len(after) + 2 or after == "'s"
        )

    def _splits_a_number(self, place: int) -> bool:
        return self.row[place - 1].isdigit() and self.row[place].isdigit()

    def _may_close_up(self, place: int) -> bool:
        """Whether the gap between two words may be closed, as in "t-shirt", "ice cream" and "5 kg"."""
        number = bisect_right(self.starts, place) - 1
        left, right = self.content[number - 1], self.content[number]
        one, other = self.text[left], self.text[right]
        if (one.is_unspaced and other.is_unspaced) or (one.end == other.start):
            return True
        between = [token.text for token in self.text[left + 1 : right]]
        if between:
            return between in (["-"], ["."], ["'"]) and one.end + 1 == other.start
        return len(one.text) > 1 or len(other.text) > 1


class _Choices(NamedTuple):
    """Choices, prepared for comparing."""

    raw: tuple[str, ...]
    exact: tuple[str, ...]
    loose: tuple[str, ...]
    normal: tuple[str, ...]
    signed: bool
    """Whether some end in a sign, such as ``A-``."""
    wanted: tuple[tuple[int, _Line], ...]
    """Forms of each choice that an answer may hold."""
    written: tuple[_Line, ...]
    """Each choice as it is written, to tell apart those that read alike."""


@lru_cache(maxsize=1024)
def _prepared(choices: tuple[str, ...]) -> _Choices:
    as_written = tuple(exact(choice) for choice in choices)
    signed = any(re.fullmatch(r"[^\W\d_]{1,2}[+-]", form) for form in as_written)
    cut = [tokens(choice, signed=signed) for choice in choices]
    variants = [(index, loose(each)) for index, each in enumerate(cut)]
    variants += [(index, _without_articles(each)) for index, each in variants]
    variants += [(index, loose(tokens(part))) for index, part in _labelled(choices)]
    lines = tuple((index, _Line.of(each)) for index, each in variants)
    unique = dict.fromkeys((index, line.row) for index, line in lines)
    wanted = tuple({(index, line.row): (index, line) for index, line in lines}[each] for each in unique)
    return _Choices(
        tuple(map(_raw, choices)),
        as_written,
        tuple(joined(loose(each)) for each in cut),
        tuple(map(_normal, choices)),
        signed,
        wanted,
        tuple(_Line.of(each) for each in cut),
    )


def _labelled(choices: Sequence[str]) -> list[tuple[int, str]]:
    """Split choices such as "A) red" into label and content, if all are labelled and all parts differ."""
    parts = [match for choice in choices if (match := _LABEL.fullmatch(choice))]
    labels, contents = ({normalise(match[group]) for match in parts} for group in (1, 2))
    if not parts or len(labels) < len(choices) or len(contents) < len(choices):
        return []
    return [(index, match[group]) for index, match in enumerate(parts) for group in (1, 2)]


def chosen(text: str, choices: Sequence[str]) -> int | None:
    """Find the choice that an answer names: the one that it equals, or the only one that it mentions and keeps.

    Thoughts are left out; see :func:`~trainer.oracle.comparing.thoughts.said`.

    Returns:
        The index, or ``None`` if the answer names no choice or several, or is a refusal. An empty answer names nothing.

    Example:
        >>> chosen("It is a red sign.", ["red", "green"])
        0
        >>> chosen("not red, but green", ["red", "green"])
        1
        >>> chosen("red or green", ["red", "green"]) is None
        True
    """
    heard = said(text)
    equal = matching(heard, choices)
    if equal is not None or not choices:
        return equal
    if refused(heard):
        return None
    prepared = _prepared(tuple(choices))
    cut = tokens(heard, signed=prepared.signed)
    words = loose(cut)
    mentions = _mentions(words, cut, prepared)
    if not mentions:
        words, cut = _without_articles(words), _without_articles(cut)
        mentions = _mentions(words, cut, prepared)
    return _decided(words, mentions, prepared)


def matching(text: str, choices: Sequence[str]) -> int | None:
    """Find the choice that a text equals: as it is written, or else in normal form, if that is one choice only."""
    prepared = _prepared(tuple(choices))
    for own, forms in (
        (_raw(text), prepared.raw),
        (_bare(text), prepared.raw),
        (exact(text), prepared.exact),
        (joined(loose(tokens(text, signed=prepared.signed))), prepared.loose),
        (_normal(text), prepared.normal),
    ):
        if own and forms.count(own) == 1:
            return forms.index(own)
    return None


def choice_keys(choices: Sequence[str]) -> list[str]:
    """Forms by which choices are known: normal forms, or the exact ones where normal forms are empty or alike."""
    normal = list(map(normalise, choices))
    return normal if all(normal) and len(set(normal)) == len(normal) else list(map(exact, choices))


def kind(text: str, choices: Sequence[str] = ()) -> AnswerKind:
    """Tell usable answers from refusals, empty answers, and those that name none of the choices or several."""
    if chosen(text, choices) is not None:
        return "usable"
    if not any(token.is_content for token in tokens(without_thoughts(text))):
        return "empty"
    if refused(text) or refused(said(text)):
        return "refused"
    return "unfit" if choices else "usable"


def _raw(text: str) -> str:
    return unicodedata.normalize("NFC", text.strip()).casefold()


def _bare(text: str) -> str:
    """Text without what may surround a choice; the point of ".5" is no such thing."""
    bare = _raw(text).strip(_EDGES)
    return "" if bare[:1].isdigit() and _raw(text).partition(bare)[0].endswith(".") else bare


def _normal(text: str) -> str:
    """Normal form with symbols, and with articles that stand before punctuation: "A: B" is not B."""
    form = joined(_without_articles(loose(tokens(text))))
    return "0" if form == "none" else form


def _without_articles(text: Sequence[Token]) -> list[Token]:
    return [
        token
        for token, after in pairwise([*text, None])
        if token is not None and (token.text not in ARTICLES or after is None or not after.is_content)
    ]


def _mentions(text: Sequence[Token], cut: Sequence[Token], prepared: _Choices) -> list[_Mention]:
    """Find the choices that a text mentions: the longest at each place, in the order of the text."""
    line, found = _Line.of(text), defaultdict[tuple[int, int], set[int]](set)
    for choice, wanted in prepared.wanted:
        for place in line.find(wanted):
            found[place].add(choice)
    if not found:
        return []
    asked = _asked(text)
    written = cache(partial(_written_ends, _Line.of(cut), prepared))
    shouted = all(each.raw.upper() == each.raw for each in text)
    mentions, reached = [], -1
    for first, last in sorted(found, key=lambda place: (place[0], -place[1])):
        if last <= reached or last in asked or _is_a_word(text, first, last, shouted=shouted):
            continue
        reached = last
        alike = found[first, last]
        if len(alike) > 1:  # how they are written tells them apart
            alike = {choice for choice in alike if text[last].end in written(choice)}
        mentions.append(_Mention(first, last, alike.pop() if len(alike) == 1 else None))
    return mentions


def _written_ends(cut: _Line, prepared: _Choices, choice: int) -> set[int]:
    """Where a choice ends in a text that holds it as it is written."""
    return {cut.text[last].end for _, last in cut.find(prepared.written[choice])}


def _asked(text: Sequence[Token]) -> set[int]:
    """Positions in questions after which more is said: what stands there is asked, not answered."""
    end = next((position for position in range(len(text) - 1, -1, -1) if text[position].is_content), 0)
    asked: set[int] = set()
    start = 0
    for position, token in enumerate(text[:end]):
        if token.text in _SENTENCE_ENDS:
            asked.update(range(start, position) if token.text in _QUESTION_MARKS else ())
            start = position + 1
    return asked


def _is_a_word(text: Sequence[Token], first: int, last: int, *, shouted: bool) -> bool:
    """Whether a letter is a word of the language here, as in "a red sign" and "I think", and no choice."""
    token = text[first]
    if first != last or len(token.text) != 1 or token.text.upper() == token.text:
        return False
    after = text[last + 1] if last + 1 < len(text) else None
    if after is None or after.kind != "word" or after.is_unspaced:
        return False
    before = text[first - 1] if first else None
    begins = before is None or before.text in {".", "!", "?", ":", "\n"}
    if token.text == "i":
        return after.text not in _MAY_FOLLOW_I
    if after.text in _MAY_FOLLOW_A_LETTER or (before is not None and before.text in _BEFORE_LETTERS):
        return False
    return token.text in _WORDS_OF_ONE_LETTER and (begins or shouted or not token.raw.isupper())


def _decided(text: Sequence[Token], mentions: Sequence[_Mention], prepared: _Choices) -> int | None:
    """Decide which choice is left of those mentioned."""
    mentioned = {position for each in mentions for position in range(each.first, each.last + 1)}
    named: dict[int | None, list[_Mention]] = defaultdict(list)
    for mention in mentions:
        if not taken_back(text, mention.first, mention.last, mentioned):
            named[mention.choice].append(mention)
        else:  # "It looks red, but is not red."
            named.pop(mention.choice, None)
    if len(named) == 1:
        return next(iter(named))
    if not named or None in named:
        return None
    kept = sorted(mention for each in named.values() for mention in each)
    return kept[0].choice if _leads(text, kept, prepared) else None


def _leads(text: Sequence[Token], mentions: Sequence[_Mention], prepared: _Choices) -> bool:
    """Whether an answer begins with "Yes," or "A." and mentions another choice only in its explanation."""
    first, *others = mentions
    form = prepared.exact[first.choice or 0]
    if form not in _POLAR and not (len(form) == 1 and form.isalpha()):
        return False
    rest = text[first.last + 1 :]
    if (
        any(token.kind in {"word", "number"} for token in text[: first.first])
        or not rest
        or rest[0].is_content
    ):
        return False
    if any(token.text in _HEDGES for token in rest):
        return False
    places = {position for each in mentions for position in range(each.first, each.last + 1)}
    return all(
        each.choice == first.choice
        or ((form not in _POLAR or text[each.first].text in _DENIALS) and _is_explained(text, each, places))
        for each in others
    )


def _is_explained(text: Sequence[Token], mention: _Mention, places: set[int]) -> bool:
    """Whether a mention is part of a clause that says more than choices."""
    start, end = mention.first, mention.last
    while start and text[start - 1].is_content and mention.first - start < _FARTHEST:
        start -= 1
    while end + 1 < len(text) and text[end + 1].is_content and end - mention.last < _FARTHEST:
        end += 1
    others = [
        position
        for position in range(start, end + 1)
        if position not in places and text[position].text not in _CONNECTING
    ]
    return len(others) > 1
