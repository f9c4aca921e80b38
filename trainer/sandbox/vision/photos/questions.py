"""Questions about photographs: says in a fixed form what a sentence of English asks for."""

from __future__ import annotations

import re
from typing import Final, Literal, NamedTuple

from trainer.sandbox.vision.photos.colours import COLOURS
from trainer.sandbox.vision.photos.names import NAMES, singular

Kind = Literal[
    "presence", "count", "colour", "which", "list", "activity", "is_activity", "place", "is_place", "caption",
    "gender", "age",
]  # fmt: skip

ACTIVITIES: Final = (
    "skiing", "snowboarding", "surfing", "skateboarding", "playing tennis", "playing baseball", "playing frisbee",
    "playing soccer", "flying a kite", "riding a horse", "riding a motorcycle", "riding a bicycle", "eating", "cooking",
    "talking on the phone", "using a computer", "playing video games", "brushing teeth",
)  # fmt: skip
"""Answers to a question about what somebody does, where it names no choices."""
PLACES: Final = (
    "kitchen", "bathroom", "bedroom", "living room", "office", "street", "beach", "ski slope", "sea", "sports field",
    "tennis court", "airport", "train station", "zoo", "park", "restaurant", "forest", "harbour",
)  # fmt: skip
"""Answers to a question about where a photograph was taken, where it names no choices."""
INDOORS: Final = frozenset({"kitchen", "bathroom", "bedroom", "living room", "office", "restaurant"})


class Thing(NamedTuple):
    """A noun of a question.

    Attributes:
        noun: The noun in the singular.
        classes: The detector's classes that it stands for.
        colour: Colour that it is said to have.
        least: Least number that is asked about.
        most: Largest number that is asked about.
    """

    noun: str
    classes: tuple[str, ...]
    colour: str | None = None
    least: int = 1
    most: int | None = None


class Ask(NamedTuple):
    """A question that is understood.

    Attributes:
        kind: Kind of the question.
        things: The things that it is about.
        choices: Answers among which the model is to choose, as they were written.
        phrase: Activity or place that a yes or no question names.
        negated: Yes means that there is none.
        every: Whether all things must be there, or one of them.
    """

    kind: Kind
    things: tuple[Thing, ...] = ()
    choices: tuple[str, ...] = ()
    phrase: str = ""
    negated: bool = False
    every: bool = True


_LONGEST: Final = 4000
"""Characters at the end of a text that are read, which bounds the time that a question takes."""
NUMBERS: Final = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
"""Words for numbers, in order."""
_PICTURE: Final = r"(?:picture|image|photo|photograph|scene|shot|frame|snapshot)"
_THIS: Final = rf"(?:this|it|that|the {_PICTURE}|this {_PICTURE})"
_PERSON: Final = (
    r"(?:(?:the|this|that|these|those|a|any) )?(?:person|people|man|men|woman|women|boy|girl|boys|girls|child|children"
    r"|kid|kids|guy|lady|player|players|somebody|someone|they|he|she|subject|everyone)"
)
_TAIL: Final = re.compile(
    rf"\s+(?:(?:in|on|of|inside|within) (?:it|(?:the|this|that) {_PICTURE})"
    rf"|does (?:the|this) {_PICTURE} (?:show|contain|have)"
    r"|(?:that )?(?:you|we|i) (?:can )?see|(?:that )?(?:can|could) be seen|to be seen"
    r"|(?:do|can) (?:you|we|i) (?:see|find|spot|count)|(?:are|is) there|are|is"
    r"|visible|shown|present|anywhere|here|there|pictured|depicted|at all|altogether|in total)$"
)
"""Words at the end of a question that say that it is about the picture."""
_HEAD: Final = re.compile(
    rf"^(?:please|and|so|now|well|look at (?:the|this) {_PICTURE}(?: and)?|(?:can|could|would) you (?:please )?"
    r"(?:tell me|say|answer)(?: if| whether)?|tell me|say|do you know"
    rf"|in (?:the|this) {_PICTURE}|looking at (?:the|this) {_PICTURE}|i wonder)[, ]+"
)
_CHOICES: Final = re.compile(
    r"(?:answer|reply|respond)?\s*(?:with|by|from|choose|pick|options|choices)[^:?\n]{0,40}:\s*(?P<list>[^\n]+)\s*$",
    re.IGNORECASE,
)
_SHORT: Final = re.compile(r"\b(?:answer|reply|respond) (?:with|in|using) [^.?\n]*(?:[.]|$)", re.IGNORECASE)
_MALE: Final = r"(?:man|boy|guy|male)"
_FEMALE: Final = r"(?:woman|girl|lady|female)"
_GENDER: Final = re.compile(
    rf"\bgender\b|\bsex\b|\b{_MALE} or (?:a )?{_FEMALE}\b|\b{_FEMALE} or (?:a )?{_MALE}\b"
)
_AGE: Final = re.compile(
    rf"\bhow old (?:is|are|does|do) {_PERSON}\b|\bage(?: group)? of {_PERSON}\b"
    rf"|what is (?:{_PERSON}'s|his|her|their) age\b"
    rf"|^(?:what|which) age(?: group)?(?: (?:is|are|has|have|does|do) {_PERSON}\b.*)?$"
)


