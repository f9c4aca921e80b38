"""A pen that draws small figures on a larger canvas, which is scaled down in the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from PIL import ImageDraw

if TYPE_CHECKING:
    from collections.abc import Mapping

    from PIL import Image

SUPERSAMPLE: Final = 3
"""Pixels of the canvas along a pixel of the drawing."""

Point: TypeAlias = tuple[float, float]
Colour: TypeAlias = tuple[int, int, int]

# Strokes of each digit in a box 4 wide and 6 high, origin at its top left.
_GLYPHS: Final[Mapping[str, tuple[tuple[Point, ...], ...]]] = {
    "0": (
        (
            (2, 0),
            (0.5, 0.8),
            (0, 2.2),
            (0, 3.8),
            (0.5, 5.2),
            (2, 6),
            (3.5, 5.2),
            (4, 3.8),
            (4, 2.2),
            (3.5, 0.8),
            (2, 0),
        ),
    ),
    "1": (((0.5, 1.4), (2.2, 0), (2.2, 6)), ((0.6, 6), (3.8, 6))),
    "2": (((0, 1.4), (0.7, 0.3), (2, 0), (3.4, 0.4), (4, 1.6), (3.4, 2.9), (0, 6), (4, 6)),),
    "3": (
        ((0, 0.6), (1.4, 0), (3.2, 0.2), (3.8, 1.4), (3.2, 2.6), (1.6, 2.9)),
        ((3.2, 2.9), (4, 4.3), (3.3, 5.6), (1.8, 6), (0, 5.4)),
    ),
    "4": (((3, 6), (3, 0), (0, 4.2), (4.2, 4.2)),),
    "5": (((3.8, 0), (0.4, 0), (0.2, 2.7), (2, 2.3), (3.5, 2.9), (4, 4.2), (3.4, 5.5), (1.8, 6), (0, 5.4)),),
    "6": (
        (
            (3.6, 0.3),
            (1.8, 0.5),
            (0.4, 2.2),
            (0, 4),
            (0.6, 5.6),
            (2, 6),
            (3.5, 5.5),
            (4, 4.2),
            (3.3, 3),
            (1.9, 2.6),
            (0.2, 3.6),
        ),
    ),
    "7": (((0, 0), (4, 0), (1.5, 6)),),
    "8": (
        ((2, 2.8), (0.6, 2.2), (0.3, 1.1), (1, 0.1), (2, 0), (3, 0.1), (3.7, 1.1), (3.4, 2.2), (2, 2.8)),
        ((2, 2.8), (0.5, 3.5), (0, 4.6), (0.7, 5.7), (2, 6), (3.3, 5.7), (4, 4.6), (3.5, 3.5), (2, 2.8)),
    ),
    "9": (
        (
            (0.4, 5.7),
            (2.2, 5.5),
            (3.6, 3.8),
            (4, 2),
            (3.4, 0.4),
            (2, 0),
            (0.5, 0.5),
            (0, 1.8),
            (0.7, 3),
            (2.1, 3.4),
            (3.8, 2.4),
        ),
    ),
}


class Pen:
    """Draws in pixels of the drawing on the supersampled canvas.

    Args:
        image: The canvas, :data:`SUPERSAMPLE` times as large as the drawing.
    """

    def __init__(self, image: Image.Image) -> None:
        self._draw = ImageDraw.Draw(image)

    def line(self, points: list[Point], colour: Colour, width: float) -> None:
        """Draw a line through points."""
        scaled = [(x * SUPERSAMPLE, y * SUPERSAMPLE) for x, y in points]
        self._draw.line(scaled, fill=colour, width=round(width * SUPERSAMPLE), joint="curve")

    def limb(self, start: Point, end: Point, colour: Colour, width: float) -> None:
        """Draw a line with a round end."""
        self.line([start, end], colour, width)
        self.ellipse(end, (width / 2, width / 2), colour)

    def ellipse(
        self,
        centre: Point,
        radii: Point,
        fill: Colour | None,
        *,
        outline: Colour | None = None,
        width: float = 0,
    ) -> None:
        """Draw an ellipse, filled or with an outline."""
        (x, y), (rx, ry) = centre, radii
        box = [s * SUPERSAMPLE for s in (x - rx, y - ry, x + rx, y + ry)]
        self._draw.ellipse(box, fill=fill, outline=outline, width=round(width * SUPERSAMPLE))

    def polygon(self, points: list[Point], fill: Colour) -> None:
        """Draw a filled polygon."""
        self._draw.polygon([(x * SUPERSAMPLE, y * SUPERSAMPLE) for x, y in points], fill=fill)

    def box(self, corners: tuple[float, float, float, float], fill: Colour, radius: float) -> None:
        """Draw a box (left, top, right, bottom) with round corners."""
        box = [s * SUPERSAMPLE for s in corners]
        self._draw.rounded_rectangle(box, radius=radius * SUPERSAMPLE, fill=fill)

    def arc(self, centre: Point, radius: float, span: Point, colour: Colour, width: float) -> None:
        """Draw a part of a circle, from one angle to another in degrees, clockwise from the right."""
        x, y = centre
        box = [s * SUPERSAMPLE for s in (x - radius, y - radius, x + radius, y + radius)]
        self._draw.arc(box, *span, fill=colour, width=round(width * SUPERSAMPLE))

    def digit(self, digit: str, centre: Point, height: float) -> None:
        """Draw a digit in white around a centre."""
        unit = height / 6
        left, top = centre[0] - 2 * unit, centre[1] - 3 * unit
        for stroke in _GLYPHS[digit]:
            self.line([(left + x * unit, top + y * unit) for x, y in stroke], (255, 255, 255), 1.7)
