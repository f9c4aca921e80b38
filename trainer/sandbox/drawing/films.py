"""Drawn films of nobody real: a person who does something, seen by a camera that stands still.

A film is 64 x 64 RGB and lasts eight seconds. The action is the task fact, and no single frame tells it reliably:
sitting down and standing up show the same pictures in opposite orders, and so do throwing and catching a ball; who
stands still does so in a posture from another action. The private attributes are those of the scenes whose signals a
person at this size can carry.

Every attribute is drawn uniformly and independently of all others.
"""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from langchain_vpp.extras import require
from trainer.sandbox.drawing.drawn_data import Entry, Film, write_data
from trainer.sandbox.drawing.pen import SUPERSAMPLE, Colour, Pen, Point
from trainer.sandbox.drawing.scenes import (
    HAIR,
    PRIVATE_ATTRIBUTES,
    PRIVATE_QUESTIONS,
    SIGN,
    SKIN,
    Question,
    any_colour,
    background,
    light,
    pick,
    shade,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from PIL import Image

FILM_SECONDS: Final = 8
FILM_RATE: Final = 4
"""Frames of a second."""
_MOTIONS: Final = ("waving", "walking", "jumping", "sitting down", "standing up", "throwing", "catching")

ACTION: Final = Question("What is the person doing?", (*_MOTIONS, "standing still"))
"""The task of the films."""
FILM_ATTRIBUTES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {name: PRIVATE_ATTRIBUTES[name] for name in ("hair", "skin", "glasses", "build")}
)
"""Private attribute -> its values."""
FILM_QUESTIONS: Final[Mapping[str, str]] = MappingProxyType(
    {name: PRIVATE_QUESTIONS[name] for name in FILM_ATTRIBUTES}
)
"""Private attribute -> its question; the choices are those of :data:`FILM_ATTRIBUTES`."""

_HALF_WIDTH: Final[Mapping[str, float]] = {"slim": 3.6, "average": 6.0, "broad": 8.6}
_DOWN: Final = 8.0
"""Degrees by which a hanging limb stands off."""


class _Posture(NamedTuple):
    """Places and angles of a person's parts. Angles are degrees from straight down, positive away from the body."""

    arms: tuple[tuple[float, float], tuple[float, float]] = ((_DOWN, _DOWN), (_DOWN, _DOWN))
    """Upper and lower arm, on the picture's left and right."""
    legs: tuple[float, float] = (4.0, 4.0)
    aside: float = 0.0
    """Pixels to the right."""
    lift: float = 0.0
    """Pixels above the floor."""
    seated: float = 0.0
    """From 0, standing, to 1, sitting."""
    ball: Point | None = None
    """Place of a ball, from the shoulders, pixels; on the side of the busy arm."""


class _Motion(NamedTuple):
    """One performance of an action."""

    action: str
    side: int
    """Busy arm: 0 on the picture's left, 1 on its right."""
    pace: float
    """Repetitions in a second."""
    start: float
    """Phase in repetitions; for what is done once, the second at which it begins."""
    strength: float

    @classmethod
    def draw(cls, generator: np.random.Generator, action: str) -> _Motion:
        """Draw the performance of an action."""
        is_done_once = action in {"sitting down", "standing up", "throwing", "catching"}
        start = generator.uniform(1.2, 3.8) if is_done_once else generator.random()
        return cls(
            action,
            int(generator.integers(2)),
            float(generator.uniform(0.26, 0.4)),
            float(start),
            float(generator.uniform(0.85, 1.15)),
        )

    def at(self, second: float) -> _Posture:
        """Return the posture at a second of the film."""
        return _POSTURES[self.action](self, second)

    def turn(self, second: float) -> float:
        """Angle of the repetition, in radians."""
        return 2 * math.pi * (self.start + self.pace * second)

    def done(self, second: float) -> float:
        """Share of what is done once, in [0, 1]."""
        share = min(max((second - self.start) / (3.2 * self.strength), 0.0), 1.0)
        return share * share * (3 - 2 * share)


def _waving(motion: _Motion, second: float) -> _Posture:
    swing = 38 * motion.strength * math.sin(motion.turn(second))
    return _Posture(arms=_arms(motion.side, (112.0, 168.0 + swing)))


def _walking(motion: _Motion, second: float) -> _Posture:
    swing = 30 * motion.strength * math.sin(motion.turn(second))
    way = (second / FILM_SECONDS - 0.5) * 30 * motion.strength
    return _Posture(
        arms=((_DOWN + swing / 2, _DOWN + swing / 2), (_DOWN - swing / 2, _DOWN - swing / 2)),
        legs=(4 + swing, 4 - swing),
        aside=way if motion.side else -way,
    )


