"""What a protector hides and keeps: engines x levels x attackers, and the chat model's own answers, as a report."""

from __future__ import annotations

import copy
import hashlib
import math
import os
from collections import Counter, defaultdict
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import torch
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from langchain_vpp.artifact import artifact_folder, load_engine, read_manifest
from langchain_vpp.engines import CLASSICAL_ENGINES
from langchain_vpp.errors import DataError, TrainingError
from langchain_vpp.pixels import decode_image, encode_image
from langchain_vpp.protector_config import ProtectorConfig, working_size
from trainer.attackers.classifier import AttackData, FreshClassifier, LabelledImages
from trainer.data import as_tensor
from trainer.ledger import Budget, Ledger, Price, Query
from trainer.measurements import (
    OURS,
    Column,
    OperatingPoint,
    QueryCount,
    Report,
    chance,
    judge,
)
from trainer.named_model import model_identity
from trainer.oracle import Oracle
from trainer.scoring import Judge, accuracy, chosen, normalise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from langchain_core.language_models import BaseChatModel
    from torch import Tensor

    from langchain_vpp.engines import Engine
    from trainer.data import Dataset, Example, Split
    from trainer.ledger import Answer
    from trainer.measurements import Estimate, Reading

_TICK_S = 0.5
_RESOLUTION = 384
_ORIGINALS = "none"
_CHAT_MODEL = "chat model"
_OTHER_QUESTIONS = "(other questions)"
_LEAST_PER_QUESTION = 20
"""Test references that a question needs for a chance floor of its own; rarer ones are pooled."""

_NOT_TESTED = (
    "re-identification of the people in the pictures",
    "reconstruction of the originals from protected pictures",
    "the same picture asked for many times, at several levels, sizes or crops",
    "text in the pictures, read by an OCR engine",
    "private attributes that the data set does not label",
    "other chat models than this one",
)


class EvaluationSettings(BaseModel):
    """What is measured. The defaults are those of the demo."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    levels: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0)
    """Of the protector."""
    baselines: dict[Literal["blur", "pixelate", "downscale"], tuple[float, ...]] = Field(
        default=dict.fromkeys(CLASSICAL_ENGINES, (0.2, 0.4, 0.6, 0.8)), validate_default=True
    )
    """Classical engines and their levels."""
    seed: int = Field(0, ge=0, lt=2**31)
    resolution: int | None = Field(None, ge=32, le=1024)
    """Longest side in pixels at which attackers see images; the protector's working resolution if not given, or 384."""
    train_images: int = Field(1500, ge=1)
    """How many images of the train split attackers learn from at an operating point, drawn anew for each; on
    originals they learn from all."""

    queries_per_point: int = Field(200, ge=0)
    """(image, question) pairs of the test split, the same at every operating point, evenly over the questions."""
    private_questions: dict[str, str] = {}
    """How the chat model is asked for private attributes at the protector's levels, as many queries again."""
    query_originals: bool = False
    """Whether the chat model sees *unprotected* test images, to measure what originals would give. Never by default."""
    max_concurrency: int = Field(8, ge=1, le=256)


class Phase(NamedTuple):
    """Where an evaluation stands."""

    name: Literal["attack", "ask"]
    done: int
    of: int


class _Setting(NamedTuple):
    """An engine at a level."""

    name: str
    engine: Engine | None
    """``None`` leaves images as they are."""
    level: float


class _Pair(NamedTuple):
    """A question about a test image."""

    kind: Literal["task", "private"]
    row: int
    subject: str
    """What the answer counts for: the question or the private attribute."""
    question: str
    choices: tuple[str, ...]
    answer: str
    answers: tuple[str, ...] = ()

    def score(self, text: str, same_meaning: Callable[[str, str], bool] | None) -> float | None:
        """Judge an answer, in [0, 1]; ``None`` if it is a refusal or names no class."""
        usable = chosen(text, self.choices) is not None if self.choices else bool(normalise(text))
        if not usable:
            return None
        return accuracy(
            text, self.answer, choices=self.choices, answers=self.answers, same_meaning=same_meaning
        )


@dataclass
class _Seen:
    """What came of one setting."""

    predictions: Tensor
    """The attacker's classes on the test split, ``[N, A]``."""
    sent: dict[int, bytes]
    """Row of the test split -> picture as it is sent."""
    answers: dict[_Pair, Answer | None] = field(default_factory=dict)
    """``None`` where an answer is lost."""


