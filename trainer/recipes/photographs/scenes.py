"""Pictures to learn from: parts of photographs, with people and signs pasted in that photographs alone lack.

Faces of a collection of portraits are pasted at all sizes, turned, dark, grey, partly covered and in crowds. As many
patches of other photographs are pasted in the same shapes, or the edge of a paste would tell a face. Signs and plates
are drawn with text. The region map follows every change.
"""

from __future__ import annotations

import math
import string
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias, TypeVar

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from trainer.recipes.photographs.regions import Region, RegionMap

if TYPE_CHECKING:
    from collections.abc import Sequence

Pixels: TypeAlias = "np.ndarray"
"""Bytes, ``[H, W, 3]``."""
_Alpha: TypeAlias = "np.ndarray"
"""Shares in [0, 1], ``[H, W]``."""

FACE_SHARE: Final = 0.62
"""Height of the face, from the brows to the chin, as a share of a portrait."""
_T = TypeVar("_T")
_FONTS: Final = ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf", "DejaVuSerif.ttf", "LiberationSansNarrow-Bold.ttf")
_LETTERS: Final = string.ascii_uppercase * 2 + string.ascii_lowercase * 3 + string.digits * 2


class Taught(NamedTuple):
    """One photograph with its region map."""

    pixels: Pixels
    """``[H, W, 3]``."""
    regions: RegionMap
    """``[H, W]``."""


class Scene(NamedTuple):
    """One picture to learn from."""

    pixels: Pixels
    """``[side, side, 3]``."""
    regions: RegionMap
    """``[side, side]``."""


class _Colour(NamedTuple):
    red: int
    green: int
    blue: int


def draw_scene(
    photographs: Sequence[Taught], portraits: Sequence[Pixels], side: int, generator: np.random.Generator
) -> Scene:
    """Draw one picture to learn from.

    Args:
        photographs: Photographs with region maps.
        portraits: Square pictures of one face each, upright and centred.
        side: Side of the picture, in pixels.
        generator: Source of all randomness.
    """
    taught = _one_of(photographs, generator)
    pixels, regions = _part(taught, side, generator)
    scene = Scene(pixels, regions)
    for _ in range(_number_of_people(generator)):
        _paste_portrait(scene, _one_of(portraits, generator), generator)
        if generator.random() < 0.6:
            _paste_patch(scene, _one_of(photographs, generator), generator)
    for _ in range(generator.choice((0, 1, 2), p=(0.45, 0.35, 0.2))):
        _draw_sign(scene, generator)
    return Scene(_developed(scene.pixels, generator), scene.regions)


def _one_of(things: Sequence[_T], generator: np.random.Generator) -> _T:
    return things[int(generator.integers(len(things)))]


def _number_of_people(generator: np.random.Generator) -> int:
    kind = generator.random()
    if kind < 0.35:
        return 0
    return int(generator.integers(1, 4)) if kind < 0.88 else int(generator.integers(6, 16))


