"""Questions about real photographs with their answers, made from annotations."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, get_args

from trainer.sandbox.vision.photos.colours import COLOURS
from trainer.sandbox.vision.photos.names import CLASSES, NAMES, singular
from trainer.sandbox.vision.photos.questions import ACTIVITIES, PLACES

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from trainer.sandbox.drawing.photographs import Annotation

Topic = Literal["objects", "people", "counts", "activity", "place", "colour", "okvqa"]
TOPICS: Final[tuple[Topic, ...]] = get_args(Topic)

_LEAST_AREA: Final = 0.01
"""Share of the picture that the largest object of a class takes up, or the class is not asked about."""
_MOST_PRESENT: Final = 3
"""Most classes of a picture about whose presence is asked, and as many that are absent."""
_NUMBERS: Final = ("0", "1", "2", "3 or more")


class PhotoTask(NamedTuple):
    """A question about a photograph.

    Attributes:
        topic: What it is about.
        question: The question.
        answer: The right answer, or one of them.
        choices: Answers that it allows; none where it is open.
        answers: Answers of several annotators; none where there is one answer.
    """

    topic: Topic
    question: str
    answer: str
    choices: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()


def tasks_of(known: Annotation, size: tuple[int, int], generator: np.random.Generator) -> list[PhotoTask]:
    """Make the questions about a photograph.

    Absent classes are drawn as often as present ones, so "yes" is right in half of the cases.

    Args:
        known: Annotation of the photograph.
        size: Width and height in pixels.
        generator: Draws the classes that are asked about.
    """
    tasks = [*_of_objects(known, size, generator), *_of_captions(known)]
    for each in known.okvqa:
        answers = [(answer, round(3 * score)) for answer, score in each.answers.items() if round(3 * score)]
        if answers:
            # The soft score counts annotators: three of them are enough.
            said = tuple(answer for answer, times in answers for _ in range(times))
            tasks.append(
                PhotoTask("okvqa", each.question, max(answers, key=lambda pair: pair[1])[0], (), said)
            )
    return list({task.question: task for task in tasks}.values())


def _of_objects(known: Annotation, size: tuple[int, int], generator: np.random.Generator) -> list[PhotoTask]:
    if known.objects is None:
        return []
    numbers: dict[str, int] = {}
    large: set[str] = set()
    for each in known.objects:
        numbers[each.name] = numbers.get(each.name, 0) + 1
        if each.box[2] * each.box[3] >= _LEAST_AREA * size[0] * size[1]:
            large.add(each.name)
    present = sorted(large & set(CLASSES))
    absent = [name for name in CLASSES if name not in numbers]
    asked = [str(name) for name in generator.permutation(present)[:_MOST_PRESENT]] if present else []
    others = [str(name) for name in generator.permutation(absent)[: max(1, len(asked))]]
    tasks = [
        PhotoTask("objects", f"Is there {_with_article(name)} in the picture?", answer, ("yes", "no"))
        for names, answer in ((asked, "yes"), (others, "no"))
        for name in names
    ]
    if "person" in large or "person" not in numbers:
        tasks.append(_counted("people", "people", numbers.get("person", 0)))
    tasks += [_counted("counts", _plural(name), numbers[name]) for name in asked if name != "person"]
    return tasks


def _counted(topic: Topic, plural: str, number: int) -> PhotoTask:
    question = f"How many {plural} are in the picture?"
    return PhotoTask(topic, question, _NUMBERS[min(number, 3)], _NUMBERS)


def _with_article(name: str) -> str:
    if name in {"skis", "scissors"}:
        return f"a pair of {name}"
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _plural(name: str) -> str:
    irregular = {"mouse": "mice", "knife": "knives", "sheep": "sheep", "skis": "skis", "scissors": "scissors"}
    if name in irregular:
        return irregular[name]
    return f"{name}{'es' if name.endswith(('s', 'sh', 'ch', 'x')) else 's'}"


_ACTIVITIES: Final[Mapping[str, str]] = {
    "skiing": r"\bskis?\b|skiing|skier",
    "snowboarding": r"snowboard",
    "surfing": r"surf(?!ace)",
    "skateboarding": r"skateboard",
    "playing tennis": r"tennis",
    "playing baseball": r"baseball|batter|umpire",
    "playing frisbee": r"frisbee",
    "playing soccer": r"soccer",
    "flying a kite": r"\bkites?\b",
    "riding a horse": r"(?:riding|ride|rides|rider).{0,30}horse|horseback",
    "riding a motorcycle": r"(?:riding|ride|rides|rider|on).{0,20}(?:motorcycle|motorbike|motor bike)|motorcyclist",
    "riding a bicycle": r"(?:riding|ride|rides|rider).{0,20}(?:bicycle|bike)|cyclist",
    "eating": r"\beat(?:s|ing)?\b",
    "cooking": r"\bcook(?:s|ing)?\b|preparing (?:food|a meal)|cutting",
    "talking on the phone": r"phone",
    "using a computer": r"laptop|computer",
    "playing video games": r"\bwii\b|video game|game controller",
    "brushing teeth": r"brush.{0,12}teeth|toothbrush",
}
"""Activity -> what captions say of it."""
_PLACES: Final[Mapping[str, str]] = {
    "kitchen": r"kitchen",
    "bathroom": r"bathroom|toilet|restroom",
    "bedroom": r"bedroom|\bbed\b",
    "living room": r"living room|couch|sofa",
    "office": r"\boffice\b|desk",
    "street": r"\bstreets?\b|\broad\b|intersection|highway",
    "beach": r"beach",
    "ski slope": r"\bsnowy?\b|slope",
    "sea": r"ocean|\bsea\b|\bwaves?\b",
    "sports field": r"\bfield\b(?!.*(?:grass|graz))|baseball|soccer",
    "tennis court": r"tennis",
    "airport": r"airport|runway|tarmac",
    "train station": r"train station|platform|railway",
    "zoo": r"\bzoo\b",
    "park": r"\bpark\b",
    "restaurant": r"restaurant|cafe",
    "forest": r"forest|woods",
    "harbour": r"harbou?r|\bdock|marina|\bpier\b",
}
"""Place -> what captions say of it."""


def _of_captions(known: Annotation) -> list[PhotoTask]:
    tasks = []
    activity = _said(known.captions, _ACTIVITIES)
    if activity is not None:
        tasks.append(PhotoTask("activity", "What is the person doing?", activity, ACTIVITIES))
    place = _said(known.captions, _PLACES)
    if place is not None:
        tasks.append(PhotoTask("place", "Where is this?", place, PLACES))
    return tasks + [
        PhotoTask("colour", f"What colour is the {name}?", colour, COLOURS)
        for name, colour in _coloured(known).items()
    ]


def _said(captions: tuple[str, ...], patterns: Mapping[str, str]) -> str | None:
    """Return what at least half of the captions say, and more of them than say anything else."""
    times = {
        name: sum(re.search(pattern, each.lower()) is not None for each in captions)
        for name, pattern in patterns.items()
    }
    most = max(times.values())
    best = [name for name, number in times.items() if number == most]
    return best[0] if len(best) == 1 and most >= max(1, (len(captions) + 1) // 2) else None


_COLOURED: Final = re.compile(rf"\b({'|'.join((*COLOURS, 'gray'))}) ((?:[a-z]+ )?[a-z]+)")


def _coloured(known: Annotation) -> dict[str, str]:
    """Return the classes that captions give one colour, and of which the picture has one object where that is known."""
    found: dict[str, set[str]] = {}
    for caption in known.captions:
        # "A red and white bus" has two colours.
        text = re.sub(rf"({'|'.join(COLOURS)}|gray)(?: and|,) [a-z]+ ", "", caption.lower())
        for colour, words in _COLOURED.findall(text):
            first, *rest = words.split(" ")
            for noun in ([words] if rest else []) + [first]:
                classes = NAMES.get(singular(noun), ())
                if len(classes) == 1 and classes[0] != "person":
                    found.setdefault(classes[0], set()).add(colour.replace("gray", "grey"))
                    break
    numbers = None if known.objects is None else [each.name for each in known.objects]
    return {
        name: next(iter(colours))
        for name, colours in found.items()
        if len(colours) == 1 and (numbers is None or numbers.count(name) == 1)
    }
