"""Drawn tasks: what is learned from a few hundred answers, against the front over all sets of kinds.

The screen model's answers depend on what is shown alone. So they are computed once for every picture and set of kinds,
from the words that stand in the painted picture; :func:`agreement` says how often its real reader gives the same.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import torch

from langchain_vpp.engines.words.admitted import AdmittedKinds
from langchain_vpp.engines.words.kinds import KINDS, covering
from langchain_vpp.engines.words.plates import plates_of
from langchain_vpp.engines.words.reader import Word
from langchain_vpp.engines.words.tokens import TokenNumbers
from langchain_vpp.errors import DataError
from langchain_vpp.images.codec import decode_image, encode_image
from trainer.algorithms.pareto import hypervolume
from trainer.data.checks import require_pictures
from trainer.oracle.scoring import accuracy
from trainer.runtime.rng import keyed_generator
from trainer.sandbox.screens.rules import answer
from trainer.training.admission.config import PRICES
from trainer.training.admission.learner import KindsLearner, Subject

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from PIL import Image

    from langchain_vpp.engines.words.admitted import Layers
    from langchain_vpp.engines.words.reader import TextReader
    from trainer.data.dataset import Dataset
    from trainer.data.format import Example
    from trainer.sandbox.screens.model import ScreenModel
    from trainer.training.admission.learner import KindOffer

_ALL: Final = frozenset(KINDS) - {"background"}
"""Kinds that may be shown here. The background tells the rules nothing, and doubles the number of sets."""
_LEAST_GAIN: Final = 0.01


class Picture(NamedTuple):
    """A picture, what it is made of, and the score of each answer for each set of its kinds."""

    image: Image.Image
    layers: Layers
    example: Example
    kinds: frozenset[str]
    scores: dict[frozenset[str], tuple[float, ...]]


class Shares(NamedTuple):
    """Hypervolumes as shares of the exhaustive front's.

    Attributes:
        asked: On the pictures that were asked about.
        held_out: On pictures of a layout that training lacks, against their own exhaustive front.
    """

    asked: float
    held_out: float


def read_pictures(dataset: Dataset, split: str, reader: TextReader) -> list[Picture]:
    """Read the pictures of a split, and answer their questions for every set of their kinds.

    Raises:
        DataError: If a picture can't be read, or the data set has videos.
    """
    require_pictures(dataset, "reading words")
    engine, pictures = AdmittedKinds((), reader=reader), []
    for example in (each for each in dataset.examples if each.split == split):
        image = dataset.open_image(example)
        layers = engine.look(image)
        if layers is None:
            raise DataError(f"{example.image} could not be read, so nothing was measured.")
        kinds = engine.kinds_in(layers) & _ALL
        scores = {shown: _scores(painted_words(layers, shown, image.size), example) for shown in _sets(kinds)}
        pictures.append(Picture(image, layers, example, kinds, scores))
    return pictures


def learned(
    pictures: Sequence[Picture],
    held_out: Sequence[Picture],
    *,
    choice: Literal["informative", "uniform"],
    budget: int,
    seed: int,
) -> Shares:
    """Learn from some answers, and compare the front with the exhaustive one."""
    learner = KindsLearner(
        [Subject(each.kinds, each.example.tasks) for each in pictures],
        _ALL,
        PRICES,
        choice=choice,
        generator=keyed_generator(seed, "admission"),
    )
    count = 0
    while count < budget:
        probes = learner.propose(budget - count)
        if not probes:
            break
        for probe in probes:
            picture = pictures[probe.picture]
            place = picture.example.tasks.index(learner.task(probe))
            learner.observe(probe, picture.scores[learner.shown(probe)][place])
        count += len(probes)
    offers = learner.front(_LEAST_GAIN)
    return Shares(*(_volume(offers, each) / best_volume(each) for each in (pictures, held_out)))


def best_volume(pictures: Sequence[Picture]) -> float:
    """Return the hypervolume of the front over all sets of kinds."""
    present = frozenset(kind for each in pictures for kind in each.kinds)
    total = sum(PRICES[kind] for kind in present)
    points = [
        (sum(PRICES[kind] for kind in shown) / total, _utility(shown, pictures)) for shown in _sets(present)
    ]
    return hypervolume(points)


def agreement(pictures: Sequence[Picture], model: ScreenModel, *, count: int, seed: int) -> tuple[int, int]:
    """Compare the computed scores with those of the screen model, which reads the painted pictures.

    Args:
        pictures: The pictures.
        model: The screen model with its own reader.
        count: Painted pictures that it reads, each with a set of kinds drawn at random.
        seed: Seed of the choice.

    Returns:
        Equal scores, and all scores.
    """
    generator = keyed_generator(seed, "agreement")
    engine = AdmittedKinds((), reader=_NoReader())
    equal = total = 0
    for index in range(count):
        picture = pictures[index % len(pictures)]
        sets = list(picture.scores)
        shown = sets[int(torch.randint(len(sets), (1,), generator=generator))]
        sent = decode_image(encode_image(engine.paint(picture.image, picture.layers, shown)))
        for task, score in zip(picture.example.tasks, picture.scores[shown], strict=True):
            equal += accuracy(model.answer(sent, task.question).text, task.answer) == score
            total += 1
    return equal, total


def painted_words(layers: Layers, shown: Collection[str], size: tuple[int, int]) -> list[Word]:
    """Return the words that stand in a painted picture: those that are shown, and the tokens on the plates.

    Args:
        layers: What the picture is made of.
        shown: Kinds that are shown.
        size: Width and height of the picture, in pixels.
    """
    plates, crisp = plates_of(
        layers.words, covering(layers.verdicts, layers.kinds, shown), TokenNumbers(), size
    )
    words = [_moved(layers.words[each.word], each.shift) for each in crisp]
    line = max((word.line for word in layers.words), default=0)
    for plate in plates:
        line += 1
        tokens = plate.caption.split()
        width = (plate.box[2] - plate.box[0]) / max(1, len(tokens))
        words += [
            Word(token, (plate.box[0] + place * width, plate.box[1], plate.box[0] + (place + 1) * width, plate.box[3]),
                 1.0, line)
            for place, token in enumerate(tokens)
        ]  # fmt: skip
    return words


class _NoReader:
    def read(self, image: Image.Image) -> list[Word]:  # noqa: ARG002  the protocol's
        """Find nothing: what is painted was read before."""
        return []


def _moved(word: Word, shift: int) -> Word:
    left, top, right, bottom = word.box
    return word._replace(box=(left + shift, top, right + shift, bottom))


def _scores(words: Sequence[Word], example: Example) -> tuple[float, ...]:
    return tuple(accuracy(answer(words, task.question) or "", task.answer) for task in example.tasks)


def _utility(shown: frozenset[str], pictures: Sequence[Picture]) -> float:
    scores = [score for each in pictures for score in each.scores[shown & each.kinds]]
    return sum(scores) / len(scores)


def _volume(offers: Iterable[KindOffer], pictures: Sequence[Picture]) -> float:
    total = sum(PRICES[kind] for kind in frozenset(kind for each in pictures for kind in each.kinds))
    return hypervolume(
        [
            (sum(PRICES[kind] for kind in offer.kinds) / total, _utility(frozenset(offer.kinds), pictures))
            for offer in offers
        ]
    )


def _sets(kinds: Collection[str]) -> list[frozenset[str]]:
    ordered = sorted(kinds)
    return [frozenset(each) for size in range(len(ordered) + 1) for each in combinations(ordered, size)]
