"""Everything from portraits to the default artifact, in one command that goes on where it was stopped.

1. Staff cards with the portraits of ``--faces`` (``OUT/data``).
2. The local vision model that reads them (``OUT/model``), unless its weights come with the package.
3. A second network that has learned to read cards (``OUT/student``): the same kind from other weights and other
   drawings, and for a shorter time. Student and assessor start from it; new ones would need most of the run to learn to
   read at all.
4. A protector that knows from drawings where the fields are (``OUT/start``).
5. The protector, trained from there through the model as a black box with the settings of ``config.json``
   (``OUT/run``).
6. The artifact, whose closed mask shows one grey from now on, after a lesson from drawings on which it erred, with its
   graphs, presets, front and card, ready for ``langchain_vpp/artifacts/staff-cards`` (``OUT/artifact``); and the assessor, which
   follows it through that lesson (``OUT/assessor.pt``).
7. Its audit (``OUT/report.json`` and ``OUT/report.html``), by fresh classifiers, by the chat model's own network that
   goes on learning, by training's assessor as it stands, by networks that find people again and restore their faces,
   and by a text recogniser if one is installed; and what its graph in int8 changes (``OUT/recheck.json``).

On one core of a server with bfloat16, steps 2, 3 and 5 take an hour or more each; step 2 takes a GPU if there is one.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import torch

from langchain_vpp.artifact import (
    FrontPoint,
    load_artifact,
    load_protector,
    read_manifest,
    save_artifact,
    save_presets,
)
from langchain_vpp.errors import VPPError
from langchain_vpp.extras import is_installed
from langchain_vpp.image_protector import ImageProtector
from langchain_vpp.network.protector import ProtectorConfig
from trainer.algorithms.critical_history import CriticalHistory
from trainer.algorithms.interface import LabelledImages
from trainer.algorithms.pareto import sample_levels
from trainer.algorithms.surrogate import DistilledStudent
from trainer.attackers.classifier import OVERVIEW_SIDE, FixedClassifier, FreshClassifier
from trainer.data.answers import answer_space, references
from trainer.data.dataset import load_dataset
from trainer.data.wire import encode
from trainer.evaluation import EvaluationSettings, evaluate
from trainer.export import export, recheck
from trainer.oracle.ledger import Budget, Ledger
from trainer.oracle.model_spec import model_identity
from trainer.oracle.oracle import Oracle
from trainer.recipes.staff_cards.hard_examples import find_hard_examples, train_on_hard_examples
from trainer.recipes.staff_cards.model_card import describe
from trainer.recipes.staff_cards.out_of_distribution import out_of_distribution
from trainer.recipes.staff_cards.portrait_attacks import attack_portraits, closing_level
from trainer.recipes.staff_cards.pretraining import paint_one_grey, start_protector
from trainer.reporting.files import save_json
from trainer.reporting.html import save_html
from trainer.reporting.pictures import picture_rows
from trainer.runtime.precision import cpu_precision
from trainer.runtime.rng import keyed_generator
from trainer.sandbox.chat_model import SandboxChatModel
from trainer.sandbox.drawing.cards import PRIVATE_QUESTIONS, TASKS, make_cards
from trainer.sandbox.vision.adapters import AttributeReader, VocabularyNetwork
from trainer.sandbox.vision.card_model import CARDS
from trainer.sandbox.vision.course import card_course
from trainer.sandbox.vision.local_model import LocalVisionModel
from trainer.sandbox.vision.train import save, train
from trainer.training.assessor import Assessor, as_assessed
from trainer.training.config import TrainerConfig
from trainer.training.trainer import Trainer
from trainer.training.validation import Validation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor

    from langchain_vpp.network.protector import Protector
    from trainer.attackers.classifier import Attacker
    from trainer.data.dataset import Dataset
    from trainer.evaluation import Phase
    from trainer.sandbox.vision.course import Course
    from trainer.training.trainer import Progress

_HERE: Final = Path(__file__).parent
_STUDENT_RATE: Final = 3e-4
"""For a network that can read already, and whose batch norms are folded."""
_ASSESSOR_RATE: Final = 1e-4
"""Likewise; at that of the student it forgets faces, of which it sees few, and says the same of everybody."""
_FRONT_LEVELS: Final = (0.0, 0.25, 0.5, 0.75, 1.0)
_FRONT_PAIRS: Final = 480
_FRONT_BY: Final = "the chat model's own network as it stands, and the chat model, on the validation split"
_SHOWING: Final = 0.5
"""A level at which pictures still show something: where all are at chance, no attacker can be told from another."""
_OTHERS: Final = 200
"""Pictures of each kind that the default was not made for."""
_logger = logging.getLogger(__name__)


class StaffCardsPlan(NamedTuple):
    """Sizes of everything but the training of the protector."""

    train: int = 9000
    val: int = 240
    test: int = 490
    largest: int = 320
    """Cards of one size: with others, all would be padded to the largest, at the cost of half as much time again."""
    model_steps: int = 2400
    model_batch: int = 48
    student_steps: int = 800
    student_cards: int = 8000
    start_steps: int = 4000
    start_cards: int = 5000
    lesson_steps: int = 1500
    lesson_cards: int = 10_000
    following_steps: int = 1000


SMOKE: Final = StaffCardsPlan(
    train=60,
    val=24,
    test=12,
    model_steps=2,
    model_batch=2,
    student_steps=2,
    student_cards=8,
    start_steps=2,
    start_cards=8,
    lesson_steps=2,
    lesson_cards=8,
    following_steps=2,
)
"""The smallest sizes: they show that everything runs, and nothing else."""


def settings(*, smoke: bool = False) -> TrainerConfig:
    """Read the settings of the training."""
    config = TrainerConfig.model_validate_json((_HERE / "config.json").read_bytes())
    if not smoke:
        return config
    small = ProtectorConfig(width=8, blocks=(1, 1, 1), working_resolution=64)
    update = {
        "protector": small,
        "steps": 4,
        "batch": 4,
        "pretraining_steps": 2,
        "max_queries": 30,
        "validations": 0,
    }
    return config.model_copy(update=update)


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


def audit_default(faces: Path, out: Path) -> None:
    """Measure the artifact that :func:`train_default` made, and put the figures on its card.

    Args:
        faces: See :func:`train_default`.
        out: Its folder for everything.

    Raises:
        DataError: See :func:`~trainer.evaluation.evaluate.evaluate`.
        TrainingError: Likewise; also if a file can't be written.
    """
    dataset, artifact = load_dataset(out / "data"), out / "artifact"
    _, engine, manifest, _ = load_artifact(artifact)
    vision = LocalVisionModel.load(_weights(out), subject=CARDS)
    attributes = dataset.private_attributes
    # From random weights it takes twenty epochs of all training cards to read faces as well as training's assessor.
    attackers: list[Attacker] = [
        FreshClassifier(attributes, side=OVERVIEW_SIDE, warm_epochs=20, epochs=3, shift=8),
        FreshClassifier(attributes, side=OVERVIEW_SIDE, warm_epochs=20, shift=8, start="protected"),
        FreshClassifier(attributes, network=AttributeReader(attributes, vision), epochs=1),
    ]
    if (out / "assessor.pt").exists():  # an artifact can be audited without the run that it came from
        state = torch.load(out / "assessor.pt", weights_only=True)
        assessor = _assessor(attributes, _weights(out), state)
        attackers.append(FixedClassifier(assessor.reader, "training's assessor"))
    presets = manifest.presets
    settings = EvaluationSettings(
        levels=tuple(sorted({_SHOWING, *presets.values()})),
        baselines={},
        train_images=9000,
        original_images=9000,
        attacks=("text",) if is_installed("rapidocr") else (),
        queries_per_point=len(dataset.split("test")) * len(TASKS),  # every question about every card
        text_pictures=120,
        private_questions=dict(PRIVATE_QUESTIONS),
        query_originals=True,  # nothing leaves this machine
    )
    report = evaluate(
        artifact,
        dataset,
        SandboxChatModel(model_name=CARDS.name, vision=vision),
        settings,
        attackers=attackers,
        ledger=out / "evaluation.sqlite",
        on_progress=_phase_teller(),
    )
    save_json(report, out / "report.json")  # an hour's work, kept whatever comes next
    report = attack_portraits(report, engine, faces, attributes)
    save_json(report, out / "report.json")
    # Portraits of real people: the page shows protected pictures alone, and none of the weakest levels.
    shown = sorted({presets["balanced"], presets["high"]})
    pictures = picture_rows(dataset, engine, shown, {}, originals=False)
    balanced = ImageProtector(engine, level=presets["balanced"])
    others = out_of_distribution(faces, balanced, vision, count=_OTHERS, seed=report.seed)
    _write_card(artifact, describe(manifest, report, others))
    save_html(report, out / "report.html", presets=presets, pictures=pictures)


def recheck_default(out: Path) -> None:
    """Measure what the graph in int8 changes, by an attacker and by the chat model.

    Args:
        out: The folder of :func:`train_default`.

    Raises:
        DataError: See :func:`~trainer.export.export.recheck`.
    """
    artifact, dataset = out / "artifact", load_dataset(out / "data")
    balanced = read_manifest(artifact)[0].presets["balanced"]
    settings = EvaluationSettings(
        levels=(0.0, balanced), classifiers=("small",), cold=(), queries_per_point=200
    )
    model = SandboxChatModel(
        model_name=CARDS.name, vision=LocalVisionModel.load(_weights(out), subject=CARDS)
    )
    done = recheck(artifact, dataset, model, settings, ledger=out / "recheck.sqlite")
    figures = {
        "levels": settings.levels,
        "largest_leak_gain": done.largest_leak_gain,
        "largest_utility_loss": done.largest_utility_loss,
    }
    (out / "recheck.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def _assessor(
    attributes: Mapping[str, tuple[str, ...]], network: Path, state: Mapping[str, Tensor]
) -> Assessor:
    """Training's assessor in a state of its own; the folder gives the kind of network."""
    twin = LocalVisionModel.load(network, subject=CARDS)
    assessor = Assessor(attributes, AttributeReader(attributes, twin), learning_rate=_ASSESSOR_RATE)
    assessor.load_state_dict(state)
    return assessor


