"""Drawn scenes without real people: the sandbox's data set.

A scene is 64 x 64 RGB: a person with five private attributes, who holds a sign, and a few balloons. The sign, the
person's arms and the number of balloons are task facts. Private and task signals share place and colour on purpose, so
that neither a fixed mask nor a grey filter separates them: shirt and sign have one palette, their digits one set of
glyphs at one size, balloons have the colours of hair and skin, and the colours of signs, unlike skin tones, have about
the same luminance.

Every attribute is drawn uniformly and independently of all others.
"""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from trainer.sandbox.drawing.drawn_data import Entry, write_data
from trainer.sandbox.drawing.pen import SUPERSAMPLE, Colour, Pen, Point

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

SCENE_SIZE: Final = 64
"""Width and height of a scene, pixels."""

DIGITS: Final = tuple("0123456789")


class Question(NamedTuple):
    """A canonical question and the words that may answer it."""

    text: str
    choices: tuple[str, ...]


PRIVATE_ATTRIBUTES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "hair": ("black", "blond", "red", "grey"),
        "skin": ("light", "tan", "brown", "dark"),
        "glasses": ("yes", "no"),
        "build": ("slim", "average", "broad"),
        "shirt_number": DIGITS,
    }
)
"""Private attribute -> its values."""

PRIVATE_QUESTIONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "hair": "What colour is the person's hair?",
        "skin": "What is the person's skin tone?",
        "glasses": "Does the person wear glasses?",
        "build": "What is the person's build?",
        "shirt_number": "Which number is on the person's shirt?",
    }
)
"""Private attribute -> its canonical question; the choices are those of :data:`PRIVATE_ATTRIBUTES`."""

TASKS: Final[Mapping[str, Question]] = MappingProxyType(
    {
        "pose": Question(
            "Which of the person's arms are raised, as seen in the picture?",
            ("left", "right", "both", "none"),
        ),
        "sign_shape": Question("What shape is the sign?", ("circle", "square", "triangle", "diamond")),
        "sign_colour": Question("What colour is the sign?", ("red", "orange", "green", "blue", "purple")),
        "sign_digit": Question("Which digit is on the sign?", DIGITS),
        "count": Question("How many balloons are there?", ("1", "2", "3", "4", "5")),
    }
)
"""Task fact -> its canonical question and choices."""

HAIR: Final[Mapping[str, Colour]] = {
    "black": (36, 30, 34),
    "blond": (232, 200, 98),
    "red": (176, 66, 28),
    "grey": (158, 160, 166),
}
SKIN: Final[Mapping[str, Colour]] = {
    "light": (250, 220, 196),
    "tan": (222, 168, 124),
    "brown": (164, 106, 68),
    "dark": (92, 58, 42),
}
# About equal luminance, so that only chroma tells signs apart.
SIGN: Final[Mapping[str, Colour]] = {
    "red": (206, 40, 50),
    "orange": (208, 108, 8),
    "green": (22, 136, 58),
    "blue": (38, 94, 214),
    "purple": (146, 56, 182),
}


class _Polygon(NamedTuple):
    """A sign's outline: corners in units, pixels per unit, width of the rim, and how far the digit is lowered."""

    corners: tuple[Point, ...]
    radius: float
    rim: float
    digit_drop: float = 0.0


_POLYGONS: Final[Mapping[str, _Polygon]] = {
    "square": _Polygon(((-1, -1), (1, -1), (1, 1), (-1, 1)), 8.4, 1.2),
    "diamond": _Polygon(((0, -1), (1, 0), (0, 1), (-1, 0)), 12.2, 1.6),
    "triangle": _Polygon(((0, -1.1), (1, 0.8), (-1, 0.8)), 12.6, 2.2, 2.0),
}
_TORSO_HALF_WIDTH: Final[Mapping[str, float]] = {"slim": 6.6, "average": 9.6, "broad": 13.2}
_RAISED: Final[Mapping[str, tuple[bool, bool]]] = {
    "left": (True, False),
    "right": (False, True),
    "both": (True, True),
    "none": (False, False),
}


