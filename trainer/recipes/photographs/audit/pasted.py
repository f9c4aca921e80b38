"""Photographs with pasted faces of people that training never saw, whose places and attributes are known."""

from __future__ import annotations

import csv
import math
from typing import TYPE_CHECKING, Final, NamedTuple

import cv2
import numpy as np
from PIL import Image

from trainer.recipes.photographs.scenes import FACE_SHARE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from trainer.recipes.photographs.regions import Box
    from trainer.sandbox.drawing.photographs import Photograph

_PER_PICTURE: Final = 4
_HEIGHTS: Final = (24, 200)
"""Least and greatest height of a face, from the brows to the chin, in pixels of a picture of 640."""
_DARK: Final = 0.2
"""Share of the pictures that are darkened."""


class Person(NamedTuple):
    """A portrait with its annotation."""

    path: Path
    attributes: Mapping[str, str]
    """``gender``, ``race`` and ``age_group``."""

    def open(self) -> Image.Image:
        """Decode the portrait."""
        with Image.open(self.path) as file:
            return file.convert("RGB")


class PastedFace(NamedTuple):
    """A face in a picture."""

    box: Box
    """The face from the brows to the chin, in pixels."""
    person: int
    """Number of the portrait."""
    height: float
    attributes: Mapping[str, str]


class PastedPicture(NamedTuple):
    """A photograph with pasted faces."""

    image: Image.Image
    faces: tuple[PastedFace, ...]
    dark: bool


def read_people(folder: Path, split: str) -> list[Person]:
    """Read a collection of portraits like FairFace's, children among them.

    Args:
        folder: Holds ``labels.csv``, ``train/`` and ``val/``.
        split: ``train`` or ``val``.
    """
    with (folder / "labels.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["file"].startswith(f"{split}/")]
    return [
        Person(folder / row["file"], {name: row[name] for name in ("gender", "race", "age_group")})
        for row in sorted(rows, key=lambda row: row["file"])
    ]


def paste_people(
    photographs: Sequence[Photograph], people: Sequence[Person], pictures: int, seed: int
) -> list[PastedPicture]:
    """Paste four faces into each of a number of photographs, where they fit without touching each other.

    Args:
        photographs: Backgrounds; they are taken in turn.
        people: Portraits; each is pasted at most once in as many faces as there are portraits.
        pictures: Number of pictures.
        seed: Seed of sizes, places, angles and light.
    """
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(people))
    drawn = []
    for number in range(pictures):
        canvas = np.array(photographs[number % len(photographs)].open())
        faces: list[PastedFace] = []
        for place in range(_PER_PICTURE):
            chosen = int(order[(number * _PER_PICTURE + place) % len(order)])
            face = _paste(canvas, people[chosen], chosen, faces, generator)
            if face is not None:
                faces.append(face)
        dark = bool(generator.random() < _DARK)
        light = generator.uniform(0.15, 0.4) if dark else 1.0
        drawn.append(PastedPicture(Image.fromarray((canvas * light).astype(np.uint8)), tuple(faces), dark))
    return drawn


def portrait_box(size: tuple[int, int]) -> Box:
    """Return the box of the face, from the brows to the chin, in a portrait of a size."""
    width, height = size
    return (0.22 * width, 0.2 * height, 0.78 * width, 0.85 * height)


def _paste(
    canvas: np.ndarray,
    person: Person,
    number: int,
    before: Sequence[PastedFace],
    generator: np.random.Generator,
) -> PastedFace | None:
    """Paste one portrait with a soft oval edge; ``None`` if there is no room for it."""
    height, width = canvas.shape[:2]
    tall = math.exp(generator.uniform(math.log(_HEIGHTS[0]), math.log(_HEIGHTS[1])))
    size = round(tall / FACE_SHARE)
    if size >= min(height, width):
        return None
    for _ in range(20):
        left, top = int(generator.integers(width - size)), int(generator.integers(height - size))
        inner = portrait_box((size, size))
        box = (left + inner[0], top + inner[1], left + inner[2], top + inner[3])
        if not any(_touch((left, top, left + size, top + size), _square(each)) for each in before):
            break
    else:
        return None
    picture: np.ndarray = np.array(person.open().resize((size, size), Image.Resampling.LANCZOS), np.float32)
    alpha: np.ndarray = np.zeros((size, size), np.float32)
    cv2.ellipse(alpha, (size // 2, size // 2), (round(0.46 * size), round(0.5 * size)), 0, 0, 360, 1.0, -1)
    alpha = cv2.blur(alpha, (max(1, size // 16),) * 2)
    turn = cv2.getRotationMatrix2D((size / 2, size / 2), float(generator.normal(0, 10)), 1)
    picture, alpha = (cv2.warpAffine(each, turn, (size, size)) for each in (picture, alpha))
    at = slice(top, top + size), slice(left, left + size)
    canvas[at] = picture * alpha[..., None] + canvas[at] * (1 - alpha[..., None])
    return PastedFace(box, number, tall, person.attributes)


def _square(face: PastedFace) -> Box:
    left, top, right, _ = face.box
    size = (right - left) / 0.56
    return left - 0.22 * size, top - 0.2 * size, left + 0.78 * size, top + 0.8 * size


def _touch(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
