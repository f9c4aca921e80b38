"""Design of a flat staff card, before it is photographed: frame, portrait and fields in one of four layouts."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from langchain_vpp import extras
from langchain_vpp.errors import DataError
from trainer.sandbox.drawing.scenes import pick, shade

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trainer.sandbox.drawing.pen import Colour

Box: TypeAlias = tuple[float, float, float, float]
"""Left, top, right, bottom."""

CARD_SIZE: Final = (300.0, 206.0)
"""Width and height of a flat card in card units, about the pixels of the smallest picture."""

_SMALLEST_VALUE: Final = 10.5
"""Smallest font of a value, card units; a text recogniser still reads it in the smallest picture."""

_STRIPE: Final[Mapping[str, Colour]] = {
    "red": (204, 28, 44),
    "orange": (240, 124, 14),
    "yellow": (248, 212, 36),
    "green": (26, 142, 66),
    "blue": (30, 92, 212),
    "purple": (132, 48, 172),
}
# Header colours are almost grey, so that the stripe is the only colour.
_HEADERS: Final[Sequence[Colour]] = (
    (34, 40, 54),
    (62, 66, 74),
    (20, 22, 26),
    (96, 102, 110),
    (226, 228, 232),
)
_PAPERS: Final[Sequence[Colour]] = (
    (252, 252, 250),
    (244, 246, 248),
    (248, 244, 234),
    (232, 238, 242),
    (38, 42, 50),
)

_CAPTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "name": ("Name", "Holder", "Employee"),
    "id number": ("ID no.", "Staff ID", "Personnel no."),
    "birth date": ("Born", "Date of birth", "Birth date"),
    "department": ("Department", "Dept.", "Division"),
    "gate": ("Gate", "Access gate", "Entrance"),
    "expiry": ("Valid until", "Expires", "Expiry"),
}
_COMPANIES: Final = (
    "Norvale Group", "Altimar", "Kestova Works", "Brennix", "Ostrum Labs", "Valmeria", "Tarnhold", "Quintara",
    "Hexalis", "Dovrim Power", "Selkan Freight", "Orbanta", "Mirelli Glass", "Fenwood Mills", "Yarrow Line",
)  # fmt: skip
_TITLES: Final = ("STAFF CARD", "EMPLOYEE ID", "ACCESS CARD", "STAFF PASS", "IDENTITY CARD", "")


class _Fonts(NamedTuple):
    regular: str
    bold: str

    def font(self, size: float, *, bold: bool = False) -> ImageFont.FreeTypeFont:
        return _font(self.bold if bold else self.regular, size)


_FONTS: Final = (
    _Fonts("DejaVuSans.ttf", "DejaVuSans-Bold.ttf"),
    _Fonts("DejaVuSerif.ttf", "DejaVuSerif-Bold.ttf"),
    _Fonts("DejaVuSansMono.ttf", "DejaVuSansMono-Bold.ttf"),
    _Fonts("STIXGeneral.ttf", "STIXGeneralBol.ttf"),
)


@lru_cache(maxsize=256)
def _font(file: str, size: float) -> ImageFont.FreeTypeFont:
    package = extras.folder("matplotlib", extra="demo", undone="no card was drawn")
    path = package / "mpl-data/fonts/ttf" / file
    if not path.is_file():
        raise DataError(f"No card was drawn: the font {path} is missing. Install matplotlib again with pip.")
    # The basic layout is there in every build of Pillow, so that all draw the same.
    return ImageFont.truetype(str(path), size, layout_engine=ImageFont.Layout.BASIC)


class DoesNotFitError(ValueError):
    """Raised for a value that can't be set large enough to be read in its place in the layout."""


class _Style(NamedTuple):
    size: float
    """Font size of values, card units; captions have 0.6 of it."""
    bold: bool
    """Whether values are bold."""
    beside: bool
    """Whether captions stand beside their values, not above."""


