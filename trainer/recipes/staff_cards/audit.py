"""Audit of the staff cards' artifact: attacks, utility, other kinds of pictures, and the int8 graph."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import torch

from langchain_vpp.artifact import load_artifact, read_manifest
from langchain_vpp.engines.learned import LearnedEngine
from langchain_vpp.extras import is_installed
from langchain_vpp.image_protector import ImageProtector
from trainer.attackers.classifier import OVERVIEW_SIDE, FixedClassifier, FreshClassifier
from trainer.attackers.ocr import best_readers
from trainer.data.dataset import load_dataset
from trainer.evaluation import EvaluationSettings, evaluate
from trainer.export import recheck
from trainer.recipes.documents.reading import draw_documents, read_documents
from trainer.recipes.staff_cards.model_card import render_card, write_card
from trainer.recipes.staff_cards.out_of_distribution import out_of_distribution, save_seen
from trainer.recipes.staff_cards.portrait_attacks import attack_portraits
from trainer.recipes.staff_cards.progress import log_evaluation
from trainer.recipes.staff_cards.readers import load_chat_model, new_assessor
from trainer.reporting.files import save_json
from trainer.reporting.html import save_html
from trainer.reporting.pictures import picture_rows
from trainer.sandbox.drawing.cards import CARD_TASKS, PORTRAIT_QUESTIONS
from trainer.sandbox.drawing.documents.browser import find_browser
from trainer.sandbox.vision.adapters import AttributeReader

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainer.attackers.classifier import Attacker
    from trainer.recipes.staff_cards.plan import StaffCardsJob
    from trainer.sandbox.chat_model import SandboxChatModel

_SHOWING: Final = 0.5
"""Level at which pictures still show something; attackers can't be compared where all of them are at chance."""
_OTHERS: Final = 200
"""Pictures of each kind that the artifact was not made for."""
_DOCUMENTS: Final = 16
"""Documents of each kind that a browser renders; reading one at every level takes a quarter of a minute."""


def audit_artifact(job: StaffCardsJob) -> None:
    """Measure the finished artifact, write its reports, and put the figures on its card.

    It leaves ``report.json``, ``report.html`` and ``out_of_distribution.json`` in the job's folder.

    Raises:
        DataError: See :func:`~trainer.evaluation.evaluate.evaluate`; also if there is no browser.
        TrainingError: See :func:`~trainer.evaluation.evaluate.evaluate`; also if a file can't be written.
    """
    find_browser()  # before hours of work
    dataset, model = load_dataset(job.data), load_chat_model(job.model)
    _, engine, manifest, _ = load_artifact(job.artifact)
    attributes, presets = dataset.private_attributes, manifest.presets
    settings = EvaluationSettings(
        levels=tuple(sorted({_SHOWING, *presets.values()})),
        baselines={},
        train_images=9000,
        original_images=9000,
        attacks=("text",) if is_installed("rapidocr") else (),
        queries_per_point=len(dataset.split("test")) * len(CARD_TASKS),  # every question about every card
        text_pictures=120,
        private_questions=dict(PORTRAIT_QUESTIONS),
        query_originals=True,  # nothing leaves this machine
    )
    report = evaluate(
        job.artifact,
        dataset,
        model,
        settings,
        attackers=_attackers(job, attributes, model),
        ledger=job.out / "evaluation.sqlite",
        on_progress=log_evaluation(),
    )
    save_json(report, job.out / "report.json")  # an hour's work, kept whatever comes next
    report = attack_portraits(report, engine, job.faces, attributes)
    save_json(report, job.out / "report.json")
    documents = draw_documents(_DOCUMENTS, seed=report.seed)
    network = engine.without_domain() if isinstance(engine, LearnedEngine) else engine
    read = read_documents(documents, network, presets.values(), best_readers())
    report = report.model_copy(update={"other_pictures": read})
    save_json(report, job.out / "report.json")
    # Portraits of real people: the page shows protected pictures alone, and none of the weakest levels.
    shown = sorted({presets["balanced"], presets["high"]})
    pictures = picture_rows(dataset, engine, shown, {}, originals=False)
    balanced = ImageProtector(network, level=presets["balanced"])
    others = out_of_distribution(job.faces, balanced, model.vision, count=_OTHERS, seed=report.seed)
    save_seen(others, job.out / "out_of_distribution.json")
    write_card(job.artifact, render_card(manifest, report, others))
    save_html(report, job.out / "report.html", presets=presets, pictures=pictures)


def recheck_artifact(job: StaffCardsJob) -> None:
    """Measure, by an attacker and by the chat model, the effect of the int8 graph, and write ``recheck.json``.

    Raises:
        DataError: See :func:`~trainer.export.export.recheck`.
    """
    balanced = read_manifest(job.artifact)[0].presets["balanced"]
    settings = EvaluationSettings(
        levels=(0.0, balanced), classifiers=("small",), cold=(), queries_per_point=200
    )
    done = recheck(
        job.artifact,
        load_dataset(job.data),
        load_chat_model(job.model),
        settings,
        ledger=job.out / "recheck.sqlite",
    )
    figures = {
        "levels": settings.levels,
        "largest_leak_gain": done.largest_leak_gain,
        "largest_utility_loss": done.largest_utility_loss,
    }
    (job.out / "recheck.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def _attackers(
    job: StaffCardsJob, attributes: Mapping[str, tuple[str, ...]], model: SandboxChatModel
) -> list[Attacker]:
    # From random weights it takes twenty epochs of all training cards to read faces as well as training's assessor.
    attackers: list[Attacker] = [
        FreshClassifier(attributes, side=OVERVIEW_SIDE, warm_epochs=20, epochs=3, shift=8),
        FreshClassifier(attributes, side=OVERVIEW_SIDE, warm_epochs=20, shift=8, start="protected"),
        FreshClassifier(attributes, architecture=AttributeReader(attributes, model.vision), epochs=1),
    ]
    if job.assessor.exists():  # an artifact can be audited without the run that it came from
        # An assessor is a copy of the chat model's kind of network; its weights are all in the state.
        assessor = new_assessor(job.model, attributes)
        assessor.load_state_dict(torch.load(job.assessor, weights_only=True))
        attackers.append(FixedClassifier(assessor.reader, "training's assessor"))
    return attackers
