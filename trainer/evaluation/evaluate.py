"""What a protector hides and keeps: engines x levels x attackers, and the chat model's own answers, as a report."""

from __future__ import annotations

import copy
import math
from collections import defaultdict
from concurrent.futures import FIRST_EXCEPTION, Executor, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, ParamSpec, TypeVar

import torch
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from langchain_vpp.artifact import load_artifact
from langchain_vpp.engines import CLASSICAL_ENGINES, NAMED_ENGINES, FaceBlur
from langchain_vpp.engines.face_detector import is_installed
from langchain_vpp.errors import DataError, TrainingError
from langchain_vpp.image_protector import usable_cpus
from langchain_vpp.images.codec import decode_image, encode_image
from langchain_vpp.network.config import working_size
from trainer.attackers.backbones import BACKBONE_SIDE
from trainer.attackers.classifier import (
    OVERVIEW_SIDE,
    Architecture,
    AttackData,
    Attacker,
    AttackImages,
    FreshClassifier,
    Scores,
    combine,
)
from trainer.attackers.prompted import Style, ask, hear
from trainer.attackers.repeated import RepeatedQueries, views
from trainer.data.answers import answer_space, references
from trainer.data.contamination import check_unseen
from trainer.data.wire import as_tensor
from trainer.evaluation.attack_suite import ATTACKS, Attack, Audit, Finding, People, Words
from trainer.evaluation.questions import (
    PictureQuestion,
    chance_floors,
    columns,
    draw_questions,
    group_numbers,
    task_questions,
)
from trainer.evaluation.results import OURS, STRONGEST, Column, OperatingPoint, QueryCount, Report, judge
from trainer.oracle.ledger import Budget, Ledger, Price
from trainer.oracle.model_spec import model_identity
from trainer.oracle.oracle import Oracle
from trainer.oracle.query import Query
from trainer.oracle.scoring import AnswerJudge
from trainer.runtime.cancellation import thread_pools
from trainer.runtime.rng import keyed_generator
from trainer.statistics import chance, class_mean_precision, floor_from_tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from langchain_core.language_models import BaseChatModel
    from torch import Tensor

    from langchain_vpp.engines import Engine
    from trainer.attackers.identity import Embedder
    from trainer.data.dataset import Dataset
    from trainer.data.format import Example, Split
    from trainer.evaluation.results import Reading
    from trainer.oracle.query import Answer
    from trainer.statistics import ConfidenceInterval

P = ParamSpec("P")
T = TypeVar("T")

_TICK_S = 0.5
_RESOLUTION = 384
_ORIGINALS = "none"
_CHAT_MODEL = "chat model"
_REPEATED = "repeated queries"

UNTESTED: dict[str, str] = {
    "identity": "re-identification of the people in the pictures",
    "inversion": "reconstruction of the originals from protected pictures",
    "repeated": "the same picture asked for many times, at several levels, sizes or crops",
    "text": "text in the pictures, read by an OCR engine",
}
_NEVER_TESTED = ("private attributes that the data set does not label", "other chat models than this one")


