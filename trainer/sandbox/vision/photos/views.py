"""A photograph as the photo model sees it; what a question needs is computed when it is asked."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Final

from trainer.sandbox.vision.photos.colours import colour_shares

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from PIL import Image
    from torch import Tensor

    from trainer.sandbox.vision.photos.faces import Face, FaceReader
    from trainer.sandbox.vision.photos.objects import ObjectDetector, Seen
    from trainer.sandbox.vision.photos.scenes import SceneReader

_PRESENT: Final = 0.1
"""Least score of an object that is there."""
_PERSON_PRESENT: Final = 0.22
"""Least score of a person: photographs are full of people, so false alarms are frequent at a lower one."""
_COUNTED: Final = 0.25
"""Least score of an object that counts beside another one of its class."""


class View:
    """A photograph and what is seen in it.

    Args:
        image: RGB picture.
        detector: Finds objects.
        scenes: Returns what says how well phrases fit.
        faces: Reads gender and age.
    """

    def __init__(
        self,
        image: Image.Image,
        detector: ObjectDetector,
        scenes: Callable[[], SceneReader],
        faces: FaceReader,
    ) -> None:
        self._image = image
        self._detector, self._scenes, self._faces = detector, scenes, faces

    @cached_property
    def objects(self) -> Sequence[Seen]:
        """Everything that the detector found, the most certain first."""
        return self._detector.find(self._image)

    @cached_property
    def _classes(self) -> Tensor:
        return self._scenes().classes(self._image)

    @cached_property
    def face(self) -> Face | None:
        """Gender and age of the largest face; ``None`` if none is found."""
        return self._faces.read(self._image)

    def certainty(self, names: Sequence[str]) -> float:
        """Return the probability that one of the classes is there; 0.5 is the border between no and yes."""
        return max(
            (_probability(each.score, _border(each.name)) for each in self.objects if each.name in names),
            default=0.0,
        )

    def present(self, name: str) -> bool:
        """Whether a class is there."""
        return self.certainty((name,)) >= 0.5

    def count(self, names: Sequence[str]) -> int:
        """Return the number of objects of some classes."""
        found = [sum(each.name == name and each.score >= _COUNTED for each in self.objects) for name in names]
        return sum(max(number, int(self.present(name))) for number, name in zip(found, names, strict=True))

    def colours(self, names: Sequence[str]) -> dict[str, float] | None:
        """Return the colours of the most certain object of some classes; ``None`` if there is none."""
        seen = next((each for each in self.objects if each.name in names and self.present(each.name)), None)
        return None if seen is None else colour_shares(self._image, seen.box)

    def fit(self, phrases: Sequence[str]) -> list[float]:
        """Return how well phrases fit; larger is better."""
        return self._scenes().fit(self._classes, self.objects, phrases)


def _border(name: str) -> float:
    return _PERSON_PRESENT if name == "person" else _PRESENT


def _probability(score: float, border: float) -> float:
    """Turn a score into a probability, of 0.5 at the border; the odds grow with its square."""
    odds = (score / border) ** 2
    return odds / (1 + odds)
