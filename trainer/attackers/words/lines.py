"""Readers of lines: text recognition alone, for attackers that know where text stands."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
from PIL import Image, ImageOps

from trainer.attackers.words.readers import older_rapid_engine, own_rapid_words, tesseract_words

LineReader: TypeAlias = Callable[[Sequence[Image.Image]], Sequence[str]]
"""Maps RGB pictures of one line each to the text of each line."""

_HEIGHT: Final = 48
"""Height, in pixels, to which lines are scaled for a reader of pages."""
_SPACE: Final = 24
"""Pixels between lines that are stacked."""
_BLOCK: Final = 6
"""Tesseract's layout for lines that stand below one another."""


def older_rapid_lines() -> LineReader:
    """Return a reader that uses the recognizer of PP-OCRv4 alone.

    See :func:`~trainer.attackers.words.readers.older_rapid_words` for the package.

    Raises:
        TrainingError: If the package is not installed.
    """
    engine: Any = older_rapid_engine()

    def read(lines: Sequence[Image.Image]) -> list[str]:
        if not lines:
            return []
        found, _ = engine.text_rec([np.ascontiguousarray(np.asarray(line)[:, :, ::-1]) for line in lines])
        return [str(each[0]) for each in found]

    return read


def stacked_lines(read: Callable[[Image.Image], Sequence[Any]]) -> LineReader:
    """Make a reader of lines of a reader of pages, which gets all of them below one another, dark on light.

    Args:
        read: The reader of pages.
    """

    def read_lines(lines: Sequence[Image.Image]) -> list[str]:
        if not lines:
            return []
        clear = [_dark_on_light(line) for line in lines]
        pitch = _HEIGHT + _SPACE
        width = max(line.width for line in clear)
        page = Image.new("L", (width + 2 * _SPACE, len(clear) * pitch + _SPACE), 255)
        for row, line in enumerate(clear):
            page.paste(line, (_SPACE, _SPACE + row * pitch))
        texts: list[list[str]] = [[] for _ in clear]
        for seen in sorted(read(page.convert("RGB")), key=lambda each: each.box[0]):
            middle = (seen.box[1] + seen.box[3]) / 2
            texts[min(len(clear) - 1, max(0, int((middle - _SPACE / 2) // pitch)))].append(seen.text)
        return [" ".join(each) for each in texts]

    return read_lines


def _dark_on_light(line: Image.Image) -> Image.Image:
    """Return a line at one height, its contrast stretched, with dark letters on a light ground."""
    width = max(1, round(line.width * _HEIGHT / line.height))
    grey = ImageOps.autocontrast(line.convert("L").resize((width, _HEIGHT), Image.Resampling.LANCZOS), 1)
    return ImageOps.invert(grey) if float(np.median(np.asarray(grey))) < 128 else grey


LINE_READERS: Final[Mapping[str, Callable[[], LineReader]]] = {
    "tesseract": lambda: stacked_lines(tesseract_words(layout=_BLOCK)),
    "pp-ocrv4": older_rapid_lines,
    "pp-ocrv6": lambda: stacked_lines(own_rapid_words()),
}
"""Readers of lines by name, which are those of pages; see :func:`~trainer.attackers.words.readers.readers_named`."""
STRETCHING: Final = frozenset({"tesseract", "pp-ocrv6"})
"""Readers of lines that stretch the contrast of each line by themselves."""