class FlatCard:
    """A card that is being drawn flat; places and sizes are in card units.

    Args:
        generator: Source of randomness.
        scale: Pixels per card unit.
        stripe: Name of the stripe's colour.

    Attributes:
        boxes: Place of each part.
        printed: Each field's text as printed.
        paper: Colour of the card.
        image: The picture.
    """

    def __init__(self, generator: np.random.Generator, scale: float, stripe: str) -> None:
        self._generator = generator
        self._scale = scale
        self.boxes: dict[str, Box] = {}
        self.printed: dict[str, str] = {}
        self.paper = _PAPERS[_weighted(generator, (4, 3, 3, 2, 1))]
        self._is_dark = sum(self.paper) < 300
        self._ink: Colour = (
            (244, 244, 246) if self._is_dark else shade((30, 32, 40), generator.uniform(0.4, 1.6))
        )
        self._faint: Colour = (176, 180, 188) if self._is_dark else (96, 100, 110)
        self._fonts = _FONTS[_weighted(generator, (4, 2, 2, 2))]
        self._upper = bool(generator.random() < 0.2)
        self.image = Image.new("RGB", (round(CARD_SIZE[0] * scale), round(CARD_SIZE[1] * scale)), self.paper)
        self._pen = ImageDraw.Draw(self.image)
        self._stripe = shade(_STRIPE[stripe], generator.uniform(0.92, 1.06))

    def shape(self) -> Image.Image:
        """Return the card's outline with round corners, as a mask."""
        mask = Image.new("L", self.image.size, 0)
        box = (0, 0, mask.width - 1, mask.height - 1)
        ImageDraw.Draw(mask).rounded_rectangle(box, radius=8 * self._scale, fill=255)
        return mask

    def draw(self, face: Image.Image, values: Mapping[str, str]) -> None:
        """Draw pattern, frame, portrait and fields.

        Args:
            face: The portrait.
            values: Text of each field.

        Raises:
            DoesNotFitError: If a value can't be set large enough, on about one card in ten thousand.
        """
        self._draw_pattern()
        room = self._draw_frame()
        portrait, slots = LAYOUTS[int(self._generator.integers(len(LAYOUTS)))](self._generator, room)
        self._draw_portrait(face, portrait)
        self._draw_fields(values, slots)

    def _draw_pattern(self) -> None:
        """Draw the faint lines that printers put on cards."""
        kind = int(self._generator.integers(4))
        colour = shade(self.paper, 1.25 if self._is_dark else 0.955)
        width, height = CARD_SIZE
        if kind == 1:
            lean = float(self._generator.uniform(-80, 80))
            for x in np.arange(-80, width + 80, self._generator.uniform(7, 14)).tolist():
                self._line([(x, 0), (x + lean, height)], colour, 0.8)
        elif kind == 2:
            phase, swing = self._generator.uniform(0, 6), self._generator.uniform(3, 8)
            xs = np.linspace(0, width, 60)
            for y in np.arange(0, height, 9.0).tolist():
                ys = y + swing * np.sin(xs / 22 + phase + y / 60)
                self._line(list(zip(xs.tolist(), ys.tolist(), strict=True)), colour, 0.7)
        elif kind == 3:
            x, y = self._generator.uniform((40, 30), (260, 180)).tolist()
            for radius in np.arange(10, 190, 11.0).tolist():
                box = self._scaled((x - radius, y - radius, x + radius, y + radius))
                self._pen.ellipse(box, outline=colour, width=round(self._scale))

    def _draw_frame(self) -> Box:
        """Draw header and stripe, and return the room that is left."""
        width, height = CARD_SIZE
        header = float(self._generator.uniform(22, 30))
        thickness = float(self._generator.uniform(9, 14))
        fill = _HEADERS[int(self._generator.integers(len(_HEADERS)))]
        at_bottom = bool(self._generator.random() < 0.2)
        top, bottom = (0.0, height - header) if at_bottom else (header, height)
        bar = (0.0, bottom, width, height) if at_bottom else (0.0, 0.0, width, header)
        self._rectangle("header", bar, fill)
        self._write_header(bar, fill)
        left, right = 0.0, width
        match int(self._generator.integers(4)):
            case 0:
                stripe, top = (0.0, top, width, top + thickness), top + thickness
            case 1:
                stripe, bottom = (0.0, bottom - thickness, width, bottom), bottom - thickness
            case 2:
                stripe, left = (0.0, top, thickness, bottom), thickness
            case _:
                stripe, right = (width - thickness, top, width, bottom), width - thickness
        self._rectangle("stripe", stripe, self._stripe)
        return left + 8, top + 7, right - 8, bottom - 6

    def _write_header(self, bar: Box, fill: Colour) -> None:
        ink: Colour = (24, 26, 32) if sum(fill) > 380 else (240, 240, 242)
        middle, unit = (bar[1] + bar[3]) / 2, (bar[3] - bar[1]) / 2
        radius = 0.55 * unit
        logo = self._scaled((14 - radius, middle - radius, 14 + radius, middle + radius))
        match int(self._generator.integers(3)):
            case 0:
                self._pen.ellipse(logo, fill=None, outline=ink, width=round(1.6 * self._scale))
            case 1:
                self._pen.regular_polygon(
                    (14 * self._scale, middle * self._scale, radius * self._scale), 6, fill=ink
                )
            case _:
                self._pen.rectangle(logo, fill=None, outline=ink, width=round(2 * self._scale))
        company, title = pick(self._generator, _COMPANIES), pick(self._generator, _TITLES)
        size = float(self._generator.uniform(10.5, 12.5))
        place = (27 * self._scale, middle * self._scale)
        self._pen.text(place, company, ink, _FONTS[0].font(size * self._scale, bold=True), anchor="lm")
        place = ((CARD_SIZE[0] - 10) * self._scale, middle * self._scale)
        self._pen.text(place, title, ink, _FONTS[0].font(0.72 * size * self._scale), anchor="rm")

    def _draw_portrait(self, face: Image.Image, box: Box) -> None:
        left, top, right, bottom = self._scaled(box)
        size = round(right - left), round(bottom - top)
        # The middle of the face, cut to the frame's shape, a little closer or further.
        zoom = float(self._generator.uniform(0.86, 1.0))
        reach = min(face.width / size[0], face.height / size[1]) * zoom
        across, down = size[0] * reach, size[1] * reach
        x = (face.width - across) * float(self._generator.uniform(0.4, 0.6))
        y = (face.height - down) * float(self._generator.uniform(0.4, 0.6))
        resized = face.resize(size, Image.Resampling.BICUBIC, box=(x, y, x + across, y + down))
        mask = Image.new("L", size, 0)
        edge = (0, 0, size[0] - 1, size[1] - 1)
        match int(self._generator.integers(4)):
            case 0:
                ImageDraw.Draw(mask).rounded_rectangle(edge, radius=size[0] / 8, fill=255)
            case 1:
                ImageDraw.Draw(mask).ellipse(edge, fill=255)
            case _:
                mask.paste(255, (0, 0, *size))
                if self._generator.random() < 0.5:
                    frame = tuple(
                        round(s + d) for s, d in zip((left, top, right, bottom), (-3, -3, 3, 3), strict=True)
                    )
                    self._pen.rectangle(frame, fill=self._faint)
        self.image.paste(resized, (round(left), round(top)), mask)
        self.boxes["portrait"] = box

    def _draw_fields(self, values: Mapping[str, str], slots: Sequence[Box]) -> None:
        order = self._generator.permutation(list(values)).tolist()
        if self._generator.random() < 0.4:  # the name comes first on many cards
            order.insert(0, order.pop(order.index("name")))
        narrowest = min(slot[2] - slot[0] for slot in slots)
        beside = bool(narrowest > 172 and not self._upper and self._generator.random() < 0.5)
        style = _Style(
            size=float(self._generator.uniform(12.0, 15.0)),
            bold=bool(self._generator.random() < 0.5),
            beside=beside,
        )
        for name, slot in zip(order, slots, strict=True):
            caption = pick(self._generator, _CAPTIONS[name]) + (":" if beside else "")
            text = values[name]
            if self._upper:
                caption, text = caption.upper(), text.upper()
            self.printed[name] = text
            self._draw_field(name, caption, text, slot, style)

    def _draw_field(self, name: str, caption: str, text: str, slot: Box, style: _Style) -> None:
        left, top, right, bottom = slot
        start = left + 68 if style.beside else left
        # The slot's height holds the value's lines and, unless it stands beside, the caption's line.
        head = 0.0 if style.beside else 0.75
        lines = [text]
        font = self._fitting(lines, right - start, (bottom - top) / (head + 1.1), style)
        if font is None:
            lines = text.split(" ", 1)
            font = self._fitting(lines, right - start, (bottom - top) / (head + 1.1 * len(lines)), style)
        if font is None:
            raise DoesNotFitError(f"the {name} does not fit its place on the card")
        size = font.size / self._scale
        spare = bottom - top - (head + 1.1 * len(lines)) * size
        y = top + min(spare, 4.0) + head * size
        small = self._fonts.font(
            self._caption_size(caption, 0.6 * size, start - left - 4 if style.beside else right - left)
        )
        caption_y = y + 0.85 * size if style.beside else y - 0.1 * size
        self._text(f"{name} caption", caption, (left, caption_y), small, self._faint)
        for number, line in enumerate(lines):
            self._text(name, line, (start, y + (1.1 * number + 0.85) * size), font, self._ink)

    def _fitting(
        self, lines: Sequence[str], width: float, height: float, style: _Style
    ) -> ImageFont.FreeTypeFont | None:
        """Return the largest font, up to the style's size and ``height``, that keeps every line within ``width``."""
        largest = min(style.size, height)
        if largest < _SMALLEST_VALUE:
            return None
        for bold in dict.fromkeys((style.bold, False)):
            for size in (*np.arange(largest, _SMALLEST_VALUE, -0.5).tolist(), _SMALLEST_VALUE):
                font = self._fonts.font(math.floor(size * self._scale), bold=bold)
                if max(font.getlength(line) for line in lines) <= width * self._scale:
                    return font
        return None

    def _caption_size(self, caption: str, size: float, width: float) -> int:
        length = self._fonts.font(100).getlength(caption) / 100
        return math.floor(min(size, width / length) * self._scale)

    def _text(
        self, name: str, text: str, place: tuple[float, float], font: ImageFont.FreeTypeFont, colour: Colour
    ) -> None:
        at = (place[0] * self._scale, place[1] * self._scale)
        self._pen.text(at, text, colour, font, anchor="ls")
        left, top, right, bottom = (
            side / self._scale for side in self._pen.textbbox(at, text, font, anchor="ls")
        )
        if name in self.boxes:  # a second line
            known = self.boxes[name]
            left, top = min(left, known[0]), min(top, known[1])
            right, bottom = max(right, known[2]), max(bottom, known[3])
        self.boxes[name] = (left, top, right, bottom)

    def _rectangle(self, name: str, box: Box, fill: Colour) -> None:
        self._pen.rectangle(self._scaled(box), fill=fill)
        self.boxes[name] = box

    def _line(self, points: list[tuple[float, float]], colour: Colour, width: float) -> None:
        scaled = [(x * self._scale, y * self._scale) for x, y in points]
        self._pen.line(scaled, fill=colour, width=max(1, round(width * self._scale)))

    def _scaled(self, box: Box) -> Box:
        left, top, right, bottom = (side * self._scale for side in box)
        return left, top, right, bottom