def split_choices(text: str) -> tuple[str, tuple[str, ...]]:
    """Divide a question from the choices that it ends with, such as "Answer with exactly one of: yes, no."."""
    match = _CHOICES.search(text)
    if match is None:
        return _SHORT.sub("", text).strip(), ()
    listed = match["list"].strip().removesuffix(".")
    divider = r"\s*[,;|]\s*(?:or )?" if re.search("[,;|]", listed) else r"\s+or\s+"
    parts = re.split(divider, listed)
    return text[: match.start()].strip(), tuple(part.strip(" \"'") for part in parts if part.strip(" \"'"))


def understand(text: str) -> Ask | None:
    """Say what a question asks for; ``None`` if it is not understood.

    Args:
        text: One question, English, with or without choices at its end. Among several sentences the last one that is
            understood counts.

    Example:
        >>> understand("How many persons are in this picture?").kind
        'count'
        >>> understand("What does the sign say?") is None
        True
    """
    question, choices = split_choices(text[-_LONGEST:])
    sentences = re.findall(r"[^?.!\n]+", question)
    for sentence in reversed(sentences):
        ask = _understand(_plain(sentence))
        if ask is not None:
            return ask._replace(choices=choices or ask.choices)
    return None


def _plain(sentence: str) -> str:
    """Write a sentence in small letters, without contractions, politeness and what says that it is about a picture."""
    text = sentence.lower().replace("\u2019", "'").replace("color", "colour").replace("gray", "grey")
    # "Isn't there a dog?" asks for the same as "Is there a dog?"; "Are there no dogs?" does not.
    text = re.sub(r"\b(is|are|was|were|do|does|can|could|has|have)n't\b", r"\1", text)
    text = re.sub(r"\b(what|where|who|how|there|that|it)'(?:s|re)\b", r"\1 is", text)
    text = re.sub(r"\b(?:if|whether) there (is|are)\b", r"\1 there", text)
    text = " ".join(re.sub(r"[^a-z0-9' \-/]", lambda found: " , " if found[0] == "," else " ", text).split())
    while (shorter := _HEAD.sub("", text)) != text:
        text = shorter
    return text.strip(" ,")


def _understand(text: str) -> Ask | None:
    for read in (_private, _count, _colour, _caption, _place, _activity, _either, _which, _presence, _list):
        ask = read(text)
        if ask is not None:
            return ask
    return None


def _without_tail(text: str) -> str:
    while (shorter := _TAIL.sub("", text)) != text:
        text = shorter
    return text


def _private(text: str) -> Ask | None:
    if _GENDER.search(text):
        return Ask("gender")
    return Ask("age") if _AGE.search(text) else None


def _count(text: str) -> Ask | None:
    match = re.match(
        r"(?:how many|(?:what|which) number of|what is the (?:total )?(?:number|count) of|(?:the )?number of"
        r"|(?:count|give)(?: the number of)?(?: all)?(?: the)?) (?:different |of the )?(?P<noun>.+)",
        _without_tail(text),
    )
    # "How many people wear hats" counts something else, and then the noun is no name.
    thing = None if match is None else _thing(match["noun"])
    return None if thing is None else Ask("count", (thing,))