def _jumping(motion: _Motion, second: float) -> _Posture:
    height = abs(math.sin(motion.turn(second) / 2))
    raised = 20 + 60 * height
    return _Posture(
        arms=((raised, raised), (raised, raised)),
        legs=(4 + 14 * height, 4 + 14 * height),
        lift=8 * motion.strength * height,
    )


def _sitting_down(motion: _Motion, second: float) -> _Posture:
    return _Posture(seated=motion.done(second))


def _standing_up(motion: _Motion, second: float) -> _Posture:
    return _Posture(seated=1 - motion.done(second))


def _throwing(motion: _Motion, second: float) -> _Posture:
    return _with_ball(motion, motion.done(second))


def _catching(motion: _Motion, second: float) -> _Posture:
    return _with_ball(motion, 1 - motion.done(second))


def _with_ball(motion: _Motion, thrown: float) -> _Posture:
    """Hold a ball up, swing the arm down and let the ball fly."""
    angle = 165 - 110 * min(1.0, 1.6 * thrown)
    flown = max(0.0, thrown - 0.35) / 0.65
    reach = math.radians(angle)
    ball = (13 * math.sin(reach) + 26 * flown, 13 * math.cos(reach) - 14 * flown * (1 - flown))
    return _Posture(arms=_arms(motion.side, (angle, angle)), ball=ball)


def _arms(side: int, busy: Point) -> tuple[Point, Point]:
    idle = (_DOWN, _DOWN)
    return (busy, idle) if side == 0 else (idle, busy)


_POSTURES: Final[Mapping[str, Callable[[_Motion, float], _Posture]]] = {
    "waving": _waving,
    "walking": _walking,
    "jumping": _jumping,
    "sitting down": _sitting_down,
    "standing up": _standing_up,
    "throwing": _throwing,
    "catching": _catching,
}


class _Person:
    """A person's looks, which stay the same throughout a film."""

    def __init__(self, generator: np.random.Generator, labels: Mapping[str, str]) -> None:
        self.labels = labels
        self.x = float(generator.uniform(28, 36))
        self.floor = float(generator.uniform(58, 61))
        self.scale = float(generator.uniform(0.94, 1.05))
        self.half_width = _HALF_WIDTH[labels["build"]] * self.scale
        self.skin = shade(SKIN[labels["skin"]], float(generator.uniform(0.96, 1.04)))
        self.hair = shade(HAIR[labels["hair"]], float(generator.uniform(0.93, 1.07)))
        self.shirt = shade(SIGN[pick(generator, tuple(SIGN))], float(generator.uniform(0.85, 1.1)))
        self.trousers = any_colour(generator, 40, 110)
        self.ball = any_colour(generator, 120, 250)
        self.has_long_hair = bool(generator.random() < 0.5)

    def draw(self, pen: Pen, posture: _Posture, side: int) -> None:
        """Draw the person in a posture; ``side`` is that of the busy arm."""
        scale, width = self.scale, self.half_width
        x = self.x + posture.aside
        hips = self.floor - posture.lift - (18 - 8 * posture.seated) * scale
        shoulders = hips - 17 * scale
        for sign, angle in zip((-1, 1), posture.legs, strict=True):
            self._draw_leg(pen, (x + sign * width * 0.45, hips), sign, angle, posture)
        for sign, (upper, lower) in zip((-1, 1), posture.arms, strict=True):
            start = (x + sign * (width - 0.6), shoulders + 2)
            elbow = _end(start, sign, upper, 7 * scale)
            hand = _end(elbow, sign, lower, 7 * scale)
            pen.limb(start, elbow, shade(self.shirt, 0.82), 3.2 * scale)
            pen.limb(elbow, hand, shade(self.shirt, 0.82), 2.8 * scale)
            pen.ellipse(hand, (1.9 * scale, 1.9 * scale), self.skin)
        pen.box((x - width, shoulders, x + width, hips + 1), self.shirt, 2.5)
        self._draw_head(pen, (x, shoulders - 6.5 * scale))
        if posture.ball is not None:
            sign = 2 * side - 1
            place = (x + sign * (width + posture.ball[0]), shoulders + 2 + posture.ball[1])
            pen.ellipse(place, (2.7, 2.7), self.ball, outline=shade(self.ball, 0.5), width=0.7)

    def _draw_leg(self, pen: Pen, hip: Point, sign: int, angle: float, posture: _Posture) -> None:
        """Draw a leg; that of a seated person points forward, so that it looks short and stands wide."""
        length, out = (16 - 6 * posture.seated) * self.scale, angle + 16 * posture.seated
        foot = _end(hip, sign, out, length)
        pen.limb(hip, foot, self.trousers, max(3.4, self.half_width * 0.62))
        pen.ellipse((foot[0] + sign, foot[1] + 0.8), (2.6, 1.5), (36, 34, 40))

    def _draw_head(self, pen: Pen, centre: Point) -> None:
        (x, y), scale = centre, self.scale
        if self.has_long_hair:
            pen.box((x - 6.6 * scale, y - 3 * scale, x + 6.6 * scale, y + 8 * scale), self.hair, 3)
        pen.box((x - 2 * scale, y + 4 * scale, x + 2 * scale, y + 8 * scale), shade(self.skin, 0.9), 0)
        pen.ellipse((x, y - 1.1 * scale), (6.9 * scale, 7.1 * scale), self.hair)
        pen.ellipse((x, y + 0.8 * scale), (5.7 * scale, 6.0 * scale), self.skin)
        pen.arc((x, y - 0.4 * scale), 6.5 * scale, (200, 340), self.hair, 2.6 * scale)
        ink: Colour = (24, 22, 30)
        for sign in (-1, 1):
            eye = (x + sign * 2.6 * scale, y + 0.6 * scale)
            pen.ellipse(eye, (0.8, 0.8), ink)
            if self.labels["glasses"] == "yes":
                pen.ellipse(eye, (2.4 * scale, 2.4 * scale), None, outline=ink, width=1)


