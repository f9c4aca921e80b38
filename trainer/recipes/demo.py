"""Demo: train a protector through the sandbox, evaluate it, and ask questions through it.

Everything is deterministic in the seed and every paid answer is on disk, so an interrupted demo resumes when it is run
again in the same folder. Nothing here prints.
"""

from __future__ import annotations

import json
import shutil
from statistics import mean
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from langchain_core.output_parsers import StrOutputParser
from langchain_openai import ChatOpenAI

from langchain_vpp.artifact import load_engine, read_manifest
from langchain_vpp.engines import CLASSICAL_ENGINES
from langchain_vpp.errors import DataError
from langchain_vpp.image_protector import ImageProtector
from langchain_vpp.images.codec import decode_image, encode_image
from langchain_vpp.network.protector import ProtectorConfig
from trainer.data.dataset import Dataset, load_dataset
from trainer.evaluation import EvaluationSettings, evaluate
from trainer.evaluation.results import OURS
from trainer.oracle.message import as_message
from trainer.oracle.query import Query
from trainer.reporting.chart import save_front
from trainer.reporting.files import save_json
from trainer.reporting.html import save_html
from trainer.reporting.pictures import contact_sheet, picture_rows
from trainer.sandbox.drawing.scenes import PRIVATE_ATTRIBUTES, PRIVATE_QUESTIONS, TASKS, make_data
from trainer.sandbox.process import SandboxServer
from trainer.training.config import TrainerConfig
from trainer.training.trainer import Trainer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from langchain_core.language_models import BaseChatModel

    from trainer.evaluation.results import Reading, Report
    from trainer.training.progress import Progress

DEMO: Final = TrainerConfig(
    steps=160,
    pretraining_steps=200,
    grey_penalty=0.25,
    max_queries=2000,
    access="logprobs",
    protector=ProtectorConfig(width=32, blocks=(1, 3, 1), working_resolution=64),
)
"""Settings of the demo's training."""
_SHOWN_BASELINES: Final = dict.fromkeys(CLASSICAL_ENGINES, 0.5)
_KNOWN: Final = 0.95
"""Accuracy on originals from which a private question counts in the result."""


class DemoPlan(NamedTuple):
    """Sizes of a demo."""

    config: TrainerConfig = DEMO
    train: int = 3000
    val: int = 200
    test: int = 300
    levels: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0)
    """Levels at which the protector is measured, besides the artifact's presets."""
    baseline_levels: tuple[float, ...] = (0.3, 0.5)
    attacker_images: int = 700
    """Images that the attacker adapts to, drawn anew at every operating point."""
    queries_per_point: int = 200


SMOKE: Final = DemoPlan(
    DEMO.model_copy(
        update={
            "steps": 12,
            "pretraining_steps": 10,
            "batch": 4,
            "max_queries": 60,
            "protector": ProtectorConfig(width=8, blocks=(1, 1, 1), working_resolution=64),
        }
    ),
    train=150,
    val=30,
    test=40,
    levels=(0.0, 1.0),
    baseline_levels=(0.5,),
    attacker_images=40,
    queries_per_point=10,
)
"""Smallest sizes of the demo, which only show that every step runs."""

LedgerPurpose = Literal["training", "evaluation", "before", "after"]
"""Purpose of a request, which every line of the sandbox's record has as ``user``. ``before`` sends the original
drawing, and so does ``evaluation`` for the reference; ``training`` and ``after`` never do."""


class Exchange(NamedTuple):
    """One question about a test picture, and the chat model's answers."""

    question: str
    private: bool
    """Whether the question asks for a private attribute; otherwise it asks for a task fact."""
    truth: str
    before: str
    """Answer of the bare model, which was sent the original drawing."""
    balanced: str
    """Answer through ``protector | model | StrOutputParser()`` at the artifact's balanced level."""
    most_private: str
    """Answer through the same chain at level 1."""