def _colour(text: str) -> Ask | None:
    plain = _without_tail(text)
    match = re.match(
        r"(?:(?:what|which)(?: is the)? colour (?:of |is |are |does |do |has |have )?|(?:the )?colour of )"
        r"(?P<noun>.+?)(?: have| has)?$",
        plain,
    )
    thing = None if match is None else _thing(match["noun"])
    if thing is not None:
        return Ask("colour", (thing,))
    match = re.match(rf"(?:is|are) the (?P<noun>.+) (?P<colour>{'|'.join(COLOURS)})$", plain)
    thing = None if match is None else _thing(match["noun"])
    if match is None or thing is None:
        return None
    return Ask("presence", (thing._replace(colour=match["colour"]),))


def _caption(text: str) -> Ask | None:
    words = rf"(?:caption|description|sentence|title)s?\b.*\b(?:{_PICTURE}|fit|fits|match|matches|describe|describes)\b"
    return Ask("caption") if re.search(words, text) else None


def _place(text: str) -> Ask | None:
    taken = r"(?: (?:taken|shot|set|located|made|happening))?"
    where = rf"where (?:is|was|are|were|does|did) (?:{_THIS}|{_PERSON}|we)(?: take place| happen)?{taken}$"
    kinds = r"(?:place|location|room|setting|environment|surroundings|scene)"
    what = (
        rf"(?:what|which|in what|in which|at what|at which) (?:(?:kind|type|sort) of )?{kinds}"
        rf"(?: (?:is|was|does|are) (?:{_THIS}|{_PERSON}|shown|depicted|here)(?: in| show| at)?{taken}.*| is shown)?$"
    )
    plain = text if re.match(r"where (?:is|was) (?:this|it|that)$", text) else _without_tail(text)
    for each in (text, plain):
        if re.match(where, each) or re.match(what, each) or re.match(rf"what is the {kinds}$", each):
            return Ask("place")
    match = re.match(
        rf"(?:is|was|are|were) (?:{_THIS}|{_PERSON}){taken} (?:(?:in|inside|at|on|near) )?(?:an? |the )?(?P<place>.+)$",
        text,
    )
    if match is None:
        return None
    named = match["place"].split(" or ")
    found = [_place_named(each) for each in named]
    if None in found or not found:
        return None
    names = tuple(each for each in found if each is not None)
    return Ask("place", choices=names) if len(names) > 1 else Ask("is_place", phrase=names[0])


def _place_named(words: str) -> str | None:
    words = re.sub(r"^(?:in|inside|at|on|near) ", "", words)
    words = re.sub(r"^(?:a|an|the) ", "", words)
    if words in {"indoors", "inside", "indoor", "an indoor scene", "indoor scene"}:
        return "indoors"
    if words in {"outdoors", "outside", "outdoor", "outdoor scene"}:
        return "outdoors"
    return words if words in PLACES else None


_DOING: Final = re.compile(
    rf"what (?:is|are|was|were) {_PERSON}(?: .+)? doing|what is (?:happening|going on|being played)"
    r"|(?:what|which) (?:(?:kind|type|sort) of )?(?:activity|sport|action|game)"
    rf"(?: (?:is|are|do|does)(?: (?:{_THIS}|{_PERSON}))?(?: being)?(?: (?:play|do|perform)\w*| going on)?)?"
)


def _activity(text: str) -> Ask | None:
    if _DOING.fullmatch(_without_tail(text)):
        return Ask("activity")
    match = re.match(rf"(?:is|are|was|were) {_PERSON} (?P<phrase>.+)$", _without_tail(text))
    if match is None:
        return None
    named = [re.sub(r"^(?:the|a) | (?:the|a) ", " ", each).strip() for each in match["phrase"].split(" or ")]
    plain = {re.sub(r" (?:the|a) ", " ", each): each for each in ACTIVITIES}
    if any(each not in plain for each in named):
        return None
    names = tuple(plain[each] for each in named)
    return Ask("activity", choices=names) if len(names) > 1 else Ask("is_activity", phrase=names[0])


