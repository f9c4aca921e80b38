"""Painting: a picture without words, harmless words cut in, and plates with tokens over the private ones."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from langchain_vpp.engines.words.geometry import height_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from langchain_vpp.engines.words.geometry import Box
    from langchain_vpp.engines.words.plates import Plate
    from langchain_vpp.engines.words.reader import Word

BASE: Final = 384
"""Longest side, in pixels, of the picture that stays where no word is shown."""
_SCALE: Final = 0.2
"""Largest scale of the base: letters of 16 pixels have 3 in it, with which they can't be read."""
_LETTER: Final = 4.0
"""Height, in pixels of the base, of the box around a line of ordinary size. Its letters are lower."""
_BLIND: Final = 16
"""Longest side of the base of a picture that no reader has seen, so that large letters can't be read either."""
_LIGHT, _DARK = (214, 216, 220), (66, 70, 78)
_INK_ON_LIGHT, _INK_ON_DARK = (30, 32, 36), (240, 240, 242)
_MARGIN: Final = 0.12
"""Space between a token and the edge of its plate, in heights: readers take an edge that touches letters for one."""
_SMALLEST: Final = 8
"""Height, in pixels, of the smallest letters of a token."""


def wordless(image: Image.Image, words: Sequence[Word]) -> Image.Image:
    """Return a picture in which each word's box has the colour of its border.

    Args:
        image: An RGB image.
        words: All words that were found in it.
    """
    result = image.copy()
    draw = ImageDraw.Draw(result)
    pixels = np.asarray(image)
    for word in words:
        margin = 0.1 * height_of(word.box)
        box = _whole(
            (word.box[0] - margin, word.box[1] - margin, word.box[2] + margin, word.box[3] + margin),
            image.size,
        )
        if box is not None:
            draw.rectangle((box[0], box[1], box[2] - 1, box[3] - 1), fill=_border_colour(pixels, box))
    return result


def base_of(image: Image.Image, words: Sequence[Word]) -> Image.Image:
    """Return a small copy of a picture, in which text that no reader found can't be read either.

    Args:
        image: An RGB image without the words that were found.
        words: Those words; their size tells that of others.
    """
    height = float(np.median([height_of(word.box) for word in words])) if words else 0.0
    return _reduced(image, min(base_scale(image.size), _LETTER / height if height else 1.0))


def base_scale(size: tuple[int, int]) -> float:
    """Return the largest scale of the base of a picture of a size."""
    return min(BASE / max(size), _SCALE)


def blind_base(image: Image.Image) -> Image.Image:
    """Return a picture of a few colours, for one that could not be read."""
    return enlarged(_reduced(image, min(1.0, _BLIND / max(image.size))), image.size)


def enlarged(base: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Return a base at the size of its picture."""
    return base.resize(size, Image.Resampling.BICUBIC)


def cut_in(target: Image.Image, image: Image.Image, pieces: Iterable[tuple[Box, int]]) -> None:
    """Copy boxes of a picture to another one, each moved to the right by so many pixels."""
    for box, shift in pieces:
        whole = _whole(box, image.size)
        if whole is not None:
            target.paste(image.crop(whole), (whole[0] + shift, whole[1]))


def cover(target: Image.Image, boxes: Iterable[Box]) -> None:
    """Cover boxes with one flat colour each."""
    draw = ImageDraw.Draw(target)
    pixels = np.asarray(target)
    for box in boxes:
        whole = _whole(box, target.size)
        if whole is not None:
            draw.rectangle(
                (whole[0], whole[1], whole[2] - 1, whole[3] - 1), fill=_border_colour(pixels, whole)
            )


def put_plates(target: Image.Image, plates: Iterable[Plate]) -> None:
    """Cover the places of private words, and write their tokens on the plates where they are large enough."""
    draw = ImageDraw.Draw(target)
    luminance = np.asarray(target.convert("L"))
    for plate in plates:
        left, top, right, bottom = plate.box
        if right <= left or bottom <= top:
            continue
        light = float(np.median(luminance[top:bottom, left:right])) > 110
        draw.rectangle((left, top, right - 1, bottom - 1), fill=_LIGHT if light else _DARK)
        _write(draw, plate, _INK_ON_LIGHT if light else _INK_ON_DARK)


def _write(draw: ImageDraw.ImageDraw, plate: Plate, ink: tuple[int, int, int]) -> None:
    left, top, right, bottom = plate.box
    margin = _MARGIN * (bottom - top)
    size = 0.72 * (bottom - top)
    length = draw.textlength(plate.caption, font=ImageFont.load_default(size))
    size *= min(1.0, (right - left - 2 * margin) / max(1.0, length))
    if size >= _SMALLEST:
        place = (left + margin, (top + bottom) / 2)
        draw.text(place, plate.caption, fill=ink, font=ImageFont.load_default(size), anchor="lm")


def _reduced(image: Image.Image, scale: float) -> Image.Image:
    size = [max(1, round(side * scale)) for side in image.size]
    return image.resize(size, Image.Resampling.BOX)


def _whole(box: Box, size: tuple[int, int]) -> tuple[int, int, int, int] | None:
    """Return a box with whole numbers inside a picture, or ``None`` if nothing of it is there."""
    left, top = max(0, math.floor(box[0])), max(0, math.floor(box[1]))
    right, bottom = min(size[0], math.ceil(box[2])), min(size[1], math.ceil(box[3]))
    return (left, top, right, bottom) if left < right and top < bottom else None


def _border_colour(pixels: np.ndarray, box: tuple[int, int, int, int]) -> tuple[int, int, int]:
    """Return the median colour along the border of a box."""
    left, top, right, bottom = box
    border = np.concatenate(
        (
            pixels[top, left:right],
            pixels[bottom - 1, left:right],
            pixels[top:bottom, left],
            pixels[top:bottom, right - 1],
        )
    )
    red, green, blue = (int(channel) for channel in np.median(border, axis=0))
    return red, green, blue