class DemoResult(NamedTuple):
    """Key figures of a demo."""

    advantage: float | None
    """Hypervolume of our front as a multiple of the best classical engine's."""
    best_baseline: str | None
    private_excess: float | None
    """Largest accuracy above chance of the chat model at the most private level, over the private questions that it
    answers above 95 % on originals."""
    task_kept: float
    """Task accuracy at the balanced level as a share of task accuracy on originals."""


class Outcome(NamedTuple):
    """Results of a demo."""

    report: Report
    verdict: DemoResult
    balanced_level: float
    conversation: tuple[Exchange, ...]


class Files(NamedTuple):
    """Files of a demo."""

    data: Path
    artifact: Path
    requests: Path
    """Every request body that the sandbox received; ``user`` in a line is its :data:`LedgerPurpose`."""
    report: Path
    front: Path
    contact_sheet: Path
    page: Path
    """Report as a page with pictures; drawings show nobody, so originals are among them."""

    @classmethod
    def under(cls, out: Path) -> Files:
        """Name the files of a demo in a folder."""
        return cls(
            out / "data",
            out / "artifact",
            out / "requests.jsonl",
            out / "report.json",
            out / "front.svg",
            out / "contact_sheet.png",
            out / "report.html",
        )


def run_demo(
    out: Path,
    *,
    seed: int,
    plan: DemoPlan,
    on_training: Callable[[Progress], None],
    on_stage: Callable[[str, int, int], None],
) -> Outcome:
    """Make data, serve the sandbox, train through it, evaluate, and talk to it through the protector.

    Args:
        out: Folder for everything that :class:`Files` names; an unfinished demo in it is resumed.
        seed: Seed of data, training and evaluation.
        plan: Sizes.
        on_training: Called often while training.
        on_stage: Called often otherwise, with the name of the stage, the amount done and the whole amount.

    Raises:
        DataError: If the folder holds another demo or can't be written.
        TrainingError: See :meth:`trainer.training.trainer.Trainer.fit`; call again to resume.
    """
    _claim(out, plan, seed)
    files = Files.under(out)
    dataset = _data(files.data, plan, seed, lambda done, of: on_stage("drawing", done, of))
    config = plan.config.model_copy(update={"seed": seed})
    with SandboxServer(record=files.requests) as server:
        Trainer(_model(server, "training"), dataset, config).fit(
            files.artifact, resume=True, on_progress=on_training
        )
        presets = read_manifest(files.artifact)[0].presets
        report = evaluate(
            files.artifact,
            dataset,
            _model(server, "evaluation"),
            _evaluation_settings(plan, presets, seed),
            ledger=out / "evaluation.sqlite",
            on_progress=lambda phase: on_stage(phase.name, phase.done, phase.of),
        )
        _save(files, report, dataset, plan, presets)
        balanced = presets["balanced"]
        conversation = _converse(server, dataset, files.artifact, balanced)
    return Outcome(report, judge_demo(report, balanced), balanced, conversation)


def _evaluation_settings(plan: DemoPlan, presets: Mapping[str, float], seed: int) -> EvaluationSettings:
    return EvaluationSettings(
        levels=tuple(sorted({*plan.levels, *presets.values()})),
        baselines=dict.fromkeys(CLASSICAL_ENGINES, plan.baseline_levels),
        seed=seed,
        train_images=plan.attacker_images,
        classifiers=("small",),
        cold=(),
        queries_per_point=plan.queries_per_point,
        private_questions=dict(PRIVATE_QUESTIONS),
        query_originals=True,  # drawings show nobody
    )


def _save(
    files: Files, report: Report, dataset: Dataset, plan: DemoPlan, presets: Mapping[str, float]
) -> None:
    """Write the report, its front, a contact sheet and the page."""
    save_json(report, files.report)
    save_front(report, files.front, presets=presets)
    engine = load_engine(files.artifact)
    pictures = picture_rows(dataset, engine, plan.levels, _SHOWN_BASELINES, originals=True)
    contact_sheet(pictures, files.contact_sheet)
    save_html(report, files.page, presets=presets, pictures=pictures)