def _either(text: str) -> Ask | None:
    """Read "Is this a dog or a cat?"."""
    match = re.match(
        rf"(?:is|are) (?:{_THIS}|these|those|there)(?: animals?| things?)? (?P<nouns>.+ or .+)$", text
    )
    if match is None or text.startswith(("is there", "are there")):
        return None
    nouns = [re.sub(r"^(?:a|an|the|either) ", "", each) for each in match["nouns"].split(" or ")]
    things = [_thing(each) for each in nouns]
    if any(each is None for each in things):
        return None
    return Ask("which", tuple(each for each in things if each is not None), choices=tuple(nouns))


def _which(text: str) -> Ask | None:
    match = re.match(
        r"(?:what|which)(?: (?:kind|type|sort|species)s? of)? (?P<noun>[a-z]+(?: [a-z]+)??)"
        r"(?: (?:is|are|do|does|can)\b.*)?$",
        _without_tail(text),
    )
    thing = None if match is None else _thing(match["noun"])
    # A class alone has no kinds that the detector tells apart.
    return None if thing is None or len(thing.classes) == 1 else Ask("which", (thing,))


def _list(text: str) -> Ask | None:
    objects = r"(?:what|which) (?:objects|things|items)|what(?: do)?"
    shows = (
        rf"what does (?:the|this) {_PICTURE} (?:show|contain|depict)|describe(?: (?:the|this) {_PICTURE})?"
    )
    return Ask("list") if re.fullmatch(rf"{objects}|{shows}", _without_tail(text)) else None


_THERE: Final = re.compile(
    rf"(?:(?:(?:is|are) there|(?:do|can|could) (?:you|we|i) (?:see|spot|find|detect|notice|make out)"
    rf"|(?:does|do) (?:the|this) {_PICTURE} (?:show|contain|have|include|depict|feature)"
    rf"|(?:has|have) (?:the|this) {_PICTURE}|any) (?P<noun>.+)|(?:is|are) (?P<subject>.+))$"
)


def _presence(text: str) -> Ask | None:
    plain = _without_tail(text)
    match = _THERE.match(plain)
    if match is None:
        return None
    nouns = match["noun"] or match["subject"]
    if match["noun"] is None and plain == text:  # "Is the dog asleep?" does not say "in the picture"
        return None
    nouns, negations = re.subn(r"^(?:not (?:a |an |any )?|no |without |neither )", "", nouns)
    nouns = re.sub(r"^(?:body|one)$", "person", nouns) if negations else nouns
    if nouns == "nobody":
        nouns, negations = "person", 1
    either = " or " in nouns or " nor " in nouns
    things = [_thing(each) for each in re.split(r" ?, (?:and |or )?| and | or | nor ", nouns) if each]
    if not things or any(each is None for each in things):
        return None
    known = tuple(each for each in things if each is not None)
    return Ask("presence", known, negated=negations > 0, every=not either)


_AMOUNT: Final = re.compile(
    r"^(?:(?P<more>more than|over)|(?P<least>at least)|(?P<fewer>fewer than|less than)|(?P<most>at most)"
    r"|exactly|only|just)?"
    rf" ?(?P<number>\d+|{'|'.join(NUMBERS)}|a single|several|multiple) "
)


def _thing(words: str) -> Thing | None:
    """Read a noun with what stands before it; ``None`` if the detector does not know it."""
    words = re.sub(
        r"^(?:an?|any|some|the|this|that|these|those|my|your|his|her|their|its|either) ", "", words
    )
    words = re.sub(r"^(?:pairs?|groups?) of ", "", words)
    least, most = 1, None
    amount = _AMOUNT.match(words)
    if amount is not None:
        number = _number(amount["number"])
        least, most = number, number
        if amount["more"] or amount["least"] or amount["number"] in {"several", "multiple"}:
            least, most = number + bool(amount["more"]), None
        elif amount["fewer"] or amount["most"]:
            least, most = 0, number - bool(amount["fewer"])
        words = words[amount.end() :]
    colour = next((each for each in COLOURS if words.startswith(f"{each} ")), None)
    noun = singular(words.removeprefix(f"{colour} "))
    classes = NAMES.get(noun)
    return None if classes is None else Thing(noun, classes, colour, least, most)


def _number(word: str) -> int:
    if word in NUMBERS:
        return NUMBERS.index(word)
    return {"a single": 1, "several": 2, "multiple": 2}.get(word) or int(word)
