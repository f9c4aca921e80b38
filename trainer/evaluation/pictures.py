"""Pictures of a data set as attackers and a chat model receive them: protected, encoded and decoded again."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from PIL import Image

from langchain_vpp.engines.clip import steadied
from langchain_vpp.images.codec import decode_image, encode_image
from langchain_vpp.network.config import working_size
from trainer.attackers.classifier import AttackData, AttackImages
from trainer.data.dataset import stacked
from trainer.evaluation.conditions import ORIGINALS
from trainer.oracle.clips import pack, unpack
from trainer.runtime.rng import keyed_generator

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from concurrent.futures import Executor

    from langchain_vpp.engines import Engine
    from trainer.data.dataset import Dataset
    from trainer.data.format import Example, Split
    from trainer.evaluation.conditions import Condition
    from trainer.evaluation.settings import EvaluationSettings
    from trainer.evaluation.splits import Splits


class Delivered(NamedTuple):
    """Pictures of all splits under one condition."""

    data: AttackData
    sent: dict[int, bytes]
    """Row of the test split -> encoded picture that the chat model is asked about."""


class Pictures:
    """Protects pictures and frames one by one and sends them through the encoder of run time.

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

        dataset = self._splits.dataset

        def arrive(row: int) -> list[Image.Image]:
            encoded = as_sent(dataset, examples[row], condition.engine, condition.level)
            if sent is not None and row in asked_about:
                sent[row] = encoded
            return [_at_resolution(decode_image(frame), self._resolution) for frame in unpack(encoded)]

        arrived = stacked(list(workers.map(arrive, rows)))
        images = arrived if dataset.has_clips else arrived.squeeze(1)
        return AttackImages(images, self._splits.labels[split][list(rows)])


def as_sent(dataset: Dataset, example: Example, engine: Engine | None, level: float) -> bytes:
    """Protect and encode a picture, or the frames of a video, as the runtime sends them.

    Args:
        dataset: Data set of the example.
        example: The example.
        engine: Engine; ``None`` protects nothing.
        level: Level of the engine, one for all frames.

    Returns:
        The encoded picture, or the packed frames (:mod:`trainer.oracle.clips`).

    Raises:
        DataError: If the file can't be read.
    """
    frames = dataset.open_frames(example)
    shown = frames if engine is None else [engine.protect(frame, level) for frame in frames]
    if not example.is_video:
        return encode_image(shown[0])
    if engine is not None and len(frames) > 1:
        shown = steadied(frames, shown)
    return pack([encode_image(frame) for frame in shown])


def _at_resolution(image: Image.Image, resolution: int) -> Image.Image:
    size = working_size(*image.size, resolution)
    return image if image.size == size else image.resize(size, Image.Resampling.BOX)