def _part(taught: Taught, side: int, generator: np.random.Generator) -> tuple[Pixels, RegionMap]:
    """Cut a square out of a photograph and scale it, more often where something is to vanish."""
    height, width = taught.regions.shape
    zoom = math.exp(generator.uniform(math.log(0.5), math.log(1.15)))
    reach = min(round(side / zoom), height, width)
    x, y = int(generator.integers(width)), int(generator.integers(height))
    if generator.random() < 0.6:
        rows, columns = np.nonzero(taught.regions & (Region.FACE | Region.TEXT))
        if len(rows):
            chosen = generator.integers(len(rows))
            y, x = (
                int(at[chosen] + generator.integers(-reach // 3, reach // 3 + 1)) for at in (rows, columns)
            )
    left, top = (min(max(0, at - reach // 2), whole - reach) for at, whole in ((x, width), (y, height)))
    cut = slice(top, top + reach), slice(left, left + reach)
    pixels = cv2.resize(
        taught.pixels[cut], (side, side), interpolation=cv2.INTER_AREA if reach > side else cv2.INTER_LINEAR
    )
    regions = cv2.resize(taught.regions[cut], (side, side), interpolation=cv2.INTER_NEAREST)
    turns = int(generator.integers(4)) if generator.random() < 0.06 else 0
    pixels, regions = np.rot90(pixels, turns), np.rot90(regions, turns)
    if generator.random() < 0.5:
        pixels, regions = pixels[:, ::-1], regions[:, ::-1]
    return pixels.astype(np.uint8, order="C"), regions.astype(np.uint8, order="C")


def _paste_portrait(scene: Scene, portrait: Pixels, generator: np.random.Generator) -> None:
    face = math.exp(generator.uniform(math.log(8), math.log(70 if generator.random() < 0.8 else 180)))
    size = max(12, round(face / FACE_SHARE))
    picture = cv2.resize(
        portrait, (size, size), interpolation=cv2.INTER_AREA if size < len(portrait) else cv2.INTER_CUBIC
    )
    if generator.random() < 0.5:
        picture = picture[:, ::-1]
    picture = _covered(_toned(picture, generator), generator)
    alpha = _shape(size, generator)
    marks: np.ndarray = np.zeros((size, size), np.uint8)
    _ellipse(marks, (0.5, 0.49), (0.46, 0.56), Region.HEAD)
    _ellipse(marks, (0.5, 0.53), (0.31, 0.41), Region.HEAD | Region.FACE)
    angle = generator.normal(0, 15) if generator.random() < 0.85 else generator.uniform(-180, 180)
    turn = cv2.getRotationMatrix2D((size / 2, size / 2), angle, 1)
    picture, alpha, marks = (
        cv2.warpAffine(each, turn, (size, size), flags=how)
        for each, how in ((picture, cv2.INTER_LINEAR), (alpha, cv2.INTER_LINEAR), (marks, cv2.INTER_NEAREST))
    )
    # Everything pasted of a person is one: clothes and hair are part of it.
    marks = np.bitwise_or(marks, np.uint8(Region.PERSON | Region.AROUND))
    _paste(scene, picture, alpha, marks, generator)


def _paste_patch(scene: Scene, taught: Taught, generator: np.random.Generator) -> None:
    """Paste a patch of a photograph in which no teacher found anything."""
    size = max(12, round(math.exp(generator.uniform(math.log(12), math.log(200)))))
    height, width = taught.regions.shape
    reach = min(max(24, round(size * generator.uniform(0.6, 2))), height, width)
    top, left = generator.integers(height - reach + 1), generator.integers(width - reach + 1)
    cut = slice(top, top + reach), slice(left, left + reach)
    if (taught.regions[cut] & ~np.uint8(Region.AROUND)).any():
        return
    patch = cv2.resize(taught.pixels[cut], (size, size), interpolation=cv2.INTER_AREA)
    _paste(
        scene, _toned(patch, generator), _shape(size, generator), np.zeros((size, size), np.uint8), generator
    )


def _paste(
    scene: Scene, picture: Pixels, alpha: _Alpha, marks: RegionMap, generator: np.random.Generator
) -> None:
    side, size = len(scene.pixels), len(picture)
    x, y = (
        int(generator.integers(-size // 3, side - 2 * size // 3)) if size < 1.5 * side else 0
        for _ in range(2)
    )
    left, top, right, bottom = max(0, x), max(0, y), min(side, x + size), min(side, y + size)
    if left >= right or top >= bottom:
        return
    at, of = (
        (slice(top, bottom), slice(left, right)),
        (slice(top - y, bottom - y), slice(left - x, right - x)),
    )
    share = alpha[of][..., None]
    mixed = picture[of] * share + scene.pixels[at] * (1 - share)
    scene.pixels[at] = mixed.astype(np.uint8)
    scene.regions[at] = np.where(alpha[of] > 0.4, marks[of], scene.regions[at])


def _shape(size: int, generator: np.random.Generator) -> _Alpha:
    """Draw the shape of a paste: an oval with a soft edge, or the whole square, like a poster."""
    alpha: np.ndarray = np.zeros((size, size), np.float32)
    if generator.random() < 0.25:
        alpha[:] = 1
    else:
        axes = generator.uniform(0.36, 0.5), generator.uniform(0.46, 0.56)
        center = (round(size / 2), round(0.5 * size))
        cv2.ellipse(alpha, center, (round(axes[0] * size), round(axes[1] * size)), 0, 0, 360, 1.0, -1)
        soft = max(1, size // 24)
        alpha = cv2.blur(alpha, (soft, soft))
    return np.asarray(alpha)


def _ellipse(marks: RegionMap, center: tuple[float, float], axes: tuple[float, float], value: int) -> None:
    size = len(marks)
    (x, y), (across, down) = ((round(part * size) for part in pair) for pair in (center, axes))
    cv2.ellipse(marks, (x, y), (across, down), 0, 0, 360, int(value), -1)


def _toned(picture: Pixels, generator: np.random.Generator) -> Pixels:
    """Change brightness, colour and sharpness as light and lenses do."""
    result: np.ndarray = picture.astype(np.float32)
    if generator.random() < 0.15:
        result[:] = result.mean(axis=2, keepdims=True)
    light = generator.uniform(0.2, 0.7) if generator.random() < 0.2 else generator.uniform(0.75, 1.2)
    result *= light * generator.uniform(0.9, 1.1, size=3)
    if generator.random() < 0.25:
        # One side in shadow.
        ramp = np.linspace(generator.uniform(0.3, 1), generator.uniform(0.3, 1), picture.shape[1])
        result *= ramp[None, :, None]
    if generator.random() < 0.25 and len(picture) > 20:
        result = cv2.blur(result, (3, 3))
    return np.asarray(np.clip(result, 0, 255), np.uint8)


def _covered(picture: Pixels, generator: np.random.Generator) -> Pixels:
    """Cover part of one face in five: with a mask, dark glasses, a cap, or something in front of one side."""
    if generator.random() > 0.2:
        return picture
    size = len(picture)
    colour = generator.integers(0, 255, size=3)
    boxes = (
        (0.6, 0.9, 0.2, 0.8),
        (0.35, 0.5, 0.18, 0.82),
        (0.0, 0.35, 0.1, 0.9),
        (0.0, 1.0, 0.0, generator.uniform(0.3, 0.5)),
        (0.0, 1.0, generator.uniform(0.5, 0.7), 1.0),
    )
    top, bottom, left, right = (round(part * size) for part in boxes[generator.integers(len(boxes))])
    result = picture.copy()
    result[top:bottom, left:right] = colour
    return result


def _draw_sign(scene: Scene, generator: np.random.Generator) -> None:
    """Draw a sign of one line or several, or a number plate, which vanishes as a whole."""
    side = len(scene.pixels)
    plate = generator.random() < 0.3
    height = round(math.exp(generator.uniform(math.log(7), math.log(40))))
    font = ImageFont.truetype(_FONTS[generator.integers(len(_FONTS))], height)
    lines = [_number(generator)] if plate else _lines(generator)
    line_height = round(1.25 * height)
    width = min(side, max(math.ceil(font.getlength(line)) for line in lines) + height)
    tall = min(side, line_height * len(lines) + height // 2)
    left, top = int(generator.integers(0, side - width + 1)), int(generator.integers(0, side - tall + 1))
    canvas = Image.fromarray(scene.pixels)
    draw = ImageDraw.Draw(canvas)
    ground, ink = _plate_colours(generator) if plate else _sign_colours(generator)
    if plate or generator.random() < 0.7:
        draw.rectangle((left, top, left + width, top + tall), fill=ground, outline=ink if plate else ground)
        scene.regions[top : top + tall, left : left + width] = (
            Region.AROUND | Region.TEXT if plate else Region.AROUND
        )
    for number, line in enumerate(lines):
        at = (left + height // 2, top + height // 4 + number * line_height)
        draw.text(at, line, font=font, fill=ink)
        x0, y0, x1, y1 = (round(each) for each in draw.textbbox(at, line, font=font))
        scene.regions[max(0, y0 - 2) : y1 + 2, max(0, x0 - 2) : x1 + 2] |= np.uint8(Region.TEXT)
    scene.pixels[:] = np.asarray(canvas)


def _lines(generator: np.random.Generator) -> list[str]:
    return [
        "".join(generator.choice(list(_LETTERS + "   "), size=generator.integers(3, 13))).strip() or "AB"
        for _ in range(generator.choice((1, 1, 2, 4)))
    ]


def _number(generator: np.random.Generator) -> str:
    """Make up the number of a plate: two groups of letters or digits."""
    groups = (string.ascii_uppercase, string.digits) if generator.random() < 0.7 else (string.digits,) * 2
    return " ".join(
        "".join(generator.choice(list(characters), size=generator.integers(1, 5))) for characters in groups
    )


def _sign_colours(generator: np.random.Generator) -> tuple[_Colour, _Colour]:
    ground, ink = (_Colour(*map(int, generator.integers(0, 256, size=3))) for _ in range(2))
    if abs(sum(ground) - sum(ink)) < 160:
        ink = _Colour(0, 0, 0) if sum(ground) > 380 else _Colour(255, 255, 255)
    return ground, ink


def _plate_colours(generator: np.random.Generator) -> tuple[_Colour, _Colour]:
    light = _Colour(*map(int, generator.integers(190, 256, size=3)))
    dark = _Colour(*map(int, generator.integers(0, 90, size=3)))
    return (light, dark) if generator.random() < 0.8 else (dark, light)


def _developed(pixels: Pixels, generator: np.random.Generator) -> Pixels:
    """Change the whole picture as cameras and files do: night, black and white, noise, compression."""
    result = pixels.astype(np.float32)
    kind = generator.random()
    if kind < 0.12:
        result[:] = result.mean(axis=2, keepdims=True)
    elif kind < 0.27:
        result *= generator.uniform(0.08, 0.5)
    result = (result - 128) * generator.uniform(0.8, 1.2) + 128 + generator.uniform(-20, 20)
    if generator.random() < 0.3:
        result += generator.normal(0, generator.uniform(1, 9), size=result.shape)
    finished: np.ndarray = np.clip(result, 0, 255).astype(np.uint8)
    if generator.random() < 0.3:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(generator.integers(35, 90))]
        decoded = cv2.imdecode(cv2.imencode(".jpg", finished, quality)[1], cv2.IMREAD_COLOR)
        assert decoded is not None
        finished = decoded
    return np.asarray(finished, np.uint8)
