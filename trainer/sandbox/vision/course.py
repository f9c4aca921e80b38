"""What a local vision model learns."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple

from PIL import Image, ImageOps

from trainer.sandbox.drawing.cards import draw_card
from trainer.sandbox.drawing.portraits import read_portraits
from trainer.sandbox.drawing.scenes import draw_scene
from trainer.sandbox.vision.card_model import CARDS
from trainer.sandbox.vision.local_model import SCENES, Subject
from trainer.sandbox.vision.patch_model import SCENES_B

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import numpy as np

    from trainer.data.format import Split

_Box = tuple[float, float, float, float]


class Picture(NamedTuple):
    """What is learned from."""

    image: Image.Image
    labels: Mapping[str, str]
    """A choice for each of the subject's attributes."""
    places: Mapping[str, _Box]
    """Where attributes are to be seen, pixels: left, top, right, bottom."""


@dataclass(frozen=True)
class Course:
    """What a local vision model learns, and how long."""

    subject: Subject
    draw: Callable[[np.random.Generator, Split], Picture]
    about: Mapping[str, str]
    """What the weights' card says of them: what they are, their licence, whom the pictures are by."""
    steps: int
    batch: int
    peak_rate: float
    different: int | None = None
    """How many pictures are drawn, each to be seen several times; by default one for each time."""


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
"""The drawn scenes."""
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
"""The drawn scenes, for the network of :mod:`trainer.sandbox.vision.patch_model`."""


def card_course(faces: Path) -> Course:
    """Staff cards with portraits of a collection; see :mod:`trainer.sandbox.drawing.portraits`.

    Training sees portraits for training only, mirrored half of the time; half of the cards are the smallest.

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
