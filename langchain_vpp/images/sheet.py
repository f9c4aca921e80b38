"""Contact sheets: rows of small pictures with a label each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from collections.abc import Sequence

_CELL: Final = 96
_LABEL: Final = 112
_MARGIN: Final = 4


def draw_sheet(rows: Sequence[tuple[str, Sequence[Image.Image]]]) -> Image.Image:
    """Draw rows of pictures on one sheet.

    Args:
        rows: Label and pictures of each row; a row may be shorter than others.

    Example:
        >>> draw_sheet([("original", [Image.new("RGB", (40, 20))])]).size
        (212, 104)
    """
    columns = max(len(pictures) for _, pictures in rows)
    size = (_LABEL + columns * (_CELL + _MARGIN), len(rows) * (_CELL + _MARGIN) + _MARGIN)
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(14)
    for number, (label, pictures) in enumerate(rows):
        top = _MARGIN + number * (_CELL + _MARGIN)
        draw.text((_MARGIN, top + _CELL // 2), label, fill="black", font=font, anchor="lm")
        for column, picture in enumerate(pictures):
            sheet.paste(thumbnail(picture, _CELL), (_LABEL + column * (_CELL + _MARGIN), top))
    return sheet


def thumbnail(picture: Image.Image, side: int) -> Image.Image:
    """Scale a picture so that its longer side has ``side`` pixels."""
    factor = side / max(picture.size)
    return picture.resize((max(1, round(picture.width * factor)), max(1, round(picture.height * factor))))