# Each layout divides the room between the portrait and six slots for fields, largest slots first where they differ.


def _column(generator: np.random.Generator, room: Box) -> tuple[Box, list[Box]]:
    """Place the portrait at one side and all fields in a column at the other."""
    portrait, (left, top, right, bottom) = _side_portrait(generator, room)
    edges = np.linspace(top, bottom, 7).tolist()
    return portrait, [(left, edges[row], right, edges[row + 1]) for row in range(6)]


def _grid(generator: np.random.Generator, room: Box) -> tuple[Box, list[Box]]:
    """Place the portrait at one side; at the other a wide field, two rows of two, and another wide field."""
    portrait, (left, top, right, bottom) = _side_portrait(generator, room)
    edges = np.linspace(top, bottom, 5).tolist()
    middle = (left + right) / 2
    slots = [(left, edges[0], right, edges[1]), (left, edges[3], right, edges[4])]
    for row in (1, 2):
        slots += [
            (left, edges[row], middle - 3, edges[row + 1]),
            (middle + 3, edges[row], right, edges[row + 1]),
        ]
    return portrait, slots


def _below(generator: np.random.Generator, room: Box) -> tuple[Box, list[Box]]:
    """Place a smaller portrait with three fields beside it and three in a row below."""
    left, top, right, bottom = room
    side = float(generator.uniform(82, 90))
    split = bottom - 36
    height = min(side * float(generator.uniform(1.0, 1.15)), split - top - 4)
    at_left = bool(generator.random() < 0.5)
    x = left if at_left else right - side
    inner = (left + side + 10, right) if at_left else (left, right - side - 10)
    edges = np.linspace(top, split, 4).tolist()
    slots = [(inner[0], edges[row], inner[1], edges[row + 1]) for row in range(3)]
    columns = np.linspace(left, right + 6, 4).tolist()
    slots += [(columns[place], split, columns[place + 1] - 6, bottom) for place in range(3)]
    return (x, top, x + side, top + height), slots


