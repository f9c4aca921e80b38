"""Refusals: the chat model says that it can't or won't answer."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from trainer.oracle.comparing.thoughts import without_thoughts

# First words of a refusal. An answer may hold such words later on: it is still an answer.
_REFUSAL: Final = re.compile(
    r"(?:(?:i'm|i am|we're|we are) (?:\w+ )?(?:sorry|unable|not able|not allowed)\b"
    r"|(?:sorry|apologies|unfortunately|as an ai)\b.*\b(?:can't|cannot|can not|unable|won't|not able|don't)\b"
    r"|i apologi[sz]e\b"
    r"|(?:i|we) (?:can't|cannot|can not|won't|will not|could not|couldn't|must decline|do not|don't)\b)"
)
_FEWEST_WORDS_OF_A_REFUSAL: Final = 3  # a sign may read "sorry"
_ELSEWHERE: Final = re.compile(
    r"(?:(?:es tut mir|tut mir) leid\b|(?:ich kann|ich darf) (?:\w+ )*?nicht\b|leider kann ich\b"
    r"|(?:je suis |nous sommes )?désolée?s?\b.*\bpas\b|je ne (?:peux|suis|puis) pas\b"
    r"|lo siento\b.*\bno\b|no puedo\b|mi dispiace\b.*\bnon\b|non posso\b"
    r"|(?:desculpe|sinto muito)\b.*\bnão\b|não posso\b"
    r"|het spijt me\b|ik kan (?:\w+ )*?niet\b|(?:извините|простите|к сожалению)\b.*\bне\b|я не могу\b"
    r"|przepraszam\b.*\bnie\b|nie mogę\b|üzgünüm\b"
    r"|(?:抱歉|对不起|對不起|很遗憾|很抱歉).*(?:无法|無法|不能|不会|不便|没办法)|我(?:无法|無法|不能)"
    r"|(?:申し訳|すみません|ごめんなさい|残念).*(?:ません|できない)|(?:죄송|미안).*(?:없|않|못))"
)


def refused(text: str) -> bool:
    """Whether a text is a refusal: the chat model says that it can't or won't answer.

    English is known best, and the commonest refusals of a dozen other languages.

    Example:
        >>> refused("I'm sorry, but I can't help with identifying people.")
        True
        >>> refused("a sign that says sorry")
        False
    """
    folded = unicodedata.normalize("NFKC", without_thoughts(text)).casefold().replace("\u2019", "'")
    folded = " ".join(folded.split()).lstrip("*_\"'#> ")
    if _ELSEWHERE.match(folded) is not None:
        return True
    return len(folded.split()) >= _FEWEST_WORDS_OF_A_REFUSAL and _REFUSAL.match(folded) is not None
