"""Audit of the photographs' artifact on pictures and people that training never saw, beside classical engines."""

from __future__ import annotations

import json
import logging
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from langchain_vpp.artifact import load_artifact
from langchain_vpp.engines import Blur, Pixelate
from langchain_vpp.engines.engine import judged_by
from langchain_vpp.engines.faces import FaceBlur
from trainer.evaluation.detector import NanoDet
from trainer.evaluation.kept import KeptReport, measure_kept
from trainer.recipes.photographs.audit.attacks import (
    features_of,
    head,
    read_attributes,
    recognise,
    shown_heads,
)
from trainer.recipes.photographs.audit.finders import independent_finders
from trainer.recipes.photographs.audit.measures import (
    pasted_faces,
    photographs_faces,
    photographs_objects,
    photographs_words,
)
from trainer.recipes.photographs.audit.odd_pictures import look_at, odd_pictures
from trainer.recipes.photographs.audit.pasted import paste_people, portrait_box, read_people
from trainer.recipes.photographs.audit.readers import independent_readers
from trainer.recipes.photographs.audit.summary import Audit, summarise
from trainer.recipes.photographs.model_card import render_card
from trainer.sandbox.drawing.photographs import read_split
from trainer.sandbox.vision.photo_model import PhotoModel
from trainer.sandbox.vision.photos.objects import ObjectDetector

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from PIL import Image

    from langchain_vpp.engines import Engine
    from trainer.recipes.photographs.audit.pasted import PastedPicture
    from trainer.recipes.photographs.plan import PhotographsJob
    from trainer.sandbox.vision.photos.tasks import Topic

_ATTRIBUTES: Final = ("gender", "race", "age_group")
_GALLERY: Final = 490
"""People among whom a face is searched."""
_TOUCH: Final = 1e-9
"""Level at which ``FaceBlur`` does what the tool deface does by default."""
_BLUR, _PIXELATE = 0.35, 0.5
"""Levels at which classical engines leave about as much of a scene as the artifact does at ``balanced``."""
_ORIGINALS: Final = "originals"
_ODD: Final = "odd"
_KEPT: Final = "kept"
_TOPICS: Final[tuple[Topic, ...]] = ("objects", "people", "counts", "activity", "place")
MEASURED: Final = {
    "pasted": (_ORIGINALS, "balanced"),
    "faces": (_ORIGINALS, "balanced"),
    "attacks": (_ORIGINALS, "balanced"),
    "objects": (_ORIGINALS, "deface", "blur", "pixelate", "low", "balanced", "high"),
    "words": (_ORIGINALS, "balanced"),
    _KEPT: ("low", "balanced", "high", "deface"),
    _ODD: ("balanced",),
}
"""Kind of measurement -> variants that are measured."""
_logger = logging.getLogger(__name__)


class Variant(NamedTuple):
    """One way to protect."""

    name: str
    folder: str
    """Folder of its measurements: those of another artifact are not those of this one."""
    protect: Callable[[Image.Image], Image.Image]


def audit_artifact(job: PhotographsJob, kinds: Sequence[str] = ()) -> Path:
    """Measure the finished artifact, and write ``audit.json`` and the artifact's card.

    Args:
        job: The run; its artifact is finished.
        kinds: Measurements to make, of :data:`MEASURED`; all if none is named. The report holds no others.

    Raises:
        DataError: If photographs or portraits can't be used, or a detector is missing.
        MissingExtraError: If an extra is missing: ``faces``, ``ocr`` or ``photos``.
    """
    _, engine, manifest, digest = load_artifact(job.artifact)
    variants = [
        Variant(_ORIGINALS, "others", lambda image: image),
        *(
            Variant(name, digest[:12], _at(engine, level))
            for name, level in sorted(manifest.presets.items(), key=lambda each: each[1])
        ),
        Variant("deface", "others", _at(FaceBlur(), _TOUCH)),
        Variant("blur", "others", _at(Blur(), _BLUR)),
        Variant("pixelate", "others", _at(Pixelate(), _PIXELATE)),
    ]
    wanted = kinds or tuple(MEASURED)
    audit = Audit(**{kind: _measured(job, variants, kind) for kind in wanted if kind not in (_ODD, _KEPT)})
    report = summarise(_pasted(job), audit)
    path = job.out / "audit.json"
    kept = _kept(job, variants, digest[:12]) if _KEPT in wanted else None
    odd = _odd(job, engine, manifest.presets["balanced"], digest[:12]) if _ODD in wanted else []
    report = {"artifact": digest} | report | {_KEPT: kept, "other pictures": odd}
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    (job.artifact / "README.md").write_text(render_card(manifest, report), encoding="utf-8")
    return path


