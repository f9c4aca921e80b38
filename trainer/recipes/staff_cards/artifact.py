"""The default artifact, from portraits."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import torch

from langchain_vpp.artifact import (
    FrontPoint,
    load_artifact,
    load_protector,
    read_manifest,
    save_artifact,
    save_presets,
)
from trainer.algorithms.pareto import sample_levels
from trainer.attackers.classifier import FixedClassifier
from trainer.data.dataset import load_dataset
from trainer.export.export import export
from trainer.oracle.ledger import Budget, Ledger
from trainer.oracle.model_spec import model_identity
from trainer.oracle.oracle import Oracle
from trainer.recipes.staff_cards.hard_examples import find_hard_examples, train_on_hard_examples
from trainer.recipes.staff_cards.model_card import describe
from trainer.recipes.staff_cards.portrait_attacks import closing_level
from trainer.recipes.staff_cards.pretraining import paint_one_grey, start_protector
from trainer.recipes.staff_cards.progress import _teller
from trainer.recipes.staff_cards.readers import (
    _ASSESSOR_RATE,
    _assessor,
    _student,
    _taught,
    _vision,
)
from trainer.runtime.precision import cpu_precision
from trainer.runtime.rng import keyed_generator
from trainer.sandbox.chat_model import SandboxChatModel
from trainer.sandbox.drawing.cards import make_cards
from trainer.sandbox.vision.adapters import AttributeReader
from trainer.sandbox.vision.card_model import CARDS
from trainer.sandbox.vision.course import card_course
from trainer.training.assessor import Assessor, as_assessed
from trainer.training.trainer import Trainer
from trainer.training.validation import Validation, encode

if TYPE_CHECKING:
    from pathlib import Path

    from langchain_vpp.network.protector import Protector
    from trainer.data.dataset import Dataset
    from trainer.recipes.staff_cards.plan import StaffCardsPlan
    from trainer.sandbox.vision.local_model import LocalVisionModel
    from trainer.training.config import TrainerConfig

_FRONT_LEVELS: Final = (0.0, 0.25, 0.5, 0.75, 1.0)
_FRONT_PAIRS: Final = 480
_FRONT_BY: Final = "the chat model's own network as it stands, and the chat model, on the validation split"
_logger = logging.getLogger(__name__)


def train_default(
    faces: Path,
    out: Path,
    plan: StaffCardsPlan,
    config: TrainerConfig,
    *,
    device: str = "cpu",
    workers: int = 1,
) -> Path:
    """Make the default artifact, or go on with it.

    Args:
        faces: See :mod:`trainer.sandbox.drawing.portraits`.
        out: Folder for everything.
        plan: Sizes; those of an unfinished run must be given again.
        config: Settings of the protector's training.
        device: Where the local vision model is trained.
        workers: Processes that draw cards for it.

    Returns:
        The artifact's folder.

    Raises:
        DataError: If the portraits or the data can't be used.
        TrainingError: See :meth:`trainer.training.trainer.Trainer.fit`.
        ArtifactError: If weights can't be read or written.
    """
    data, run, artifact = out / "data", out / "run", out / "artifact"
    if (artifact / "README.md").exists():  # written last
        return artifact
    if not (data / "data.jsonl").exists():
        _logger.info("drawing %d cards", plan.train + plan.val + plan.test)
        make_cards(
            data,
            faces,
            train=plan.train,
            val=plan.val,
            test=plan.test,
            seed=config.seed,
            largest=plan.largest,
        )
    vision = _vision(faces, out / "model", plan, config.seed, device=device, workers=workers)
    model = SandboxChatModel(model_name=CARDS.name, vision=vision)
    dataset = load_dataset(data)
    course = replace(
        card_course(faces), steps=plan.student_steps, batch=plan.model_batch, different=plan.student_cards
    )
    # Another seed: other weights and other drawings than the chat model's. Each gets a copy that goes on learning.
    taught = [
        _taught(course, out / "student", config.seed + 1, device=device, workers=workers) for _ in range(2)
    ]
    attributes = dataset.private_attributes
    protector = start_protector(
        faces,
        config.protector,
        cards=plan.start_cards,
        steps=plan.start_steps,
        seed=config.seed,
        checkpoint=out / "start" / "checkpoint.pt",
        workers=workers,
    )
    Trainer(
        model,
        dataset,
        config,
        estimator=_student(taught[0], config, dataset),
        assessor=Assessor(attributes, AttributeReader(attributes, taught[1]), learning_rate=_ASSESSOR_RATE),
        protector=protector,
    ).fit(run, resume=True, on_progress=_teller())
    trained, manifest, _ = load_protector(run)
    paint_one_grey(trained)
    mistakes = find_hard_examples(trained, faces, cards=plan.lesson_cards, seed=config.seed, workers=workers)
    taught_last = train_on_hard_examples(trained, mistakes, steps=plan.lesson_steps, seed=config.seed)
    trained_state = torch.load(out / "run" / "checkpoint.pt", weights_only=True)["assessor"]
    assessor = _assessor(attributes, out / "student", trained_state)
    follow(assessor, taught_last, dataset, config, steps=plan.following_steps)
    torch.save(assessor.state_dict(), out / "assessor.pt")
    front = _measure_front(taught_last, dataset, model, vision, out / "front.sqlite")
    save_artifact(
        artifact, taught_last, manifest.model_copy(update={"front": front, "front_measured_by": _FRONT_BY})
    )
    exported = export(artifact, dataset)
    served = "int8" if exported.quantised else "float32"
    _logger.info("graphs: %s is served, int8 within %.1f dB of torch", served, exported.psnr)
    _close_balanced(artifact, faces, config.seed)
    _write_card(artifact, describe(read_manifest(artifact)[0]))
    return artifact


def follow(
    assessor: Assessor, protector: Protector, dataset: Dataset, config: TrainerConfig, *, steps: int
) -> None:
    """Let an assessor learn from what a protector shows now, with the batches that training gives it.

    Args:
        assessor: Goes on from where it stands.
        protector: Is left as it is.
        dataset: Of its training split.
        config: Settings of the training.
        steps: How many batches.
    """
    examples = dataset.split("train")
    images = dataset.pixels(examples, protector.config.working_resolution)
    labels = dataset.labels(examples)
    optimizer = torch.optim.AdamW(assessor.parameters(), lr=assessor.learning_rate, weight_decay=1e-2)
    with cpu_precision():
        for step in range(steps):
            generator = keyed_generator(config.seed, "follow", step)
            rows = torch.randint(len(images), (config.batch,), generator=generator)
            level = sample_levels(config.batch, generator=generator)
            shown = as_assessed(
                protector,
                images[rows].float() / 255,
                level,
                originals=config.assessor_originals,
                generator=generator,
            )
            loss = assessor.learn(optimizer, shown, level, labels[rows])
            if (step + 1) % 50 == 0:
                _logger.info("assessor: %d of %d, loss %.3f", step + 1, steps, float(loss))


def _measure_front(
    protector: Protector, dataset: Dataset, model: SandboxChatModel, vision: LocalVisionModel, ledger: Path
) -> tuple[FrontPoint, ...]:
    """Measure the front again, on the validation split as training does: the last lesson has changed it."""
    validation = Validation.of(dataset, protector.config.working_resolution)
    reader = FixedClassifier(AttributeReader(dataset.private_attributes, vision), "the chat model's network")
    pairs, points = validation.pairs(_FRONT_PAIRS, seed=0), []
    with Ledger(ledger, model=f"{model_identity(model)}|labels") as book:
        oracle = Oracle(model, book, Budget(_FRONT_PAIRS * len(_FRONT_LEVELS)))
        for level in _FRONT_LEVELS:
            queries = validation.queries(protector, level, pairs)
            scores = validation.score(pairs, oracle.ask(queries, purpose="validate"))
            arrived = []
            for images in torch.split(validation.images, 60):
                with torch.no_grad():
                    shown = protector(images.float() / 255, torch.full((len(images),), level))
                arrived.append(encode(shown)[1])
            leak = validation.leak(reader.read(torch.cat(arrived)).argmax(dim=2))
            points.append(FrontPoint(level=level, leak=leak, utility=scores.utility, answers=scores.answers))
    return tuple(points)


def _close_balanced(artifact: Path, faces: Path, seed: int) -> None:
    """Let ``balanced`` be no weaker than the level from which on portraits show nothing.

    Training chooses presets by what is left of the tasks, and its assessor looks for attributes. People were found
    again at a level that hid all of these.
    """
    _, engine, manifest, _ = load_artifact(artifact)
    level = max(manifest.presets["balanced"], closing_level(engine, faces, seed=seed))
    save_presets(artifact, manifest.presets | {"balanced": level})
    _logger.info("balanced: level %g", level)


def _write_card(artifact: Path, text: str) -> None:
    (artifact / "README.md").write_text(text, encoding="utf-8")
