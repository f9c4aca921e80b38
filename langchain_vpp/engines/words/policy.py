"""The policy: which words are known to be harmless. All others are private, whether a recognizer knows them or not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from langchain_vpp.engines.words.labels import announced
from langchain_vpp.engines.words.names import is_closing, named
from langchain_vpp.engines.words.public import is_public, is_public_path
from langchain_vpp.engines.words.segments import below, segments_of
from langchain_vpp.engines.words.signatures import signed
from langchain_vpp.engines.words.spelling import core, is_date, is_number, is_plain_number, is_word
from langchain_vpp.engines.words.verdict import SHOWN, Stage, Verdict
from langchain_vpp.engines.words.vocabulary import (
    frequency,
    is_command,
    is_derived,
    is_file_mode,
    is_given_name,
    is_harmless,
    is_name,
    is_ordinary,
    listed,
    spoken,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from langchain_vpp.engines.words.reader import Word
    from langchain_vpp.engines.words.recognizers import Recognizer
    from langchain_vpp.engines.words.segments import Segment

_UNKNOWN: Final = Verdict("TEXT")
_CONFIDENCE: Final = 0.5
"""Certainty of the reader below which a word is not shown."""
_COMMON: Final = 3.0
"""Least Zipf frequency of a word in small letters that is shown."""
_COMMON_NAME: Final = 4.0
"""Least Zipf frequency of a family name that is shown in small letters, as an ordinary word."""
_ORDINARY: Final = 5.5
"""Zipf frequency from which a word that is part of a name is shown elsewhere."""
_STEM: Final = 3.0
"""Least Zipf frequency of the word from which a rarer one in small letters is formed."""
_COMPANY: Final = (2, 3)
"""Words of a company's name in the line above its last word."""
_COMPOUND: Final = 3.5
"""Least Zipf frequency of each part of a word with a hyphen."""


class Policy:
    """Judges the words of a picture.

    Args:
        recognizers: Finders of private text in lines.
        allow: Words that are shown wherever they stand, except inside text that is recognised as private.
        deny: Words that are never shown.
    """

    def __init__(
        self, recognizers: Sequence[Recognizer], *, allow: Iterable[str] = (), deny: Iterable[str] = ()
    ) -> None:
        self._recognizers = tuple(recognizers)
        self._allow = frozenset(core(word).casefold() for text in allow for word in text.split())
        self._deny = frozenset(core(word).casefold() for text in deny for word in text.split())

    def judge(self, words: Sequence[Word], stage: Stage) -> list[Verdict]:
        """Return a verdict for each word.

        Args:
            words: All words of a picture, as a reader returns them.
            stage: What may be shown.
        """
        verdicts = [_UNKNOWN if stage == Stage.NOTHING else SHOWN] * len(words)
        segments = segments_of(words)
        languages = spoken(core(word.text) for word in words)
        self._find_names(words, segments, languages, verdicts)
        self._find_private(segments, verdicts)
        if stage == Stage.RECOGNIZED:
            verdicts = [verdict if verdict.strong else SHOWN for verdict in verdicts]
        elif stage != Stage.NOTHING:
            for index, word in enumerate(words):
                if not verdicts[index].kind:
                    verdicts[index] = self._alone(word, stage, languages)
            _hide_numbers(words, segments, verdicts)
        _repeat(words, verdicts)
        return [
            Verdict("TEXT", strong=True) if core(word.text).casefold() in self._deny else verdict
            for word, verdict in zip(words, verdicts, strict=True)
        ]

    def _find_names(
        self,
        words: Sequence[Word],
        segments: Sequence[Segment],
        languages: Sequence[str],
        verdicts: list[Verdict],
    ) -> None:
        for segment in segments:
            texts = [words[index].text for index in segment.words]
            for place, verdict in named(texts, languages):
                index = segment.words[place]
                if core(words[index].text).casefold() not in self._allow:
                    verdicts[index] = verdict
            signature = below(segment, segments, gap=4.0, slack=1.0) if is_closing(texts) else None
            for index in signature.words if signature is not None and len(signature.words) <= 4 else ():
                if words[index].text[:1].isupper():
                    verdicts[index] = Verdict("NAME", strong=True)
        for index in signed(segments):
            verdicts[index] = Verdict("NAME", strong=True)
        for segment in segments:
            _continue_name(segment, words, segments, verdicts)
            _end_company(segment, words, segments, verdicts)

    def _find_private(self, segments: Sequence[Segment], verdicts: list[Verdict]) -> None:
        told: dict[int, str] = {}
        for segment in segments:
            for recognizer in self._recognizers:
                for kind, start, end in recognizer.find(segment.text):
                    for word in segment.within(start, end):
                        told.setdefault(word, kind)
        for word, kind in announced(segments):
            told.setdefault(word, kind)
        for word, kind in told.items():
            verdicts[word] = Verdict(kind, strong=True)

    def _alone(self, word: Word, stage: Stage, languages: Sequence[str]) -> Verdict:
        """Judge a word by itself."""
        text = core(word.text)
        small = text.casefold()
        if is_file_mode(word.text):
            return SHOWN
        if not any(letter.isalnum() for letter in text):
            return SHOWN
        if word.confidence < _CONFIDENCE or not word.upright:
            return _UNKNOWN
        if small in self._allow or is_public(word.text):
            return SHOWN
        if any(letter.isdigit() for letter in text):
            shown = stage == Stage.NUMBERS and (is_number(text) or is_date(text) or is_public_path(text))
            return SHOWN if shown else Verdict("NUMBER" if text.isdigit() else "TEXT")
        return SHOWN if _is_known(text, languages) else _UNKNOWN


