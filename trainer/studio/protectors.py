"""Protectors that the studio offers: shipped artifacts, classical engines, words, and runs of training."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from langchain_vpp.artifact import artifact_folder, level_in, load_artifact, read_manifest, shipped_artifacts
from langchain_vpp.engines import CLASSICAL_ENGINES, NAMED_ENGINES, faces
from langchain_vpp.errors import ArtifactError
from langchain_vpp.extras import is_installed
from langchain_vpp.guard.level import Levels
from langchain_vpp.image_protector import ImageProtector

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from langchain_vpp.artifact import FrontPoint
    from langchain_vpp.engines import Engine
    from langchain_vpp.guard.budget import RequestBudget

_SCREENS: Final = "screens"
_MADE_FOR: Final = {
    _SCREENS: "Covers the words of screens, letters and documents that are not known to be harmless.",
    "photographs": "Learned on photographs of scenes and people: faces, heads and text.",
    "staff-cards": "Learned on drawn staff cards with a portrait.",
    "blur": "Blurs the whole picture.",
    "pixelate": "Turns the whole picture into a mosaic.",
    "downscale": "Leaves a small copy of the whole picture, enlarged smoothly.",
    "face-blur": "Blurs the faces that a detector finds, and nothing else.",
}
_TRAINED: Final = "A protector that you have trained."

SentSize = Literal["fit", "same"]


class Offer(NamedTuple):
    """A protector that can be chosen."""

    name: str
    made_for: str
    """One sentence for people."""
    levels: Levels
    """Its usual level, the floor of the studio, and its presets."""
    front: tuple[FrontPoint, ...]
    front_measured_by: str
    load: Callable[[], Engine]
    reads_words: bool = False
    """Whether the engine reads its pictures, which takes seconds."""


class Protectors:
    """Protectors by name. An engine is loaded when it is first used.

    Args:
        artifacts: Folders of artifacts beside those that come along.
        min_level: Level below which nothing is shown or sent.

    Raises:
        ArtifactError: If a folder holds no artifact.
    """

    def __init__(self, artifacts: Sequence[Path] = (), *, min_level: float = 0.0) -> None:
        self._min_level = min_level
        self._engines: dict[str, Engine] = {}
        self._lock = threading.Lock()
        offers = [
            self._of_artifact(name, name, _MADE_FOR.get(name, _TRAINED)) for name in shipped_artifacts()
        ]
        if is_installed("rapidocr", "presidio_analyzer", "phonenumbers", "wordfreq"):
            offers.append(self._of_words())
        names = [*CLASSICAL_ENGINES, *(["face-blur"] if faces.is_installed() else [])]
        offers += [self._offer(name, _MADE_FOR[name], {}, load=NAMED_ENGINES[name]) for name in names]
        self.offers: dict[str, Offer] = {offer.name: offer for offer in offers}
        for folder in artifacts:
            self.add(folder)

    def add(self, folder: Path) -> str:
        """Offer the artifact of a folder too, and return the name under which it is offered.

        Raises:
            ArtifactError: If the folder holds no artifact.
        """
        name = folder.resolve().name
        count = sum(each == name or each.startswith(f"{name} (") for each in self.offers)
        name = f"{name} ({count + 1})" if count else name
        self.offers[name] = self._of_artifact(name, folder, _TRAINED)
        return name

    def engine(self, name: str) -> Engine:
        """Return the engine of an offer, and load it if it is the first time.

        Raises:
            ArtifactError: If there is no such offer, or its artifact can't be loaded.
            MissingExtraError: If a package is missing.
        """
        offer = self.offer(name)
        with self._lock:
            if name not in self._engines:
                self._engines[name] = offer.load()
            return self._engines[name]

    def offer(self, name: str) -> Offer:
        """Return an offer.

        Raises:
            ArtifactError: If there is none of that name.
        """
        if name not in self.offers:
            raise ArtifactError("there is no such protector in the studio; nothing was protected.")
        return self.offers[name]

    def protector(self, name: str, size: SentSize, budget: RequestBudget) -> ImageProtector:
        """Build what protects pictures before they are sent, with a memory of its own.

        Raises:
            ArtifactError: As :meth:`engine`.
        """
        levels = self.offer(name).levels
        return ImageProtector(
            self.engine(name),
            level=levels.default,
            min_level=levels.floor,
            presets=levels.presets,
            on_document="rasterize",
            output_size=size,
            budget=budget,
        )

    def _of_artifact(self, name: str, source: str | Path, made_for: str) -> Offer:
        manifest, _ = read_manifest(artifact_folder(source))
        return self._offer(
            name,
            made_for,
            manifest.presets,
            load=lambda: load_artifact(source).engine,
            front=manifest.front,
            measured=manifest.front_measured_by,
        )._replace(reads_words=manifest.engine == "words")

    def _of_words(self) -> Offer:
        from langchain_vpp.engines.words.engine import PRESETS, Words  # noqa: PLC0415  extra `words`

        offer = self._offer(_SCREENS, _MADE_FOR[_SCREENS], PRESETS, load=Words)
        return offer._replace(reads_words=True)

    def _offer(
        self,
        name: str,
        made_for: str,
        presets: Mapping[str, float],
        *,
        load: Callable[[], Any],
        front: tuple[FrontPoint, ...] = (),
        measured: str = "",
    ) -> Offer:
        default = max(level_in(presets, None), self._min_level)
        levels = Levels.checked(default, self._min_level, presets)
        return Offer(name, made_for, levels, tuple(front), measured, load)