def _centred(generator: np.random.Generator, room: Box) -> tuple[Box, list[Box]]:
    """Place the portrait in the middle and three fields at each side."""
    left, top, right, bottom = room
    side = float(generator.uniform(82, 88))
    height = min(side * float(generator.uniform(1.05, 1.3)), bottom - top)
    middle = (left + right) / 2
    y = top + (bottom - top - height) * float(generator.uniform(0, 1))
    edges = np.linspace(top, bottom, 4).tolist()
    slots = [(left, edges[row], middle - side / 2 - 8, edges[row + 1]) for row in range(3)]
    slots += [(middle + side / 2 + 8, edges[row], right, edges[row + 1]) for row in range(3)]
    return (middle - side / 2, y, middle + side / 2, y + height), slots


def _side_portrait(generator: np.random.Generator, room: Box) -> tuple[Box, Box]:
    left, top, right, bottom = room
    side = float(generator.uniform(84, 98))
    height = min(side * float(generator.uniform(1.0, 1.3)), bottom - top)
    y = top + (bottom - top - height) * float(generator.uniform(0, 1))
    if generator.random() < 0.5:
        return (left, y, left + side, y + height), (left + side + 10, top, right, bottom)
    return (right - side, y, right, y + height), (left, top, right - side - 10, bottom)


LAYOUTS: Final = (_column, _grid, _below, _centred)


def _weighted(generator: np.random.Generator, weights: Sequence[float]) -> int:
    """Draw an index in proportion to the weights."""
    return int(generator.choice(len(weights), p=np.array(weights) / sum(weights)))
