"""What attackers read in pictures of words: private text, which must not be there, and other words, which should."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from PIL import Image, ImageOps
from pydantic import BaseModel, ConfigDict, Field

from langchain_vpp.image_protector import ImageProtector
from trainer.attackers.words.matching import Row, is_kept, is_leaked
from trainer.attackers.words.readers import averaged, views_of
from trainer.attackers.words.strips import strips_of
from trainer.attackers.words.widths import FEWEST, match_plates, plate_at
from trainer.evaluation.word_results import CandidateMatch, Share, WordFigures, WordReport, WordsAtLevel
from trainer.runtime.cancellation import while_wanted
from trainer.statistics import wilson

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from langchain_vpp.engines.words import Word
    from trainer.attackers.words.readers import Seen, WordReader
    from trainer.attackers.words.strips import Strips
    from trainer.attackers.words.widths import Plate
    from trainer.data.annotated import AnnotatedPicture, PrivateText

    Protect = Callable[[Image.Image], Image.Image]

SCREENS: Final = "screens"
"""Name of the protector of words."""
_CERTAIN: Final = 0.6
"""Certainty from which a word of the original counts."""
_SHORTEST: Final = 3
"""Letters and digits of the shortest other word that counts."""
_PRIVATE: Final = 0.2
"""Part of a word's box inside private text from which it is no other word."""
_NAMES: Final = "person"
_CANDIDATES: Final = 1_000
"""Names among which the matcher guesses."""


