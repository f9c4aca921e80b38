"""Readers of the text in photographs: RapidOCR, whose detector taught the protector, and Tesseract, which did not."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from trainer.attackers.ocr import open_rapidocr
from trainer.attackers.words.readers import tesseract_words

if TYPE_CHECKING:
    from collections.abc import Iterable

    from PIL import Image

_SURE: Final = 0.6
"""Confidence from which a word of Tesseract counts: below it reads letters into leaves and tiles."""


class Reader(Protocol):
    """Anything that reads text."""

    def __call__(self, image: Image.Image) -> Iterable[str]:
        """Return the texts that are read in a picture."""
        ...


def independent_readers() -> dict[str, Reader]:
    """Load RapidOCR (extra ``ocr``), and Tesseract where it is installed.

    Raises:
        MissingExtraError: If the extra ``ocr`` is missing.
    """
    return {"RapidOCR": _rapid()} | ({"Tesseract": _tesseract()} if shutil.which("tesseract") else {})


def _rapid() -> Reader:
    engine = open_rapidocr()
    return lambda image: engine(np.asarray(image)[:, :, ::-1]).txts or ()


def _tesseract() -> Reader:
    read = tesseract_words()
    return lambda image: [seen.text for seen in read(image) if seen.certainty >= _SURE]
