"""Attacks on portraits: portraits cut out of protected cards are re-identified and restored.

The data set shows everybody once. Here everybody has two more cards, with other layouts, lights and places, and the
attacker gets the portraits alone, cut out along corners that a provider does not know. Both cards show the same
photograph, because FairFace has one of each person; that is easier than to recognise somebody by another photograph.
"""

from __future__ import annotations

import io
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from trainer.attackers.classifier import AttackData, AttackImages, FreshClassifier
from trainer.evaluation.attack_suite import AttackSuite, People, Words
from trainer.evaluation.judging import class_columns, to_readings
from trainer.evaluation.results import OURS
from trainer.evaluation.settings import UNTESTED
from trainer.runtime.rng import keyed_generator
from trainer.sandbox.drawing.cards import draw_card
from trainer.sandbox.drawing.portraits import read_portraits

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from langchain_vpp.engines import Engine
    from trainer.data.format import Split
    from trainer.evaluation.results import OperatingPoint, Reading, Report
    from trainer.sandbox.drawing.portraits import Portrait

PEOPLE: Final[Mapping[Split, int]] = {"train": 600, "val": 100, "test": 490}
"""Number of people that the attackers learn from, tune on and are judged by."""
_SPLITS: Final[tuple[Split, ...]] = ("train", "val", "test")
_STREAM: Final = 106
"""Second word of a drawing's seed."""
_CARDS_EACH: Final = 2
_LOOKED_AT: Final = 100
"""Number of people whose portraits decide the level from which nothing is shown."""
_LEVEL_STEPS: Final = 20
_SIDE: Final = 64
_WARM_EPOCHS: Final = 20
"""Epochs of the classifier that reads restored portraits."""


class _Drawn(NamedTuple):
    """A card as it is stored, and the place of its portrait."""

    file: bytes
    outline: tuple[tuple[float, float], ...]
    """Corners of the portrait; see :meth:`~trainer.sandbox.drawing.cards.Card.outline`."""


class _PortraitCards(NamedTuple):
    """Cards of every split, with the labels and the person of each."""

    drawn: Mapping[Split, Sequence[_Drawn]]
    labels: Mapping[Split, Tensor]
    """Class of every attribute, shape ``[N, A]``."""
    who: Mapping[Split, Tensor]
    """Number of the person, shape ``[N]``."""

    @classmethod
    def draw(
        cls, faces: Path, attributes: Mapping[str, tuple[str, ...]], people: Mapping[Split, int], seed: int
    ) -> _PortraitCards:
        portraits = {split: shown[: people[split]] for split, shown in read_portraits(faces).items()}
        return cls(
            {split: _draw(shown, seed, split) for split, shown in portraits.items()},
            {split: _labels(shown, attributes) for split, shown in portraits.items()},
            {
                split: torch.arange(len(shown)).repeat_interleave(_CARDS_EACH)
                for split, shown in portraits.items()
            },
        )

    @property
    def people(self) -> int:
        """Number of people of all splits."""
        return sum(map(len, self.drawn.values())) // _CARDS_EACH

    def cut_out(self, change: Callable[[Image.Image], Image.Image]) -> AttackData:
        """Change the pictures of all cards, and cut the portraits out of them."""
        return AttackData(
            *(AttackImages(_cut_out(self.drawn[split], change), self.labels[split]) for split in _SPLITS)
        )


class _PortraitAttack:
    """Networks that have learned from the portraits of originals to find people and to read restored portraits."""

    def __init__(self, cards: _PortraitCards, attributes: Mapping[str, tuple[str, ...]], seed: int) -> None:
        self._cards, self._attributes, self._seed = cards, tuple(attributes), seed
        self._suite = AttackSuite(
            ("identity", "inversion"),
            People(*(cards.who[split] for split in _SPLITS)),
            Words((), ()),
            cards.who["test"],
        )
        originals = cards.cut_out(lambda image: image)
        prepared = self._suite.prepare(originals, generator=keyed_generator(seed, "portraits"))
        self.identity = prepared.identity
        self._classifier = FreshClassifier(attributes, side=_SIDE, warm_epochs=_WARM_EPOCHS)
        scores = self._classifier.prepare(originals, generator=keyed_generator(seed, "restored portraits"))
        right = scores.predictions == cards.labels["test"]
        self._known: list[float] = right.float().mean(dim=0).tolist()

    @property
    def descriptions(self) -> tuple[str, ...]:
        """Descriptions of the attackers, for the report."""
        return self._suite.descriptions

    def extend(self, point: OperatingPoint, engine: Engine) -> OperatingPoint:
        """Add identity and restoration to a point of an audit."""
        found = self._suite.attack(
            self._cards.cut_out(partial(engine.protect, level=point.level)),
            generator=keyed_generator(self._seed, "portraits", point.level),
        )
        restored = found.restored
        if restored is not None and found.reconstructions is not None:
            restored = restored.model_copy(update={"attributes": self._read(found.reconstructions)})
        return point.model_copy(update={"identity": found.identity, "restored": restored})

    def _read(self, restored: Tensor) -> tuple[Reading, ...]:
        predictions, truth = self._classifier.read(restored).argmax(dim=2), self._cards.labels["test"]
        columns = class_columns(self._attributes, predictions, truth, self._known)
        generator = keyed_generator(self._seed, "bootstrap")
        return to_readings(self._classifier.name, columns, self._cards.who["test"], generator=generator)[0]


