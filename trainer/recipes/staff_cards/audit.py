"""The audit of the default artifact."""

from __future__ import annotations

import json
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

import torch

from langchain_vpp.artifact import (
    load_artifact,
    read_manifest,
)
from langchain_vpp.image_protector import ImageProtector
from trainer.attackers.classifier import OVERVIEW_SIDE, FixedClassifier, FreshClassifier
from trainer.data.dataset import load_dataset
from trainer.evaluation.evaluate import EvaluationSettings, evaluate
from trainer.export.export import recheck
from trainer.recipes.staff_cards.artifact import _write_card
from trainer.recipes.staff_cards.model_card import describe
from trainer.recipes.staff_cards.out_of_distribution import out_of_distribution
from trainer.recipes.staff_cards.portrait_attacks import attack_portraits
from trainer.recipes.staff_cards.progress import _phase_teller
from trainer.recipes.staff_cards.readers import (
    _assessor,
    _weights,
)
from trainer.reporting.html import save_html
from trainer.reporting.report import picture_rows, save_json
from trainer.sandbox.chat_model import SandboxChatModel
from trainer.sandbox.drawing.cards import CARD_TASKS, PORTRAIT_QUESTIONS
from trainer.sandbox.vision.adapters import AttributeReader
from trainer.sandbox.vision.card_model import CARDS
from trainer.sandbox.vision.local_model import LocalVisionModel

if TYPE_CHECKING:
    from pathlib import Path

    from trainer.attackers.classifier import Attacker

_SHOWING: Final = 0.5
"""A level at which pictures still show something: where all are at chance, no attacker can be told from another."""
_OTHERS: Final = 200
"""Pictures of each kind that the default was not made for."""


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
        FreshClassifier(attributes, architecture=AttributeReader(attributes, vision), epochs=1),
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
        attacks=("text",) if find_spec("rapidocr") else (),
        queries_per_point=len(dataset.split("test")) * len(CARD_TASKS),  # every question about every card
        text_pictures=120,
        private_questions=dict(PORTRAIT_QUESTIONS),
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