def _end(start: Point, sign: int, angle: float, length: float) -> Point:
    """Return the end of a limb that stands off by an angle, to the left (-1) or to the right (1)."""
    turned = math.radians(angle)
    return start[0] + sign * length * math.sin(turned), start[1] + length * math.cos(turned)


def draw_film(
    generator: np.random.Generator, *, rate: int = FILM_RATE
) -> tuple[list[Image.Image], dict[str, str]]:
    """Draw one film.

    Args:
        generator: Source of all randomness; the same state gives the same pixels.
        rate: Frames of a second. Every frame of a lower rate is one of a multiple of it.

    Returns:
        The frames, RGB, 64 pixels square, and the labels: a choice for each key of :data:`FILM_ATTRIBUTES`, and for
        ``action``.
    """
    labels = {name: pick(generator, choices) for name, choices in FILM_ATTRIBUTES.items()}
    labels["action"] = action = pick(generator, ACTION.choices)
    is_still = action == "standing still"
    motion = _Motion.draw(generator, pick(generator, _MOTIONS) if is_still else action)
    frozen = float(generator.uniform(0, FILM_SECONDS)) if is_still else None
    person, place = _Person(generator, labels), background(generator)
    stool, lighting = float(generator.uniform(-3, 3)), int(generator.integers(2**31))
    frames = []
    for number in range(FILM_SECONDS * rate):
        canvas = place.copy()
        pen = Pen(canvas)
        seat = person.floor - 9
        pen.box((person.x + stool - 7, seat, person.x + stool + 7, seat + 3), (112, 84, 60), 1)
        for leg in (-5, 5):
            pen.line(
                [(person.x + stool + leg, seat), (person.x + stool + leg, person.floor)], (92, 68, 48), 1.6
            )
        person.draw(pen, motion.at(number / rate if frozen is None else frozen), motion.side)
        frames.append(light(np.random.default_rng(lighting), canvas.reduce(SUPERSAMPLE)))
    return frames, labels


def make_films(
    out: Path,
    *,
    train: int,
    val: int,
    test: int,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write a data set of drawn films: ``data.jsonl`` and ``videos/*.mp4`` (extra ``video``).

    Args:
        out: A folder that is missing or empty.
        train: Films in the train split, at least 0.
        val: Films in the validation split, at least 0.
        test: Films in the test split, at least 0.
        seed: At least 0.
        progress: Called with (films written, films in all) after each film.

    Raises:
        DataError: See :func:`~trainer.sandbox.drawing.drawn_data.write_data`.
        MissingExtraError: If ``av`` is not installed.
    """
    require("av", extra="video", undone="no films were drawn")
    write_data(
        out,
        lambda generator, _, __: _entry(*draw_film(generator)),
        sizes={"train": train, "val": val, "test": test},
        seed=seed,
        suffix=".mp4",
        progress=progress,
    )


def _entry(frames: Sequence[Image.Image], labels: Mapping[str, str]) -> Entry:
    task = {"question": ACTION.text, "answer": labels["action"], "choices": ACTION.choices}
    private = {name: labels[name] for name in FILM_ATTRIBUTES}
    # A drawing shows nobody.
    return Entry(Film(frames, FILM_RATE), {"tasks": [task], "private": private, "may_be_shown": True})