def evaluate(
    source: str | Path | Engine,
    dataset: Dataset,
    model: BaseChatModel | None = None,
    settings: EvaluationSettings | None = None,
    *,
    answer_judge: BaseChatModel | None = None,
    ledger: str | Path | None = None,
    budget: Budget | None = None,
    price: Price | None = None,
    on_progress: Callable[[Phase], None] | None = None,
) -> Report:
    """Measure leak and utility of a protector and of classical engines, on the test split.

    Images of all splits go through each engine one by one and through the same encoder as at run time. A fresh
    classifier learns the private attributes from protected *train* images at every operating point, is tuned on *val*
    and judged on *test*. The chat model is asked task questions about protected test images, through the ledger.

    Args:
        source: An artifact's folder, or any engine.
        dataset: Images with task questions and private labels.
        model: The chat model; without one only the leak is measured.
        settings: What is measured.
        answer_judge: Says which answers to open questions mean the same ("sofa", "couch"); without one only equal words
            do. It is sent pairs of answers, never a picture; see :class:`~trainer.scoring.Judge`.
        ledger: File for the queries, of this evaluation alone. Needed with a model.
        budget: What may be spent in the ledger, over all calls; unlimited if not given.
        price: Of tokens, for a budget in money.
        on_progress: Called often, in this thread.

    Raises:
        DataError: If the data set can't show anything: no test image, one class only, or no attribute that can be read
            even from originals.
        ArtifactError: If the artifact can't be loaded.
        BudgetExhaustedError: Before the first query, if all of them would exceed the budget.
        OracleError: If the chat model fails; call again, answers that had arrived are not paid again.
    """
    if model is not None and ledger is None:
        raise TrainingError("an evaluation with a chat model needs a ledger file; nothing was sent.")
    run = _Evaluation(source, dataset, settings or EvaluationSettings(), on_progress or (lambda _: None))
    if answer_judge is not None:
        run.same_meaning = Judge(answer_judge).same
    run.attack()
    if model is not None and ledger is not None:
        limit = budget or Budget(2**31)
        with Ledger(Path(ledger), model=f"{model_identity(model)}|labels", price=price) as book:
            run.ask(Oracle(model, book, limit, max_concurrency=run.settings.max_concurrency), book)
    return run.report(
        None if model is None else model_identity(model),
        None if answer_judge is None else model_identity(answer_judge),
    )


