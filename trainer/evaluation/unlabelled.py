"""What protected pictures still give away, measured without a label: on any folder of pictures.

Three questions are asked of the pictures themselves. Can the original of a protected picture be found among the
others? Which of the words that a reader sees in the original can still be read? Which faces are still found? Nobody
learns from these pictures, so an attacker who trains on protected ones may get further: ``vpp evaluate --data`` has
such attackers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image

from langchain_vpp.batch import PICTURE_SUFFIXES
from langchain_vpp.errors import DataError, ProtectionError
from langchain_vpp.images.codec import decode_image
from trainer.attackers.ocr import fold
from trainer.evaluation.results import Record
from trainer.evaluation.word_results import Share
from trainer.runtime.cancellation import while_wanted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from langchain_vpp.engines.faces import Face
    from trainer.attackers.words.readers import WordReader

    Protect = Callable[[Image.Image], Image.Image]
    FindFaces = Callable[[Image.Image, float], Sequence[Face]]

_SIDE: Final = 16
"""Side of the small copy by which pictures are compared."""
_BINS: Final = 8
_CERTAIN: Final = 0.6
"""Certainty from which a word of the original counts."""
_SHORTEST: Final = 3
_FACE: Final = 0.3
"""Score above which something counts as a face, in originals and protected pictures alike."""
_OVERLAP: Final = 0.3
"""Intersection over union from which a face is still the same one."""


class LevelWithoutLabels(Record):
    """Figures of one level."""

    level: str
    """Name of the preset, or the level as a number."""
    linked: dict[str, Share]
    """Matcher -> protected pictures whose nearest original is their own."""
    words: dict[str, Share]
    """Reader -> words of the originals that can still be read."""
    faces: Share | None
    """Faces of the originals that are still found; ``None`` without a detector."""
    changed: float
    """Mean change of a pixel, 0 to 1."""


class UnlabelledReport(Record):
    """Everything that was measured on a folder of pictures without labels."""

    artifact: str
    pictures: int
    left_out: int
    """Files that could not be decoded."""
    chance: float
    """Share of pictures whose original is found by guessing."""
    words_by_chance: dict[str, float | None]
    """Reader -> share of the words of one original that stand in another one."""
    levels: tuple[LevelWithoutLabels, ...]
    not_measured: tuple[str, ...]
    """Measures that were left out, and the reason."""


class UnlabelledMeasurement:
    """Measures a protector on pictures without labels.

    Args:
        protections: Name of a level -> function that protects a picture at it.
        readers: Name of a reader -> the reader. May be empty.
        find_faces: A face detector, or ``None``.
    """

    def __init__(
        self,
        protections: Mapping[str, Protect],
        readers: Mapping[str, WordReader],
        find_faces: FindFaces | None,
    ) -> None:
        self._protections, self._readers, self._find_faces = protections, readers, find_faces
        self._originals: list[dict[str, np.ndarray]] = []
        self._words: dict[str, list[set[str]]] = {name: [] for name in readers}
        self._features: dict[str, list[dict[str, np.ndarray]]] = {name: [] for name in protections}
        self._read: dict[str, dict[str, list[bool]]] = {
            level: {name: [] for name in readers} for level in protections
        }
        self._faces: dict[str, list[bool]] = {level: [] for level in protections}
        self._changes: dict[str, list[float]] = {level: [] for level in protections}

    def add(self, image: Image.Image) -> dict[str, Image.Image]:
        """Measure one picture, and return it protected at each level."""
        self._originals.append(features(image))
        words = {name: _words(read(image)) for name, read in self._readers.items()}
        for name, found in words.items():
            self._words[name].append(found)
        faces = self._find_faces(image, _FACE) if self._find_faces else ()
        protected = {}
        for level, protect in self._protections.items():
            result = protected[level] = protect(image)
            self._features[level].append(features(result))
            for name, read in self._readers.items():
                seen = _words(read(result)) if words[name] else set[str]()
                self._read[level][name] += [word in seen for word in sorted(words[name])]
            if self._find_faces and faces:
                self._faces[level] += _still_found(faces, self._find_faces(result, _FACE), image, result)
            self._changes[level].append(_change(image, result))
        return protected

    def report(self, artifact: str, left_out: int) -> UnlabelledReport:
        """Sum up all pictures.

        Args:
            artifact: Name of the protector.
            left_out: Files that could not be decoded.

        Raises:
            DataError: If there are fewer than two pictures, among which nothing can be searched for.
        """
        if len(self._originals) < 2:
            raise DataError(
                "nothing was measured: there must be two pictures or more, among which one is looked for."
            )
        levels = tuple(
            LevelWithoutLabels(
                level=level,
                linked={name: self._linked(level, name) for name in self._originals[0]},
                words={name: Share.of_cases(cases) for name, cases in self._read[level].items()},
                faces=Share.of_cases(self._faces[level]) if self._find_faces else None,
                changed=float(np.mean(self._changes[level])),
            )
            for level in self._protections
        )
        return UnlabelledReport(
            artifact=artifact,
            pictures=len(self._originals),
            left_out=left_out,
            chance=1 / len(self._originals),
            words_by_chance={name: _by_chance(found) for name, found in self._words.items()},
            levels=levels,
            not_measured=self._not_measured(),
        )

    def _linked(self, level: str, name: str) -> Share:
        gallery = np.stack([each[name] for each in self._originals])
        probes = np.stack([each[name] for each in self._features[level]])
        similar = probes @ gallery.T
        own = similar.diagonal()
        # One that is only as near as another is not found: equal pictures can't be told apart.
        others = similar - np.diag(np.full(len(own), np.inf))
        return Share.of_cases((own > others.max(axis=1) + 1e-6).tolist())

    def _not_measured(self) -> tuple[str, ...]:
        missing = [
            "attackers that learn from protected pictures, and a chat model's answers: they need labels"
        ]
        if not self._readers:
            missing.append("words: no text reader is installed (extra ocr, or Tesseract)")
        if self._find_faces is None:
            missing.append("faces: no detector is installed (extra faces)")
        return tuple(missing)


def measure_folder(
    folder: Path,
    measurement: UnlabelledMeasurement,
    artifact: str,
    *,
    most: int,
    progress: Callable[[int, int], object],
    shown: int = 6,
) -> tuple[UnlabelledReport, list[tuple[Image.Image, dict[str, Image.Image]]]]:
    """Measure all pictures of a folder, and keep the first few with their protected copies.

    Args:
        folder: Folder of pictures, with subfolders.
        measurement: An empty measurement.
        artifact: Name of the protector.
        most: Most pictures that are measured; they are taken evenly from the folder.
        progress: Called with the number of pictures that are done, and of all.
        shown: Pictures to keep.

    Raises:
        DataError: If the folder holds fewer than two pictures.
    """
    if not folder.is_dir():
        raise DataError(f"nothing was measured: {folder} is no folder of pictures.")
    found = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in PICTURE_SUFFIXES]
    chosen = found if len(found) <= most else [found[index * len(found) // most] for index in range(most)]
    kept: list[tuple[Image.Image, dict[str, Image.Image]]] = []
    left_out = 0
    for number, path in enumerate(while_wanted(chosen), 1):
        try:
            image = decode_image(path.read_bytes())
        except (OSError, ProtectionError):
            left_out += 1
        else:
            protected = measurement.add(image)
            if len(kept) < shown:
                kept.append((image, protected))
        progress(number, len(chosen))
    return measurement.report(artifact, left_out), kept


def features(image: Image.Image) -> dict[str, np.ndarray]:
    """Describe a picture by its colours in a small copy, and by the directions of its edges.

    Args:
        image: An RGB picture.

    Returns:
        Matcher -> unit vector; zeros for a picture that is one colour.
    """
    small = image.resize((_SIDE * 4, _SIDE * 4), Image.Resampling.BOX)
    colours = np.asarray(small.resize((_SIDE, _SIDE), Image.Resampling.BOX), dtype=np.float64)
    grey = np.asarray(small.convert("L"), dtype=np.float64)
    down, right = np.gradient(grey)
    angles = (np.arctan2(down, right) % np.pi) / np.pi * _BINS
    bins = np.eye(_BINS)[np.minimum(angles.astype(int), _BINS - 1)] * np.hypot(down, right)[..., None]
    cells = bins.reshape(8, _SIDE // 2, 8, _SIDE // 2, _BINS).sum(axis=(1, 3))
    return {"colours": _unit(colours - colours.mean(axis=(0, 1))), "edges": _unit(cells - cells.mean())}


def _unit(values: np.ndarray) -> np.ndarray:
    flat = values.ravel()
    length = float(np.linalg.norm(flat))
    return flat / length if length > 1e-6 else np.zeros_like(flat)


def _words(seen: Sequence[object]) -> set[str]:
    return {
        word
        for each in seen
        if getattr(each, "certainty", 1.0) >= _CERTAIN
        for token in str(getattr(each, "text", "")).split()
        if len(word := fold(token)) >= _SHORTEST
    }


def _still_found(
    faces: Sequence[Face], left: Sequence[Face], image: Image.Image, result: Image.Image
) -> list[bool]:
    x, y = image.width / result.width, image.height / result.height
    moved = [(each.left * x, each.top * y, each.right * x, each.bottom * y) for each in left]
    return [any(_overlap(face[:4], other) >= _OVERLAP for other in moved) for face in faces]


def _overlap(one: Sequence[float], other: Sequence[float]) -> float:
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    if wide <= 0 or high <= 0:
        return 0.0
    areas = [(each[2] - each[0]) * (each[3] - each[1]) for each in (one, other)]
    return wide * high / (sum(areas) - wide * high)


def _change(image: Image.Image, result: Image.Image) -> float:
    size = (min(image.width, 256), min(image.height, 256))
    before, after = (np.asarray(each.resize(size), dtype=np.float64) for each in (image, result))
    return float(np.abs(before - after).mean() / 255)


def _by_chance(found: Sequence[set[str]]) -> float | None:
    """Share of the words of one picture that stand in the next one."""
    pairs = [
        (word, other) for words, other in zip(found, [*found[1:], found[0]], strict=True) for word in words
    ]
    return sum(word in other for word, other in pairs) / len(pairs) if pairs else None
