"""The attackers of an evaluation: fresh classifiers, and attacks by identity, reconstruction and text."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import torch

from langchain_vpp.errors import DataError
from trainer.attackers.backbones import BACKBONE_SIDE
from trainer.attackers.classifier import OVERVIEW_SIDE, Architecture, FreshClassifier
from trainer.attackers.frames import VIEWED
from trainer.attackers.identity import IdentityData, Portraits, Reidentifier
from trainer.attackers.inversion import Inverter
from trainer.attackers.ocr import rapid_ocr, read_words
from trainer.evaluation.results import Restored, Search, WordsRead
from trainer.evaluation.splits import group_numbers
from trainer.statistics import bootstrap_mean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from trainer.attackers.classifier import AttackData
    from trainer.attackers.identity import Embedder, Reidentification
    from trainer.attackers.ocr import TextReader
    from trainer.data.format import Example
    from trainer.evaluation.settings import Attack, EvaluationSettings
    from trainer.evaluation.splits import Splits

_OCR_SIDE: Final = 640
"""Longest side in pixels to which pictures are enlarged for an OCR engine."""

_Start = Literal["originals", "protected"]


class People(NamedTuple):
    """Number of the person that each image shows, for each split; an image of a person seen once has its own."""

    train: Tensor
    val: Tensor
    test: Tensor


class Words(NamedTuple):
    """Private words and numbers of the test images."""

    subjects: tuple[str, ...]
    of_images: tuple[tuple[str | None, ...], ...]
    """The words of each image, one for each subject; ``None`` where an image has none."""

    @classmethod
    def of(cls, examples: Sequence[Example]) -> Words:
        """Collect the private texts of examples."""
        subjects = tuple(dict.fromkeys(subject for example in examples for subject in example.texts))
        return cls(
            subjects, tuple(tuple(example.texts.get(each) for each in subjects) for example in examples)
        )


class SuiteOutcome(NamedTuple):
    """Results of the attack suite at one operating point."""

    identity: tuple[Search, ...] = ()
    restored: Restored | None = None
    """Likeness of the reconstructions, without the attributes that classifiers read in them."""
    reconstructions: Tensor | None = None
    """Reconstructed test images, ``uint8``, shape ``[N, 3, H, W]``."""
    words: tuple[WordsRead, ...] = ()


def fresh_classifiers(
    attributes: Mapping[str, tuple[str, ...]],
    settings: EvaluationSettings,
    resolution: int,
    *,
    of_clips: bool = False,
) -> tuple[FreshClassifier, ...]:
    """Make the classifiers that the settings name.

    Args:
        attributes: Private attributes and their classes.
        settings: Architectures of the warm and the cold classifiers.
        resolution: Longest side in pixels at which attackers see images.
        of_clips: Whether they see clips. Then more of them see a single frame of each, the mean or the median of all,
            or the weakest frame, to tell what several frames add.
    """
    is_large = resolution > OVERVIEW_SIDE

    def sides(architecture: Architecture, start: _Start) -> set[int | None]:
        if architecture != "small":
            return {min(BACKBONE_SIDE, resolution)}
        if start == "protected":  # anew at every point: at full size that would take most of the time
            return {BACKBONE_SIDE if is_large else None}
        return {OVERVIEW_SIDE, None} if is_large else {None}

    starts: dict[_Start, tuple[Architecture, ...]] = {
        "originals": settings.classifiers,
        "protected": settings.cold,
    }
    epochs = 2 if is_large else 3  # five levels of large pictures take a quarter of an hour on two cores
    found = tuple(
        FreshClassifier(attributes, architecture=each, start=start, side=side, epochs=epochs)
        for start, architectures in starts.items()
        for each in architectures
        for side in sorted(sides(each, start), key=lambda side: side or 0)
    )
    views = (each for each in VIEWED if of_clips and each != "all")
    return (*found, *(FreshClassifier(attributes, epochs=epochs, frames=each) for each in views))


class AttackSuite:
    """Prepares each attack once, on originals, and runs it on every operating point of a protector.

    Identity and inversion learn from pairs of originals and protected images, so these must show the same images in
    the same order.

    Args:
        attacks: The attacks to run.
        people: Persons in the images, for identity.
        words: Private texts in the images, for text.
        groups: Group of each test image, for bootstrap intervals, shape ``[N]``.
        embedder: Embedder for identity, in place of a network of the suite's own; see
            :class:`~trainer.attackers.identity.Reidentifier`.
        text_pictures: Number of test images in which text is looked for: an OCR engine is slow.

    Raises:
        DataError: If the data has no private text, or a split shows one person only.
        TrainingError: If text is to be read and no OCR engine is installed.
    """

    def __init__(
        self,
        attacks: Sequence[Attack],
        people: People,
        words: Words,
        groups: Tensor,
        *,
        embedder: Embedder | None = None,
        text_pictures: int = 200,
    ) -> None:
        self._people, self._words, self._groups = people, words, groups
        self._identity = Reidentifier(embedder) if "identity" in attacks else None
        self._inverter = Inverter() if "inversion" in attacks else None
        self._read: TextReader | None = None
        if "text" in attacks:
            if not words.subjects:
                raise DataError(
                    "the data set names no private texts on test, so an OCR engine has nothing to look for. "
                    "Nothing was measured; add `texts` or leave this attack out."
                )
            self._read = rapid_ocr(sides=(_OCR_SIDE,))
        if self._identity is not None and min(len(torch.unique(each)) for each in people) < 2:
            raise DataError(
                "a split shows one person only, so nobody can be told from others. Nothing was measured; add people or "
                "leave this attack out."
            )
        self._text_pictures = text_pictures

    @classmethod
    def of(
        cls,
        splits: Splits,
        settings: EvaluationSettings,
        paired_rows: Sequence[int],
        embedder: Embedder | None = None,
    ) -> AttackSuite:
        """Make the suite that the settings name.

        Args:
            splits: The data set.
            settings: The attacks.
            paired_rows: Rows of the train split whose images the attacks learn from.
            embedder: See the class.

        Raises:
            DataError: As the class; also if the data set has videos, which these attacks can't look at.
        """
        attacks: list[Attack] = [each for each in settings.attacks if each != "repeated"]
        if attacks and splits.dataset.has_clips:
            raise DataError(
                f"the attacks {', '.join(attacks)} look at pictures, and the data set has videos. Nothing was "
                "measured; leave them out."
            )
        train, val = (group_numbers(splits.examples[split]) for split in ("train", "val"))
        return cls(
            attacks,
            People(train[list(paired_rows)], val, splits.groups),
            Words.of(splits.examples["test"]),
            splits.groups,
            embedder=embedder,
            text_pictures=settings.text_pictures,
        )

    @property
    def is_empty(self) -> bool:
        """Whether the suite holds no attack."""
        return not self.learns_from_pairs and self._read is None

    @property
    def learns_from_pairs(self) -> bool:
        """Whether the suite needs training images; text is looked for in test images alone."""
        return self._identity is not None or self._inverter is not None

    @property
    def descriptions(self) -> tuple[str, ...]:
        """Descriptions of the attackers, for a report."""
        found = [each.description for each in (self._identity, self._inverter) if each is not None]
        if self._read is not None:
            found.append(
                f"RapidOCR on up to {self._text_pictures} test pictures, at their size and enlarged to {_OCR_SIDE} "
                "pixels"
            )
        return tuple(found)

    def prepare(self, originals: AttackData, *, generator: torch.Generator) -> SuiteOutcome:
        """Learn from originals, and measure what they give away."""
        found: tuple[Search, ...] = ()
        if self._identity is not None:
            ceiling = self._identity.prepare(self._portraits(originals), generator=generator)
            found = (_search("originals", ceiling),)
        if self._inverter is not None:
            self._inverter.prepare(originals, generator=generator)
        return SuiteOutcome(found, words=self._read_words(originals.test.images, generator))

    def attack(self, protected: AttackData, *, generator: torch.Generator) -> SuiteOutcome:
        """Attack the protected images of one operating point."""
        searches: list[Search] = []
        if self._identity is not None:
            found = self._identity.attack(self._portraits(protected), generator=generator)
            searches.append(_search("originals", found.original_gallery))
            if found.protected_gallery is not None:
                searches.append(_search("protected", found.protected_gallery))
        restored, images = None, None
        if self._inverter is not None:
            made = self._inverter.attack(protected, generator=generator)
            images = made.images
            restored = Restored(
                psnr=bootstrap_mean(made.likeness.psnr, self._groups, generator=generator),
                psnr_floor=float(made.floor.psnr.mean()),
                ssim=bootstrap_mean(made.likeness.ssim, self._groups, generator=generator),
                ssim_floor=float(made.floor.ssim.mean()),
                attributes=(),
            )
        words = self._read_words(protected.test.images, generator)
        return SuiteOutcome(tuple(searches), restored, images, words)

    def _portraits(self, data: AttackData) -> IdentityData:
        return IdentityData(
            *(Portraits(each.images, people) for each, people in zip(data, self._people, strict=True))
        )

    def _read_words(self, images: Tensor, generator: torch.Generator) -> tuple[WordsRead, ...]:
        if self._read is None:
            return ()
        shown = slice(self._text_pictures)
        read = read_words(images[shown], self._words.of_images[shown], self._read)
        groups = torch.unique(self._groups[shown], return_inverse=True)[1]
        result = []
        for column, subject in enumerate(self._words.subjects):
            # A subject that none of these pictures has is left out.
            with contextlib.suppress(ValueError):
                result.append(
                    WordsRead(
                        subject=subject,
                        exact=bootstrap_mean(read.exact[:, column], groups, generator=generator),
                        exact_floor=float(read.exact_floor[:, column].nanmean()),
                        distance=bootstrap_mean(read.distance[:, column], groups, generator=generator),
                        distance_floor=float(read.distance_floor[:, column].nanmean()),
                        count=int(read.exact[:, column].isfinite().sum()),
                    )
                )
        return tuple(result)


def _search(gallery: Literal["originals", "protected"], found: Reidentification) -> Search:
    return Search(
        gallery=gallery,
        top1=found.top1,
        top1_floor=found.top1_floor,
        auc=found.auc,
        same_picture=found.same_picture,
        probes=found.probes,
        people=found.gallery,
    )
