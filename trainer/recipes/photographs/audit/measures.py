"""Measurements of one way to protect, on photographs and on photographs with pasted faces."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from trainer.recipes.photographs.audit.finders import finds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from PIL import Image

    from trainer.recipes.photographs.audit.finders import Finder
    from trainer.recipes.photographs.audit.pasted import PastedPicture
    from trainer.recipes.photographs.audit.readers import Reader
    from trainer.sandbox.drawing.photographs import Photograph
    from trainer.sandbox.vision.photos.objects import ObjectDetector


_OBJECT: Final = 0.3
"""Score from which an object counts."""
_GREY: Final = (126, 130)
"""Grey levels of a covered pixel: scaling to the picture's own size rounds."""
_COVERED: Final = 0.9
"""Share of a face's oval that must be grey for it to count as covered."""
_WORD: Final = re.compile(r"[^\W\d_]{4,}")


class FaceRow(NamedTuple):
    """One pasted face of one variant."""

    found: Mapping[str, bool]
    """Detector -> whether it finds the face."""
    covered: bool
    """Whether nine tenths of its oval are one grey."""


def pasted_faces(
    pictures: Sequence[PastedPicture],
    protect: Callable[[Image.Image], Image.Image],
    finders: Mapping[str, Finder],
) -> list[FaceRow]:
    """Search protected pictures for their pasted faces; a row for each face, in order."""
    rows = []
    for picture in pictures:
        shown = protect(picture.image)
        boxes = {name: find(shown) for name, find in finders.items()}
        pixels = np.asarray(shown)
        rows += [
            FaceRow(
                {name: finds(found, face.box) for name, found in boxes.items()},
                grey_share(pixels, face.box) >= _COVERED,
            )
            for face in picture.faces
        ]
    return rows


def grey_share(pixels: np.ndarray, box: tuple[float, float, float, float]) -> float:
    """Return the share of an oval in a box that shows the grey of a cover.

    Args:
        pixels: ``[H, W, 3]``.
        box: Left, upper, right and lower edge, in pixels.
    """
    left, top, right, bottom = (max(0, round(edge)) for edge in box)
    part = pixels[top:bottom, left:right]
    if not part.size:
        return 1.0
    y, x = np.ogrid[: part.shape[0], : part.shape[1]]
    middle = (part.shape[0] - 1) / 2, (part.shape[1] - 1) / 2
    inside = ((y - middle[0]) / (middle[0] + 0.5)) ** 2 + ((x - middle[1]) / (middle[1] + 0.5)) ** 2 <= 1
    grey = np.asarray(((part >= _GREY[0]) & (part <= _GREY[1])).all(axis=2))
    return float(grey[inside].mean())


def photographs_faces(
    photographs: Sequence[Photograph],
    protect: Callable[[Image.Image], Image.Image],
    finders: Mapping[str, Finder],
) -> list[dict[str, list[tuple[float, ...]]]]:
    """Return the boxes that each detector finds in each protected photograph."""
    found = []
    for photograph in photographs:
        shown = protect(photograph.open())
        found.append(
            {name: [tuple(map(float, box)) for box in find(shown)] for name, find in finders.items()}
        )
    return found


def photographs_objects(
    photographs: Sequence[Photograph], protect: Callable[[Image.Image], Image.Image], detector: ObjectDetector
) -> list[dict[str, int]]:
    """Count the objects of each class in each protected photograph."""
    counts = []
    for photograph in photographs:
        count: dict[str, int] = {}
        for seen in detector.find(protect(photograph.open())):
            if seen.score >= _OBJECT:
                count[seen.name] = count.get(seen.name, 0) + 1
        counts.append(count)
    return counts


def photographs_words(
    photographs: Sequence[Photograph],
    protect: Callable[[Image.Image], Image.Image],
    readers: Mapping[str, Reader],
) -> list[dict[str, list[str]]]:
    """Return the words of four letters or more that each reader reads in each protected photograph."""
    read = []
    for photograph in photographs:
        shown = protect(photograph.open())
        read.append(
            {
                name: sorted({word.lower() for text in reader(shown) for word in _WORD.findall(text)})
                for name, reader in readers.items()
            }
        )
    return read
