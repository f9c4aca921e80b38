"""Pictures of a data set as attackers and a chat model receive them: protected, encoded and decoded again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import torch
from PIL import Image

from langchain_vpp.images.codec import decode_image, encode_image
from langchain_vpp.network.config import working_size
from trainer.attackers.classifier import AttackData, AttackImages
from trainer.data.wire import as_tensor
from trainer.evaluation.conditions import ORIGINALS
from trainer.runtime.rng import keyed_generator

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from concurrent.futures import Executor

    from torch import Tensor

    from trainer.data.format import Split
    from trainer.evaluation.conditions import Condition
    from trainer.evaluation.settings import EvaluationSettings
    from trainer.evaluation.splits import Splits

_GREY: Final = 128


class Delivered(NamedTuple):
    """Pictures of all splits under one condition."""

    data: AttackData
    sent: dict[int, bytes]
    """Row of the test split -> encoded picture that the chat model is asked about."""


class Pictures:
    """Protects pictures one by one and sends them through the encoder of run time.

    Args:
        splits: The examples and their labels.
        settings: Seed, and the number of training images.
        resolution: Longest side in pixels at which attackers see images.
    """

    def __init__(self, splits: Splits, settings: EvaluationSettings, resolution: int) -> None:
        self._splits, self._settings, self._resolution = splits, settings, resolution
        self.paired_rows: tuple[int, ...] = self._some_rows("rows/pairs", settings.train_images)
        """Rows of the train split whose originals and protected images are shown side by side."""

    def under(self, condition: Condition, asked_about: Collection[int], workers: Executor) -> Delivered:
        """Deliver images of all splits under a condition.

        Attackers learn from other rows of the train split at every condition, so that they see many images in all.

        Args:
            condition: The engine and the level.
            asked_about: Rows of the test split whose encoded pictures are kept.
            workers: Threads that protect pictures.

        Raises:
            DataError: If an image can't be read.
        """
        count = self._settings.original_images if condition.name == ORIGINALS else self._settings.train_images
        sent: dict[int, bytes] = {}
        rows = {split: range(len(examples)) for split, examples in self._splits.examples.items()}
        train = self._some_rows(f"rows/{condition.name}/{condition.level}", count)
        data = AttackData(
            self._images("train", train, condition, workers),
            self._images("val", rows["val"], condition, workers),
            self._images("test", rows["test"], condition, workers, asked_about=asked_about, sent=sent),
        )
        return Delivered(data, sent)

    def paired(self, condition: Condition, workers: Executor) -> AttackImages:
        """Deliver the images of :attr:`paired_rows` under a condition."""
        return self._images("train", self.paired_rows, condition, workers)

    def _some_rows(self, purpose: str, most: int) -> tuple[int, ...]:
        generator = keyed_generator(self._settings.seed, purpose)
        order = torch.randperm(len(self._splits.examples["train"]), generator=generator)
        return tuple(order[:most].tolist())

    def _images(
        self,
        split: Split,
        rows: Sequence[int],
        condition: Condition,
        workers: Executor,
        *,
        asked_about: Collection[int] = (),
        sent: dict[int, bytes] | None = None,
    ) -> AttackImages:
        """Protect images of one split; encoded pictures of the rows ``asked_about`` are put into ``sent``."""
        examples = self._splits.examples[split]

        def arrive(row: int) -> Image.Image:
            image = self._splits.dataset.open_image(examples[row])
            encoded = encode_image(
                condition.engine.protect(image, condition.level) if condition.engine else image
            )
            if sent is not None and row in asked_about:
                sent[row] = encoded
            return _at_resolution(decode_image(encoded), self._resolution)

        arrived = list(workers.map(arrive, rows))
        return AttackImages(_canvas(arrived), self._splits.labels[split][list(rows)])


def _at_resolution(image: Image.Image, resolution: int) -> Image.Image:
    size = working_size(*image.size, resolution)
    return image if image.size == size else image.resize(size, Image.Resampling.BOX)


def _canvas(images: Sequence[Image.Image]) -> Tensor:
    """Stack images, ``uint8`` of shape ``[N, 3, H, W]``; smaller ones lie at the top left, the rest is grey."""
    height, width = (max(image.size[side] for image in images) for side in (1, 0))
    canvas = torch.full((len(images), 3, height, width), _GREY, dtype=torch.uint8)
    for row, image in zip(canvas, images, strict=True):
        row[:, : image.height, : image.width] = as_tensor(image)
    return canvas
