"""Whether an answer takes back a choice that it mentions: "not red", "red would be wrong", "neither", "more than 3".

The words below come from the languages that chat models answer in. A word that is missing costs an answer that reads
as naming a choice; each language is a row, so that a speaker can complete it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trainer.oracle.comparing.words import loose, tokens

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from collections.abc import Set as AbstractSet

    from trainer.oracle.comparing.words import Token

_Phrases = dict[str, list[tuple[str, ...]]]
"""First word -> phrases that begin with it, longest first."""

_BEFORE: Final = {
    "en": "not|no|never|neither|nor|none|nothing|nobody|non|without|cannot|can not|rather than|instead of|unlike|"
    "anything but|everything but|other than|apart from|except|excluding|far from|hardly|unlikely|impossible|unable|"
    "unclear|unknown|whether|if|rule out|rules out|ruled out|wrong answer|wrong choice|wrong option|incorrect answer|"
    "incorrect choice|incorrect option|doubt|lacks|lacking|free of|wrong to|❌|✗|✘|✖|🚫|dont|doesnt|isnt|wasnt|"
    "arent|cant|couldnt|wont",
    "de": "nicht|kein|keine|keinen|keiner|keinem|keines|keins|weder|ohne|nie|niemals|statt|anstatt|ausser|ob",
    "fr": "pas|ne|ni|sans|aucun|aucune|jamais|sauf|au lieu de|plutôt que",
    "es": "no|ni|sin|nunca|jamás|tampoco|ningún|ninguno|ninguna|excepto|salvo|en lugar de|en vez de",
    "it": "non|né|senza|nessun|nessuno|nessuna|mai|tranne|invece di|anziché",
    "pt": "não|nem|sem|nunca|nenhum|nenhuma|exceto|em vez de",
    "nl": "niet|geen|zonder|noch|nooit|behalve|in plaats van",
    "sv no da": "inte|icke|ikke|ikkje|ej|uten|uden|ingen|inget|intet|aldrig|aldri|varken|hverken|i stället för",
    "fi et hu": "ei|eivät|ilman|nem|sem|nincs|sosem",
    "pl cs sk": "nie|ani|bez|nigdy|żaden|žádný|žádná|není|neni|nejde|nikdy|místo|zamiast",
    "ru uk bg sr": "не|нет|ни|без|никогда|кроме|вместо|ні|немає|немає|крім|няма|није|nije|nema",
    "ro el": "nu|nici|fără|δεν|δε|όχι|μη|μην|χωρίς|ούτε",
    "id ms vi sw": "bukan|tidak|tanpa|tak|bukannya|selain|không|chẳng|chả|chưa|hakuna",
    "ar fa he": "ليس|ليست|وليس|وليست|لا|ولا|غير|لم|لن|بدون|دون|نه|غیر|לא|ולא|אין|אינו|אינה|בלי|ללא",
    "hi": "न|बिना",
    "zh": "不|没|沒|非|无|無|未|除了|排除|难以|難以",
    "th": "ไม่|มิ",
}
_AFTER: Final = {
    "en": "is not|are not|was not|would not be|❌|✗|✘|"
    "can not be|cannot be|could not be|does not|do not|did not|is wrong|"
    "are wrong|would be wrong|is incorrect|would be incorrect|is false|is ruled out|can be ruled out|is excluded|"
    "can be excluded|is impossible|is unlikely|seems unlikely|is out|seems wrong|looks wrong|must be wrong|"
    "is the wrong|would be the wrong|may not be|might not be|should not be|must not be|isnt|wasnt|doesnt|cant be|"
    "is no|is never|is neither|is hardly|is absent|is missing",
    "de nl sv da": "nicht|niet|inte|ikke|wäre falsch|ist falsch|scheidet aus|is fout",
    "fr es it pt": "pas|n'est|no es|no está|no|non è|não é|est faux|serait faux|es incorrecto|sería incorrecto|"
    "è sbagliato|está errado",
    "ru pl": "не|нет|исключён|исключен|nie jest|nie",
    "tr": "değil|değildir|yok|olamaz",
    "hi bn ta": "नहीं|नही|ना|না|নয়|নেই|இல்லை|அல்ல",
    "ar fa ur he": "نیست|نبود|ندارد|نہیں|ليس|خطأ|לא|אינו",
    "ja": "ではな|じゃな|でな|でもな|ではあり|じゃあり|以外|とは言え|とはいえ|はな|がな|は違|はちが|なし",
    "zh": "不对|不對|是错|是錯|不是|除外|的可能性很小|被排除",
    "th": "ไม่",
}
_NEUTRAL: Final = (
    "not only|not just|no doubt|without doubt|without a doubt|without any doubt|no question|nothing but|"
    "none other than|nicht nur|pas seulement|no solo|no sólo|non solo|não só|не только|非常|不但|不仅|不僅|无疑|"
    "無疑|毫无疑问|毫無疑問|没错|不错|无论|是不是|ไม่เพียง"
)
"""Phrases that hold one of the words above and take nothing back."""
_CONTRAST: Final = frozenset(
    "but instead because since so although though while whereas which yet sondern aber denn weil sino pero porque mais "
    "car parce bensì ma perché mas maar но а потому ale bo lakin ama fakat لكن بل بلکہ بلکه melainkan tetapi mà nhưng "
    "utan אלא אבל".split()
)
"""Words with which another statement begins."""
_CONTRAST_UNSPACED: Final = ("而是", "但", "却", "因为", "แต่", "✅", "✔", "✓", "☑")
_OR: Final = frozenset({"or", "nor", "oder", "noch", "ou", "ni", "o", "né", "nem", "или", "ни", "and"})
_COMMAS: Final = frozenset(",、،，")
_BEFORE_BUT: Final = frozenset({"anything", "everything", "nothing", "all"})
_LIGHT: Final = _OR | frozenset({"a", "an", "the", "it", "is", "un", "une", "el", "la", "der", "die", "das"})
_COPULAS_OF_PORTUGUESE: Final = frozenset({"é", "são", "foi"})
"""Where "no" means "in the"."""
_COMPARED_BEFORE: Final = (
    "more than|over|at least|at most|less than|under|below|above|fewer than|greater than|older than|younger than|up to|"
    "larger than|smaller than|beyond|mehr als|über|mindestens|weniger als|unter|höchstens|plus de|moins de|au moins|"
    "más de|menos de|al menos|mais de|pelo menos|più di|meno di|almeno|meer dan|minder dan|больше|более|"
    "менее|меньше|свыше|超过|超過|少于|至少|不到|大于|小于|以上|未満|>|<|≥|≤|⩾|⩽|≠"
)
_COMPARED_AFTER: Final = (
    "+|or more|or older|or above|or over|or higher|or less|or fewer|or younger|or under|and above|and over|and older|"
    "plus|oder mehr|und älter|ou plus|o más|ou mais|o più|以上|以下|未満|이상|이하|多"
)
_CLAUSE_ENDS: Final = frozenset('.;:!?\n()[]{}。;；：！？…"«»“”')
_FARTHEST_BEFORE: Final = 40
_FARTHEST_AFTER: Final = 12
_SKIPPED_AFTER: Final = 3
_KOREAN: Final = ("아니", "아닌", "아닙", "아님", "아냐", "아녜", "않", "없", "못")


def _phrases(rows: Iterable[str]) -> _Phrases:
    found: _Phrases = {}
    for row in rows:
        for phrase in row.split("|"):
            words = tuple(token.text for token in loose(tokens(phrase)))
            found.setdefault(words[0], []).append(words)
    return {first: sorted(each, key=len, reverse=True) for first, each in found.items()}


_BEFORE_PHRASES: Final = _phrases(_BEFORE.values())
_AFTER_PHRASES: Final = _phrases(_AFTER.values())
_NEUTRAL_PHRASES: Final = _phrases([_NEUTRAL])
_CONTRAST_PHRASES: Final = _phrases(_CONTRAST_UNSPACED)
_COMPARED_BEFORE_PHRASES: Final = _phrases([_COMPARED_BEFORE])
_COMPARED_AFTER_PHRASES: Final = _phrases([_COMPARED_AFTER])


def taken_back(
    text: Sequence[Token], first: int, last: int, mentioned: AbstractSet[int] = frozenset()
) -> bool:
    """Whether an answer denies a choice that it mentions, or compares with it.

    Args:
        text: The answer's tokens.
        first: First token of the mention.
        last: Last token of the mention.
        mentioned: Positions of the tokens of all mentions.
    """
    numeric = first == last and text[first].kind == "number"
    return (
        _denied_before(text, first, last, mentioned)
        or _denied_after(text, last)
        or (numeric and _is_compared(text, first))
    )


def _denied_before(text: Sequence[Token], first: int, last: int, mentioned: AbstractSet[int]) -> bool:
    position, denied = _clause_start(text, first, last, mentioned), False
    while position < first:
        if width := _phrase_at(text, position, first, _NEUTRAL_PHRASES):
            position += width
        elif width := _phrase_at(text, position, first, _CONTRAST_PHRASES):
            position, denied = position + width, False
        elif width := _phrase_at(text, position, first, _BEFORE_PHRASES) or _is_contracted(text[position]):
            denied |= not _means_something_else(text, position, first)
            position += width
        else:
            position += 1
    return denied


def _clause_start(text: Sequence[Token], first: int, last: int, mentioned: AbstractSet[int]) -> int:
    """Find where the clause of a mention begins; a list such as "red, blue or green" is one clause."""
    position = first
    while position > max(0, first - _FARTHEST_BEFORE):
        token = text[position - 1]
        if token.kind == "mark" and _ends_clause(text, position - 1):
            break
        if token.text in _CONTRAST and not _is_denying(text, position - 1):
            break
        if token.text in _COMMAS and not _is_listed(text, position, first, last, mentioned):
            break
        position -= 1
    return position


def _is_denying(text: Sequence[Token], position: int) -> bool:
    """Whether a word of contrast is part of a denial: "anything but red", "instead of red"."""
    before = text[position - 1].text if position else ""
    after = text[position + 1].text if position + 1 < len(text) else ""
    return before in _BEFORE_BUT or (text[position].text, after) == ("instead", "of")


def _means_something_else(text: Sequence[Token], position: int, first: int) -> bool:
    """Whether a denial is a word of another language: "no" is "in the" in Portuguese, one "ni" is "is" in Swahili."""
    match text[position].text:
        case "no":
            return any(token.text in _COPULAS_OF_PORTUGUESE for token in text[position:first])
        case "ni":
            around = text[max(0, position - _FARTHEST_BEFORE) : first + _FARTHEST_AFTER]
            return sum(token.text in {"ni", "no", "ne", "pas"} for token in around) < 2
    return False


def _is_listed(text: Sequence[Token], start: int, first: int, last: int, mentioned: AbstractSet[int]) -> bool:
    """Whether only choices and light words stand between a comma and a mention, and an "or" there or after it."""
    between = [text[position] for position in range(start, first) if position not in mentioned]
    if not all(token.text in _LIGHT or token.text in _COMMAS for token in between):
        return False
    return any(token.text in _OR for token in [*between, *_until_clause_ends(text, last + 1, commas=False)])


def _ends_clause(text: Sequence[Token], position: int) -> bool:
    token = text[position]
    if token.text in _CLAUSE_ENDS:
        return True
    after = text[position + 1] if position + 1 < len(text) else None
    before = text[position - 1] if position else None
    spaced = after is None or before is None or (before.end < token.start and token.end < after.start)
    return token.text in {"-", "/"} and spaced and token.text == "-"


def _until_clause_ends(text: Sequence[Token], start: int, *, commas: bool = True) -> list[Token]:
    found: list[Token] = []
    for position in range(start, min(len(text), start + _FARTHEST_AFTER)):
        token = text[position]
        if token.kind == "mark" and (_ends_clause(text, position) or (commas and token.text in _COMMAS)):
            break
        found.append(token)
    return found


def _denied_after(text: Sequence[Token], last: int) -> bool:
    clause = _until_clause_ends(text, last + 1)
    for position, token in enumerate(clause[:_SKIPPED_AFTER]):
        if token.text in _CONTRAST or token.text in {"and", "und", "et", "y", "e", "и"}:
            return False
        width = _phrase_at(clause, position, len(clause), _AFTER_PHRASES)
        if width and not _phrase_at(clause, position, len(clause), _NEUTRAL_PHRASES):
            return position == 0 or _may_follow_later(token)
        if (position == 0 and _is_contracted(token)) or token.text.startswith(_KOREAN):
            return True
    return False


def _may_follow_later(token: Token) -> bool:
    """Whether a denial may stand some words after what it denies; in English it belongs to what is nearest."""
    return not token.text.isascii() or token.text in {"nicht", "niet", "inte", "ikke"}


def _is_contracted(token: Token) -> int:
    """1 for a word such as ``isn't`` or ``n'est``, else 0."""
    return int(token.text.endswith("n't") or token.text.startswith("n'"))


def _is_compared(text: Sequence[Token], first: int) -> bool:
    """Whether a number is a bound: "more than 3", ">3", "3 or more", "3+"."""
    for start in range(max(0, first - 3), first):
        width = _phrase_at(text, start, first, _COMPARED_BEFORE_PHRASES)
        if width and start + width == first:
            begins = start == 0 or text[start - 1].text == "\n"
            quoted = begins and text[start].text == ">" and text[start].end < text[first].start
            bracketed = text[start].text == "<" and first + 1 < len(text) and text[first + 1].text == ">"
            return not (quoted or bracketed)
    return first + 1 < len(text) and bool(_phrase_at(text, first + 1, len(text), _COMPARED_AFTER_PHRASES))


def _phrase_at(text: Sequence[Token], start: int, end: int, known: _Phrases) -> int:
    """Length of the longest known phrase at a position, before an end; 0 if there is none."""
    for words in known.get(text[start].text, ()):
        stop = start + len(words)
        if stop <= end and all(
            token.text == word for token, word in zip(text[start:stop], words, strict=True)
        ):
            return len(words)
    return 0