class _Evaluation:
    """State of one call of :func:`evaluate`."""

    def __init__(
        self,
        source: str | Path | Engine,
        dataset: Dataset,
        settings: EvaluationSettings,
        tell: Callable[[Phase], None],
    ) -> None:
        self.dataset, self.settings, self.tell = dataset, settings, tell
        self.warnings: list[str] = []
        engine = self._engine(source)
        self.attributes = dataset.private_attributes
        self.examples: dict[Split, tuple[Example, ...]] = {
            "train": dataset.split("train"),
            "val": dataset.split("val"),
            "test": dataset.split("test"),
        }
        self._check()
        self.labels = {split: dataset.labels(examples) for split, examples in self.examples.items()}
        self._check_labels()
        self.operating_points = [
            *(_Setting(OURS, engine, level) for level in settings.levels),
            *(
                _Setting(name, CLASSICAL_ENGINES[name](), level)
                for name, levels in settings.baselines.items()
                for level in levels
            ),
        ]
        self.originals = _Setting(_ORIGINALS, None, 0.0)
        self.groups = self._groups()
        self.floors: dict[tuple[Literal["task", "private"], str], float] = {}
        self.task_pairs = self._task_pairs()
        self.private_pairs = self._private_pairs()
        self.attacker = FreshClassifier(self.attributes)
        self.seen: dict[_Setting, _Seen] = {}
        self.same_meaning: Callable[[str, str], bool] | None = None
        self.queries = QueryCount()

    # -- what is to be measured ----------------------------------------------------------------------------------

    def _engine(self, source: str | Path | Engine) -> Engine:
        if not isinstance(source, str | Path):
            self.digest: str = getattr(source, "digest", "")
            own = getattr(source, "working_resolution", None)
            self.resolution = self.settings.resolution or own or _RESOLUTION
            return source
        # What users get: the graph, if the artifact has one.
        manifest, self.digest = read_manifest(artifact_folder(source))
        engine = load_engine(source)
        own = ProtectorConfig.model_validate(manifest.protector).working_resolution
        self.resolution = self.settings.resolution or own
        if manifest.data_digest != self.dataset.digest:
            self.warnings.append(
                "the artifact was trained on another data set: whether its training saw the test images of this one, "
                "and so flatters what is measured here, can't be told"
            )
        return engine

    def _check(self) -> None:
        empty = [split for split, examples in self.examples.items() if not examples]
        if empty:
            raise DataError(
                f"no image in {', '.join(empty)}, so nothing was measured. Each split needs some."
            )
        unknown = sorted(set(self.settings.private_questions) - set(self.attributes))
        if unknown:
            raise DataError(
                f"private questions for {', '.join(unknown)}, which the data set doesn't label. Nothing was measured."
            )

    def _check_labels(self) -> None:
        for index, name in enumerate(self.attributes):
            classes = self.labels["test"][:, index]
            if len(torch.unique(classes[classes >= 0])) < 2:
                raise DataError(
                    f"private attribute {name!r} has fewer than two classes on test, so no attacker can be judged. "
                    "Nothing was measured; add images of another class or remove the attribute."
                )
            unseen = sum(example.private.get(name) is not None for example in self.examples["test"])
            unseen -= int((classes >= 0).sum())
            if unseen:
                self.warnings.append(
                    f"{unseen} test images have a class of {name!r} that train lacks; left out"
                )

    def _task_pairs(self) -> list[_Pair]:
        asked = [(row, task) for row, example in enumerate(self.examples["test"]) for task in example.tasks]
        frequency: dict[str, int] = defaultdict(int)
        for _, task in asked:
            frequency[task.question] += 1
        by_subject: dict[str, list[_Pair]] = defaultdict(list)
        for row, task in asked:
            subject = task.question if frequency[task.question] >= _LEAST_PER_QUESTION else _OTHER_QUESTIONS
            by_subject[subject].append(
                _Pair("task", row, subject, task.question, task.choices, normalise(task.answer), task.answers)
            )
        return self._spread(by_subject)

    def _private_pairs(self) -> list[_Pair]:
        by_subject = {
            name: [
                _Pair("private", row, name, question, self.attributes[name], example.private[name])
                for row, example in enumerate(self.examples["test"])
                if example.private.get(name) in self.attributes[name]
            ]
            for name, question in self.settings.private_questions.items()
        }
        return self._spread(by_subject)

    def _spread(self, by_subject: Mapping[str, Sequence[_Pair]]) -> list[_Pair]:
        """Draw the same number of pairs for each subject, as far as they last; note the chance floors of all."""
        drawn = []
        for index, (subject, pairs) in enumerate(by_subject.items()):
            answers = Counter(pair.answer for pair in pairs)
            self.floors[pairs[0].kind, subject] = max(answers.values()) / len(pairs)
            share, rest = divmod(self.settings.queries_per_point, len(by_subject))
            order = torch.randperm(len(pairs), generator=self._generator(f"{pairs[0].kind}/{subject}"))
            drawn += [pairs[position] for position in order[: share + (index < rest)]]
        return drawn

    def _groups(self) -> Tensor:
        """Number the groups of the test images; an image without one is its own."""
        names = [example.group or f"{row}/" for row, example in enumerate(self.examples["test"])]
        numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
        return torch.tensor([numbers[name] for name in names])

    def _generator(self, purpose: str) -> torch.Generator:
        """Randomness keyed by purpose, so that neither the order of calls nor parallel work matters."""
        key = hashlib.sha256(f"{self.settings.seed}/{purpose}".encode()).digest()
        return torch.Generator().manual_seed(int.from_bytes(key[:7]))

    # -- attackers -----------------------------------------------------------------------------------------------

    def attack(self) -> None:
        """Protect everything and let the attackers at it, each engine in a thread of its own."""
        chains: dict[str, list[_Setting]] = defaultdict(list)
        for setting in sorted(self.operating_points, key=lambda setting: setting.level):
            chains[setting.name].append(setting)
        with _one_thread_each():
            data, sent = self._protected(self.originals)
            read = self.attacker.prepare(data, generator=self._generator("prepare"))
            self.seen[self.originals] = _Seen(read.predictions, sent)
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                pending = {pool.submit(self._attack_engine, chain) for chain in chains.values()}
                while pending:
                    self.tell(Phase("attack", len(self.seen), len(self.operating_points) + 1))
                    finished, pending = wait(pending, timeout=_TICK_S, return_when=FIRST_EXCEPTION)
                    for future in finished:
                        future.result()
        self.tell(Phase("attack", len(self.seen), len(self.operating_points) + 1))

    def _attack_engine(self, chain: Sequence[_Setting]) -> None:
        """Attack an engine from its weakest level to its strongest; each attack goes on from the one before."""
        attacker = copy.deepcopy(self.attacker)
        for setting in chain:
            data, sent = self._protected(setting)
            generator = self._generator(f"attack/{setting.name}/{setting.level}")
            self.seen[setting] = _Seen(attacker.attack(data, generator=generator).predictions, sent)

    def _protected(self, setting: _Setting) -> tuple[AttackData, dict[int, bytes]]:
        """Protect the images of all splits; also return the test pictures that the chat model is to be asked about."""
        wanted = {pair.row for pair in self._pairs(setting)}
        sent: dict[int, bytes] = {}
        splits = []
        for split, examples in self.examples.items():
            rows = self._learned_from(setting) if split == "train" else range(len(examples))
            arrived = []
            for row in rows:
                image = self.dataset.open_image(examples[row])
                encoded = encode_image(
                    setting.engine.protect(image, setting.level) if setting.engine else image
                )
                if split == "test" and row in wanted:
                    sent[row] = encoded
                arrived.append(_at_resolution(decode_image(encoded), self.resolution))
            splits.append(LabelledImages(_canvas(arrived), self.labels[split][list(rows)]))
        return AttackData(*splits), sent

    def _learned_from(self, setting: _Setting) -> list[int]:
        """Rows of the train split; other ones at every operating point, so that an attacker sees many in all."""
        count = len(self.examples["train"])
        if setting is self.originals:
            return list(range(count))
        order = torch.randperm(count, generator=self._generator(f"rows/{setting.name}/{setting.level}"))
        rows: list[int] = order[: self.settings.train_images].tolist()
        return rows

    # -- the chat model ------------------------------------------------------------------------------------------

    def _pairs(self, setting: _Setting) -> list[_Pair]:
        """What is asked at a setting: tasks everywhere, private questions about our pictures and originals."""
        if setting.name == _ORIGINALS and not self.settings.query_originals:
            return []
        return [*self.task_pairs, *(self.private_pairs if setting.name in {OURS, _ORIGINALS} else [])]

    def ask(self, oracle: Oracle, ledger: Ledger) -> None:
        """Ask everything in one batch, so that the budget is checked before the first query."""
        asked = [
            (setting, pair)
            for setting in (self.originals, *self.operating_points)
            for pair in self._pairs(setting)
        ]
        queries = [
            Query(self.seen[setting].sent[pair.row], pair.question, pair.choices) for setting, pair in asked
        ]
        before, _ = ledger.spent()
        count = iter(range(1, len(queries) + 1))
        answers = oracle.ask(
            queries, purpose="evaluate", on_answer=lambda: self.tell(Phase("ask", next(count), len(queries)))
        )
        for (setting, pair), answer in zip(asked, answers, strict=True):
            self.seen[setting].answers[pair] = answer
        after, _ = ledger.spent()
        self.queries = QueryCount(
            tasks=sum(pair.kind == "task" for _, pair in asked),
            private=sum(pair.kind == "private" for _, pair in asked),
            originals=sum(setting is self.originals for setting, _ in asked),
            paid=after - before,
            lost=sum(answer is None for answer in answers),
        )

    # -- the report ----------------------------------------------------------------------------------------------

    def report(self, model: str | None, answer_judge: str | None) -> Report:
        """Judge what was seen."""
        originals = self._judge(self.originals, None)
        if originals.leak is None:
            raise DataError(
                "the attacker reads no private attribute even from originals, so it can't tell what protection hides. "
                "Give it more training images; no report was made."
            )
        self.warnings += [
            f"the attacker hardly reads {each.subject!r} from originals: nothing is known about its protection"
            for each in originals.attributes
            if each.scaled is None
        ]
        return Report(
            created_with={
                name: version(name) for name in ("langchain-vpp", "torch", "pillow", "langchain-core")
            },
            artifact_digest=self.digest,
            data_digest=self.dataset.digest,
            seed=self.settings.seed,
            model=model,
            judge=answer_judge,
            images={split: len(examples) for split, examples in self.examples.items()},
            attacker=self.attacker.description,
            originals=originals,
            points=tuple(self._judge(setting, originals) for setting in self.operating_points),
            queries=self.queries,
            warnings=tuple(self.warnings),
            not_tested=_NOT_TESTED,
        )

    def _judge(self, setting: _Setting, originals: OperatingPoint | None) -> OperatingPoint:
        """Judge a setting by what was reached on originals; ``None`` for these themselves."""
        attributes, leak = judge(
            self.attacker.name,
            self._attacked(setting, _ceilings(originals, "attributes")),
            self.groups,
            generator=self._generator("bootstrap"),
        )
        tasks, utility = self._judge_answers(setting, "task", _ceilings(originals, "tasks"))
        private, _ = self._judge_answers(setting, "private", _ceilings(originals, "private_answers"))
        return OperatingPoint(
            engine=setting.name,
            level=setting.level,
            leak=leak,
            utility=utility,
            attributes=attributes,
            tasks=tasks,
            private_answers=private,
        )

    def _attacked(self, setting: _Setting, ceilings: Mapping[str, float] | None) -> list[Column]:
        columns = []
        for index, name in enumerate(self.attributes):
            labels = self.labels["test"][:, index]
            right = (self.seen[setting].predictions[:, index] == labels).float()
            columns.append(
                Column(
                    name,
                    right.masked_fill(labels < 0, math.nan),
                    labels,
                    chance(labels),
                    None if ceilings is None else ceilings[name],
                )
            )
        return columns

    def _judge_answers(
        self, setting: _Setting, kind: Literal["task", "private"], ceilings: Mapping[str, float] | None
    ) -> tuple[tuple[Reading, ...], Estimate | None]:
        pairs = [(pair, answer) for pair, answer in self.seen[setting].answers.items() if pair.kind == kind]
        columns = []
        for subject in dict.fromkeys(pair.subject for pair, _ in pairs):
            names: dict[str, int] = {}
            scores, classes, unusable = torch.full((len(pairs),), math.nan), torch.zeros(len(pairs)), 0
            for position, (pair, answer) in enumerate(pairs):
                if pair.subject != subject or answer is None:
                    continue
                score = pair.score(answer.text, self.same_meaning)
                unusable += score is None
                if score is not None or kind == "task":
                    scores[position] = score or 0.0
                classes[position] = names.setdefault(pair.answer, len(names))
            columns.append(
                Column(
                    subject,
                    scores,
                    classes,
                    self.floors[kind, subject],
                    None if ceilings is None else ceilings.get(subject, 1.0),
                    unusable,
                )
            )
        groups = torch.stack([self.groups[pair.row] for pair, _ in pairs]) if pairs else self.groups
        return judge(_CHAT_MODEL, columns, groups, generator=self._generator(f"bootstrap/{kind}"))


def _ceilings(
    originals: OperatingPoint | None, table: Literal["attributes", "tasks", "private_answers"]
) -> dict[str, float] | None:
    """Accuracies on originals by subject, where they were measured."""
    if originals is None:
        return None
    readings: tuple[Reading, ...] = getattr(originals, table)
    return {each.subject: each.accuracy.value for each in readings if each.accuracy is not None}


def _at_resolution(image: Image.Image, resolution: int) -> Image.Image:
    size = working_size(*image.size, resolution)
    return image if image.size == size else image.resize(size, Image.Resampling.BOX)


def _canvas(images: Sequence[Image.Image]) -> Tensor:
    """Stack images, ``uint8`` of shape ``[N, 3, H, W]``; smaller ones lie at the top left, the rest is grey."""
    height, width = (max(image.size[side] for image in images) for side in (1, 0))
    canvas = torch.full((len(images), 3, height, width), 128, dtype=torch.uint8)
    for row, image in zip(canvas, images, strict=True):
        row[:, : image.height, : image.width] = as_tensor(image)
    return canvas


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Let parallel attackers compute with one thread each: faster than sharing, and no result depends on the cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
