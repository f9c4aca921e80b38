"""Steps from photographs to the finished artifact."""

from __future__ import annotations

import hashlib
import logging
from itertools import islice
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np
import torch

from langchain_vpp.artifact import (
    Manifest,
    artifact_folder,
    load_artifact,
    load_protector,
    save_artifact,
    save_detector,
    save_domain,
)
from langchain_vpp.engines.learned import LearnedEngine
from langchain_vpp.network.config import STRIDE
from langchain_vpp.version import __version__
from trainer.export.export import export_pictures
from trainer.recipes.photographs.audit.pasted import read_people
from trainer.recipes.photographs.detector import face_detector_graph
from trainer.recipes.photographs.pretraining import Pretraining, pretrain
from trainer.recipes.photographs.regions import PRESETS
from trainer.recipes.photographs.teachers import teach
from trainer.recipes.staff_cards.pretraining import paint_one_grey
from trainer.sandbox.drawing.photographs import read_split
from trainer.training.domain import fit_domain

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from langchain_vpp.network.protector import Protector
    from trainer.recipes.photographs.plan import PhotographsJob
    from trainer.sandbox.drawing.photographs import Photograph

_T = TypeVar("_T")
_DOMAIN: Final = (200, 200)
"""Photographs that statistics of the domain are fitted on, and others that set the threshold."""
_HELD: Final = 4
"""Every fourth photograph and portrait is learned from by nothing: they set thresholds."""
_CALIBRATION: Final = 64
"""Photographs that ranges of the int8 graph are taken from, and as many to check it."""
_logger = logging.getLogger(__name__)


def make_artifact(job: PhotographsJob) -> Path:
    """Make the artifact, or resume an unfinished run.

    Returns:
        The artifact's folder.

    Raises:
        DataError: If photographs, portraits or models can't be used.
        ArtifactError: If weights can't be read or written.
    """
    plan = job.plan
    protector, (learned, held) = train_protector(job)
    finish(protector, sharpness=plan.sharpness, threshold=plan.threshold)
    save_artifact(job.artifact, protector.half(), _manifest(job))
    pictures = [photograph.open() for photograph in islice(learned, 2 * _CALIBRATION)]
    done = export_pictures(
        job.artifact, pictures[::2], pictures[1::2], least_psnr=plan.least_psnr, exact=False
    )
    _logger.info("graphs: int8 within %.1f dB of torch", done.psnr)
    detector = face_detector_graph(pictures[:_CALIBRATION], plan.protector.working_resolution)
    save_detector(job.artifact, detector, plan.face_detector)
    _give_domain(job, learned, held)
    return job.artifact


def train_protector(
    job: PhotographsJob,
) -> tuple[Protector, tuple[Sequence[Photograph], Sequence[Photograph]]]:
    """Train the protector, or resume its training.

    Returns:
        The protector, before its mask is made all or nothing; photographs that it learned from, and those held back.

    Raises:
        DataError: If photographs, portraits or models can't be used.
        ArtifactError: If weights can't be read or written.
    """
    plan = job.plan
    photographs = read_split(job.photographs, "train")
    if job.licence_clean:
        photographs = tuple(each for each in photographs if each.is_permissive)
    learned, held = split_held(photographs[: plan.most_photographs])
    lessons = teach(learned, job.lessons, job.models)
    people, _ = split_held(read_people(job.faces, "train"))
    portraits = [np.asarray(person.open()) for person in people]
    start = load_protector(artifact_folder(plan.start))[0] if plan.start else None
    settings = Pretraining(plan.steps, plan.batch, plan.side, plan.learning_rate, plan.seed)
    protector = pretrain(lessons, portraits, plan.protector, settings, job.checkpoint, start=start)
    return protector, (learned, held)


def split_held(things: Sequence[_T]) -> tuple[Sequence[_T], Sequence[_T]]:
    """Split photographs or portraits into those to learn from and those held back, on which thresholds are chosen."""
    learned = [each for number, each in enumerate(things) if (number + 1) % _HELD]
    return learned, things[_HELD - 1 :: _HELD]


def _give_domain(job: PhotographsJob, learned: Sequence[Photograph], held: Sequence[Photograph]) -> None:
    """Fit the statistics by which the artifact tells pictures that are no photographs."""
    engine = load_artifact(job.artifact).engine
    assert isinstance(engine, LearnedEngine)
    pictures = [
        [photograph.open() for photograph in islice(group, most)]
        for group, most in zip((learned, held), _DOMAIN, strict=True)
    ]
    knots = job.plan.protector.level_knots
    domain, facts = fit_domain(engine, *pictures, knots=knots, seed=job.plan.seed)
    save_domain(job.artifact, domain, facts)


def finish(protector: Protector, *, sharpness: float, threshold: float) -> None:
    """Make the mask all or nothing, and its colour one grey, in place.

    Of a pixel that is hidden by half, half can be seen: text stays readable. So the logits of the mask are scaled until
    nearly all of them are open or closed.

    Args:
        protector: A trained protector.
        sharpness: Factor of the logits.
        threshold: Logit below which a pixel is hidden.
    """
    colours = 3 * STRIDE**2
    paint_one_grey(protector)
    assert protector.head.bias is not None
    with torch.no_grad():
        protector.head.weight[colours:] *= sharpness
        protector.head.bias[colours:] = sharpness * (protector.head.bias[colours:] - threshold)


def _manifest(job: PhotographsJob) -> Manifest:
    listing = (job.photographs / "photos.jsonl").read_bytes()
    return Manifest(
        protector={},
        private_attributes={},
        questions=(),
        trained_against="teachers: face, text and object detectors",
        access="labels",
        queries=0,
        steps=job.plan.steps,
        seed=job.plan.seed,
        data_digest=hashlib.sha256(listing).hexdigest(),
        presets=PRESETS,
        licence=job.plan.licence,
        attribution=job.plan.attribution,
        created_with=f"langchain-vpp {__version__}",
    )