class EvaluationSettings(BaseModel):
    """What is measured. The defaults are those of the demo."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    levels: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0)
    """Of the protector."""
    baselines: dict[Literal["blur", "pixelate", "downscale", "face-blur"], tuple[float, ...]] = Field(
        default=dict.fromkeys(CLASSICAL_ENGINES, (0.2, 0.4, 0.6, 0.8)), validate_default=True
    )
    """Classical engines and their levels. ``face-blur`` needs the extra ``faces``; ``vpp evaluate`` adds it where that
    is installed."""
    seed: int = Field(0, ge=0, lt=2**31)
    resolution: int | None = Field(None, ge=32, le=1024)
    """Longest side in pixels at which attackers see images; the protector's working resolution if not given, or 384."""
    train_images: int = Field(1500, ge=1)
    """How many images of the train split attackers learn from at an operating point, drawn anew for each."""
    original_images: int = Field(3000, ge=1)
    """How many they learn from on originals."""
    classifiers: tuple[Architecture, ...] = ("small", "resnet10")
    """Architectures of the fresh classifiers that are warm-started on originals. There are two small ones where
    pictures are large: one sees them as they come, one scaled down."""
    cold: tuple[Architecture, ...] = ("small",)
    """Architectures of those that learn from protected images alone; the small one sees large pictures scaled down."""
    attacks: tuple[Attack | Literal["repeated"], ...] = ()
    """What else is tried at the protector's levels: ``identity``, ``inversion``, ``text``, ``repeated``."""
    text_pictures: int = Field(200, ge=1)
    """How many test images an OCR engine reads at an operating point."""

    queries_per_point: int = Field(200, ge=0)
    """(image, question) pairs of the test split, the same at every operating point, evenly over the questions."""
    private_questions: dict[str, str] = {}
    """How the chat model is asked for private attributes at the protector's levels, as many queries again."""
    styles: tuple[Style, ...] = Field(("direct",), min_length=1)
    """How private questions are put; each style asks all of them."""
    query_originals: bool = False
    """Whether the chat model sees *unprotected* test images, to measure what originals would give. Never by default."""
    max_concurrency: int = Field(8, ge=1, le=256)


Ceilings = dict[tuple[str, str], float]
_VIEWS = views(
    level_changes=(0.0, 0.1), scales=(1.0, 0.75), margins=((0.0, 0.0, 0.0, 0.0), (0.05, 0.0, 0.0, 0.05))
)


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


class _Asked(NamedTuple):
    """A question about a test image, as it is put."""

    pair: PictureQuestion
    style: Style | None
    """Of a private question; ``None`` for a task."""


@dataclass
class _Seen:
    """What came of one setting."""

    scores: dict[str, Scores]
    """By attacker."""
    sent: dict[int, bytes]
    """Row of the test split -> picture as it is sent."""
    finding: Finding = field(default_factory=Finding)
    """Of the other attacks."""
    restored: dict[str, Tensor] = field(default_factory=dict)
    """By attacker: classes read from reconstructions of the test images, ``[N, A]``."""
    answers: dict[_Asked, Answer | None] = field(default_factory=dict)
    """``None`` where an answer is lost."""


class _Attacks(NamedTuple):
    """What is under way at one setting."""

    sent: dict[int, bytes]
    """Row of the test split -> picture as it is sent."""
    scores: dict[str, Future[Scores]]
    """By attacker."""
    finding: Future[Finding] | None
    """Of the other attacks."""

    @property
    def futures(self) -> tuple[Future[Any], ...]:
        """All of them."""
        return (*self.scores.values(), *(() if self.finding is None else (self.finding,)))


class _Turns(NamedTuple):
    """Work on the processors, some of which follows other work."""

    workers: Executor
    waiting: Executor
    """Whoever waits for a turn does so here and keeps no processor idle."""

    def follow(
        self, previous: Future[Any], work: Callable[P, T], *given: P.args, **named: P.kwargs
    ) -> Future[T]:
        """Do work once ``previous`` is done; if that failed, this fails likewise."""

        def take_turn() -> T:
            previous.result()
            return self.workers.submit(work, *given, **named).result()

        return self.waiting.submit(take_turn)


