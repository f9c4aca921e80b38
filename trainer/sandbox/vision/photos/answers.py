"""Answers of the photo model to the kinds of questions that it understands."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from trainer.sandbox.vision.photos.colours import COLOURS
from trainer.sandbox.vision.photos.names import NAMES, singular
from trainer.sandbox.vision.photos.questions import ACTIVITIES, INDOORS, NUMBERS, PLACES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from trainer.sandbox.vision.photos.questions import Ask, Kind, Thing
    from trainer.sandbox.vision.photos.views import View

_LEAST_COLOUR: Final = 0.2
"""Share of an object's box that has the colour which a question names."""
_LEAST_PERSON: Final = 0.2
"""Probability of a person from which somebody may do something."""
_MOST_LISTED: Final = 8
_SHARPNESS: Final = 25.0
"""Turns differences of fit into differences of log-probability."""
_LEAST: Final = 1e-6


class Answered(NamedTuple):
    """An answer, and what the model believes of its alternatives.

    Attributes:
        text: The answer; where the question has choices, one of them.
        log_probabilities: Alternative -> natural logarithm of its probability, the answer among them.
    """

    text: str
    log_probabilities: Mapping[str, float]


def answer(view: View, ask: Ask) -> Answered | None:
    """Answer a question; ``None`` if the picture does not tell, or none of the choices is an answer."""
    return _ANSWERS[ask.kind](view, ask)


def _presence(view: View, ask: Ask) -> Answered | None:
    believed = [_certainty(view, thing) for thing in ask.things]
    there = min(believed) if ask.every else max(believed)
    return _yes_or_no(1 - there if ask.negated else there, ask)


def _certainty(view: View, thing: Thing) -> float:
    """Return the probability that a thing is there, as many as are asked about and of its colour."""
    there = view.certainty(thing.classes)
    if (thing.least, thing.most) != (1, None):
        number = view.count(thing.classes)
        there = float(thing.least <= number and (thing.most is None or number <= thing.most))
    if thing.colour is None:
        return there
    shares = view.colours(thing.classes) or {}
    return there if shares.get(thing.colour, 0.0) >= _LEAST_COLOUR else min(there, 0.1)


def _yes_or_no(probability: float, ask: Ask) -> Answered | None:
    values = {"yes": probability, "no": 1 - probability}
    if not ask.choices:
        return _believed(values)
    named = {each: _truth_of(each) for each in ask.choices}
    if not {"yes", "no"} <= set(named.values()):
        return None
    return _believed({each: values[truth] for each, truth in named.items() if truth is not None})


def _truth_of(choice: str) -> str | None:
    return {"yes": "yes", "true": "yes", "no": "no", "false": "no"}.get(choice.lower())


def _count(view: View, ask: Ask) -> Answered | None:
    number = view.count(ask.things[0].classes)
    return _certain(str(number)) if not ask.choices else _among(number, ask.choices)


def _age(view: View, ask: Ask) -> Answered | None:
    if view.face is None:
        return None
    return _certain(str(view.face.age)) if not ask.choices else _among(view.face.age, ask.choices)


def _gender(view: View, ask: Ask) -> Answered | None:
    if view.face is None:
        return None
    words = {"female": {"female", "woman", "girl", "f"}, "male": {"male", "man", "boy", "m"}}[
        view.face.gender
    ]
    if not ask.choices:
        return _certain(view.face.gender)
    chosen = next((each for each in ask.choices if each.lower() in words), None)
    return None if chosen is None else _certain(chosen)


def _colour(view: View, ask: Ask) -> Answered | None:
    shares = view.colours(ask.things[0].classes)
    if shares is None:
        return None
    if not ask.choices:
        return _believed({name: shares[name] for name in COLOURS})
    known = {each: _plain_colour(each) for each in ask.choices}
    return _believed({each: shares[name] for each, name in known.items() if name in shares})


def _plain_colour(choice: str) -> str:
    return choice.lower().replace("gray", "grey")


def _which(view: View, ask: Ask) -> Answered | None:
    """Name the class that is seen best among those of the question or its choices."""
    classes: dict[str, tuple[str, ...]] = {name: (name,) for thing in ask.things for name in thing.classes}
    if ask.choices:
        named = {each: NAMES.get(singular(_without_article(each))) for each in ask.choices}
        classes = {each: found for each, found in named.items() if found is not None}
    if not classes:
        return None
    believed = {each: view.certainty(names) for each, names in classes.items()}
    return _believed(believed) if max(believed.values()) >= 0.5 or ask.choices else None


