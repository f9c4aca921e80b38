"""Routing of free-text questions to the attribute of a picture that they ask about."""

from __future__ import annotations

import re
from itertools import product
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_Words = frozenset[str]

Patterns: TypeAlias = "Mapping[str, Sequence[Sequence[frozenset[str]]]]"
"""Attribute -> patterns, each of groups of words. A question asks for an attribute if it has a word of each group of
one of the attribute's patterns."""

# Words are compared without a plural s; American spellings are made British first.
_COLOUR: Final[_Words] = frozenset({"colour", "coloured", "hue", "shade", "tint"})
_NUMBER: Final[_Words] = frozenset({"number", "digit", "numeral", "figure"})
_SIGN: Final[_Words] = frozenset({"sign", "signboard", "placard", "board", "plate", "plaque", "signage"})
_SHIRT: Final[_Words] = frozenset(
    {"shirt", "tshirt", "jersey", "chest", "torso", "top", "sweater", "clothe", "clothing", "jumper"}
)
_ARM: Final[_Words] = frozenset({"arm", "hand", "limb"})
_RAISED: Final[_Words] = frozenset(
    {
        "raise",
        "raised",
        "raising",
        "lift",
        "lifted",
        "lifting",
        "up",
        "upward",
        "air",
        "held",
        "hold",
        "holding",
        "high",
        "pose",
    }
)
_SHAPE: Final[_Words] = frozenset({"shape", "shaped", "geometry", "geometric", "form", "outline", "contour"})
_HAIR: Final[_Words] = frozenset({"hair", "haired", "hairstyle", "haircolour"})
_SKIN: Final[_Words] = frozenset({"skin", "complexion", "skinned"})
_GLASSES: Final[_Words] = frozenset(
    {"glasse", "spectacle", "eyeglasse", "eyewear", "spec", "bespectacled", "sunglasse"}
)
_BUILD: Final[_Words] = frozenset({"build", "built", "physique", "bodytype", "stature"})
_BALLOON: Final[_Words] = frozenset({"balloon"})

SCENE_PATTERNS: Final[Patterns] = {
    "hair": ((_HAIR,), (_HAIR, _COLOUR)),
    "skin": ((_SKIN,), (_SKIN, _COLOUR)),
    "glasses": ((_GLASSES,),),
    "build": ((_BUILD,), (frozenset({"body"}), frozenset({"type", "shape", "frame", "kind"}))),
    "shirt_number": ((_SHIRT, _NUMBER),),
    "pose": ((_ARM,), (_ARM, _RAISED), (frozenset({"pose", "posture", "gesture"}),)),
    "sign_shape": ((_SIGN, _SHAPE),),
    "sign_colour": ((_SIGN, _COLOUR),),
    "sign_digit": ((_SIGN, _NUMBER),),
    "count": ((_BALLOON,), (_BALLOON, frozenset({"many", "number", "count", "total"}))),
}
"""Questions about the drawn scenes of :mod:`trainer.sandbox.drawing.scenes`."""

_STRIPE: Final[_Words] = frozenset({"stripe", "strip", "band"})

# A question often says whom it is about ("the man's department"), so gender comes last.
CARD_PATTERNS: Final[Patterns] = {
    "department": ((frozenset({"department", "dept", "division", "team"}),),),
    "gate": ((frozenset({"gate", "entrance", "door"}),),),
    "expiry": ((frozenset({"expire", "expired", "expiry", "expiration", "valid", "validity"}),),),
    "stripe": ((_STRIPE,), (_STRIPE, _COLOUR)),
    "age_group": ((frozenset({"age", "aged", "old"}),),),
    "race": ((frozenset({"race", "racial", "ethnicity", "ethnic"}),),),
    "gender": ((frozenset({"gender", "sex", "male", "female", "man", "woman"}),),),
}
"""Questions about the staff cards of :mod:`trainer.sandbox.drawing.cards`."""

FILM_PATTERNS: Final[Patterns] = {
    **{name: SCENE_PATTERNS[name] for name in ("hair", "skin", "glasses", "build")},
    "action": (
        (
            frozenset(
                {"doing", "do", "action", "activity", "motion", "move", "movement", "happen", "happening"}
            ),
        ),
    ),
}
"""Questions about the drawn films of :mod:`trainer.sandbox.drawing.films`."""


# "The person holding the sign" says who is meant, not what is asked.
_BEARER: Final = re.compile(
    r"\b(?:hold|holds|holding|carrying|carries|with) (?:the|a) (?:sign|placard|board)\b"
)


def route(text: str, patterns: Patterns = SCENE_PATTERNS) -> str | None:
    """Return the attribute that a question asks about.

    Among the sentences that end in a question mark, the last one that is understood counts, since a prompt often ends
    with its question. Without a question mark the whole text counts. Where several attributes are mentioned, the
    pattern with the most groups wins, and among equals the one whose words are closest together.

    Args:
        text: English text.
        patterns: Attributes that may be asked about.

    Returns:
        A key of ``patterns``; ``None`` if the question is not understood.
    """
    questions = re.findall(r"[^?.!\n]+\?", text) or [text]
    for question in reversed(questions):
        attribute = _route_sentence(_words(question), patterns)
        if attribute is not None:
            return attribute
    return None


def numbered(text: str) -> list[str]:
    """Return the questions of a numbered list, whose lines begin with 1, 2, ... and a full stop.

    Returns:
        Two or more questions; empty if the text holds no such list.
    """
    found: list[str] = []
    for number, question in re.findall(r"^ *(\d+)\. +(.+)$", text, flags=re.MULTILINE):
        if int(number) == len(found) + 1:
            found.append(question)
    return found if len(found) > 1 else []


def _route_sentence(words: Sequence[str], known: Patterns) -> str | None:
    best: tuple[int, int] | None = None
    found = None
    for attribute, patterns in known.items():
        for pattern in patterns:
            places = [[place for place, word in enumerate(words) if word in group] for group in pattern]
            if not all(places):
                continue
            reach = min(max(choice) - min(choice) for choice in product(*places))
            score = (len(pattern), -reach)
            if best is None or score > best:
                best, found = score, attribute
    return found


def _words(text: str) -> list[str]:
    plain = re.sub(r"['\u2019]s\b", "", text.lower()).replace("t-shirt", "tshirt").replace("color", "colour")
    plain = _BEARER.sub("", plain)
    return [word.removesuffix("s") for word in re.findall(r"[a-z]+", plain)]