class WordSettings(BaseModel):
    """Settings of an evaluation of words."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    levels: tuple[str, ...] = Field(("balanced", "high"), min_length=1)
    """Presets of the protector, or numbers from 0 to 1."""
    readers: tuple[str, ...] = ()
    """Names of the attackers' readers. Empty: all that are installed and that protectors don't use."""


class _Original(NamedTuple):
    """The first reader's view of an original.

    Attributes:
        others: Words outside private text.
        beside: Whether each of them stands on a row with private text.
        rows: For each private text, the other words on its rows.
        readable: Whether each private text can be read.
        strips: The places of the private text.
    """

    others: tuple[Seen, ...]
    beside: tuple[bool, ...]
    rows: tuple[tuple[Row, ...], ...]
    readable: tuple[bool, ...]
    strips: Strips


class _Outcome(NamedTuple):
    """What leaves one picture at one level."""

    picture: AnnotatedPicture
    leaks: tuple[tuple[str, ...], ...]
    """For each private text, the attempts that read it."""
    kept: tuple[bool, ...]
    in_place: tuple[bool, ...]
    beside: tuple[bool, ...]
    plates: tuple[Plate, ...]


def evaluate_words(
    artifact: str,
    pictures: Sequence[AnnotatedPicture],
    protections: Mapping[str, Protect],
    readers: Mapping[str, WordReader],
    *,
    progress: Callable[[int], object] = lambda done: None,  # noqa: ARG005  named for callers
) -> WordReport:
    """Measure what readers read in protected pictures.

    Every reader looks at each protected picture as it is; and at the places of the private text also enlarged,
    sharpened, with contrast stretched, and in the mean over all levels. A private text leaks if any attempt reads it.

    Args:
        artifact: Name of the protector, for the report.
        pictures: The pictures.
        protections: Name of a level -> function that protects a picture at it.
        readers: Name of a reader -> the reader. The first one says which other words the originals have.
        progress: Called with the number of pictures that are done.
    """
    outcomes: dict[str, list[_Outcome]] = {level: [] for level in protections}
    readable: list[bool] = []
    seconds = 0.0
    for number, picture in enumerate(while_wanted(pictures), 1):
        with Image.open(picture.path) as file:
            image = ImageOps.exif_transpose(file).convert("RGB")
        original = _read_original(image, picture, readers)
        readable += original.readable
        begun = time.process_time()
        protected = {level: protect(image) for level, protect in protections.items()}
        seconds += time.process_time() - begun
        for level, outcome in _attack(picture, original, protected, readers).items():
            outcomes[level].append(outcome)
        progress(number)
    return WordReport(
        artifact=artifact,
        readers=tuple(readers),
        pictures=len(pictures),
        readable=Share.of_cases(readable),
        levels=tuple(_at_level(level, found) for level, found in outcomes.items()),
        cpu_seconds=seconds / max(1, len(pictures)),
    )


def protections_of(artifact: str, levels: Sequence[str]) -> dict[str, Protect]:
    """Return functions that protect a picture at each level; a picture is read only once for all levels.

    Args:
        artifact: ``screens``, or a folder of a trained protector.
        levels: Names of presets, or numbers from 0 to 1.

    Raises:
        ArtifactError: If there is no such artifact.
        ValueError: If it has no such level.
    """
    if artifact != SCREENS:
        return {
            each: ImageProtector.from_pretrained(artifact, level=_number(each)).protect_image
            for each in levels
        }
    from langchain_vpp.engines.words import RapidReader, Words  # noqa: PLC0415  extra `words`
    from langchain_vpp.engines.words.engine import PRESETS  # noqa: PLC0415

    engine = Words(reader=_Remembering(RapidReader()))
    return {
        each: ImageProtector(engine, level=PRESETS.get(each, _number(each))).protect_image for each in levels
    }


class _Remembering:
    """Returns the words of a picture that was read before without reading it again."""

    def __init__(self, reader: Any) -> None:
        self._reader, self._known = reader, dict[bytes, Any]()

    def read(self, image: Image.Image) -> Sequence[Word]:
        key = image.tobytes()
        if key not in self._known:
            # A picture and the base that is looked at again.
            self._known = {**dict([*self._known.items()][-3:]), key: self._reader.read(image)}
        found: Sequence[Word] = self._known[key]
        return found


def _number(level: str) -> Any:
    """Return a level as a number if it is one."""
    try:
        return float(level)
    except ValueError:
        return level


def _read_original(
    image: Image.Image, picture: AnnotatedPicture, readers: Mapping[str, WordReader]
) -> _Original:
    first, *rest = readers.values()
    boxes = [box for text in picture.private for box in text.boxes]
    strips = strips_of(boxes, image.size)
    seen = list(first(image))
    stacked = strips.stack(image) if boxes else None
    by_others = [list(strips.placed(read(stacked), 1.0)) for read in rest] if stacked is not None else []
    outside = [[each for each in found if not _is_private(each, boxes)] for found in (seen, *by_others)]
    others = tuple(
        each
        for each in outside[0]
        if each.certainty >= _CERTAIN and sum(letter.isalnum() for letter in each.text) >= _SHORTEST
    )
    return _Original(
        others,
        tuple(any(_same_row(each.box, box) for box in boxes) for each in others),
        tuple(tuple(Row(found, box) for box in text.boxes for found in outside) for text in picture.private),
        tuple(is_leaked(text.text, text.kind, _rows(seen, text), ()) for text in picture.private),
        strips,
    )


def _attack(
    picture: AnnotatedPicture,
    original: _Original,
    protected: Mapping[str, Image.Image],
    readers: Mapping[str, WordReader],
) -> dict[str, _Outcome]:
    """Return what leaves a picture at each level."""
    strips = original.strips
    mean = averaged(list(protected.values())) if len(protected) > 1 else None
    shared = {}
    if mean is not None and strips.boxes:
        stacked = strips.stack(mean)
        for name, read in readers.items():
            shared[f"{name}, averaged"] = list(strips.placed(read(stacked), 1.0))
    found = {}
    for level, image in protected.items():
        whole = {f"{name}, as it is": list(read(image)) for name, read in readers.items()}
        attempts = {**whole, **shared}
        for view, (changed, scale) in (views_of(strips.stack(image)) if strips.boxes else {}).items():
            for name, read in readers.items():
                attempts[f"{name}, {view}"] = list(strips.placed(read(changed), scale))
        found[level] = _outcome(picture, original, image, whole, attempts)
    return found


def _outcome(
    picture: AnnotatedPicture,
    original: _Original,
    image: Image.Image,
    whole: Mapping[str, Sequence[Seen]],
    attempts: Mapping[str, Sequence[Seen]],
) -> _Outcome:
    leaks = tuple(
        tuple(
            name
            for name, seen in attempts.items()
            if is_leaked(text.text, text.kind, _rows(seen, text), others)
        )
        for text, others in zip(picture.private, original.rows, strict=True)
    )
    together = [each for seen in whole.values() for each in seen]
    every = [each for seen in attempts.values() for each in seen]
    return _Outcome(
        picture,
        leaks,
        tuple(is_kept(each, together, moved=True) for each in original.others),
        tuple(is_kept(each, together, moved=False) for each in original.others),
        original.beside,
        tuple(
            plate_at(image, text.text, text.boxes[0], every)
            for text in picture.private
            if _NAMES in text.kind and len(text.boxes) == 1
        ),
    )


def _at_level(level: str, outcomes: Sequence[_Outcome]) -> WordsAtLevel:
    texts = [
        (text, attempts)
        for outcome in outcomes
        for text, attempts in zip(outcome.picture.private, outcome.leaks, strict=True)
    ]
    attempts = dict.fromkeys(name for _, found in texts for name in found)
    return WordsAtLevel(
        level=level,
        figures=_figures(outcomes),
        by_picture=_grouped(outcomes, lambda picture: picture.kind),
        by_way=_grouped(outcomes, lambda picture: picture.taken),
        by_text={
            kind: Share.of_cases(bool(found) for text, found in texts if text.kind == kind)
            for kind in sorted({text.kind for text, _ in texts})
        },
        by_attempt={name: Share.of_cases(name in found for _, found in texts) for name in sorted(attempts)},
        match=_match([plate for outcome in outcomes for plate in outcome.plates]),
    )


def _grouped(outcomes: Sequence[_Outcome], key: Callable[[AnnotatedPicture], str]) -> dict[str, WordFigures]:
    kinds = sorted({key(each.picture) for each in outcomes})
    return {kind: _figures([each for each in outcomes if key(each.picture) == kind]) for kind in kinds}


def _figures(outcomes: Sequence[_Outcome]) -> WordFigures:
    return WordFigures(
        clean=Share.of_cases(not any(each.leaks) for each in outcomes if each.leaks),
        leaked=Share.of_cases(bool(leak) for each in outcomes for leak in each.leaks),
        kept=Share.of_cases(kept for each in outcomes for kept in each.kept),
        in_place=Share.of_cases(kept for each in outcomes for kept in each.in_place),
        over_covered=Share.of_cases(
            not kept
            for each in outcomes
            for kept, beside in zip(each.kept, each.beside, strict=True)
            if beside
        ),
    )


def _match(plates: Sequence[Plate]) -> CandidateMatch | None:
    """Let the matcher guess among the names of all pictures and invented ones, 1,000 in all."""
    if len(plates) < FEWEST:
        return None
    from trainer.sandbox.drawing.documents.people import invent_people  # noqa: PLC0415  most evaluations need none

    invented = (person.name for person in invent_people(np.random.default_rng(0), 4 * _CANDIDATES))
    candidates = list(dict.fromkeys([*(plate.text for plate in plates), *invented]))[:_CANDIDATES]
    found = match_plates([plate for plate in plates if plate.text in candidates], candidates)
    if not found:
        return None
    hits = sum(each.hit for each in found)
    low, high = wilson(hits / len(found), len(found))
    return CandidateMatch(
        plates=len(found),
        candidates=len(candidates),
        hits=hits,
        expected_hits=len(found) / len(candidates),
        low=max(0.0, low),
        high=high,
        percentile=float(np.mean([each.percentile for each in found])),
    )


def _rows(seen: Iterable[Seen], text: PrivateText) -> tuple[Row, ...]:
    known = list(seen)
    return tuple(Row(known, box) for box in text.boxes)


def _is_private(seen: Seen, boxes: Sequence[tuple[float, float, float, float]]) -> bool:
    left, top, right, bottom = seen.box
    area = max(1e-6, (right - left) * (bottom - top))
    return any(
        max(0.0, min(right, box[2]) - max(left, box[0])) * max(0.0, min(bottom, box[3]) - max(top, box[1]))
        > _PRIVATE * area
        for box in boxes
    )


def _same_row(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    shared = min(one[3], other[3]) - max(one[1], other[1])
    return shared > 0.5 * min(one[3] - one[1], other[3] - other[1])