def _without_article(text: str) -> str:
    return re.sub(r"^(?:a|an|the) ", "", text.lower())


def _list(view: View, ask: Ask) -> Answered | None:
    if ask.choices:
        return _which(view, ask)
    names = [each for each in dict.fromkeys(seen.name for seen in view.objects) if view.present(each)]
    return _certain(", ".join(names[:_MOST_LISTED])) if names else None


def _activity(view: View, ask: Ask) -> Answered | None:
    if not ask.choices and view.certainty(("person",)) < _LEAST_PERSON:
        return None  # nobody does anything
    return _best_fit(view, ask.choices or ACTIVITIES)


def _place(view: View, ask: Ask) -> Answered | None:
    choices = ask.choices or PLACES
    if {each.lower() for each in choices} <= {
        "indoors",
        "outdoors",
        "indoor",
        "outdoor",
        "inside",
        "outside",
    }:
        inside = _inside(view)
        return _believed({each: inside if each.lower().startswith("in") else 1 - inside for each in choices})
    return _best_fit(view, choices)


def _is_activity(view: View, ask: Ask) -> Answered | None:
    return _yes_or_no(_share(view.fit(ACTIVITIES), ACTIVITIES.index(ask.phrase)), ask)


def _is_place(view: View, ask: Ask) -> Answered | None:
    if ask.phrase in {"indoors", "outdoors"}:
        inside = _inside(view)
        return _yes_or_no(inside if ask.phrase == "indoors" else 1 - inside, ask)
    return _yes_or_no(_share(view.fit(PLACES), PLACES.index(ask.phrase)), ask)


def _inside(view: View) -> float:
    """Return the probability that a photograph was taken in a building: that of the places that are in one."""
    fits = dict(zip(PLACES, view.fit(PLACES), strict=True))
    inside, outside = (
        max(fit for place, fit in fits.items() if (place in INDOORS) == kind) for kind in (True, False)
    )
    return _share([inside, outside], 0)


def _caption(view: View, ask: Ask) -> Answered | None:
    return _best_fit(view, ask.choices) if ask.choices else None


def _best_fit(view: View, phrases: Sequence[str]) -> Answered | None:
    fits = view.fit(phrases)
    return _believed(
        {phrase: math.exp(_SHARPNESS * (fit - max(fits))) for phrase, fit in zip(phrases, fits, strict=True)}
    )


def _share(fits: Sequence[float], place: int) -> float:
    """Return the probability that the phrase at a place fits better than the best of the others; 0.5 if equally."""
    others = max(fit for each, fit in enumerate(fits) if each != place)
    return 1 / (1 + math.exp(_SHARPNESS * (others - fits[place])))


def _among(number: int, choices: Sequence[str]) -> Answered | None:
    """Choose the number or range that holds a number, such as "3", "three", "3 or more", "20-29" or "60+"."""
    fitting = [each for each in choices if _holds(each.lower(), number)]
    return _certain(fitting[0]) if fitting else None


def _holds(choice: str, number: int) -> bool:
    for value, word in enumerate(NUMBERS):
        choice = re.sub(rf"\b{word}\b", str(value), choice)
    numbers = [int(each) for each in re.findall(r"\d+", choice)]
    if not numbers:
        return number == 0 and choice in {"none", "no", "nobody", "nothing"}
    if len(numbers) > 1:
        return numbers[0] <= number <= numbers[1]
    if re.search(r"more than|over\b|above", choice):
        return number > numbers[0]
    if re.search(r"fewer than|less than|under\b|below", choice):
        return number < numbers[0]
    return (
        number >= numbers[0]
        if re.search(r"or more|and more|\+|at least|or older", choice)
        else number == numbers[0]
    )


def _certain(text: str) -> Answered:
    return Answered(text, {text: 0.0})


def _believed(values: Mapping[str, float]) -> Answered | None:
    """Answer with the largest value; the values are made probabilities."""
    if not values:
        return None
    total = sum(values.values()) + _LEAST * len(values)
    believed = {text: math.log((value + _LEAST) / total) for text, value in values.items()}
    return Answered(max(believed, key=believed.__getitem__), believed)


_ANSWERS: Final[Mapping[Kind, Callable[[View, Ask], Answered | None]]] = {
    "presence": _presence,
    "count": _count,
    "colour": _colour,
    "which": _which,
    "list": _list,
    "activity": _activity,
    "is_activity": _is_activity,
    "place": _place,
    "is_place": _is_place,
    "caption": _caption,
    "gender": _gender,
    "age": _age,
}
