"""Drawn pictures in the order in which they are learned from."""

from __future__ import annotations

import io
import logging
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from trainer.sandbox.vision.local_model import Subject, to_tensor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trainer.data.format import Split
    from trainer.sandbox.vision.course import Course, Picture

STREAMS: Final[Mapping[Split, int]] = {"train": 101, "test": 102, "val": 103}
"""Second word of a picture's seed; the streams of data sets are 0, 1 and 2."""
_logger = logging.getLogger(__name__)


class _Lesson(NamedTuple):
    """One picture, or with one more dimension in front a batch of them."""

    image: Tensor
    labels: Tensor
    """Index among each attribute's choices, ``[attributes]``."""
    places: Tensor
    """Left, top, right and bottom as shares of the picture, ``[attributes, 4]``; all 0 where unknown."""


class _Kept(NamedTuple):
    """A drawn picture until it is learned from."""

    file: bytes
    labels: Tensor
    places: Tensor
    """Labels and places as in a lesson."""

    def lesson(self, subject: Subject) -> _Lesson:
        return _Lesson(to_tensor(Image.open(io.BytesIO(self.file)), subject.size), self.labels, self.places)


class _Drawings(Dataset[_Kept]):
    """Drawn on demand; compressed as real pictures are, except each fourth."""

    def __init__(self, course: Course, seed: int) -> None:
        self._course, self._seed = course, seed

    def __len__(self) -> int:
        return self._course.different or self._course.steps * self._course.batch

    def __getitem__(self, index: int) -> _Kept:
        generator = np.random.default_rng((self._seed, STREAMS["train"], index))
        picture = self._course.draw(generator, "train")
        return _keep(picture, self._course.subject, int(generator.integers(70, 96)) if index % 4 else None)


class _Lessons(Dataset[_Lesson]):
    """What is learned from, in the order of learning; several rounds if there are fewer drawings, each shuffled."""

    def __init__(
        self, drawings: _Drawings | Sequence[_Kept], course: Course, first: int, seed: int, end: int
    ) -> None:
        self._drawings, self._course, self._seed = drawings, course, seed
        self._first, self._end = first, end

    def __len__(self) -> int:
        return self._end - self._first

    def __getitem__(self, place: int) -> _Lesson:
        turn, index = divmod(self._first + place, len(self._drawings))
        if turn:
            index = int(np.random.default_rng((self._seed, turn)).permutation(len(self._drawings))[index])
        return self._drawings[index].lesson(self._course.subject)


def _draw_all(drawings: _Drawings, workers: int) -> list[_Kept]:
    _logger.info("drawing %d pictures", len(drawings))
    loader = DataLoader(drawings, batch_size=None, num_workers=workers, generator=torch.Generator())
    # Copied, because what comes from another process lies in shared memory, with an open file for each tensor.
    return [_Kept(file, labels.clone(), places.clone()) for file, labels, places in loader]


def _keep(picture: Picture, subject: Subject, quality: int | None) -> _Kept:
    """Encode a picture, as JPEG of that quality if there is one."""
    labels = [choices.index(picture.labels[name]) for name, choices in subject.choices.items()]
    places = torch.tensor([picture.places.get(name, (0.0, 0.0, 0.0, 0.0)) for name in subject.choices])
    buffer = io.BytesIO()
    if quality is None:
        picture.image.save(buffer, "PNG", compress_level=1)
    else:
        picture.image.save(buffer, "JPEG", quality=quality)
    return _Kept(buffer.getvalue(), torch.tensor(labels), places / torch.tensor(picture.image.size * 2))


def disturb(images: Tensor, generator: torch.Generator) -> Tensor:
    """Vary light, colour, sharpness, noise and place, mildly.

    Args:
        images: ``[B, 3, H, W]`` in [0, 1].
        generator: Source of all randomness; of the processor, whatever the device of the images.
    """
    size = len(images)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return (torch.rand(shape, generator=generator) * (high - low) + low).to(images.device)

    blurred = nn.functional.avg_pool2d(images, 3, stride=1, padding=1, count_include_pad=False)
    share = uniform(-0.6, 0.7, size, 1, 1, 1).clamp_min(0)  # half of the images stay sharp
    images = images.lerp(blurred, share)
    images = images * uniform(0.86, 1.14, size, 1, 1, 1) * uniform(0.96, 1.04, size, 3, 1, 1)
    noise = torch.randn(images.shape, generator=generator).to(images.device)
    images = images + noise * uniform(0, 0.03, size, 1, 1, 1)
    down, right = torch.randint(-2, 3, (2,), generator=generator).tolist()
    return images.roll((down, right), (2, 3)).clamp(0, 1)
