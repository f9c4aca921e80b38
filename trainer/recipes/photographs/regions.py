"""Regions of a photograph that are to vanish, from what teachers found in it.

A region map holds for each pixel a sum of the flags of :class:`Region`. A level hides all that lower ones hide.
"""

from __future__ import annotations

from enum import IntFlag
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

import numpy as np
from PIL import Image, ImageDraw

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Mask: TypeAlias = "np.ndarray"
"""Booleans, ``[H, W]``."""
RegionMap: TypeAlias = "np.ndarray"
"""Flags in bytes, ``[H, W]``."""
Box: TypeAlias = "tuple[float, float, float, float]"
"""Left, upper, right and lower edge, in pixels."""


class Region(IntFlag):
    """Kind of region."""

    FACE = 1
    HEAD = 2
    SKIN = 4
    TEXT = 8
    PERSON = 16
    AROUND = 32
    """Surroundings of a person, and things that carry text or pictures: screens, books, vehicles."""
    UNSURE = 64
    """May be a face: a teacher's weak finding. It counts as one, with less weight."""


LEVELS: Final[Mapping[float, Region]] = {
    0.25: Region.FACE | Region.TEXT,
    0.5: Region.FACE | Region.TEXT | Region.HEAD | Region.SKIN,
    0.75: Region.FACE | Region.TEXT | Region.HEAD | Region.SKIN | Region.PERSON,
    1.0: Region.FACE | Region.TEXT | Region.HEAD | Region.SKIN | Region.PERSON | Region.AROUND,
}
"""Level of the network -> regions that it hides."""
PRESETS: Final = {"low": 0.25, "balanced": 0.5, "high": 1.0}

_SURE: Final = 0.25
"""Score of the face detector from which its finding is taken for a face."""
_CARRIERS: Final = frozenset(
    ("tv", "laptop", "cell phone", "book", "car", "bus", "truck", "motorcycle", "train", "stop sign", "clock")
)
_SKIN_CHROMA: Final = 9.0
_SKIN_LUMA: Final = 60.0
_LEAST_SKIN: Final = 12
"""Height of a face, in pixels, from which its colour is taken for that of the skin."""


class Findings(NamedTuple):
    """Everything that teachers found in one photograph."""

    faces: Sequence[tuple[float, float, float, float, float]]
    """Boxes of faces with their scores."""
    texts: Sequence[Sequence[float]]
    """Corners of lines of text: x and y in turn."""
    people: Sequence[Box]
    """Boxes of persons."""
    carriers: Sequence[Box]
    """Boxes of things that carry text or pictures."""


def is_carrier(name: str) -> bool:
    """Return whether objects of a class of COCO often carry text or pictures."""
    return name in _CARRIERS


def head_of(face: Box) -> Box:
    """Enlarge the box of a face, from the brows to the chin, to the head with hair, ears and throat."""
    left, top, right, bottom = face
    width, height = right - left, bottom - top
    return (left - 0.4 * width, top - 0.5 * height, right + 0.4 * width, bottom + 0.3 * height)


def region_map(image: Image.Image, findings: Findings, silhouettes: Mask | None) -> RegionMap:
    """Draw the region map of a photograph.

    Args:
        image: The photograph.
        findings: What teachers found in it.
        silhouettes: Pixels that show a person, ``[H, W]``; without them, boxes of persons count as a whole.
    """
    size = image.size
    people = _filled(size, findings.people) if silhouettes is None else silhouettes
    faces = [face for face in findings.faces if face[4] >= _SURE]
    weak = [face for face in findings.faces if face[4] < _SURE]
    around = _filled(size, [_grown(box, 0.08) for box in (*findings.people, *findings.carriers)])
    masks = {
        Region.FACE: _ovals(size, [_grown(face[:4], 0.08) for face in faces]),
        Region.HEAD: _ovals(size, [head_of(face[:4]) for face in faces]),
        Region.SKIN: skin(image, [face[:4] for face in faces], people),
        Region.TEXT: _polygons(size, findings.texts),
        Region.PERSON: people,
        Region.AROUND: around,
        Region.UNSURE: _ovals(size, [_grown(face[:4], 0.08) for face in weak]),
    }
    result = np.zeros(size[::-1], np.uint8)
    for region, mask in masks.items():
        result[mask] |= np.uint8(region)
    return result


def skin(image: Image.Image, faces: Sequence[Box], people: Mask) -> Mask:
    """Find the skin of people by the colour of their own faces.

    A rule for the colour of skin in general would serve some people better than others.

    Args:
        image: The photograph.
        faces: Boxes of faces.
        people: Pixels that show a person, ``[H, W]``.
    """
    pixels = np.asarray(image.convert("YCbCr"), np.float32)
    found = np.zeros(people.shape, bool)
    for left, top, right, bottom in faces:
        width, height = right - left, bottom - top
        if height < _LEAST_SKIN:
            continue
        middle = _window(
            people.shape,
            (left + 0.25 * width, top + 0.3 * height, right - 0.25 * width, bottom - 0.15 * height),
        )
        reach = _window(
            people.shape, (left - 4 * width, top - height, right + 4 * width, bottom + 7 * height)
        )
        if not pixels[middle].size:
            continue
        tone = np.median(pixels[middle].reshape(-1, 3), axis=0)
        away = np.abs(pixels[reach] - tone)
        alike = (away[..., 0] < _SKIN_LUMA) & (away[..., 1] < _SKIN_CHROMA) & (away[..., 2] < _SKIN_CHROMA)
        found[reach] |= alike & people[reach]
    return _majority(found)


def _majority(mask: Mask) -> Mask:
    """Drop lone pixels and close small holes: a pixel is set if most of the 25 around it are."""
    import cv2  # noqa: PLC0415  a recipe's need alone

    share = cv2.blur(mask.astype(np.float32), (5, 5))
    return np.asarray(share > 0.5, bool)


def _window(shape: tuple[int, ...], box: Box) -> tuple[slice, slice]:
    height, width = shape
    left, top, right, bottom = (max(0, round(side)) for side in box)
    return slice(min(top, height), min(bottom, height)), slice(min(left, width), min(right, width))


def _grown(box: Box, share: float) -> Box:
    left, top, right, bottom = box
    x, y = share * (right - left), share * (bottom - top)
    return left - x, top - y, right + x, bottom + y


def _filled(size: tuple[int, int], boxes: Sequence[Box]) -> Mask:
    canvas = Image.new("1", size)
    for box in boxes:
        ImageDraw.Draw(canvas).rectangle(box, fill=1)
    return np.asarray(canvas)


def _ovals(size: tuple[int, int], boxes: Sequence[Box]) -> Mask:
    """Draw ovals that fill most of their boxes: ellipses reach beyond the middle of the sides."""
    canvas = Image.new("1", size)
    for box in boxes:
        ImageDraw.Draw(canvas).ellipse(_grown(box, 0.07), fill=1)
    return np.asarray(canvas)


def _polygons(size: tuple[int, int], corners: Sequence[Sequence[float]]) -> Mask:
    canvas = Image.new("1", size)
    for each in corners:
        ImageDraw.Draw(canvas).polygon(list(each), fill=1, outline=1)
    return np.asarray(canvas)
