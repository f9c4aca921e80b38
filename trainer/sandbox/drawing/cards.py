"""Staff cards with portraits of the user's own collection: drawn badges, photographed on a desk.

Department, gate, expiry and the colour of the stripe are task facts. The name, the id number and the birth date are
private texts; the portrait's gender, age group and race are private attributes, and the identity is private too. Task
and private texts share fonts, sizes and digits, and stand in any order in any of four layouts, so that no fixed mask
tells them apart. The facts are drawn uniformly and independently of each other and of the portrait; only the birth date
fits the portrait's age group, as on a real card.

Names and companies are invented.
"""

from __future__ import annotations

import contextlib
import math
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from langchain_vpp.errors import DataError
from trainer.sandbox.drawing.card_design import CARD_SIZE, DoesNotFitError, FlatCard
from trainer.sandbox.drawing.drawn_data import Entry, write_data
from trainer.sandbox.drawing.photograph import SUPERSAMPLE, box_corners, homography, photograph
from trainer.sandbox.drawing.portraits import PORTRAIT_ATTRIBUTES, read_portraits
from trainer.sandbox.drawing.scenes import Question, pick

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from PIL import Image

    from trainer.data.format import Split
    from trainer.sandbox.drawing.card_design import Box
    from trainer.sandbox.drawing.photograph import Points

CARD_VIEW: Final = (320, 224)
"""Width and height of the smallest picture of a card, pixels; larger pictures have the same shape."""

CARD_TASKS: Final[Mapping[str, Question]] = MappingProxyType(
    {
        "department": Question(
            "Which department is on the card?",
            ("Finance", "Legal", "Logistics", "Marketing", "Production", "Research", "Sales", "Support"),
        ),
        "gate": Question("Which gate is on the card?", ("A1", "A2", "B1", "B2", "C1", "C2", "D1", "D2")),
        "expiry": Question(
            "When does the card expire?",
            ("06/2026", "12/2026", "06/2027", "12/2027", "06/2028", "12/2028"),
        ),
        "stripe": Question(
            "What colour is the stripe on the card?",
            ("red", "orange", "yellow", "green", "blue", "purple"),
        ),
    }
)
"""Task fact -> its canonical question and choices."""

PORTRAIT_QUESTIONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "gender": "What is the gender of the person on the card?",
        "age_group": "Which age group does the person on the card belong to?",
        "race": "What is the race of the person on the card?",
    }
)
"""Private attribute of the portrait -> its canonical question."""

TEXTS: Final = ("name", "id number", "birth date")
"""Names of the private texts in ``data.jsonl``."""

_THIS_YEAR: Final = 2026

# -- the data set --------------------------------------------------------------------------------------------------


