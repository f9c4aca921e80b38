"""Training samples of a local vision model: drawn pictures in the order in which they are learned from."""

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


class Sample(NamedTuple):
    """A training sample, or a batch of samples with one more dimension in front."""

    image: Tensor
    """In [0, 1], shape ``[3, H, W]``."""
    labels: Tensor
    """Index among each attribute's choices, shape ``[A]``."""
    places: Tensor
    """Left, top, right and bottom of each attribute as shares of the picture, shape ``[A, 4]``; 0 where unknown."""


class EncodedPicture(NamedTuple):
    """A drawn picture as a compressed file, with labels and places as in :class:`Sample`."""

    file: bytes
    labels: Tensor
    places: Tensor

    def decode(self, subject: Subject) -> Sample:
        """Return the sample at the subject's size."""
        return Sample(to_tensor(Image.open(io.BytesIO(self.file)), subject.size), self.labels, self.places)


class DrawnPictures(Dataset[EncodedPicture]):
    """A course's pictures, drawn on demand: JPEG as real pictures are, and every fourth PNG."""

    def __init__(self, course: Course, seed: int) -> None:
        self._course, self._seed = course, seed

    def __len__(self) -> int:
        return self._course.different or self._course.steps * self._course.batch

    def __getitem__(self, index: int) -> EncodedPicture:
        generator = np.random.default_rng((self._seed, STREAMS["train"], index))
        picture = self._course.draw(generator, "train")
        quality = int(generator.integers(70, 96)) if index % 4 else None
        return encode_picture(picture, self._course.subject, quality)


class TrainingOrder(Dataset[Sample]):
    """Samples in the order of training; where there are fewer pictures, several rounds, each shuffled.

    Args:
        pictures: All pictures of a round.
        course: Course that they belong to.
        seed: Seed of the orders after the first round.
        first: Number of the first sample, counted from the beginning of the training.
        end: Number after the last sample.
    """

    def __init__(
        self,
        pictures: DrawnPictures | Sequence[EncodedPicture],
        course: Course,
        *,
        seed: int,
        first: int,
        end: int,
    ) -> None:
        self._pictures, self._course, self._seed = pictures, course, seed
        self._first, self._end = first, end

    def __len__(self) -> int:
        return self._end - self._first

    def __getitem__(self, place: int) -> Sample:
        turn, index = divmod(self._first + place, len(self._pictures))
        if turn:
            index = int(np.random.default_rng((self._seed, turn)).permutation(len(self._pictures))[index])
        return self._pictures[index].decode(self._course.subject)


def draw_all(pictures: DrawnPictures, workers: int) -> list[EncodedPicture]:
    """Draw all pictures of a round in so many processes; 0 draws in this one."""
    _logger.info("drawing %d pictures", len(pictures))
    loader = DataLoader(pictures, batch_size=None, num_workers=workers, generator=torch.Generator())
    # Copied, because tensors from another process lie in shared memory, with an open file each.
    return [EncodedPicture(file, labels.clone(), places.clone()) for file, labels, places in loader]


def encode_picture(picture: Picture, subject: Subject, quality: int | None) -> EncodedPicture:
    """Encode a picture as JPEG of the given quality, or as PNG without one."""
    labels = [choices.index(picture.labels[name]) for name, choices in subject.choices.items()]
    places = torch.tensor([picture.places.get(name, (0.0, 0.0, 0.0, 0.0)) for name in subject.choices])
    buffer = io.BytesIO()
    if quality is None:
        picture.image.save(buffer, "PNG", compress_level=1)
    else:
        picture.image.save(buffer, "JPEG", quality=quality)
    return EncodedPicture(
        buffer.getvalue(), torch.tensor(labels), places / torch.tensor(picture.image.size * 2)
    )


def disturb(images: Tensor, generator: torch.Generator) -> Tensor:
    """Vary light, colour, sharpness, noise and place of a batch mildly.

    Args:
        images: ``[B, 3, H, W]`` in [0, 1], on any device.
        generator: Source of all randomness, a generator of the CPU.

    Returns:
        Same shape, range and device.
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