def judge_demo(report: Report, balanced_level: float) -> DemoResult:
    """Compute a demo's key figures from its report, which must hold the balanced level and level 1."""
    ours = {point.level: point for point in report.of(OURS)}
    known = {
        each.subject
        for each in report.originals.private_answers
        if each.accuracy is not None and each.accuracy.value > _KNOWN
    }
    excess = [
        each.accuracy.value - each.chance
        for each in ours[1.0].private_answers
        if each.accuracy is not None and each.subject in known
    ]
    return DemoResult(
        advantage=report.advantage,
        best_baseline=report.best_baseline,
        private_excess=max(excess, default=None),
        task_kept=_mean_accuracy(ours[balanced_level].tasks) / _mean_accuracy(report.originals.tasks),
    )


def _mean_accuracy(readings: Sequence[Reading]) -> float:
    return mean(each.accuracy.value for each in readings if each.accuracy is not None)


def _claim(out: Path, plan: DemoPlan, seed: int) -> None:
    """Write the demo's settings into its folder, or refuse a folder of another demo."""
    path = out / "demo.json"
    mine = json.dumps(plan._asdict() | {"config": plan.config.model_dump(mode="json"), "seed": seed}) + "\n"
    problem = ""
    try:
        out.mkdir(parents=True, exist_ok=True)
        if path.exists():
            if path.read_text(encoding="utf-8") != mine:
                problem = f"{out} holds a demo with another seed or other settings"
        elif any(out.iterdir()):
            problem = f"{out} holds other things"
        else:
            path.write_text(mine, encoding="utf-8")
    except OSError as error:
        problem = f"{out} can't be used ({error.strerror or type(error).__name__})"
    if problem:
        raise DataError(f"nothing was done: {problem}. Choose another --out.")


def _data(folder: Path, plan: DemoPlan, seed: int, progress: Callable[[int, int], None]) -> Dataset:
    """Draw the data set, whole or not at all, unless it is there."""
    if not folder.exists():
        unfinished = folder.with_name("data.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        make_data(unfinished, train=plan.train, val=plan.val, test=plan.test, seed=seed, progress=progress)
        unfinished.replace(folder)
    return load_dataset(folder)


def _model(server: SandboxServer, purpose: LedgerPurpose) -> BaseChatModel:
    return ChatOpenAI(
        base_url=server.base_url,
        api_key="sandbox",
        model="sandbox",
        max_retries=0,
        model_kwargs={"user": purpose},
    )


def _converse(
    server: SandboxServer, dataset: Dataset, artifact: Path, balanced: float
) -> tuple[Exchange, ...]:
    """Ask about one test picture before and after protection: a task fact and two private attributes."""
    example = dataset.split("test")[0]
    original = encode_image(decode_image((dataset.folder / example.image).read_bytes()))
    digit = TASKS["sign_digit"]
    answers = {task.question: task.answer for task in example.tasks}
    asked = [(digit.text, digit.choices, False, answers[digit.text])]
    asked += [
        (PRIVATE_QUESTIONS[name], PRIVATE_ATTRIBUTES[name], True, example.private[name])
        for name in ("shirt_number", "hair")
    ]
    bare, model = _model(server, "before"), _model(server, "after")
    protectors = [ImageProtector.from_pretrained(artifact, level=level) for level in (balanced, 1.0)]
    exchanges = []
    for question, choices, private, truth in asked:
        messages = [as_message(Query(original, question, choices))]
        before = (bare | StrOutputParser()).invoke(messages)
        after = [(protector | model | StrOutputParser()).invoke(messages) for protector in protectors]
        exchanges.append(Exchange(question, private, truth, before, *after))
    return tuple(exchanges)
