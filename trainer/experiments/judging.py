"""How much a protector leaks and keeps, measured on the sandbox without a query."""

from __future__ import annotations

import copy
from statistics import fmean
from typing import TYPE_CHECKING, Final, NamedTuple

import torch

from langchain_vpp.errors import DataError
from langchain_vpp.images.codec import decode_image, encode_image
from trainer.algorithms.pareto import hypervolume
from trainer.attackers.classifier import AttackData, AttackImages, FreshClassifier
from trainer.data.answers import answer_space, references
from trainer.data.dataset import load_dataset
from trainer.data.wire import as_image, as_tensor
from trainer.experiments.white_box import WhiteBox
from trainer.runtime.rng import keyed_generator
from trainer.sandbox.drawing.scenes import SCENE_SIZE
from trainer.sandbox.vision.local_model import LocalVisionModel
from trainer.statistics import chance, scale

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from torch import Tensor

    from langchain_vpp.engines import Engine
    from langchain_vpp.network.protector import Protector
    from trainer.data.format import Split
    from trainer.experiments.grid import Sizes

_SPLITS: Final[tuple[Split, ...]] = ("train", "val", "test")
_BATCH: Final = 100


class Point(NamedTuple):
    """What was measured at one level, scaled: 0 at chance, 1 on originals."""

    level: float
    leak: float
    utility: float


class Judge:
    """Measures leak and utility of anything that protects the sandbox's pictures.

    Args:
        folder: The data set.
        sizes: How much is measured.
        seed: Of the attacker.
    """

    def __init__(self, folder: Path, sizes: Sizes, seed: int) -> None:
        self._sizes, self._seed = sizes, seed
        self.dataset = load_dataset(folder)
        self._labels = {split: self.dataset.labels(self.dataset.split(split)) for split in _SPLITS}
        space = answer_space(self.dataset)
        self._model = WhiteBox(space, LocalVisionModel.load())
        self._references = references(self.dataset.split("test"), space)
        self._attacker = FreshClassifier(self.dataset.private_attributes)
        originals = self._originals()
        read = self._attacker.prepare(self._data(originals), generator=keyed_generator(self._seed, "prepare"))
        self._leak_ceilings = _accuracies(read.predictions == self._labels["test"])
        self._utility_ceilings = self._answered(originals["test"])

    def points(
        self, protect: Callable[[Tensor, float], Tensor], levels: Sequence[float]
    ) -> tuple[Point, ...]:
        """Attack from the weakest level to the strongest, each time from where the attacker stands.

        Args:
            protect: From ``uint8`` images ``[N, 3, H, W]`` and a level to images as they would arrive.
            levels: In [0, 1].
        """
        originals, attacker = self._originals(), copy.deepcopy(self._attacker)
        found = []
        for level in sorted(levels):
            generator = keyed_generator(self._seed, f"attack/{level}")
            rows = torch.randperm(len(originals["train"]), generator=generator)[: self._sizes.attacker_images]
            chosen = originals | {"train": originals["train"][rows]}
            arrived = {split: protect(images, level) for split, images in chosen.items()}
            read = attacker.attack(self._data(arrived, rows), generator=generator).predictions
            truth = self._labels["test"]
            leak = _mean_scaled(_accuracies(read == truth), truth, self._leak_ceilings)
            utility = _mean_scaled(self._answered(arrived["test"]), self._references, self._utility_ceilings)
            found.append(Point(level, leak, utility))
        return tuple(found)

    def _originals(self) -> dict[Split, Tensor]:
        return {split: self.dataset.pixels(self.dataset.split(split), SCENE_SIZE) for split in _SPLITS}

    def _data(self, images: Mapping[Split, Tensor], rows: Tensor | None = None) -> AttackData:
        labels = self._labels if rows is None else self._labels | {"train": self._labels["train"][rows]}
        return AttackData(*(AttackImages(images[split], labels[split]) for split in _SPLITS))

    def _answered(self, images: Tensor) -> list[float]:
        """The chat model's accuracy at each question about the test images."""
        parts = [self._model.probabilities(part.float() / 255) for part in torch.split(images, _BATCH)]
        return _accuracies(torch.cat(parts).argmax(dim=-1) == self._references)


def _accuracies(right: Tensor) -> list[float]:
    accuracies: list[float] = right.float().mean(dim=0).tolist()
    return accuracies


def _mean_scaled(accuracies: Sequence[float], classes: Tensor, ceilings: Sequence[float]) -> float:
    """Mean over columns; one that can't be told from chance even on originals says nothing."""
    scaled = [
        scale(accuracy, chance(column), ceiling)
        for accuracy, column, ceiling in zip(accuracies, classes.T, ceilings, strict=True)
    ]
    known = [each for each in scaled if each is not None]
    if not known:
        raise DataError("nothing can be read even from originals, so nothing was measured. Draw more images.")
    return fmean(known)


def as_sent_by_protector(protector: Protector) -> Callable[[Tensor, float], Tensor]:
    """What :meth:`Judge.points` needs, from a learned network."""

    @torch.no_grad()
    def protect(images: Tensor, level: float) -> Tensor:
        parts = [
            protector(part.float() / 255, torch.full((len(part),), level))
            for part in torch.split(images, _BATCH)
        ]
        return torch.stack(
            [as_tensor(decode_image(encode_image(as_image(each)))) for each in torch.cat(parts)]
        )

    return protect


def as_sent_by_engine(engine: Engine) -> Callable[[Tensor, float], Tensor]:
    """What :meth:`Judge.points` needs, from an engine that takes one picture after the other."""

    def protect(images: Tensor, level: float) -> Tensor:
        protected = (engine.protect(as_image(each.float() / 255), level) for each in images)
        return torch.stack([as_tensor(decode_image(encode_image(each))) for each in protected])

    return protect


def front_hypervolume(points: Sequence[Point]) -> float:
    """Area that points dominate, reference leak 1 and utility 0; what lies beyond [0, 1] is noise, its ends count."""
    return hypervolume([(max(point.leak, 0.0), min(point.utility, 1.0)) for point in points])