def evaluate(
    source: str | Path | Engine,
    dataset: Dataset,
    model: BaseChatModel | None = None,
    settings: EvaluationSettings | None = None,
    *,
    attackers: Sequence[Attacker] | None = None,
    embedder: Embedder | None = None,
    answer_judge: BaseChatModel | None = None,
    ledger: str | Path | None = None,
    budget: Budget | None = None,
    price: Price | None = None,
    on_progress: Callable[[Phase], None] | None = None,
) -> Report:
    """Measure leak and utility of a protector and of classical engines, on the test split.

    Images of all splits go through each engine one by one and through the same encoder as at run time. Fresh
    classifiers learn the private attributes from protected *train* images at every operating point, are tuned on *val*
    and judged on *test*; so are whatever further attacks the settings name. The chat model is asked task questions
    about protected test images, through the ledger.

    Args:
        source: An artifact's folder, or any engine.
        dataset: Images with task questions and private labels.
        model: The chat model; without one only the leak is measured.
        settings: What is measured.
        attackers: Who reads private attributes, in place of the settings' classifiers; names must differ.
        embedder: Compares faces for the attack ``identity``, in place of a network of its own.
        answer_judge: Says which answers to open questions mean the same ("sofa", "couch"); without one only equal words
            do. It is sent pairs of answers, never a picture; see :class:`~trainer.oracle.scoring.AnswerJudge`.
        ledger: File for the queries, of this evaluation alone. Needed with a model.
        budget: What may be spent in the ledger, over all calls; unlimited if not given.
        price: Of tokens, for a budget in money.
        on_progress: Called often, in this thread.

    Raises:
        DataError: If the data set can't show anything: no test image, one class only, or no attribute that can be read
            even from originals; or if two attackers have one name.
        DataError: Also if the artifact's training saw pictures of the test split.
        ArtifactError: If the artifact can't be loaded.
        ProtectionError: If ``face-blur`` is a baseline and the extra ``faces`` is missing.
        BudgetExhaustedError: Before the first query, if all of them would exceed the budget.
        OracleError: If the chat model fails; call again, answers that had arrived are not paid again.
    """
    if model is not None and ledger is None:
        raise TrainingError("an evaluation with a chat model needs a ledger file; nothing was sent.")
    run = _Evaluation(
        source,
        dataset,
        settings or EvaluationSettings(),
        attackers=attackers,
        embedder=embedder,
        tell=on_progress or (lambda _: None),
    )
    if answer_judge is not None:
        run.same_meaning = AnswerJudge(answer_judge).same
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
        *,
        attackers: Sequence[Attacker] | None,
        embedder: Embedder | None,
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
        self.operating_points: list[_Setting] = [
            *(_Setting(OURS, engine, level) for level in settings.levels),
            *(
                _Setting(name, NAMED_ENGINES[name](), level)
                for name, levels in settings.baselines.items()
                for level in levels
            ),
        ]
        self.originals = _Setting(_ORIGINALS, None, 0.0)
        self.groups = group_numbers(self.examples["test"])
        self.tasks, self.private = self._questions()
        self.attackers = self._classifiers() if attackers is None else tuple(attackers)
        if len({each.name for each in self.attackers}) < max(1, len(self.attackers)):
            raise DataError("two attackers have one name, or there is none. Nothing was measured.")
        self.audit = self._audit(embedder)
        self.repeated = [
            _Setting(_REPEATED, RepeatedQueries(engine, _VIEWS), level)
            for level in settings.levels
            if "repeated" in settings.attacks
        ]
        self.under_way: dict[_Setting, _Attacks] = {}
        self.seen: dict[_Setting, _Seen] = {}
        self.same_meaning: Callable[[str, str], bool] | None = None
        self.queries = QueryCount()

    # -- what is to be measured ----------------------------------------------------------------------------------

    def _engine(self, source: str | Path | Engine) -> Engine:
        if isinstance(source, str | Path):
            # What users get: the graph, if the artifact has one.
            folder, engine, manifest, _ = load_artifact(source)
            if warning := check_unseen(folder, manifest, self.dataset):
                self.warnings.append(warning)
        else:
            engine = source
        self.digest: str = getattr(engine, "digest", "")
        own: int | None = getattr(engine, "working_resolution", None)
        self.resolution = self.settings.resolution or own or _RESOLUTION
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

    def _questions(self) -> tuple[list[_Asked], list[_Asked]]:
        """Draw what is asked about tasks and about private attributes; note the chance floors of all."""
        count, seed = self.settings.queries_per_point, self.settings.seed
        tasks = task_questions(self.examples["test"])
        private = {
            name: [
                PictureQuestion(row, name, question, self.attributes[name], example.private[name])
                for row, example in enumerate(self.examples["test"])
                if example.private.get(name) in self.attributes[name]
            ]
            for name, question in self.settings.private_questions.items()
        }
        self.floors = chance_floors(tasks)
        self.private_floors = chance_floors(private)
        return (
            [_Asked(pair, None) for pair in draw_questions(tasks, count, seed=seed)],
            [
                _Asked(pair, style)
                for style in self.settings.styles
                for pair in draw_questions(private, count, seed=seed)
            ],
        )

    def _generator(self, purpose: str) -> torch.Generator:
        return keyed_generator(self.settings.seed, purpose)

    # -- attackers -----------------------------------------------------------------------------------------------

    def _classifiers(self) -> tuple[Attacker, ...]:
        is_large = self.resolution > OVERVIEW_SIDE

        def sides(architecture: Architecture, start: Literal["originals", "protected"]) -> set[int | None]:
            if architecture != "small":
                return {min(BACKBONE_SIDE, self.resolution)}
            if start == "protected":  # anew at every point: at full size that would take most of the time
                return {BACKBONE_SIDE if is_large else None}
            return {OVERVIEW_SIDE, None} if is_large else {None}

        starts: dict[Literal["originals", "protected"], tuple[Architecture, ...]] = {
            "originals": self.settings.classifiers,
            "protected": self.settings.cold,
        }
        # Of large pictures, so that five levels of them take a quarter of an hour on two cores.
        epochs = 2 if is_large else 3
        return tuple(
            FreshClassifier(self.attributes, architecture=each, start=start, side=side, epochs=epochs)
            for start, architectures in starts.items()
            for each in architectures
            for side in sorted(sides(each, start), key=lambda side: side or 0)
        )

    def _audit(self, embedder: Embedder | None) -> Audit:
        test = self.examples["test"]
        subjects = tuple(dict.fromkeys(subject for example in test for subject in example.texts))
        words = Words(
            subjects, tuple(tuple(example.texts.get(each) for each in subjects) for example in test)
        )
        rows = self._rows_of_pairs()
        train, val = (group_numbers(self.examples[split]) for split in ("train", "val"))
        people = People(train[rows], val, self.groups)
        wanted = [each for each in self.settings.attacks if each != "repeated"]
        return Audit(
            wanted, people, words, self.groups, embedder=embedder, pictures=self.settings.text_pictures
        )

    def attack(self) -> None:
        """Protect everything and let the attackers at it, as many at once as there are processors."""
        chains: dict[str, list[_Setting]] = defaultdict(list)
        for setting in sorted((*self.operating_points, *self.repeated), key=lambda setting: setting.level):
            chains[setting.name].append(setting)
        # What is started last should not be what takes longest.
        longest_first = sorted(chains.values(), key=len, reverse=True)
        at_once = max(1, min(len(chains), usable_cpus()))  # each holds the pictures of two levels
        sizes = (usable_cpus(), 2 * at_once * (len(self.attackers) + 1), at_once)
        with _one_thread_each(), thread_pools(*sizes) as (workers, waiting, engines):
            turns = _Turns(workers, waiting)
            self._wait([engines.submit(self._attack_originals, turns)])
            self._wait([engines.submit(self._attack_engine, chain, turns) for chain in longest_first])
            self._wait(self.under_way[self.originals].futures)
        self.seen = {setting: self._collected(attacks) for setting, attacks in self.under_way.items()}

    def _wait(self, started: Iterable[Future[Any]]) -> None:
        pending = set(started)
        while pending:
            self._tell_attacks()
            finished, pending = wait(pending, timeout=_TICK_S, return_when=FIRST_EXCEPTION)
            for future in finished:
                future.result()
        self._tell_attacks()

    def _tell_attacks(self) -> None:
        settings = (self.originals, *self.operating_points, *self.repeated)
        of = sum(len(self._against(setting)) + self._is_audited(setting) for setting in settings)
        futures = [future for attacks in list(self.under_way.values()) for future in attacks.futures]
        self.tell(Phase("attack", sum(future.done() for future in futures), of))

    def _against(self, setting: _Setting) -> tuple[Attacker, ...]:
        """Who attacks at a setting."""
        return self.attackers[:1] if setting.name == _REPEATED else self.attackers

    def _attack_originals(self, turns: _Turns) -> None:
        """Let every attacker begin to learn from originals."""
        data, sent = self._protected(self.originals, turns.workers)
        scores = {
            each.name: turns.workers.submit(
                each.prepare, data, generator=self._generator(f"prepare/{each.name}")
            )
            for each in self.attackers
        }
        finding = None
        if self._is_audited(self.originals):
            audited = self._audited(self.originals, data, turns.workers)
            generator = self._generator("prepare")
            finding = turns.workers.submit(self.audit.prepare, audited, generator=generator)
        self.under_way[self.originals] = _Attacks(sent, scores, finding)

    def _attack_engine(self, chain: Sequence[_Setting], turns: _Turns) -> None:
        """Attack an engine from its weakest level to its strongest; each attack goes on from the one before.

        An attacker that is done with one level goes on to the next while others are still at it.
        """
        ready = self.under_way[self.originals]
        copies = {
            each.name: turns.follow(ready.scores[each.name], copy.deepcopy, each)
            for each in self._against(chain[0])
        }
        last: Mapping[str, Future[Any]] = copies
        before: _Attacks | None = None
        for setting in chain:
            data, sent = self._protected(setting, turns.workers)
            key = f"{setting.name}/{setting.level}"
            scores = {
                name: turns.follow(last[name], _attack, copied, data, self._generator(f"attack/{key}/{name}"))
                for name, copied in copies.items()
            }
            finding = None
            if ready.finding is not None and self._is_audited(setting):
                audited = self._audited(setting, data, turns.workers)
                generator = self._generator(f"audit/{key}")
                finding = turns.follow(ready.finding, self._audit_copy, audited, generator)
            last, attacks = scores, _Attacks(sent, scores, finding)
            self.under_way[setting] = attacks
            if before is not None:
                for future in before.futures:
                    future.result()
            before = attacks
        if before is not None:
            for future in before.futures:
                future.result()

    def _audit_copy(self, protected: AttackData, generator: torch.Generator) -> Finding:
        """Attack with a copy of what has learned from originals."""
        return copy.deepcopy(self.audit).attack(protected, generator=generator)

    def _collected(self, attacks: _Attacks) -> _Seen:
        """Results of attacks that are done."""
        seen = _Seen({name: future.result() for name, future in attacks.scores.items()}, attacks.sent)
        if attacks.finding is not None:
            seen.finding = attacks.finding.result()
            if (made := seen.finding.reconstructions) is not None:
                # By those who know originals: a reconstruction is to look like one.
                seen.restored = {each.name: each.read(made).argmax(dim=2) for each in self.attackers}
        return seen

    def _is_audited(self, setting: _Setting) -> bool:
        return setting.name in {OURS, _ORIGINALS} and bool({*ATTACKS} & {*self.settings.attacks})

    def _audited(self, setting: _Setting, data: AttackData, workers: Executor) -> AttackData:
        """What the audit is shown: the training pictures of the pairs, if it learns from any."""
        if not self.audit.learns_from_pairs:
            return data
        return data._replace(train=self._images("train", self._rows_of_pairs(), setting, workers))

    def _protected(self, setting: _Setting, workers: Executor) -> tuple[AttackData, dict[int, bytes]]:
        """Protect the images of all splits; also return the test pictures that the chat model is to be asked about."""
        sent: dict[int, bytes] = {}
        rows = {split: range(len(examples)) for split, examples in self.examples.items()}
        return AttackData(
            self._images("train", self._learned_from(setting), setting, workers),
            self._images("val", rows["val"], setting, workers),
            self._images("test", rows["test"], setting, workers, sent),
        ), sent

    def _images(
        self,
        split: Split,
        rows: Sequence[int],
        setting: _Setting,
        workers: Executor,
        sent: dict[int, bytes] | None = None,
    ) -> AttackImages:
        """Protect images of one split; pictures that are to be asked about are put into ``sent``."""
        wanted = set() if sent is None else {asked.pair.row for asked in self._pairs(setting)}
        examples = self.examples[split]

        def arrive(row: int) -> Image.Image:
            image = self.dataset.open_image(examples[row])
            encoded = encode_image(setting.engine.protect(image, setting.level) if setting.engine else image)
            if sent is not None and row in wanted:
                sent[row] = encoded
            return _at_resolution(decode_image(encoded), self.resolution)

        return AttackImages(_canvas(list(workers.map(arrive, rows))), self.labels[split][list(rows)])

    def _learned_from(self, setting: _Setting) -> list[int]:
        """Rows of the train split; other ones at every operating point, so that an attacker sees many in all."""
        most = self.settings.original_images if setting is self.originals else self.settings.train_images
        return self._some_rows(f"rows/{setting.name}/{setting.level}", most)

    def _rows_of_pairs(self) -> list[int]:
        """Rows of the train split whose originals and protected images are shown side by side."""
        return self._some_rows("rows/pairs", self.settings.train_images)

    def _some_rows(self, purpose: str, most: int) -> list[int]:
        order = torch.randperm(len(self.examples["train"]), generator=self._generator(purpose))
        rows: list[int] = order[:most].tolist()
        return rows

    # -- the chat model ------------------------------------------------------------------------------------------

    def _pairs(self, setting: _Setting) -> list[_Asked]:
        """What is asked at a setting: tasks, and about our pictures and originals private questions too."""
        if setting.name == _REPEATED or (setting.name == _ORIGINALS and not self.settings.query_originals):
            return []
        return [*self.tasks, *(self.private if setting.name in {OURS, _ORIGINALS} else [])]

    def ask(self, oracle: Oracle, ledger: Ledger) -> None:
        """Ask everything in one batch, so that the budget is checked before the first query."""
        everything = [
            (setting, asked)
            for setting in (self.originals, *self.operating_points)
            for asked in self._pairs(setting)
        ]
        queries = [
            self._query(self.seen[setting].sent[asked.pair.row], asked) for setting, asked in everything
        ]
        before, _ = ledger.spent()
        count = iter(range(1, len(queries) + 1))
        answers = oracle.ask(
            queries, purpose="evaluate", on_answer=lambda: self.tell(Phase("ask", next(count), len(queries)))
        )
        for (setting, asked), answer in zip(everything, answers, strict=True):
            self.seen[setting].answers[asked] = answer
        after, _ = ledger.spent()
        self.queries = QueryCount(
            tasks=sum(asked.style is None for _, asked in everything),
            private=sum(asked.style is not None for _, asked in everything),
            originals=sum(setting is self.originals for setting, _ in everything),
            paid=after - before,
            lost=sum(answer is None for answer in answers),
        )

    def _query(self, image: bytes, asked: _Asked) -> Query:
        pair, style = asked
        if style is None:
            return Query(image, pair.question, pair.choices)
        generator = self._generator(f"ask/{style}/{pair.subject}/{pair.row}")
        return ask(image, pair.question, pair.choices, style, generator=generator)

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
            f"{each.reader} hardly reads {each.subject!r} from originals: nothing is known about its protection"
            for each in originals.attributes
            if each.scaled is None and each.reader == self._leading_reader
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
            attacker="; ".join((*(each.description for each in self.attackers), *self.audit.descriptions)),
            task_floors=self._task_floors(),
            originals=originals,
            points=tuple(self._judge(setting, originals) for setting in self.operating_points),
            queries=self.queries,
            warnings=tuple(self.warnings),
            not_tested=(
                *(what for attack, what in UNTESTED.items() if attack not in self.settings.attacks),
                *_left_out(self.settings),
                *_NEVER_TESTED,
            ),
        )

    @property
    def _leading_reader(self) -> str:
        """Whose readings make the leak."""
        return self.attackers[0].name if len(self.attackers) == 1 else STRONGEST

    def _task_floors(self) -> dict[str, ConfidenceInterval]:
        """What the reference answers to the tasks tell of each private attribute on their own."""
        space = answer_space(self.dataset)
        train, test = (references(self.examples[split], space) for split in ("train", "test"))
        return {
            name: floor_from_tasks(
                train,
                self.labels["train"][:, index],
                test,
                self.labels["test"][:, index],
                self.groups,
                generator=self._generator("bootstrap"),
            )
            for index, name in enumerate(self.attributes)
        }

    def _judge(self, setting: _Setting, originals: OperatingPoint | None) -> OperatingPoint:
        """Judge a setting by what was reached on originals; ``None`` for these themselves."""
        seen, ceilings = self.seen[setting], _ceilings(originals, "attributes")
        attributes, leak = self._attacked(seen.scores, ceilings)
        tasks, utility = self._judge_tasks(setting, _ceilings(originals, "tasks"))
        again = next(
            (
                self.seen[each].scores
                for each in self.repeated
                if setting.name == OURS and each.level == setting.level
            ),
            None,
        )
        restored = seen.finding.restored
        if restored is not None:
            restored = restored.model_copy(
                update={"attributes": self._read_restored(seen.restored, ceilings)}
            )
        return OperatingPoint(
            engine=setting.name,
            level=setting.level,
            leak=leak,
            utility=utility,
            attributes=attributes,
            tasks=tasks,
            private_answers=self._judge_private(setting, _ceilings(originals, "private_answers")),
            identity=seen.finding.identity,
            restored=restored,
            repeated=() if again is None else self._attacked(again, ceilings)[0],
            words=seen.finding.words,
        )

    def _attacked(
        self, scores: Mapping[str, Scores], ceilings: Ceilings | None
    ) -> tuple[tuple[Reading, ...], ConfidenceInterval | None]:
        """Judge every attacker, after the strongest of several, whose mean is the leak."""
        readers = dict(scores)
        if len(scores) > 1:
            best, _ = combine(tuple(scores.values()), self.labels["val"])
            readers = {STRONGEST: best, **scores}
        leak: ConfidenceInterval | None = None
        result: list[Reading] = []
        for number, (name, each) in enumerate(readers.items()):
            readings, mean = self._judge_classes(name, each.predictions, ceilings)
            leak = mean if number == 0 else leak
            result += [self._with_precision(reading, index, each) for index, reading in enumerate(readings)]
        return tuple(result), leak

    def _read_restored(self, classes: Mapping[str, Tensor], ceilings: Ceilings | None) -> tuple[Reading, ...]:
        return tuple(
            reading
            for name, predictions in classes.items()
            for reading in self._judge_classes(name, predictions, ceilings)[0]
        )

    def _judge_classes(
        self, reader: str, predictions: Tensor, ceilings: Ceilings | None
    ) -> tuple[tuple[Reading, ...], ConfidenceInterval | None]:
        columns = []
        for index, name in enumerate(self.attributes):
            labels = self.labels["test"][:, index]
            right = (predictions[:, index] == labels).float()
            columns.append(
                Column(
                    name,
                    right.masked_fill(labels < 0, math.nan),
                    labels,
                    chance(labels),
                    None if ceilings is None else ceilings[reader, name],
                )
            )
        return judge(reader, columns, self.groups, generator=self._generator("bootstrap"))

    def _with_precision(self, reading: Reading, index: int, scores: Scores) -> Reading:
        classes = self.attributes[reading.subject]
        found = class_mean_precision(
            scores.test[:, index, : len(classes)],
            self.labels["test"][:, index],
            self.groups,
            generator=self._generator("bootstrap"),
        )
        each = {
            name: value for name, value in zip(classes, found.per_class, strict=True) if value is not None
        }
        return reading.model_copy(
            update={
                "class_mean_precision": found.mean,
                "precision_floor": found.floor,
                "class_precisions": each,
            }
        )

    def _judge_tasks(
        self, setting: _Setting, ceilings: Ceilings | None
    ) -> tuple[tuple[Reading, ...], ConfidenceInterval | None]:
        pairs, answers = self._answered(setting, None)
        reached = None if ceilings is None else {subject: value for (_, subject), value in ceilings.items()}
        found = columns(pairs, answers, self.floors, reached, self.same_meaning)
        return judge(_CHAT_MODEL, found, self._groups_of(pairs), generator=self._generator("bootstrap/tasks"))

    def _judge_private(self, setting: _Setting, ceilings: Ceilings | None) -> tuple[Reading, ...]:
        """Judge the chat model's answers about private attributes, each style of asking apart."""
        result: list[Reading] = []
        for style in self.settings.styles:
            reader = _CHAT_MODEL if style == "direct" else f"{_CHAT_MODEL}, {style}"
            pairs, answers = self._answered(setting, style)
            found = []
            for subject in dict.fromkeys(pair.subject for pair in pairs):
                mine = torch.tensor([pair.subject == subject for pair in pairs])
                texts = [
                    None if answer is None else answer.text
                    for pair, answer in zip(pairs, answers, strict=True)
                    if pair.subject == subject
                ]
                options = self.attributes[subject]
                reply = hear(texts, options)
                labels = torch.tensor(
                    [options.index(pair.answer) for pair in pairs if pair.subject == subject]
                )
                scores, classes = (
                    torch.full((len(pairs),), math.nan),
                    torch.zeros(len(pairs), dtype=torch.long),
                )
                scores[mine], classes[mine] = reply.scores(labels), labels
                found.append(
                    Column(
                        subject,
                        scores,
                        classes,
                        self.private_floors[subject],
                        None if ceilings is None else ceilings.get((reader, subject), 1.0),
                        reply.refused + reply.unfit,
                        reply.refused,
                    )
                )
            generator = self._generator("bootstrap/private")
            result += judge(reader, found, self._groups_of(pairs), generator=generator)[0]
        return tuple(result)

    def _answered(
        self, setting: _Setting, style: Style | None
    ) -> tuple[list[PictureQuestion], list[Answer | None]]:
        answers = self.seen[setting].answers
        chosen = [asked for asked in answers if asked.style == style]
        return [asked.pair for asked in chosen], [answers[asked] for asked in chosen]

    def _groups_of(self, pairs: Sequence[PictureQuestion]) -> Tensor:
        return torch.stack([self.groups[pair.row] for pair in pairs]) if pairs else self.groups


def _left_out(settings: EvaluationSettings) -> tuple[str, ...]:
    """The baseline that readers will look for, if it is not among those measured, and why."""
    if FaceBlur.name in settings.baselines:
        return ()
    why = "it was not asked for" if is_installed() else "the extra faces is not installed"
    return (f"{FaceBlur.name}: {why}",)


def _ceilings(
    originals: OperatingPoint | None, table: Literal["attributes", "tasks", "private_answers"]
) -> Ceilings | None:
    """Accuracies on originals by reader and subject, where they were measured."""
    if originals is None:
        return None
    readings: tuple[Reading, ...] = getattr(originals, table)
    return {
        (each.reader, each.subject): each.accuracy.value for each in readings if each.accuracy is not None
    }


def _attack(attacker: Future[Attacker], protected: AttackData, generator: torch.Generator) -> Scores:
    return attacker.result().attack(protected, generator=generator)


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
