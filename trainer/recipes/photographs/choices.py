"""Choice of thresholds, on photographs and portraits that are held back from training and from the audit.

Of each picture the network's logits and the detector's findings are taken once, and each setting's picture is composed
of them, to the value as the finished artifact makes it but for its rounding to int8.
"""

from __future__ import annotations

import json
import logging
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import torch
from PIL import Image

from langchain_vpp.artifact import DETECTOR
from langchain_vpp.engines.face_cover import FaceCover
from langchain_vpp.images.codec import resized
from langchain_vpp.network.config import working_size
from langchain_vpp.network.protector import smooth_mask
from trainer.recipes.photographs.artifact import split_held, train_protector
from trainer.recipes.photographs.audit.finders import independent_finders
from trainer.recipes.photographs.audit.measures import pasted_faces, photographs_objects, photographs_words
from trainer.recipes.photographs.audit.pasted import paste_people, read_people
from trainer.recipes.photographs.audit.readers import independent_readers
from trainer.recipes.photographs.audit.summary import Audit, summarise
from trainer.sandbox.vision.photos.objects import ObjectDetector

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from langchain_vpp.network.protector import Protector
    from trainer.recipes.photographs.audit.finders import Finder
    from trainer.recipes.photographs.audit.pasted import PastedPicture
    from trainer.recipes.photographs.audit.readers import Reader
    from trainer.recipes.photographs.plan import PhotographsJob, PhotographsPlan
    from trainer.sandbox.drawing.photographs import Photograph

_PASTED: Final = 80
"""Photographs with pasted faces."""
_PLAIN: Final = 80
"""Photographs on which objects are counted."""
_WORDED: Final = 60
"""Photographs in which words are read."""
_SETTING: Final = "setting"
_ORIGINALS: Final = "originals"
_logger = logging.getLogger(__name__)


class Setting(NamedTuple):
    """One choice of everything that is not learned."""

    level: float
    """Level of the network."""
    threshold: float
    """Logit of the mask below which a pixel is hidden."""
    weak: float
    """Score from which the detector's finding counts where the network hides part of it, too."""
    sure: float
    """Score from which it counts by itself."""
    heads: bool = True
    """Cover whole heads, not the face alone."""

    def __str__(self) -> str:
        what = "heads" if self.heads else "faces"
        return f"level {self.level:g}, logit {self.threshold:g}, {what} from {self.weak:g} and {self.sure:g}"


SETTINGS: Final = (
    *(Setting(0.5, -9.0, sure, sure) for sure in (0.15, 0.3)),
    *(Setting(0.5, -0.5, *scores) for scores in ((0.3, 0.3), (0.08, 0.3), (0.08, 0.4))),
    *(Setting(0.5, -1.0, *scores) for scores in ((0.3, 0.3), (0.1, 0.3))),
    *(Setting(0.5, -1.25, 0.1, sure) for sure in (0.3, 0.35, 0.45)),
    *(Setting(0.5, threshold, 0.1, 0.25) for threshold in (-1.5, -2.0)),
    Setting(0.25, -1.25, 0.1, 0.35, heads=False),
)
"""Settings to choose from; the first two leave out the network."""


class Composer:
    """Protects pictures by any setting, with one look at each picture by the network for each level.

    Args:
        protector: The trained network, before its mask is made all or nothing.
        detector: Graph of the face detector.
        plan: Settings of the recipe.
    """

    def __init__(self, protector: Protector, detector: bytes, plan: PhotographsPlan) -> None:
        self._protector, self._plan = protector, plan
        self._covers = cache(
            lambda weak, sure: FaceCover(
                detector, threshold=weak, scales=plan.face_detector.scales, heads_from=1, sure=sure
            )
        )
        self._looked: dict[tuple[bytes, float], np.ndarray] = {}

    def protect(self, image: Image.Image, setting: Setting) -> Image.Image:
        """Protect one picture as an artifact with the setting would."""
        seen = np.asarray(resized(image, working_size(*image.size, self._plan.protector.working_resolution)))
        logits = torch.from_numpy(self._logits(seen, setting.level))
        openness = 1.4 * torch.sigmoid(self._plan.sharpness * (logits - setting.threshold)) - 0.2
        kept = smooth_mask(openness)[0, 0].numpy()[..., None]
        shown = (kept * seen + (1 - kept) * 127.5).round().astype(np.uint8)
        covered = self._covers(setting.weak, setting.sure).cover(seen, shown, float(setting.heads))
        return Image.fromarray(covered).resize(image.size, Image.Resampling.BICUBIC)

    def _logits(self, seen: np.ndarray, level: float) -> np.ndarray:
        key = seen.tobytes(), level
        if key not in self._looked:
            images = torch.from_numpy(seen.copy()).permute(2, 0, 1)[None].float() / 255
            with torch.inference_mode():
                openness = self._protector.openness(images, torch.tensor([level]))
            shown = ((openness + 0.2) / 1.4).clamp(1e-6, 1 - 1e-6)
            self._looked[key] = torch.logit(shown).numpy()
        return self._looked[key]


def choose(job: PhotographsJob) -> Path:
    """Measure every setting as the audit does, and write the figures to ``choices.json``.

    Args:
        job: The run; its training is finished.

    Returns:
        The file.

    Raises:
        DataError: If photographs, portraits or models can't be used, or a detector is missing.
        MissingExtraError: If an extra is missing: ``faces`` or ``ocr``.
    """
    protector, (_, photographs) = train_protector(job)
    _, people = split_held(read_people(job.faces, "train"))
    composer = Composer(protector, (job.artifact / DETECTOR).read_bytes(), job.plan)
    looking = _Looking(
        paste_people(photographs, people, _PASTED, job.plan.seed + 3),
        independent_finders(),
        photographs[:_PLAIN],
        ObjectDetector.load(),
        photographs[:_WORDED],
        independent_readers(),
    )
    originals = looking.at(lambda image: image)
    looking = looking.where_words_are(originals)
    originals = originals._replace(words=[each for each in originals.words if any(each.values())])
    report = {}
    for setting in SETTINGS:
        found = looking.at(partial(composer.protect, setting=setting))
        rows = ({_ORIGINALS: before, _SETTING: after} for before, after in zip(originals, found, strict=True))
        audit = Audit(**dict(zip(_Found._fields, rows, strict=True)))
        report[str(setting)] = summarise(looking.pasted, audit)["variants"][_SETTING]
        _logger.info("%s: %s", setting, report[str(setting)])
    path = job.out / "choices.json"
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return path


class _Found(NamedTuple):
    """Everything that was found under one setting, as :class:`Audit` has it."""

    pasted: list[dict[str, Any]]
    objects: list[dict[str, int]]
    words: list[dict[str, list[str]]]


class _Looking(NamedTuple):
    """Everything that is looked at, and what looks at it."""

    pasted: Sequence[PastedPicture]
    finders: Mapping[str, Finder]
    plain: Sequence[Photograph]
    detector: ObjectDetector
    worded: Sequence[Photograph]
    readers: Mapping[str, Reader]

    def at(self, protect: Callable[[Image.Image], Image.Image]) -> _Found:
        """Look at protected pictures."""
        return _Found(
            [row._asdict() for row in pasted_faces(self.pasted, protect, self.finders)],
            photographs_objects(self.plain, protect, self.detector),
            photographs_words(self.worded, protect, self.readers),
        )

    def where_words_are(self, originals: _Found) -> _Looking:
        """Leave out photographs of which no word is read on originals, which can tell nothing."""
        words = zip(self.worded, originals.words, strict=True)
        return self._replace(worded=[each for each, read in words if any(read.values())])
