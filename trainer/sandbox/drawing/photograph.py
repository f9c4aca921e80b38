"""Photographs of flat things that lie on a desk: perspective, shadow, light, softness and sensor noise."""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from trainer.sandbox.drawing.scenes import shade

Points: TypeAlias = npt.NDArray[np.float64]
SUPERSAMPLE: Final = 2
"""Pixels of the unfinished photograph for each pixel of the finished one, along each side."""


def photograph(
    generator: np.random.Generator,
    card: Image.Image,
    shape: Image.Image,
    corners: Points,
    size: tuple[int, int],
) -> Image.Image:
    """Photograph a flat thing that lies on a desk.

    Args:
        generator: Source of randomness: the desk, the light and the noise of the sensor.
        card: The thing, RGB, best :data:`SUPERSAMPLE` times as large as in the photograph.
        shape: Its mask, ``L``, as large as the thing: 255 where it is opaque.
        corners: Places of its corners in the photograph, pixels, shape ``[4, 2]``, clockwise from the top left.
        size: Width and height of the photograph, pixels.
    """
    large = size[0] * SUPERSAMPLE, size[1] * SUPERSAMPLE
    scene = _desk(generator, size).resize(large, Image.Resampling.BILINEAR)
    # Pillow wants the way back: from the picture to the card.
    back = homography(corners * SUPERSAMPLE, box_corners(0, 0, *card.size))
    data = tuple((back / back[2, 2]).ravel()[:8].tolist())
    warped = card.transform(large, Image.Transform.PERSPECTIVE, data, Image.Resampling.BILINEAR)
    mask = shape.transform(large, Image.Transform.PERSPECTIVE, data, Image.Resampling.BILINEAR)
    shift = round(3 * SUPERSAMPLE * generator.uniform(0.3, 1.5))
    shadow = Image.new("L", large, 0)
    shadow.paste(mask, (shift, shift))
    soft = shadow.reduce(2 * SUPERSAMPLE).filter(ImageFilter.GaussianBlur(2)).point(lambda value: value // 2)
    shadow = soft.resize(large, Image.Resampling.BILINEAR)
    scene.paste((12, 12, 14), (0, 0, *large), shadow)
    scene.paste(warped, (0, 0), mask)
    return _light(generator, scene.reduce(SUPERSAMPLE))


def _desk(generator: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    """Draw the desk under the card: a gradient with papers, cables and cups, in any colours."""
    base = generator.uniform(40, 225, (1, 1, 3)) * 0.7 + generator.uniform(40, 225, (2, 2, 3)) * 0.3
    image = Image.fromarray(base.astype(np.uint8)).resize(size, Image.Resampling.BILINEAR)
    pen = ImageDraw.Draw(image)
    width, height = size
    if generator.random() < 0.3:  # planks
        tone = shade((int(base[0, 0, 0]), int(base[0, 0, 1]), int(base[0, 0, 2])), 0.85)
        for y in np.arange(generator.uniform(0, 30), height, generator.uniform(20, 55)).tolist():
            pen.line([(0, y), (width, y + generator.uniform(-6, 6))], fill=tone, width=2)
    for _ in range(int(generator.integers(2, 8))):
        x, y = generator.uniform((0, 0), size).tolist()
        across, down = generator.uniform(0.06, 0.5, 2).tolist()
        red, green, blue = generator.integers(20, 245, 3).tolist()
        box = (x - across * width / 2, y - down * width / 2, x + across * width / 2, y + down * width / 2)
        match int(generator.integers(3)):
            case 0:
                pen.rectangle(box, fill=(red, green, blue))
            case 1:
                pen.ellipse(box, fill=(red, green, blue))
            case _:
                ends = [tuple(each) for each in generator.uniform((0, 0), size, (4, 2)).tolist()]
                pen.line(ends, fill=(red, green, blue), width=int(generator.integers(2, 7)), joint="curve")
    return image.filter(ImageFilter.GaussianBlur(float(generator.uniform(0.3, 2))))


def _light(generator: np.random.Generator, image: Image.Image) -> Image.Image:
    """Vary the light: gain, warmth, a gradient, now and then a reflection, softness and sensor noise."""
    if generator.random() < 0.3:
        image = image.filter(ImageFilter.GaussianBlur(float(generator.uniform(0.2, 0.55))))
    pixels = np.asarray(image, dtype=np.float32)
    down = np.linspace(-1, 1, image.height, dtype=np.float32)[:, None, None]
    right = np.linspace(-1, 1, image.width, dtype=np.float32)[None, :, None]
    slopes = generator.uniform(-0.13, 0.13, 2).astype(np.float32)
    gain = np.float32(generator.uniform(0.82, 1.08)) + slopes[0] * right + slopes[1] * down
    pixels = pixels * gain * generator.uniform(0.96, 1.04, 3).astype(np.float32)
    if generator.random() < 0.3:
        x, y, reach = generator.uniform((-1, -1, 0.25), (1, 1, 0.6)).astype(np.float32)
        glare = np.exp(-((right - x) ** 2 + (down - y) ** 2) / reach**2) * np.float32(
            generator.uniform(0.08, 0.3)
        )
        pixels = pixels + (255 - pixels) * glare
    deviation = np.float32(generator.uniform(0.5, 4))
    noise = generator.standard_normal((image.height, image.width, 1), dtype=np.float32) * deviation
    return Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8))


def box_corners(left: float, top: float, right: float, bottom: float) -> Points:
    """Return the corners of a box, clockwise from the top left, shape ``[4, 2]``."""
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], dtype=np.float64)


def homography(source: Points, target: Points) -> Points:
    """Return the projective map, shape ``[3, 3]``, that takes four points to four others, shape ``[4, 2]`` each."""
    rows = []
    for (x, y), (u, v) in zip(source.tolist(), target.tolist(), strict=True):
        rows.append([x, y, 1, 0, 0, 0, -u * x, -u * y])
        rows.append([0, 0, 0, x, y, 1, -v * x, -v * y])
    solution = np.linalg.solve(np.array(rows), target.ravel())
    return np.append(solution, 1.0).reshape(3, 3)