def make_cards(
    out: Path,
    faces: Path,
    *,
    train: int,
    val: int,
    test: int,
    seed: int,
    largest: int = 480,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write a data set of cards: ``data.jsonl`` and ``images/*.jpg``.

    A line's ``group`` is the portrait, which stays in one split. With more cards than portraits, a portrait has several
    cards.

    Args:
        out: A folder that is missing or empty.
        faces: Portraits; see :mod:`trainer.sandbox.drawing.portraits`.
        train: Cards in the train split, at least 0.
        val: Cards in the validation split, at least 0.
        test: Cards in the test split, at least 0.
        seed: At least 0.
        largest: Width of the largest picture, at least that of :data:`CARD_VIEW`; half of the pictures are smallest.
        progress: Called with (cards written, cards in all) after each card.

    Raises:
        DataError: See :func:`~trainer.sandbox.drawing.portraits.read_portraits` and
            :func:`~trainer.sandbox.drawing.drawn_data.write_data`; also if ``largest`` is too small, a portrait can't
            be decoded, or the fonts are missing.
    """
    portraits = read_portraits(faces)
    orders = {
        split: np.random.default_rng((max(seed, 0), place)).permutation(len(portraits[split]))
        for place, split in enumerate(portraits, start=100)
    }

    def draw(generator: np.random.Generator, split: Split, index: int) -> Entry:
        order = orders[split]
        portrait = portraits[split][order[index % len(order)]]
        card = draw_card(generator, portrait.open(), portrait.attributes, width=_width(generator, largest))
        tasks = [
            {"question": task.text, "answer": card.labels[name], "choices": task.choices}
            for name, task in CARD_TASKS.items()
        ]
        private = {name: card.labels[name] for name in PORTRAIT_ATTRIBUTES}
        fields = {"group": portrait.name, "tasks": tasks, "private": private, "texts": dict(card.texts)}
        return Entry(card.image, fields)

    _width(np.random.default_rng(0), largest)  # before anything is drawn
    sizes: dict[Split, int] = {"train": train, "val": val, "test": test}
    write_data(out, draw, sizes=sizes, seed=seed, suffix=".jpg", progress=progress)


def _width(generator: np.random.Generator, largest: int) -> int:
    step = 40  # keeps both sides of the picture whole, and multiples of 4
    smallest = CARD_VIEW[0]
    if largest < smallest:
        raise DataError(f"No data was made: cards are at least {smallest} pixels wide.")
    widths = range(smallest, largest + 1, step)
    return smallest if generator.random() < 0.5 else widths[int(generator.integers(len(widths)))]


# -- one card ------------------------------------------------------------------------------------------------------


class Card(NamedTuple):
    """A picture of a card, with its labels and the places of its parts."""

    image: Image.Image
    labels: Mapping[str, str]
    """A choice for each key of :data:`CARD_TASKS` and :data:`PORTRAIT_ATTRIBUTES`."""
    texts: Mapping[str, str]
    """The words and numbers of :data:`TEXTS` as printed."""
    boxes: Mapping[str, Box]
    """Places of the parts on the flat card, in its own units (:data:`CARD_SIZE`): the portrait, the stripe, the header,
    and the value and the caption (``"gate caption"``) of each field."""
    corners: tuple[tuple[float, float], ...]
    """The card's corners in the picture, pixels: top left, top right, bottom right, bottom left."""

    def outline(self, name: str) -> tuple[tuple[float, float], ...]:
        """Return the corners of one of :attr:`boxes` in the picture, pixels, clockwise from the top left."""
        left, top, right, bottom = self.boxes[name]
        forward = homography(box_corners(0, 0, *CARD_SIZE), np.array(self.corners))
        points = np.c_[box_corners(left, top, right, bottom), np.ones(4)] @ forward.T
        places = points[:, :2] / points[:, 2:]
        return tuple((x, y) for x, y in places.tolist())

    def bounds(self, name: str) -> Box:
        """Return the smallest upright box, in the picture's pixels, around one of :attr:`boxes`."""
        across, down = zip(*self.outline(name), strict=True)
        return min(across), min(down), max(across), max(down)


_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_FIRST_NAMES: Final = (
    "Adrix", "Alvena", "Aniro", "Belvan", "Brisa", "Calyn", "Cormi", "Dalven", "Davoro", "Delna", "Edrin", "Elvori",
    "Emiko", "Fadra", "Falko", "Fenia", "Garvi", "Geluna", "Halvo", "Henra", "Iduna", "Ilvar", "Imora", "Jalen",
    "Jorvi", "Kaleno", "Kelmi", "Korani", "Lanvi", "Leoma", "Lirano", "Maelo", "Marvi", "Milora", "Nadiro", "Nelva",
    "Nimori", "Odrana", "Olvin", "Orelo", "Pavian", "Pelori", "Quenli", "Rasmo", "Relani", "Rovena", "Sabino",
    "Selmar", "Siora", "Talven", "Temura", "Tovari", "Ulmira", "Unavi", "Valen", "Velori", "Wanira", "Welmo",
    "Xanor", "Yaliri", "Yovan", "Zadira", "Zelmo", "Zorani",
)  # fmt: skip
_LAST_NAMES: Final = (
    "Abrovin", "Aldrum", "Amaril", "Ashkel", "Balvoro", "Berrin", "Bokari", "Brontik", "Calvero", "Cendar", "Corvali",
    "Dagmor", "Dervani", "Dolmec", "Eldoran", "Emberi", "Estavi", "Falmor", "Ferrano", "Frondi", "Galdari", "Gorvan",
    "Grenal", "Hadrin", "Holvik", "Hurlan", "Ibarov", "Ilmari", "Irvano", "Jandor", "Jelvik", "Kadrun", "Kelvani",
    "Korvath", "Landris", "Lermon", "Lovadi", "Maldor", "Merivo", "Morvan", "Nardel", "Nevrani", "Nolvic", "Obrinak",
    "Oldari", "Orvello", "Padrim", "Pelvor", "Prandil", "Quarlen", "Radmil", "Renvali", "Rolvek", "Sadrin", "Selvano",
    "Sorvik", "Tandril", "Tervani", "Tolmek", "Ulvano", "Undrik", "Valdrin", "Vermoli", "Vorlan", "Wendrik", "Wolvar",
    "Yandel", "Yorvic", "Zadrani", "Zelvik",
)  # fmt: skip


def draw_card(
    generator: np.random.Generator, face: Image.Image, attributes: Mapping[str, str], *, width: int = 320
) -> Card:
    """Draw one card.

    Args:
        generator: Source of all other randomness; the same state gives the same pixels.
        face: The portrait, RGB, about square.
        attributes: The portrait's value for each of :data:`PORTRAIT_ATTRIBUTES`.
        width: Width of the picture, pixels; a multiple of 40, at least 320.

    Raises:
        MissingExtraError: If matplotlib (extra ``demo``) is missing, whose fonts are used.
    """
    labels = {name: pick(generator, task.choices) for name, task in CARD_TASKS.items()} | dict(attributes)
    values = {
        "department": labels["department"],
        "gate": labels["gate"],
        "expiry": _month(generator, labels["expiry"]),
        "name": f"{pick(generator, _FIRST_NAMES)} {pick(generator, _LAST_NAMES)}",
        "id number": f"{generator.integers(100, 1000)}-{generator.integers(1000, 10000)}",
        "birth date": _birth_date(generator, labels["age_group"]),
    }
    scale = SUPERSAMPLE * width / CARD_VIEW[0]
    flat = _flat_card(generator, face, values, scale, labels["stripe"])
    size = width, width * CARD_VIEW[1] // CARD_VIEW[0]
    corners = _lay_down(generator, size)
    image = photograph(generator, flat.image, flat.shape(), corners, size)
    texts = {name: flat.printed[name] for name in TEXTS}
    return Card(image, labels, texts, flat.boxes, tuple((x, y) for x, y in corners.tolist()))


def _flat_card(
    generator: np.random.Generator, face: Image.Image, values: Mapping[str, str], scale: float, stripe: str
) -> FlatCard:
    while True:  # a card whose fields do not fit is drawn again
        flat = FlatCard(generator, scale, stripe)
        with contextlib.suppress(DoesNotFitError):
            flat.draw(face, values)
            return flat


def _lay_down(generator: np.random.Generator, size: tuple[int, int]) -> Points:
    """Draw the card's corners, shape ``[4, 2]``, all inside a picture of ``size``."""
    width, height = CARD_SIZE
    corners = box_corners(-width / 2, -height / 2, width / 2, height / 2)
    angle = math.radians(float(np.clip(generator.normal(0, 2.2), -6, 6)))
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    corners = corners @ turn + generator.uniform(-5, 5, (4, 2))
    corners *= float(generator.uniform(0.94, 1.06)) * size[0] / CARD_VIEW[0]
    least, most = corners.min(axis=0), corners.max(axis=0)
    margin = 2.0
    room = np.array(size) - 2 * margin
    shrink = min(1.0, float((room / (most - least)).min()))
    corners, least, most = corners * shrink, least * shrink, most * shrink
    spare = room - (most - least)
    return np.asarray(corners - least + margin + spare * generator.uniform(0, 1, 2), dtype=np.float64)


# -- facts ---------------------------------------------------------------------------------------------------------


def _month(generator: np.random.Generator, expiry: str) -> str:
    """Write an expiry such as ``06/2027`` in one of two ways."""
    month, year = expiry.split("/")
    return expiry if generator.random() < 0.5 else f"{_MONTHS[int(month) - 1]} {year}"


def _birth_date(generator: np.random.Generator, age_group: str) -> str:
    youngest, oldest = (70, 75) if age_group == "more than 70" else map(int, age_group.split("-"))
    day, month = int(generator.integers(1, 29)), int(generator.integers(1, 13))
    year = _THIS_YEAR - int(generator.integers(youngest, oldest + 1))
    return f"{day:02}.{month:02}.{year}" if generator.random() < 0.5 else f"{day} {_MONTHS[month - 1]} {year}"