def attack_portraits(
    report: Report,
    engine: Engine,
    faces: Path,
    attributes: Mapping[str, tuple[str, ...]],
    *,
    people: Mapping[Split, int] = PEOPLE,
) -> Report:
    """Add re-identification and restoration of portraits to an audit, at each of its levels.

    Args:
        report: The audit so far.
        engine: The engine that was audited.
        faces: Portraits; see :mod:`trainer.sandbox.drawing.portraits`.
        attributes: Private attribute of the portraits -> its values.
        people: Number of people of each split; all people, if there are fewer.

    Returns:
        The report with :attr:`~trainer.evaluation.results.OperatingPoint.identity` and
        :attr:`~trainer.evaluation.results.OperatingPoint.restored`, both about portraits alone.

    Raises:
        DataError: If the portraits can't be used.
    """
    cards = _PortraitCards.draw(faces, attributes, people, report.seed)
    attack = _PortraitAttack(cards, attributes, report.seed)
    points = tuple(attack.extend(point, engine) if point.engine == OURS else point for point in report.points)
    told = (
        f"both on portraits alone, cut out of {_CARDS_EACH} further cards with the same photograph of each of "
        f"{cards.people:,} people"
    )
    tested = (UNTESTED["identity"], UNTESTED["inversion"])
    return report.model_copy(
        update={
            "attacker": "; ".join((report.attacker, *attack.descriptions, told)),
            "originals": report.originals.model_copy(update={"identity": attack.identity}),
            "points": points,
            "not_tested": tuple(each for each in report.not_tested if each not in tested),
        }
    )


def closing_level(engine: Engine, faces: Path, *, seed: int, people: int = _LOOKED_AT) -> float:
    """Find the weakest level, in twentieths, from which every portrait is a single colour.

    Args:
        engine: The engine to look at.
        faces: Portraits; see :mod:`trainer.sandbox.drawing.portraits`. Those for validation are used.
        seed: Seed of the drawings.
        people: Number of people.

    Returns:
        The level; 1 if portraits show something at every level.

    Raises:
        DataError: If the portraits can't be used.
    """
    drawn = _draw(read_portraits(faces)["val"][:people], seed, "val")
    for step in range(_LEVEL_STEPS, -1, -1):
        if any(_shows_something(card, partial(engine.protect, level=step / _LEVEL_STEPS)) for card in drawn):
            return min(step + 1, _LEVEL_STEPS) / _LEVEL_STEPS
    return 0.0


def _shows_something(card: _Drawn, change: Callable[[Image.Image], Image.Image]) -> bool:
    """Return whether the pixels of the portrait differ at all."""
    image = change(Image.open(io.BytesIO(card.file)).convert("RGB"))
    inside = Image.new("1", image.size)
    ImageDraw.Draw(inside).polygon(card.outline, fill=1)
    pixels = np.asarray(image)[np.asarray(inside)]
    return bool((pixels != pixels[0]).any())


def _draw(portraits: Sequence[Portrait], seed: int, split: Split) -> list[_Drawn]:
    drawn = []
    for number, portrait in enumerate(portraits):
        face = portrait.open()
        for card_number in range(_CARDS_EACH):
            generator = np.random.default_rng((seed, _STREAM, _SPLITS.index(split), number, card_number))
            card = draw_card(generator, face, portrait.attributes)
            buffer = io.BytesIO()
            card.image.save(buffer, "JPEG", quality=int(generator.integers(75, 96)))
            drawn.append(_Drawn(buffer.getvalue(), card.outline("portrait")))
    return drawn


def _labels(portraits: Sequence[Portrait], attributes: Mapping[str, tuple[str, ...]]) -> Tensor:
    """Return the class of every attribute, with a row for each card."""
    rows = [
        [values.index(each.attributes[name]) for name, values in attributes.items()] for each in portraits
    ]
    return torch.tensor(rows).repeat_interleave(_CARDS_EACH, dim=0)


def _cut_out(drawn: Sequence[_Drawn], change: Callable[[Image.Image], Image.Image]) -> Tensor:
    """Straighten portraits and scale them to one size, ``uint8 [N, 3, 64, 64]``."""
    result = torch.empty((len(drawn), 3, _SIDE, _SIDE), dtype=torch.uint8)
    for row, card in enumerate(drawn):
        image = change(Image.open(io.BytesIO(card.file)).convert("RGB"))
        top_left, top_right, bottom_right, bottom_left = card.outline
        corners = (*top_left, *bottom_left, *bottom_right, *top_right)
        large = image.transform(
            (2 * _SIDE, 2 * _SIDE), Image.Transform.QUAD, corners, Image.Resampling.BILINEAR
        )
        result[row] = torch.from_numpy(np.array(large.reduce(2))).permute(2, 0, 1)
    return result
