"""Heads in pictures of words, such as avatars and portraits."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from langchain_vpp.engines import faces
from langchain_vpp.engines.face_cover import FaceCover
from langchain_vpp.engines.words.painter import base_scale

if TYPE_CHECKING:
    from collections.abc import Iterator

    from PIL import Image

    from langchain_vpp.engines.words.geometry import Box

_GRAPH: Final = Path(__file__).parents[2] / "artifacts" / "photographs" / "faces.onnx"
"""The small detector that comes with the package."""
_HEAD: Final = 1.6
"""Size of what is covered, as a multiple of the face."""
_SCORE: Final = 0.05
"""Score from which the detector of the extra ``faces`` takes something for a face."""
_SMALL_SCORE: Final = 0.15
"""The same for the small detector, as where it guards photographs."""
_DETAIL: Final = 2.5
"""Scale at which the small detector looks, as a multiple of the small copy's: a face that has 8 pixels there, which
nobody can be recognised by, has the 20 that the detector needs."""


class HeadFinder:
    """Finds heads with the detector of the extra ``faces``, or with the small one of this package where it is missing.

    The small one looks for those that could be recognised in the small copy of a picture.

    Attributes:
        is_thorough: Whether small heads are found too, so that a picture may be shown in full detail.

    Raises:
        MissingExtraError: If the extra ``faces`` is installed and can't be loaded.
    """

    def __init__(self) -> None:
        self.is_thorough = faces.is_installed()
        self._find: Any = faces.FaceFinder() if self.is_thorough else None

    def __call__(self, image: Image.Image) -> Iterator[Box]:
        """Yield boxes around the heads in an RGB image."""
        for left, top, right, bottom in self._faces(image):
            wide, high = _HEAD * (right - left) / 2, _HEAD * (bottom - top) / 2
            x, y = (left + right) / 2, (top + bottom) / 2
            yield x - wide, y - high, x + wide, y + high

    def _faces(self, image: Image.Image) -> Iterator[Box]:
        if self._find is not None:
            yield from (face[:4] for face in self._find(image, _SCORE))
            return
        scale = min(1.0, _DETAIL * base_scale(image.size))
        yield from _small_detector().find(np.asarray(image), (scale, scale / 2))


@cache
def _small_detector() -> FaceCover:
    return FaceCover(_GRAPH.read_bytes(), threshold=_SMALL_SCORE, scales=())