def _at(engine: Engine, level: float) -> Callable[[Image.Image], Image.Image]:
    """Return what protects at a level. No picture is covered whole for being unfamiliar, which would hide misses."""
    return lambda image: judged_by(engine, image, level).image


def _odd(job: PhotographsJob, engine: Engine, level: float, folder: str) -> list[dict[str, Any]]:
    """Look at kinds of pictures that are unlike most photographs, or read what was seen before."""
    path = job.out / "audit" / folder / "odd-balanced.json"
    if not path.exists():
        photographs, people = read_split(job.photographs, "test"), read_people(job.faces, "val")
        kinds = odd_pictures(photographs, people, job.plan.seed + 2)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps([look_at(kind, engine, level) for kind in kinds]), encoding="utf-8")
    rows: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return rows


def _kept(job: PhotographsJob, variants: Sequence[Variant], folder: str) -> dict[str, Any]:
    """Ask the photo model about protected photographs, or read what it answered before."""
    path = job.out / "audit" / folder / f"{_KEPT}.json"
    if not path.exists():
        report = measure_kept(
            read_split(job.photographs, "test")[: job.plan.kept_pictures],
            {each.name: each.protect for each in variants if each.name in MEASURED[_KEPT]},
            PhotoModel(),
            other=NanoDet.load(job.models),
            topics=_TOPICS,
            seed=job.plan.seed,
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(report.model_dump_json(), encoding="utf-8")
    report = KeptReport.model_validate_json(path.read_bytes())
    return report.model_dump(mode="json") | {"table": report.as_markdown()}


def _pasted(job: PhotographsJob) -> list[PastedPicture]:
    people = read_people(job.faces, "val")
    return paste_people(read_split(job.photographs, "test"), people, job.plan.pasted_pictures, job.plan.seed)


def _measured(job: PhotographsJob, variants: list[Variant], kind: str) -> dict[str, Any]:
    """Measure every variant, or read what was measured before."""
    measure: Callable[[Variant], Any] | None = None
    result = {}
    for variant in (each for each in variants if each.name in MEASURED[kind]):
        path = job.out / "audit" / variant.folder / f"{kind}-{variant.name}.json"
        if not path.exists():
            measure = measure or _measures(job, kind)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(measure(variant)), encoding="utf-8")
            _logger.info("audit: %s of %s", kind, variant.name)
        result[variant.name] = json.loads(path.read_text(encoding="utf-8"))
    return result


def _measures(job: PhotographsJob, kind: str) -> Callable[[Variant], Any]:
    """Return what measures a variant; what all variants share is loaded once."""
    if kind == "attacks":
        return _attacks(job)
    if kind == "pasted":
        pictures, finders = _pasted(job), independent_finders()
        return lambda variant: [row._asdict() for row in pasted_faces(pictures, variant.protect, finders)]
    photographs = read_split(job.photographs, "test")
    if kind == "faces":
        finders = independent_finders()
        return lambda variant: photographs_faces(photographs, variant.protect, finders)
    if kind == "objects":
        detector = ObjectDetector.load()
        annotated = [each for each in photographs if each.known.objects][: job.plan.utility_pictures]
        return lambda variant: photographs_objects(annotated, variant.protect, detector)
    chosen, readers = photographs[: job.plan.word_pictures], independent_readers()
    return lambda variant: photographs_words(chosen, variant.protect, readers)


def _attacks(job: PhotographsJob) -> Callable[[Variant], Any]:
    """Fit attackers on pasted faces of train people, and measure them on those of val people."""
    tests, strangers = _pasted(job), read_people(job.faces, "val")
    photographs, people = read_split(job.photographs, "train"), read_people(job.faces, "train")
    lessons = paste_people(photographs, people, job.plan.attacker_pictures, job.plan.seed + 1)
    known, truth = (
        {name: [face.attributes[name] for each in drawn for face in each.faces] for name in _ATTRIBUTES}
        for drawn in (lessons, tests)
    )
    portraits = (strangers[face.person].open() for each in tests for face in each.faces)
    gallery = features_of(
        head(portrait, portrait_box(portrait.size)) for portrait in islice(portraits, _GALLERY)
    )

    def measure(variant: Variant) -> dict[str, Any]:
        train, test = (features_of(shown_heads(pictures, variant.protect)) for pictures in (lessons, tests))
        found = read_attributes(train, known, test, truth) | {"identity": recognise(gallery, test, _GALLERY)}
        return {name: reading._asdict() for name, reading in found.items()}

    return measure
