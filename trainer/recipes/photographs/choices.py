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

from langchain_vpp.engines.face_cover import FaceCover
from langchain_vpp.images.codec import resized
from langchain_vpp.network.config import working_size
from langchain_vpp.network.protector import smooth_mask
from trainer.recipes.photographs.audit.finders import independent_finders
from trainer.recipes.photographs.audit.measures import pasted_faces, photographs_objects, photographs_words
from trainer.recipes.photographs.audit.pasted import paste_people
from trainer.recipes.photographs.audit.readers import independent_readers
from trainer.recipes.photographs.audit.summary import Audit, summarise
from trainer.sandbox.vision.photos.objects import ObjectDetector

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from langchain_vpp.network.protector import Protector
    from trainer.recipes.photographs.audit.finders import Finder
    from trainer.recipes.photographs.audit.pasted import PastedPicture, Person
    from trainer.recipes.photographs.audit.readers import Reader
    from trainer.recipes.photographs.plan import PhotographsPlan
    from trainer.sandbox.drawing.photographs import Photograph

_PASTED: Final = 60
"""Photographs with pasted faces."""
_PLAIN: Final = 100
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
    score: float
    """Score from which the detector's finding counts as a face."""
    scales: tuple[float, ...]
    """Sizes at which the detector searches, as shares of the working resolution."""
    heads: bool
    """Cover whole heads, not the face alone."""

    def __str__(self) -> str:
        scales = "+".join(f"{scale:g}" for scale in self.scales)
        what = "heads" if self.heads else "faces"
        return f"level {self.level:g}, logit {self.threshold:g}, {what} from {self.score:g} at {scales}"


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
            lambda score, scales: FaceCover(detector, threshold=score, scales=scales, heads_from=1)
        )
        self._looked: dict[tuple[bytes, float], np.ndarray] = {}

    def protect(self, image: Image.Image, setting: Setting) -> Image.Image:
        """Protect one picture as an artifact with the setting would."""
        seen = np.asarray(resized(image, working_size(*image.size, self._plan.protector.working_resolution)))
        logits = torch.from_numpy(self._logits(seen, setting.level))
        openness = 1.4 * torch.sigmoid(self._plan.sharpness * (logits - setting.threshold)) - 0.2
        kept = smooth_mask(openness)[0, 0].numpy()[..., None]
        shown = (kept * seen + (1 - kept) * 127.5).round().astype(np.uint8)
        covered = self._covers(setting.score, setting.scales).cover(seen, shown, float(setting.heads))
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


def choose(
    composer: Composer,
    settings: Sequence[Setting],
    photographs: Sequence[Photograph],
    people: Sequence[Person],
    path: Path,
    *,
    seed: int,
) -> None:
    """Measure every setting as the audit does, and write the figures to a file.

    Args:
        composer: Protects pictures.
        settings: The settings.
        photographs: Photographs that are held back.
        people: Portraits that are held back.
        path: File for the figures, in JSON.
        seed: Seed of sizes and places of pasted faces.
    """
    looking = _Looking(
        paste_people(photographs, people, _PASTED, seed),
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
    for setting in settings:
        found = looking.at(partial(composer.protect, setting=setting))
        rows = ({_ORIGINALS: before, _SETTING: after} for before, after in zip(originals, found, strict=True))
        audit = Audit(**dict(zip(_Found._fields, rows, strict=True)))
        report[str(setting)] = summarise(looking.pasted, audit)["variants"][_SETTING]
        _logger.info("%s: %s", setting, report[str(setting)])
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


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
