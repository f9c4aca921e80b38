"""Pages of invented words: forms, tables, talks and running text, in many sizes, shapes and colours.

They stand for letters, screens and cards that a protector was not made for. They take no browser, so they are drawn
wherever something is trained.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np

_SHAPES: Final = (0.5, 0.65, 0.71, 1.0, 1.42, 1.59, 1.9)
"""Widths of a page as multiples of its height."""
_LETTERS: Final = "aeioulnrstdmkpbvgh"


class _Page:
    """A page in the making, with the pen, the colours and the size of its letters."""

    def __init__(self, generator: np.random.Generator, longest: int) -> None:
        self.generator = generator
        shape = float(generator.choice(_SHAPES)) * float(generator.uniform(0.9, 1.1))
        width, height = (longest, longest / shape) if shape > 1 else (longest * shape, longest)
        back = generator.integers(200, 256, 3) if generator.random() < 0.7 else generator.integers(5, 70, 3)
        self.is_dark = bool(back.mean() < 128)
        self.image = Image.new("RGB", (round(width), round(height)), tuple(back.tolist()))
        self.pen = ImageDraw.Draw(self.image)
        self.letter = max(9.0, longest / float(generator.uniform(26, 64)))
        self.ink = self._shade(0, 70)
        self.faint = self._shade(80, 140)
        self.accent = tuple(generator.integers(20, 220, 3).tolist())

    def _shade(self, least: int, most: int) -> tuple[int, int, int]:
        shade = int(self.generator.integers(least, most))
        shade = 255 - shade if self.is_dark else shade
        return shade, shade, shade

    def number(self, least: float, most: float) -> float:
        return float(self.generator.uniform(least, most))

    def word(self) -> str:
        """Invent a word, a number or a name."""
        length = int(self.generator.integers(2, 10))
        match int(self.generator.integers(6)):
            case 0:
                return "".join(map(str, self.generator.integers(0, 10, length)))
            case 1:
                return "{:02}.{:02}.{}".format(*self.generator.integers((1, 1, 1940), (29, 13, 2030)))
            case choice:
                text = "".join(_LETTERS[each] for each in self.generator.integers(0, len(_LETTERS), length))
                return text.title() if choice < 4 else text

    def words(self, count: int) -> str:
        return " ".join(self.word() for _ in range(count))

    def write(
        self, place: tuple[float, float], text: str, *, size: float = 1.0, fill: tuple[int, ...] | None = None
    ) -> None:
        font = ImageFont.load_default(self.letter * size)
        self.pen.text(place, text, fill or self.ink, font)


def draw_page(kind: str, generator: np.random.Generator, longest: int) -> Image.Image:
    """Draw a page.

    Args:
        kind: One of :data:`PAGES`.
        generator: Source of randomness; the same state gives the same page.
        longest: Longest side of the page, pixels.
    """
    page = _Page(generator, longest)
    _KINDS[kind](page)
    return page.image


def _draw_text(page: _Page) -> None:
    """Write a heading and paragraphs."""
    width, height = page.image.size
    left, y = width * page.number(0.04, 0.14), height * page.number(0.03, 0.12)
    page.write((left, y), page.words(2), size=1.6, fill=page.accent)
    y += 3 * page.letter
    while y < height - 2 * page.letter:
        full = page.generator.random() < 0.8
        letters = int((width - 2 * left) / (0.55 * page.letter) * (1 if full else page.number(0.2, 0.8)))
        page.write((left, y), page.words(12)[: max(4, letters)])
        y += page.letter * (1.4 if full else 2.4)


def _draw_form(page: _Page) -> None:
    """Write captions with values, beside or above each other, and now and then a picture of somebody."""
    width, height = page.image.size
    if page.generator.random() < 0.6:
        page.pen.rectangle((0, 0, width, height * page.number(0.1, 0.2)), fill=page.accent)
        page.write((0.04 * width, 0.03 * height), page.words(2), size=1.3, fill=(250, 250, 250))
    left, top = width * page.number(0.04, 0.12), height * page.number(0.22, 0.3)
    if page.generator.random() < 0.5:
        side = min(width, height) * page.number(0.25, 0.4)
        x = left if page.generator.random() < 0.5 else width - left - side
        box = (x, top, x + side, top + 1.2 * side)
        page.pen.rectangle(box, fill=tuple(page.generator.integers(60, 220, 3).tolist()))
        page.pen.ellipse(
            (x + side / 4, top + side / 5, x + 3 * side / 4, top + side * 0.8), fill=(205, 165, 140)
        )
        left = left + side + page.letter if x == left else left
    beside, columns = page.generator.random() < 0.4, int(page.generator.integers(1, 3))
    y = top
    while y < height - 2.4 * page.letter:
        for column in range(columns):
            x = left + column * (width - left) / columns
            page.write((x, y), page.word().title(), size=0.7, fill=page.faint)
            place = (x + 6 * page.letter, y) if beside else (x, y + 0.8 * page.letter)
            page.write(place, page.words(int(page.generator.integers(1, 3))))
        y += page.letter * page.number(1.5, 1.9) if beside else page.letter * page.number(2.2, 3.0)


def _draw_table(page: _Page) -> None:
    """Write rows of cells, with lines or stripes."""
    width, height = page.image.size
    columns = int(page.generator.integers(3, 6))
    striped, y = page.generator.random() < 0.5, height * page.number(0.05, 0.15)
    page.write((0.04 * width, y - 1.6 * page.letter), page.words(2), size=1.2)
    number = 0
    while y < height - 2 * page.letter:
        line = 1.9 * page.letter
        if number == 0 or (striped and number % 2):
            page.pen.rectangle(
                (0.03 * width, y, 0.97 * width, y + line), fill=page.faint if number else page.accent
            )
        elif not striped:
            page.pen.line((0.03 * width, y, 0.97 * width, y), fill=page.faint)
        for column in range(columns):
            text = page.words(int(page.generator.integers(1, 3)))[
                : int(width / columns / (0.62 * page.letter))
            ]
            page.write((width * (0.04 + 0.93 * column / columns), y + 0.35 * page.letter), text, size=0.9)
        y, number = y + line, number + 1


def _draw_talk(page: _Page) -> None:
    """Write bubbles at both sides."""
    width, height = page.image.size
    page.pen.rectangle((0, 0, width, 2.4 * page.letter), fill=page.accent)
    y = 3 * page.letter
    while y < height - 3 * page.letter:
        text = page.words(int(page.generator.integers(1, 7)))
        wide = min(0.85 * width, page.letter * (0.58 * len(text) + 1))
        x = 0.03 * width if page.generator.random() < 0.5 else 0.97 * width - wide
        fill = page.faint if page.generator.random() < 0.5 else page.accent
        page.pen.rounded_rectangle((x, y, x + wide, y + 2 * page.letter), radius=page.letter / 2, fill=fill)
        page.write((x + 0.5 * page.letter, y + 0.4 * page.letter), text)
        y += 2.6 * page.letter


_KINDS: Final[Mapping[str, Callable[[_Page], None]]] = {
    "text": _draw_text,
    "form": _draw_form,
    "table": _draw_table,
    "talk": _draw_talk,
}
PAGES: Final = tuple(_KINDS)
"""Kinds of pages."""