def draw_scene(generator: np.random.Generator) -> tuple[Image.Image, dict[str, str]]:
    """Draw one scene.

    Args:
        generator: Source of all randomness; the same state gives the same pixels.

    Returns:
        The picture, RGB, :data:`SCENE_SIZE` square, and its labels: a choice for each key of
        :data:`PRIVATE_ATTRIBUTES` and :data:`TASKS`.
    """
    labels = {name: pick(generator, choices) for name, choices in PRIVATE_ATTRIBUTES.items()}
    labels |= {name: pick(generator, task.choices) for name, task in TASKS.items()}
    canvas = background(generator)
    pen = Pen(canvas)
    body = _Body(generator, labels)
    sign = _place_sign(generator, body)
    body.draw(pen, generator)
    _draw_balloons(generator, pen, int(labels["count"]), [*body.obstacles(), (*sign, 12.5)])
    _draw_sign(generator, pen, labels, sign)
    return light(generator, canvas.reduce(SUPERSAMPLE)), labels


def make_data(
    out: Path,
    *,
    train: int,
    val: int,
    test: int,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write a drawn data set: ``data.jsonl`` and ``images/*.png``.

    Args:
        out: A folder that is missing or empty.
        train: Scenes in the train split, at least 0.
        val: Scenes in the validation split, at least 0.
        test: Scenes in the test split, at least 0.
        seed: At least 0.
        progress: Called with (scenes written, scenes in all) after each scene.

    Raises:
        DataError: See :func:`~trainer.sandbox.drawing.drawn_data.write_data`.
    """
    write_data(
        out,
        lambda generator, _, __: _entry(*draw_scene(generator)),
        sizes={"train": train, "val": val, "test": test},
        seed=seed,
        suffix=".png",
        progress=progress,
    )


def _entry(image: Image.Image, labels: Mapping[str, str]) -> Entry:
    tasks = [
        {"question": task.text, "answer": labels[key], "choices": task.choices} for key, task in TASKS.items()
    ]
    private = {key: labels[key] for key in PRIVATE_ATTRIBUTES}
    return Entry(image, {"tasks": tasks, "private": private, "may_be_shown": True})  # a drawing shows nobody


def pick(generator: np.random.Generator, choices: Sequence[str]) -> str:
    """Draw one of the choices, all equally likely."""
    return choices[int(generator.integers(len(choices)))]


def shade(colour: Colour, factor: float) -> Colour:
    """Multiply a colour by a factor, within the range of a byte."""
    red, green, blue = (min(255, max(0, round(channel * factor))) for channel in colour)
    return red, green, blue


def any_colour(generator: np.random.Generator, low: int, high: int) -> Colour:
    """Draw a colour whose channels lie in ``low`` up to, not including, ``high``."""
    red, green, blue = generator.integers(low, high, 3).tolist()
    return red, green, blue


def background(generator: np.random.Generator) -> Image.Image:
    """Draw an empty place, on a supersampled canvas."""
    corners = generator.uniform(90, 235, (2, 2, 3)) * 0.5 + generator.uniform(90, 235, (1, 1, 3)) * 0.5
    side = SCENE_SIZE * SUPERSAMPLE
    image = Image.fromarray(corners.astype(np.uint8)).resize((side, side), Image.Resampling.BILINEAR)
    pen = Pen(image)
    texture = int(generator.integers(4))
    tone = shade(tuple(corners[0, 0].astype(int).tolist()), float(generator.uniform(0.82, 1.15)))
    if texture == 1:  # stripes
        step, slope = generator.uniform(7, 14), generator.uniform(-20, 20)
        for x in np.arange(-20, SCENE_SIZE + 20, step).tolist():
            pen.line([(x, 0), (x + slope, SCENE_SIZE)], tone, 1.5)
    elif texture == 2:  # floor
        pen.box((-4, float(generator.uniform(44, 58)), SCENE_SIZE + 4, SCENE_SIZE + 4), tone, 0)
    elif texture == 3:  # wall panels
        for left, top in generator.uniform(-6, 56, (3, 2)).tolist():
            pen.box((left, top, left + 14, top + 18), tone, 1)
    for _ in range(int(generator.integers(4))):
        ends = generator.uniform(0, SCENE_SIZE, 4).tolist()
        pen.line([(ends[0], ends[1]), (ends[2], ends[3])], any_colour(generator, 70, 230), 0.8)
    return image


class _Body:
    """Places of the person's parts, in scene pixels."""

    def __init__(self, generator: np.random.Generator, labels: Mapping[str, str]) -> None:
        self.labels = labels
        self.scale = scale = float(generator.uniform(0.93, 1.08))
        self.head = (float(generator.uniform(26, 38)), float(generator.uniform(12, 15.5)))
        x, y = self.head
        self.half_width = _TORSO_HALF_WIDTH[labels["build"]] * scale
        self.shoulders = y + 10.5 * scale
        self.hips = y + 32 * scale
        self.number = (x, y + 18.5 * scale)
        reach = self.half_width + 4.5 * scale
        self.hands: list[Point] = []
        for side, raised in zip((-1, 1), _RAISED[labels["pose"]], strict=True):
            jitter = generator.uniform(-1.5, 1.5, 2).tolist()
            rise = -9.0 if raised else 28.0
            out = max(reach, 13.0 * scale) + 2 if raised else reach
            self.hands.append((x + side * out + jitter[0], y + rise * scale + jitter[1]))

    def arm(self, side: int) -> tuple[Point, Point]:
        """Return shoulder and hand of one side, 0 for the picture's left and 1 for its right."""
        sign = 2 * side - 1
        return (self.head[0] + sign * (self.half_width - 1.2), self.shoulders + 2.6), self.hands[side]

    def obstacles(self) -> list[tuple[float, float, float]]:
        """Return circles (x, y, radius) that balloons must not touch, so that no attribute is hidden."""
        (x, y), scale = self.head, self.scale
        circles = [(x, y - 1, 10.5 * scale)]
        for part in np.linspace(self.shoulders + 3, self.hips - 3, 4).tolist():
            circles += [
                (x - self.half_width / 2, part, self.half_width / 2),
                (x + self.half_width / 2, part, self.half_width / 2),
            ]
        for side in (0, 1):
            (x0, y0), (x1, y1) = self.arm(side)
            circles += [(x0 + (x1 - x0) * t, y0 + (y1 - y0) * t, 2.8) for t in (0.25, 0.5, 0.75, 1.0)]
        return circles

    def draw(self, pen: Pen, generator: np.random.Generator) -> None:
        (x, y), scale, width = self.head, self.scale, self.half_width
        skin = shade(SKIN[self.labels["skin"]], float(generator.uniform(0.96, 1.04)))
        hair = shade(HAIR[self.labels["hair"]], float(generator.uniform(0.93, 1.07)))
        shirt = shade(
            SIGN[pick(generator, TASKS["sign_colour"].choices)], float(generator.uniform(0.85, 1.1))
        )
        trousers = any_colour(generator, 40, 110)
        if generator.random() < 0.5:  # long hair falls behind the shoulders
            pen.box((x - 9 * scale, y - 4 * scale, x + 9 * scale, y + 11 * scale), hair, 4)
        for side in (-1, 1):
            leg = x + side * width * 0.5
            pen.box((leg - width * 0.42, self.hips - 2, leg + width * 0.42, SCENE_SIZE + 9), trousers, 1)
        pen.box((x - 2.6 * scale, y + 6 * scale, x + 2.6 * scale, self.shoulders + 2), shade(skin, 0.9), 0)
        for side in (0, 1):
            shoulder, hand = self.arm(side)
            pen.limb(shoulder, hand, shade(shirt, 0.82), 4.4 * scale)
            pen.ellipse(hand, (2.7 * scale, 2.7 * scale), skin)
        pen.box((x - width, self.shoulders, x + width, self.hips), shirt, 3.5)
        pen.digit(self.labels["shirt_number"], self.number, 10.5 * scale)
        self._draw_head(pen, generator, skin, hair)

    def _draw_head(self, pen: Pen, generator: np.random.Generator, skin: Colour, hair: Colour) -> None:
        (x, y), scale = self.head, self.scale
        pen.ellipse((x, y - 1.2 * scale), (8.9 * scale, 9.2 * scale), hair)
        pen.ellipse((x, y + 0.9 * scale), (7.5 * scale, 7.9 * scale), skin)
        # The fringe: a cap of hair over the forehead.
        pen.arc((x, y - 0.6 * scale), 8.4 * scale, (200, 340), hair, 3.2 * scale)
        ink: Colour = (24, 22, 30)
        for side in (-1, 1):
            eye = (x + side * 3.3 * scale, y + 0.8 * scale)
            pen.ellipse(eye, (1.35, 1.35), (248, 248, 248))
            pen.ellipse(eye, (0.8, 0.8), ink)
            if self.labels["glasses"] == "yes":
                pen.ellipse(eye, (3.0 * scale, 2.9 * scale), None, outline=ink, width=1)
        if self.labels["glasses"] == "yes":
            pen.line([(x - 7.4 * scale, y + 0.2), (x - 6 * scale, y + 0.6)], ink, 1)
            pen.line([(x + 7.4 * scale, y + 0.2), (x + 6 * scale, y + 0.6)], ink, 1)
        mouth = float(generator.uniform(1.4, 2.4))
        pen.arc((x, y + 4.2 * scale), mouth, (20, 160), shade(skin, 0.55), 0.8)


def _place_sign(generator: np.random.Generator, body: _Body) -> Point:
    """Draw the sign's place: in the left or right hand, or before the belly, always partly over the body."""
    place = int(generator.integers(3))
    dx, dy = generator.uniform(-2, 2), generator.uniform(-2, 2)
    if place == 2:
        x, y = body.head[0] + 3 * dx, body.number[1] + 18.5 * body.scale + dy / 2
    else:
        hand = body.hands[place]
        least = 18.5 * body.scale  # keeps the head and the number free
        side = 2 * place - 1
        x, y = body.head[0] + side * max(abs(hand[0] - body.head[0]) + 1, least), hand[1] + dy
    return min(max(x, 9.5), SCENE_SIZE - 9.5), min(max(y, 10.5), SCENE_SIZE - 9.5)


def _draw_sign(generator: np.random.Generator, pen: Pen, labels: Mapping[str, str], centre: Point) -> None:
    colour = shade(SIGN[labels["sign_colour"]], float(generator.uniform(0.88, 1.1)))
    size, turn = float(generator.uniform(0.95, 1.05)), float(generator.uniform(-0.12, 0.12))
    rim: Colour = (250, 250, 250) if generator.random() < 0.5 else (30, 30, 36)
    x, y = centre
    digit = centre
    if labels["sign_shape"] == "circle":
        pen.ellipse(centre, (9.6 * size, 9.6 * size), rim)
        pen.ellipse(centre, (8.4 * size, 8.4 * size), colour)
    else:
        shape = _POLYGONS[labels["sign_shape"]]
        digit = (x, y + shape.digit_drop)
        cosine, sine = math.cos(turn), math.sin(turn)
        for fill, radius in ((rim, shape.radius * size), (colour, shape.radius * size - shape.rim)):
            turned = [(a * cosine - b * sine, a * sine + b * cosine) for a, b in shape.corners]
            pen.polygon([(x + radius * a, y + radius * b) for a, b in turned], fill)
    pen.digit(labels["sign_digit"], digit, 10.2 * size)


def _draw_balloons(
    generator: np.random.Generator, pen: Pen, count: int, obstacles: list[tuple[float, float, float]]
) -> None:
    palette = [*HAIR.values(), *SKIN.values()]
    points = generator.uniform(4.6, SCENE_SIZE - 5.0, (240, 2))
    clearance = np.full(len(points), np.inf)

    for circle in obstacles:
        clearance = np.minimum(clearance, _distance(points, *circle))
    for _ in range(count):
        radius = float(generator.uniform(3.4, 4.2))
        enough = clearance > radius + 1
        # The first free place; in a crowded scene the place with the most room.
        best = int(enough.argmax()) if enough.any() else int(clearance.argmax())
        x, y = points[best].tolist()
        colour = shade(palette[int(generator.integers(len(palette)))], float(generator.uniform(0.9, 1.1)))
        pen.line([(x, y + radius), (x + float(generator.uniform(-1, 1)), y + radius + 3)], (60, 60, 60), 0.5)
        pen.ellipse((x, y), (radius * 0.9, radius), colour, outline=shade(colour, 0.55), width=0.7)
        pen.ellipse((x - 1.1, y - 1.3), (0.7, 0.9), (255, 255, 255))
        clearance = np.minimum(clearance, _distance(points, x, y, radius))


def _distance(points: npt.NDArray[np.float64], x: float, y: float, radius: float) -> npt.NDArray[np.float64]:
    """Return the distance of points, shape ``[n, 2]``, from the rim of a circle; negative inside it."""
    return np.asarray(np.hypot(points[:, 0] - x, points[:, 1] - y) - radius, dtype=np.float64)


def light(generator: np.random.Generator, image: Image.Image) -> Image.Image:
    """Vary the light: a gain, a faint gradient and a little sensor noise."""
    ramp = np.linspace(-1, 1, SCENE_SIZE, dtype=np.float32)
    slope_x, slope_y = generator.uniform(-0.06, 0.06, 2).astype(np.float32)
    gain = (
        np.float32(generator.uniform(0.9, 1.06))
        + slope_x * ramp[None, :, None]
        + slope_y * ramp[:, None, None]
    )
    noise = generator.standard_normal((SCENE_SIZE, SCENE_SIZE, 1), dtype=np.float32) * np.float32(2)
    pixels = np.asarray(image, dtype=np.float32) * gain + noise
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