def _write_card(artifact: Path, text: str) -> None:
    (artifact / "README.md").write_text(text, encoding="utf-8")


def _weights(out: Path) -> Path:
    """Of the chat model: those that come with the package, if they do."""
    return CARDS.weights if CARDS.weights.is_dir() else out / "model"


def _phase_teller() -> Callable[[Phase], None]:
    """Log every attack that is done and every hundredth answer, once: progress is also told while nothing changes."""
    told: set[Phase] = set()

    def tell(phase: Phase) -> None:
        if phase not in told and (phase.name == "attack" or phase.done % 100 == 0):
            told.add(phase)
            _logger.info("%s: %d of %d", phase.name, phase.done, phase.of)

    return tell


def _vision(
    faces: Path, folder: Path, plan: StaffCardsPlan, seed: int, *, device: str, workers: int
) -> LocalVisionModel:
    if CARDS.weights.is_dir():
        return LocalVisionModel.load(subject=CARDS)
    course = replace(card_course(faces), steps=plan.model_steps, batch=plan.model_batch)
    return _taught(course, folder, seed, device=device, workers=workers)


def _student(vision: LocalVisionModel, config: TrainerConfig, dataset: Dataset) -> DistilledStudent:
    """A student that can read cards before it sees the first answer."""
    space, examples = answer_space(dataset), dataset.split("train")
    return DistilledStudent(
        space,
        LabelledImages(
            dataset.pixels(examples, config.protector.working_resolution), references(examples, space)
        ),
        CriticalHistory(config.history_capacity, replay=config.replay),
        steps=config.student_steps,
        batch=config.student_batch,
        learning_rate=_STUDENT_RATE,
        query_choice=config.query_choice,
        criticality=config.criticality,
        network=VocabularyNetwork(space, vision),
    )