def _is_known(text: str, languages: Sequence[str]) -> bool:
    """Say whether a word is in a public vocabulary and, written as it is, no name."""
    small = text.casefold()
    if is_harmless(small):
        return True
    mixed = text[1:] != text[1:].casefold() and not text.isupper()
    if mixed or not is_word(text):
        return _is_compound(small, languages) or is_public_path(text)
    if text.islower() and is_command(text):
        return True
    common = frequency(small, languages)
    if common < _COMMON:
        return text.islower() and not is_name(small) and is_derived(small, languages, least=_STEM)
    if text[0].isupper() or is_ordinary(small):
        return True  # names among words with capitals are found before
    return not is_name(small) or (not is_given_name(small) and common >= _COMMON_NAME)


def _is_compound(small: str, languages: Sequence[str]) -> bool:
    """Say whether a word with hyphens or slashes is made of common words, one of which often stands in such words."""
    parts = small.replace("/", "-").replace("&", "-").split("-")
    return (
        1 < len(parts) <= 3
        and any(part in listed("compound_parts") for part in parts)
        and all(is_word(part) and frequency(part, languages) >= _COMPOUND for part in parts)
    )


def _continue_name(
    segment: Segment, words: Sequence[Word], segments: Sequence[Segment], verdicts: list[Verdict]
) -> None:
    """Hide the words with capitals that begin a line, if the line above ends with part of a name."""
    last = segment.words[-1]
    if not verdicts[last].kind or not words[last].text[-1:].isalpha() or not words[last].text[:1].isupper():
        return
    following = below(segment, segments, gap=0.7, slack=0.5)
    for index in following.words if following is not None else ():
        small = core(words[index].text).casefold()
        if not words[index].text[:1].isupper() or (is_harmless(small) and small not in listed("trades")):
            return
        verdicts[index] = verdicts[index] if verdicts[index].kind else verdicts[last]


def _end_company(
    segment: Segment, words: Sequence[Word], segments: Sequence[Segment], verdicts: list[Verdict]
) -> None:
    """Hide words with capitals that fill a line, if a word such as Bank stands alone in the line below."""
    if len(segment.words) not in _COMPANY or not all(
        words[index].text[:1].isupper() for index in segment.words
    ):
        return
    following = below(segment, segments, gap=0.7, slack=0.5)
    if following is None or len(following.words) != 1:
        return
    last = core(words[following.words[0]].text)
    if last[:1].isupper() and last.casefold().rstrip(".") in listed("trades") | listed("legal_forms"):
        for index in (*segment.words, *following.words):
            verdicts[index] = verdicts[index] if verdicts[index].strong else Verdict("COMPANY", strong=True)


def _hide_numbers(words: Sequence[Word], segments: Sequence[Segment], verdicts: list[Verdict]) -> None:
    """Hide numbers that are parts of longer ones, or stand beside a private word as house numbers do."""
    for segment in segments:
        plain = [is_plain_number(core(words[index].text)) for index in segment.words]
        for place, index in enumerate(segment.words):
            if not plain[place]:
                continue
            beside = [each for each in (place - 1, place + 1) if 0 <= each < len(plain)]
            if any(
                plain[each] or verdicts[segment.words[each]].kind not in ("", "NUMBER") for each in beside
            ):
                verdicts[index] = verdicts[index] if verdicts[index].kind else Verdict("NUMBER")


def _repeat(words: Sequence[Word], verdicts: list[Verdict]) -> None:
    """Hide the parts of a name wherever else they stand."""
    private = {
        core(word.text).casefold()
        for word, verdict in zip(words, verdicts, strict=True)
        if verdict.strong and verdict.kind in ("NAME", "COMPANY") and is_word(core(word.text))
    }
    private = {
        each
        for each in private
        if len(each) > 2 and not is_harmless(each) and frequency(each, ("en",)) < _ORDINARY
    }
    for index, word in enumerate(words):
        if not verdicts[index].kind and core(word.text).casefold() in private:
            verdicts[index] = Verdict("NAME", strong=True)
