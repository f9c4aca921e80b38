"""Data sets of real photographs in the project's format, with pasted faces whose private attributes are known."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final, get_args

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from langchain_vpp.errors import DataError
from trainer.sandbox.drawing.drawn_data import Entry, write_data
from trainer.sandbox.drawing.photographs import read_photographs
from trainer.sandbox.drawing.portraits import read_portraits
from trainer.sandbox.vision.photos.tasks import Topic, tasks_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from pathlib import Path

    from trainer.data.format import Split
    from trainer.sandbox.drawing.photographs import Photograph
    from trainer.sandbox.drawing.portraits import Portrait
    from trainer.sandbox.vision.photos.tasks import PhotoTask

LEARNABLE: Final[tuple[Topic, ...]] = ("objects", "people", "activity", "place")
"""Topics about which the photo model's answers are worth learning from (``docs/measurements/photo_model.md``)."""
_VALIDATION_SHARE: Final = 10
"""One in this many photographs of the train split is for validation."""
_SMALLEST_FACE: Final = 48
_LARGEST_FACE: Final = 3
"""The shorter side of a photograph has at least so many times the side of a pasted face."""


def make_photos(
    out: Path,
    source: Path,
    *,
    faces: Path | None = None,
    topics: Collection[Topic] = LEARNABLE,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Mapping[Split, int]:
    """Write a data set with questions about photographs.

    With ``faces`` each photograph gets a face, and its gender, age group and race are the private attributes. Then
    nothing is asked about persons, since the face is one more. Photographs without a question are left out.

    Args:
        out: A folder that is missing or empty.
        source: Folder of photographs; see :mod:`trainer.sandbox.drawing.photographs`.
        faces: Folder of portraits; see :mod:`trainer.sandbox.drawing.portraits`.
        topics: Topics of the questions.
        seed: At least 0.
        progress: Called with (pictures written, pictures in all) after each picture.

    Returns:
        Split -> number of pictures.

    Raises:
        DataError: If a topic is unknown, no photograph has a question, or a folder can't be read or written.
    """
    unknown = sorted(set(topics) - set(get_args(Topic)))
    if unknown:
        raise DataError(
            f"No data was made: {unknown[0]!r} is no topic; there are {', '.join(get_args(Topic))}."
        )
    portraits = None if faces is None else read_portraits(faces)
    asked: dict[Split, list[tuple[Photograph, list[PhotoTask]]]] = {"train": [], "val": [], "test": []}
    for number, each in enumerate(read_photographs(source)):
        tasks = [
            task
            for task in tasks_of(each.known, each.size, np.random.default_rng((seed, number)))
            if task.topic in topics and not (faces is not None and _is_about_persons(task))
        ]
        if tasks:
            asked[_split_of(each)].append((each, tasks))
    sizes: dict[Split, int] = {split: len(found) for split, found in asked.items()}

    def draw(generator: np.random.Generator, split: Split, index: int) -> Entry:
        photograph, tasks = asked[split][index]
        image, fields = photograph.open(), _fields(photograph, tasks)
        if portraits is None:
            return Entry(image, fields)
        portrait = _drawn(portraits[split], generator)
        return Entry(_with_face(image, portrait, generator), fields | {"private": dict(portrait.attributes)})

    write_data(out, draw, sizes=sizes, seed=seed, suffix=".jpg", progress=progress)
    return sizes


def _split_of(photograph: Photograph) -> Split:
    if photograph.known.split == "test":
        return "test"
    digest = int.from_bytes(hashlib.sha256(photograph.known.image.encode()).digest()[:8])
    return "train" if digest % _VALIDATION_SHARE else "val"


def _is_about_persons(task: PhotoTask) -> bool:
    return task.topic == "people" or (task.topic == "objects" and "person" in task.question)


def _fields(photograph: Photograph, tasks: Sequence[PhotoTask]) -> dict[str, Any]:
    lines = []
    for task in tasks:
        line: dict[str, Any] = {"question": task.question, "answer": task.answer}
        if task.choices:
            line["choices"] = list(task.choices)
        if task.answers:
            line["answers"] = list(task.answers)
        lines.append(line)
    return {"group": photograph.known.image, "tasks": lines}


def _drawn(portraits: Sequence[Portrait], generator: np.random.Generator) -> Portrait:
    return portraits[int(generator.integers(len(portraits)))]


def _with_face(image: Image.Image, portrait: Portrait, generator: np.random.Generator) -> Image.Image:
    """Paste a face of a random size at a random place, with soft edges."""
    largest = max(_SMALLEST_FACE, min(image.size) // _LARGEST_FACE)
    side = min(int(generator.integers(_SMALLEST_FACE, largest + 1)), *image.size)
    face = portrait.open().convert("RGB").resize((side, side), Image.Resampling.BICUBIC)
    oval = Image.new("L", (side, side))
    ImageDraw.Draw(oval).ellipse((side * 0.12, side * 0.03, side * 0.88, side * 0.97), fill=255)
    left, top = (int(generator.integers(length - side + 1)) for length in image.size)
    result = image.copy()
    result.paste(face, (left, top), oval.filter(ImageFilter.GaussianBlur(side / 24)))
    return result
