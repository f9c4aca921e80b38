"""What attackers read in pictures of words: private text, which must not be there, and other words, which should."""

from __future__ import annotations

import hashlib
import json
import time
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from PIL import Image, ImageOps
from pydantic import BaseModel, ConfigDict, Field

from langchain_vpp.image_protector import ImageProtector
from trainer.attackers.words import readers
from trainer.attackers.words.lines import LINE_READERS
from trainer.attackers.words.widths import FEWEST, match_plates
from trainer.evaluation.word_attacks import AimedAttack, PageAttack
from trainer.evaluation.word_results import (
    CandidateMatch,
    Share,
    WordFigures,
    WordReport,
    WordsAtLevel,
    WordsOfPicture,
)
from trainer.runtime.cancellation import while_wanted
from trainer.statistics import wilson

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from langchain_vpp.engines.words import Word
    from trainer.attackers.words.widths import Plate
    from trainer.data.annotated import AnnotatedPicture
    from trainer.evaluation.word_attacks import WordAttack

    Protect = Callable[[Image.Image], Image.Image]
    Outcome = tuple[AnnotatedPicture, WordsOfPicture]

SCREENS: Final = "screens"
"""Name of the protector of words."""
_CANDIDATES: Final = 1_000
"""Names among which the matcher guesses."""


class WordSettings(BaseModel):
    """Settings of an evaluation of words."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    levels: tuple[str, ...] = Field(("balanced", "high"), min_length=1)
    """Presets of the protector, or numbers from 0 to 1."""
    readers: tuple[str, ...] = ()
    """Names of the attackers' readers. Empty: all that are installed and that protectors don't use."""
    attack: Literal["page", "aimed"] = "page"
    """Read whole pages, or the places of private text alone, which costs a third and finds no less. The latter needs
    the other words in the annotations."""
    pictures: int | None = Field(None, ge=1)
    """Number of pictures to measure, the first ones of the folder; ``None`` for all."""


def evaluate_words(
    artifact: str,
    pictures: Sequence[AnnotatedPicture],
    protections: Mapping[str, Protect],
    attack: WordAttack,
    *,
    log: Path | None = None,
    progress: Callable[[int], object] = lambda done: None,  # noqa: ARG005  named for callers
) -> WordReport:
    """Measure what an attack reads in protected pictures.

    Args:
        artifact: Name of the protector, for the report.
        pictures: The pictures.
        protections: Name of a level -> function that protects a picture at it.
        attack: The attack; see :class:`~trainer.evaluation.word_attacks.WordAttack`.
        log: File to which what each picture gave is appended. Pictures that it holds are not measured again.
        progress: Called with the number of pictures that are done.
    """
    known = _read_log(log)
    outcomes: list[Outcome] = []
    for number, picture in enumerate(while_wanted(pictures), 1):
        key = _key_of(picture, (artifact, *protections), attack)
        found = known.get(key)
        if found is None:
            found = _measured(picture, protections, attack)
            _append(log, key, found)
        outcomes.append((picture, found))
        progress(number)
    return WordReport(
        artifact=artifact,
        attack=attack.name,
        readers=attack.readers,
        pictures=len(pictures),
        readable=Share.of_cases(each for _, found in outcomes for each in found.readable),
        levels=tuple(_at_level(level, outcomes) for level in protections),
        cpu_seconds=sum(found.cpu_seconds for _, found in outcomes) / max(1, len(pictures)),
    )


def attack_of(settings: WordSettings) -> WordAttack:
    """Return the attack that settings ask for.

    Raises:
        TrainingError: If a reader does not exist or is not installed.
    """
    if settings.attack == "page":
        return PageAttack(readers.readers_named(settings.readers))
    names = settings.readers or tuple(readers.installed_readers())
    return AimedAttack({name: LINE_READERS[name]() for name in names})


def _measured(
    picture: AnnotatedPicture, protections: Mapping[str, Protect], attack: WordAttack
) -> WordsOfPicture:
    with Image.open(picture.path) as file:
        image = ImageOps.exif_transpose(file).convert("RGB")
    begun = time.process_time()
    protected = {level: protect(image) for level, protect in protections.items()}
    seconds = time.process_time() - begun
    return attack.measure(image, picture, protected).model_copy(update={"cpu_seconds": seconds})


def _key_of(picture: AnnotatedPicture, setting: Sequence[str], attack: WordAttack) -> str:
    """Return the sha256 of all that determines what a picture gives, but for versions of programs."""
    known = repr([picture._replace(path=None), setting, attack.name, attack.readers])  # type: ignore[arg-type]
    return hashlib.sha256(known.encode() + picture.path.read_bytes()).hexdigest()


def _read_log(log: Path | None) -> dict[str, WordsOfPicture]:
    """Read what was measured before, and remove a last line that was cut off."""
    if log is None or not log.exists():
        return {}
    text = log.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        log.write_text(whole, encoding="utf-8")
    known = [json.loads(line) for line in whole.splitlines()]
    return {each["key"]: WordsOfPicture.model_validate(each["found"]) for each in known}


def _append(log: Path | None, key: str, found: WordsOfPicture) -> None:
    if log is None:
        return
    with log.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"key": key, "found": found.model_dump(mode="json")}) + "\n")


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


def _at_level(level: str, outcomes: Sequence[Outcome]) -> WordsAtLevel:
    texts = [
        (text, attempts)
        for picture, found in outcomes
        for text, attempts in zip(picture.private, found.levels[level].leaks, strict=True)
    ]
    attempts = dict.fromkeys(name for _, found in texts for name in found)
    return WordsAtLevel(
        level=level,
        figures=_figures(level, outcomes),
        by_picture=_grouped(level, outcomes, lambda picture: picture.kind),
        by_way=_grouped(level, outcomes, lambda picture: picture.taken),
        by_text={
            kind: Share.of_cases(bool(found) for text, found in texts if text.kind == kind)
            for kind in sorted({text.kind for text, _ in texts})
        },
        by_attempt={name: Share.of_cases(name in found for _, found in texts) for name in sorted(attempts)},
        match=_match([plate for _, found in outcomes for plate in found.levels[level].plates]),
    )


def _grouped(
    level: str, outcomes: Sequence[Outcome], key: Callable[[AnnotatedPicture], str]
) -> dict[str, WordFigures]:
    kinds = sorted({key(picture) for picture, _ in outcomes})
    return {kind: _figures(level, [each for each in outcomes if key(each[0]) == kind]) for kind in kinds}


def _figures(level: str, outcomes: Sequence[Outcome]) -> WordFigures:
    at_level = [found.levels[level] for _, found in outcomes]
    return WordFigures(
        clean=Share.of_cases(not any(each.leaks) for each in at_level if each.leaks),
        leaked=Share.of_cases(bool(leak) for each in at_level for leak in each.leaks),
        kept=Share.of_cases(kept for each in at_level for kept in each.kept),
        in_place=Share.of_cases(kept for each in at_level for kept in each.in_place),
        over_covered=Share.of_cases(
            not kept
            for _, found in outcomes
            for kept, beside in zip(found.levels[level].kept, found.beside, strict=True)
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
