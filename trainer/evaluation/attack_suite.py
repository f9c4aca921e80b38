"""Attacks on a protector that are not classifiers of its pictures: identity, reconstruction and text."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, get_args

import torch

from langchain_vpp.errors import DataError
from trainer.attackers.identity import IdentityData, Portraits, Reidentifier
from trainer.attackers.inversion import Inverter
from trainer.attackers.ocr import rapid_ocr, read_words
from trainer.evaluation.results import Restored, Search, WordsRead
from trainer.statistics import bootstrap_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from trainer.attackers.classifier import AttackData
    from trainer.attackers.identity import Embedder, Reidentification
    from trainer.attackers.ocr import TextReader

Attack = Literal["identity", "inversion", "text"]
ATTACKS: Final[tuple[Attack, ...]] = get_args(Attack)


class People(NamedTuple):
    """Whom the images of each split show, as a number for each; images of nobody twice have a number each."""

    train: Tensor
    val: Tensor
    test: Tensor


class Words(NamedTuple):
    """Private words and numbers of the test images."""

    subjects: tuple[str, ...]
    of_images: tuple[tuple[str | None, ...], ...]
    """For each image one for each subject, ``None`` where it has none."""


class Finding(NamedTuple):
    """What came of one operating point."""

    identity: tuple[Search, ...] = ()
    restored: Restored | None = None
    """Without what classifiers read in the reconstructions."""
    reconstructions: Tensor | None = None
    """``uint8``, shape ``[N, 3, H, W]``; of the test images."""
    words: tuple[WordsRead, ...] = ()


class Audit:
    """Prepares each attack once, on originals, and runs it on every operating point of a protector.

    Identity and inversion learn from pairs of originals and protected images, so that these must be of the same images
    in the same order.

    Args:
        attacks: Which.
        people: For identity.
        words: For text.
        groups: Group of each test image, for bootstrap intervals, shape ``[N]``.
        embedder: For identity, in place of a network of its own; see :class:`~trainer.attackers.identity.Reidentifier`.
        pictures: How many test images text is looked for in: an OCR engine takes its time.

    Raises:
        DataError: If the data can't be attacked in such a way.
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
        pictures: int = 200,
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
            self._read = rapid_ocr(sides=(640,))
        if self._identity is not None and min(len(torch.unique(each)) for each in people) < 2:
            raise DataError(
                "a split shows one person only, so nobody can be told from others. Nothing was measured; add people or "
                "leave this attack out."
            )
        self._pictures = pictures

    @property
    def learns_from_pairs(self) -> bool:
        """Whether the training split matters: text is looked for in test images alone."""
        return self._identity is not None or self._inverter is not None

    @property
    def descriptions(self) -> tuple[str, ...]:
        """Who attacks, for a report."""
        found = [each.description for each in (self._identity, self._inverter) if each is not None]
        if self._read is not None:
            found.append(
                f"RapidOCR on up to {self._pictures} test pictures, at their size and enlarged to 640 pixels"
            )
        return tuple(found)

    def prepare(self, originals: AttackData, *, generator: torch.Generator) -> Finding:
        """Learn from originals, and tell what they give away."""
        found: tuple[Search, ...] = ()
        if self._identity is not None:
            ceiling = self._identity.prepare(self._portraits(originals), generator=generator)
            found = (_search("originals", ceiling),)
        if self._inverter is not None:
            self._inverter.prepare(originals, generator=generator)
        return Finding(found, words=self._read_words(originals.test.images, generator))

    def attack(self, protected: AttackData, *, generator: torch.Generator) -> Finding:
        """Attack what was made of the originals at one operating point."""
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
        return Finding(tuple(searches), restored, images, self._read_words(protected.test.images, generator))

    def _portraits(self, data: AttackData) -> IdentityData:
        return IdentityData(
            *(Portraits(each.images, people) for each, people in zip(data, self._people, strict=True))
        )

    def _read_words(self, images: Tensor, generator: torch.Generator) -> tuple[WordsRead, ...]:
        if self._read is None:
            return ()
        shown = slice(self._pictures)
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
