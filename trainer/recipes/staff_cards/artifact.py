"""Steps from portraits to the finished artifact of the staff cards."""

from __future__ import annotations

import logging
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
from trainer.data.wire import encode
from trainer.export.export import export
from trainer.oracle.ledger import Budget, Ledger
from trainer.oracle.model_spec import model_identity
from trainer.oracle.oracle import Oracle
from trainer.recipes.staff_cards.domain import fit_cards_domain
from trainer.recipes.staff_cards.hard_examples import find_hard_examples, train_on_hard_examples
from trainer.recipes.staff_cards.model_card import render_card, write_card
from trainer.recipes.staff_cards.portrait_attacks import closing_level
from trainer.recipes.staff_cards.pretraining import paint_one_grey, pretrain_protector
from trainer.recipes.staff_cards.progress import log_training
from trainer.recipes.staff_cards.readers import (
    new_assessor,
    new_student,
    train_chat_model,
    train_starting_network,
)
from trainer.runtime.precision import cpu_precision
from trainer.runtime.rng import keyed_generator
from trainer.sandbox.drawing.cards import make_cards
from trainer.sandbox.vision.adapters import AttributeReader
from trainer.training.assessor import as_assessed
from trainer.training.trainer import Trainer
from trainer.training.validation import Validation

if TYPE_CHECKING:
    from pathlib import Path

    from langchain_vpp.network.protector import Protector
    from trainer.data.dataset import Dataset
    from trainer.recipes.staff_cards.plan import StaffCardsJob
    from trainer.sandbox.chat_model import SandboxChatModel
    from trainer.training.assessor import Assessor
    from trainer.training.config import TrainerConfig

_FRONT_LEVELS: Final = (0.0, 0.25, 0.5, 0.75, 1.0)
_FRONT_QUERIES: Final = 480
"""Queries at each level of the front."""
_FRONT_BY: Final = "the chat model's own network as it stands, and the chat model, on the validation split"
_logger = logging.getLogger(__name__)


def make_artifact(job: StaffCardsJob) -> Path:
    """Make the artifact, or resume an unfinished run.

    Returns:
        The artifact's folder.

    Raises:
        DataError: If the portraits or the data can't be used.
        TrainingError: See :meth:`trainer.training.trainer.Trainer.fit`.
        ArtifactError: If weights can't be read or written.
    """
    if (job.artifact / "README.md").exists():  # written last
        return job.artifact
    dataset = draw_data(job)
    model = train_chat_model(job)
    train_starting_network(job)
    train_protector(job, dataset, model)
    protector = correct_mistakes(job, dataset)
    front = measure_front(protector, dataset, model, job.out / "front.sqlite")
    manifest = load_protector(job.run)[1]
    save_artifact(
        job.artifact, protector, manifest.model_copy(update={"front": front, "front_measured_by": _FRONT_BY})
    )
    exported = export(job.artifact, dataset)
    served = "int8" if exported.quantised else "float32"
    _logger.info("graphs: %s is served, int8 within %.1f dB of torch", served, exported.psnr)
    close_balanced(job)
    fit_cards_domain(job.artifact, job.faces, seed=job.config.seed)
    write_card(job.artifact, render_card(read_manifest(job.artifact)[0]))
    return job.artifact


def draw_data(job: StaffCardsJob) -> Dataset:
    """Draw the data set, unless it is there, and load it."""
    plan = job.plan
    if not (job.data / "data.jsonl").exists():
        _logger.info("drawing %d cards", plan.train + plan.val + plan.test)
        make_cards(
            job.data,
            job.faces,
            train=plan.train,
            val=plan.val,
            test=plan.test,
            seed=job.config.seed,
            largest=plan.largest,
        )
    return load_dataset(job.data)


def train_protector(job: StaffCardsJob, dataset: Dataset, model: SandboxChatModel) -> None:
    """Pretrain a protector on drawings, then train it through the chat model as a black box, in ``job.run``."""
    protector = pretrain_protector(
        job.faces,
        job.config.protector,
        cards=job.plan.start_cards,
        steps=job.plan.start_steps,
        seed=job.config.seed,
        checkpoint=job.out / "start" / "checkpoint.pt",
        workers=job.workers,
    )
    Trainer(
        model,
        dataset,
        job.config,
        estimator=new_student(job.student, job.config, dataset),
        assessor=new_assessor(job.student, dataset.private_attributes),
        protector=protector,
    ).fit(job.run, resume=True, on_progress=log_training())


def correct_mistakes(job: StaffCardsJob, dataset: Dataset) -> Protector:
    """Train the protector of ``job.run`` on its hard examples, and its assessor on the result.

    The assessor is saved as ``job.assessor``.
    """
    trained = load_protector(job.run)[0]
    paint_one_grey(trained)
    seed = job.config.seed
    mistakes = find_hard_examples(
        trained, job.faces, cards=job.plan.lesson_cards, seed=seed, workers=job.workers
    )
    corrected = train_on_hard_examples(trained, mistakes, steps=job.plan.lesson_steps, seed=seed)
    assessor = new_assessor(job.student, dataset.private_attributes)
    assessor.load_state_dict(torch.load(job.run / "checkpoint.pt", weights_only=True)["assessor"])
    follow(assessor, corrected, dataset, job.config, steps=job.plan.following_steps)
    torch.save(assessor.state_dict(), job.assessor)
    return corrected


def follow(
    assessor: Assessor, protector: Protector, dataset: Dataset, config: TrainerConfig, *, steps: int
) -> None:
    """Train an assessor on the pictures that a protector shows now, with the batches that training gives it.

    Args:
        assessor: Continues from where it stands.
        protector: Is not changed.
        dataset: The data set; its train split is used.
        config: Settings of the protector's training.
        steps: Number of batches.
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


def measure_front(
    protector: Protector, dataset: Dataset, model: SandboxChatModel, ledger: Path
) -> tuple[FrontPoint, ...]:
    """Measure a protector's front on the validation split, with the chat model's own network as the assessor.

    Args:
        protector: The protector.
        dataset: The data set.
        model: The chat model, which is queried.
        ledger: File of the paid queries.
    """
    validation = Validation.of(dataset, protector.config.working_resolution)
    reader = FixedClassifier(
        AttributeReader(dataset.private_attributes, model.vision), "the chat model's network"
    )
    pairs, points = validation.pairs(_FRONT_QUERIES, seed=0), []
    with Ledger(ledger, model=f"{model_identity(model)}|labels") as book:
        oracle = Oracle(model, book, Budget(_FRONT_QUERIES * len(_FRONT_LEVELS)))
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


def close_balanced(job: StaffCardsJob) -> None:
    """Raise the preset ``balanced`` to the level from which portraits show nothing.

    Training chooses presets by the utility that is left, and its assessor reads attributes; people can be found again
    at a level that hides all attributes.
    """
    _, engine, manifest, _ = load_artifact(job.artifact)
    level = max(manifest.presets["balanced"], closing_level(engine, job.faces, seed=job.config.seed))
    save_presets(job.artifact, manifest.presets | {"balanced": level})
    _logger.info("balanced: level %g", level)
