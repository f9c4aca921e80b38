"""Courses: the pictures that each local vision model learns from, and the settings of its training."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple

from PIL import Image, ImageOps

from trainer.sandbox.drawing.cards import draw_card
from trainer.sandbox.drawing.films import draw_film
from trainer.sandbox.drawing.portraits import read_portraits
from trainer.sandbox.drawing.scenes import draw_scene
from trainer.sandbox.vision.card_model import CARDS
from trainer.sandbox.vision.film_model import FILMS
from trainer.sandbox.vision.local_model import SCENES, Subject, strip
from trainer.sandbox.vision.patch_model import SCENES_B

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import numpy as np

    from trainer.data.format import Split

_Box = tuple[float, float, float, float]


class Picture(NamedTuple):
    """A drawn picture to learn from."""

    image: Image.Image
    labels: Mapping[str, str]
    """A choice for each of the subject's attributes."""
    places: Mapping[str, _Box]
    """Place of each attribute in the picture, pixels: left, top, right, bottom; unknown places are missing."""


@dataclass(frozen=True)
class Course:
    """Pictures that a local vision model learns from, and settings of its training."""

    subject: Subject
    draw: Callable[[np.random.Generator, Split], Picture]
    """Draws a picture of a split."""
    about: Mapping[str, str]
    """Entries for the card of the weights: their purpose, script, licence and attribution."""
    steps: int
    """Optimizer steps."""
    batch: int
    """Pictures per step."""
    peak_rate: float
    """Peak learning rate."""
    different: int | None = None
    """Number of pictures that are drawn, each to be seen several times; ``None`` draws a new picture each time."""


SCENE_COURSE: Final = Course(
    SCENES,
    lambda generator, _: Picture(*draw_scene(generator), places={}),
    {
        "what": "Local vision model of the sandbox: answers questions about drawn scenes of nobody real.",
        "script": "python -m trainer.sandbox.vision.train scenes",
        "licence": "MIT, as the package",
    },
    steps=1100,
    batch=96,
    peak_rate=2.5e-3,
)
"""Course of the drawn scenes."""
SECOND_SCENE_COURSE: Final = replace(
    SCENE_COURSE,
    subject=SCENES_B,
    about={
        "what": "Second local vision model of the sandbox, of another architecture: answers about the same scenes.",
        "script": "python -m trainer.sandbox.vision.train scenes-b",
        "licence": "MIT, as the package",
    },
    steps=1400,
    batch=48,
    peak_rate=1.5e-3,
    different=20_000,
)
"""Course of the drawn scenes for the network of :mod:`trainer.sandbox.vision.patch_model`."""


FILM_COURSE: Final = Course(
    FILMS,
    lambda generator, _: _film(*draw_film(generator, rate=1)),
    {
        "what": "Local vision model of the sandbox: answers questions about drawn films of nobody real.",
        "script": "python -m trainer.sandbox.vision.train films",
        "licence": "MIT, as the package",
    },
    steps=500,
    batch=32,
    peak_rate=3e-3,
    different=4000,
)
"""Course of the drawn films: every film is a strip of its frames, a second apart."""


def _film(frames: Sequence[Image.Image], labels: Mapping[str, str]) -> Picture:
    return Picture(strip(frames, FILMS), labels, places={})


def card_course(faces: Path) -> Course:
    """Return the course of staff cards with the portraits of a collection.

    Training sees only portraits for training, mirrored half of the time; half of the cards have the smallest size.

    Args:
        faces: The collection; see :mod:`trainer.sandbox.drawing.portraits`.

    Raises:
        DataError: If the collection can't be used.
    """
    portraits = read_portraits(faces)

    def draw(generator: np.random.Generator, split: Split) -> Picture:
        portrait = portraits[split][int(generator.integers(len(portraits[split])))]
        face = portrait.open()
        if split == "train" and generator.random() < 0.5:
            face = ImageOps.mirror(face)
        width = 320 if generator.random() < 0.5 else 40 * int(generator.integers(8, 13))
        card = draw_card(generator, face, portrait.attributes, width=width)
        places = {name: card.bounds(name) for name in ("department", "gate", "expiry", "stripe")}
        places |= dict.fromkeys(portrait.attributes, card.bounds("portrait"))
        return Picture(card.image, card.labels, places)

    return Course(
        CARDS,
        draw,
        {
            "what": "Local vision model for staff cards: reads four fields, and three attributes of the portrait.",
            "script": "python -m trainer.sandbox.vision.train cards --faces DIR",
            "licence": "MIT, as the package; portraits: CC BY 4.0",
            "attribution": "Trained on portraits of FairFace (Karkkainen and Joo, WACV 2021), CC BY 4.0.",
        },
        steps=2400,
        batch=48,
        peak_rate=2e-3,
        different=20_000,
    )