def _taught(course: Course, folder: Path, seed: int, *, device: str, workers: int) -> LocalVisionModel:
    """Train a local vision model, or load what was trained before."""
    if not (folder / "model.json").exists():
        checkpoint = folder / "checkpoint.pt"
        network = train(course, seed=seed, device=device, workers=workers, checkpoint=checkpoint)
        reached = save(network, folder, course, seed=seed)
        checkpoint.unlink()
        _logger.info("reads %s", ", ".join(f"{name} {value:.3f}" for name, value in reached.items()))
    return LocalVisionModel.load(folder, subject=course.subject)


def _teller() -> Callable[[Progress], None]:
    """Log every fiftieth step once; progress is also told for each answer that arrives within a step."""
    told: set[tuple[str, int]] = set()

    def tell(progress: Progress) -> None:
        if progress.step % 50 == 0 and (progress.phase, progress.step) not in told:
            told.add((progress.phase, progress.step))
            _logger.info(
                "%s: %d of %d, %d queries", progress.phase, progress.step, progress.steps, progress.queries
            )

    return tell


def main(arguments: Sequence[str] | None = None) -> int:
    """Train from the command line.

    Returns:
        The exit code: 0 when done, 2 if it could not be done.
    """
    parser = argparse.ArgumentParser(description="Train the default artifact; the same command goes on.")
    parser.add_argument("--faces", type=Path, required=True, help="portraits: labels.csv, train/ and val/")
    parser.add_argument("--out", type=Path, required=True, help="folder for everything")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--workers", type=int, default=1, help="processes that draw cards")
    parser.add_argument("--smoke", action="store_true", help="smallest sizes, to see that everything runs")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        artifact = train_default(
            given.faces,
            given.out,
            SMOKE if given.smoke else StaffCardsPlan(),
            settings(smoke=given.smoke),
            device=given.device,
            workers=given.workers,
        )
        if not given.smoke and not (given.out / "report.html").exists():
            # At the smallest sizes there is nothing that an attacker could learn.
            audit_default(given.faces, given.out)
            recheck_default(given.out)
    except VPPError as error:
        _logger.error("%s", error)  # noqa: TRY400  one line, as on the command line
        return 2
    _logger.info("done: %s", artifact)
    return 0


if __name__ == "__main__":
    sys.exit(main())
