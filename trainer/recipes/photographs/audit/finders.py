"""Face detectors that neither taught the protector nor ship with it."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Final, Protocol

from langchain_vpp import extras
from langchain_vpp.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL import Image

    from trainer.recipes.photographs.regions import Box

_LEAST: Final = 20
"""Height of the smallest face that is searched for, in pixels."""


class Finder(Protocol):
    """Anything that finds faces."""

    def __call__(self, image: Image.Image) -> Sequence[Box]:
        """Return the boxes of the faces of a picture."""
        ...


def independent_finders() -> dict[str, Finder]:
    """Load the detectors.

    Raises:
        DataError: If a package is missing.
    """
    return {"MTCNN": _mtcnn()}


def finds(boxes: Sequence[Box], face: Box) -> bool:
    """Return whether one of the boxes is about a face: its middle lies on it, and its size is alike."""
    left, top, right, bottom = face
    height = bottom - top
    return any(
        left < (box[0] + box[2]) / 2 < right
        and top < (box[1] + box[3]) / 2 < bottom
        and 0.4 * height < box[3] - box[1] < 2.5 * height
        for box in boxes
    )


def _mtcnn() -> Finder:
    """Load MTCNN (Zhang et al., 2016), whose weights come with the package ``facenet-pytorch``."""
    module = _package("facenet_pytorch.models.mtcnn", "facenet-pytorch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network: Any = module.MTCNN(keep_all=True, min_face_size=_LEAST)

    def find(image: Image.Image) -> Sequence[Box]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            boxes, _ = network.detect(image)
        return (
            []
            if boxes is None
            else [(float(x0), float(y0), float(x1), float(y1)) for x0, y0, x1, y1 in boxes]
        )

    return find


def _package(name: str, distribution: str) -> Any:
    module = extras.find(name)
    if module is None:
        raise DataError(
            f"the audit was not made: {distribution} is not installed. Install it with "
            f"`pip install --no-deps {distribution}`."
        )
    return module
