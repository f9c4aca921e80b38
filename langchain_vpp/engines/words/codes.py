"""QR codes and bar codes, which say in pixels what words say in letters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from langchain_vpp import extras

if TYPE_CHECKING:
    from collections.abc import Iterator

    from PIL import Image

    from langchain_vpp.engines.words.geometry import Box

_LONGEST: Final = 1_600
"""Longest side, in pixels, at which codes are looked for."""
_MARGIN: Final = 0.12
"""Space around a code that is covered too, as a part of its longer side."""


def find_codes(image: Image.Image) -> Iterator[Box]:
    """Yield boxes around the QR codes and bar codes in a picture, whether they can be decoded or not.

    Args:
        image: An RGB image.

    Raises:
        MissingExtraError: If the extra ``words`` is missing or can't be loaded.
    """
    cv2: Any = extras.load("cv2", extra="words", undone="Codes were not looked for")
    scale = min(1.0, _LONGEST / max(image.size))
    small = image.convert("L").resize([max(1, round(side * scale)) for side in image.size])
    pixels = np.asarray(small)
    # A detector of its own for each call, because they keep state.
    for found, corners in (cv2.QRCodeDetector().detectMulti(pixels), _bars(cv2, pixels)):
        for quad in corners if found and corners is not None else ():
            points = np.asarray(quad, dtype=float).reshape(-1, 2) / scale
            left, top = points.min(0)
            right, bottom = points.max(0)
            margin = _MARGIN * max(right - left, bottom - top)
            yield float(left - margin), float(top - margin), float(right + margin), float(bottom + margin)


def _bars(cv2: Any, pixels: Any) -> tuple[bool, Any]:
    if not hasattr(cv2, "barcode"):
        return False, None
    found: tuple[bool, Any] = cv2.barcode.BarcodeDetector().detectMulti(pixels)
    return found
