"""What is lost when the provider changes its model: one protector before several chat models.

All models are asked the same questions about the same protected pictures, byte for byte, so what differs is theirs. The
leak needs no second measurement: it is in the picture, whoever reads it.
"""

from __future__ import annotations

from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from langchain_vpp.artifact import load_artifact
from langchain_vpp.errors import BudgetExhaustedError, DataError, TrainingError
from langchain_vpp.images.codec import encode_image
from trainer.data.contamination import check_unseen
from trainer.evaluation.questions import chance_floors, columns, draw_questions, group_numbers, task_questions
from trainer.evaluation.results import Column, Reading, judge
from trainer.oracle.ledger import Budget, Ledger, Price
from trainer.oracle.model_spec import model_identity
from trainer.oracle.oracle import Oracle
from trainer.oracle.query import Query
from trainer.runtime.rng import keyed_generator
from trainer.statistics import ConfidenceInterval, scale

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from langchain_core.language_models import BaseChatModel
    from rich.table import Table
    from torch import Tensor

    from langchain_vpp.engines import Engine
    from trainer.data.dataset import Dataset
    from trainer.oracle.query import Answer

_READER: Final = "chat model"


class TransferSettings(BaseModel):
    """What is measured."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    levels: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0)
    """Of the protector."""
    seed: int = Field(0, ge=0, lt=2**31)
    queries_per_point: int = Field(200, ge=1)
    """(image, question) pairs of the test split, the same for every level and model, evenly over the questions."""
    query_originals: bool = False
    """Whether the chat models see *unprotected* test pictures, to measure what originals would give. Never by
    default; without it, 1 is an answer that is always right."""
    max_concurrency: int = Field(8, ge=1, le=256)


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Loss(_Record):
    """What a chat model answers less than the first one, in scaled accuracy; negative where it answers more."""

    question: str
    lost: ConfidenceInterval
    """With the interval of the paired differences, over groups of pictures."""


class TransferPoint(_Record):
    """One chat model at one level."""

    level: float = Field(ge=0, le=1)
    utility: ConfidenceInterval | None
    """Mean over the questions of the scaled accuracy: 0 at chance, 1 on originals."""
    tasks: tuple[Reading, ...]
    lost: ConfidenceInterval | None
    """Mean over the questions of what is lost against the first chat model; ``None`` for that itself."""
    lost_by_question: tuple[Loss, ...]


class ModelFront(_Record):
    """One chat model at all levels."""

    model: str
    """As ``class:name``."""
    originals: tuple[Reading, ...]
    """What it answers about unprotected pictures; empty if it was not shown any."""
    points: tuple[TransferPoint, ...]
    """By rising level."""


class TransferReport(_Record):
    """Everything that was measured, with what is needed to repeat it."""

    format: Literal[1] = 1
    created_with: str
    artifact_digest: str
    data_digest: str
    seed: int
    trained_against: str
    """The chat model that the manifest names; empty for an engine that was not trained."""
    pictures: int
    """Test pictures that were asked about."""
    models: tuple[ModelFront, ...]
    """The first is the one that the others are compared with."""
    queries: int
    """Needed in all."""
    paid: int
    """Of these, new ones; the others had been answered in an earlier call."""
    lost: int
    """Sent by a process that died before the answer arrived: never asked again and in no accuracy."""
    warnings: tuple[str, ...] = ()

    @property
    def sentences(self) -> tuple[str, ...]:
        """What the figures say, for each further model and level."""
        first = self.models[0]
        said = []
        for other in self.models[1:]:
            for before, after in zip(first.points, other.points, strict=True):
                if before.utility is None or after.utility is None or after.lost is None:
                    continue
                now = f"{after.utility.value:.2f} instead of {before.utility.value:.2f} with {first.model}"
                if after.lost.low <= 0 <= after.lost.high:
                    change = f"no clear difference: {now}, lost {after.lost}"
                elif after.lost.low > 0:
                    change = f"{after.lost} of utility is lost: {now}"
                else:
                    change = f"{-after.lost} of utility is gained: {now}"
                said.append(f"At level {after.level:g} with {other.model}, {change}.")
        return tuple(said)


class _Seen(NamedTuple):
    """What one chat model answered."""

    name: str
    originals: tuple[Reading, ...]
    at: Mapping[float, Sequence[Column]]
    """By level, a column for each question."""


class TransferTest:
    """One protector, the pictures and the questions: everything but the chat models.

    Args:
        source: An artifact's folder, or any engine.
        dataset: Images with task questions; the test split is used.
        settings: What is measured.

    Raises:
        DataError: If there is no test image, one can't be read, or the artifact was trained on it.
        ArtifactError: If the artifact can't be loaded.
    """

    def __init__(
        self, source: str | Path | Engine, dataset: Dataset, settings: TransferSettings | None = None
    ) -> None:
        self._dataset, self.settings = dataset, settings or TransferSettings()
        self._examples = dataset.split("test")
        if not self._examples:
            raise DataError("no image in test, so nothing was measured.")
        self._warnings: list[str] = []
        self._trained_against = ""
        engine = self._engine(source)
        by_subject = task_questions(self._examples)
        self._floors = chance_floors(by_subject)
        self._pairs = draw_questions(by_subject, self.settings.queries_per_point, seed=self.settings.seed)
        self._groups = group_numbers(self._examples)[[pair.row for pair in self._pairs]]
        self._levels = sorted(set(self.settings.levels))
        self._asked = {level: self._protected(engine, level) for level in self._levels}
        self._originals = self._protected(None, 0.0) if self.settings.query_originals else []

    @property
    def queries(self) -> list[Query]:
        """What each chat model is asked, unprotected pictures first."""
        return [*self._originals, *(query for queries in self._asked.values() for query in queries)]

    def measure(
        self,
        models: Sequence[BaseChatModel],
        *,
        ledger: str | Path,
        budget: Budget | None = None,
        prices: Sequence[Price | None] = (),
        on_progress: Callable[[int, int], None] | None = None,
    ) -> TransferReport:
        """Ask the chat models and compare them.

        Args:
            models: Two or more; the first is what the others are compared with.
            ledger: File for the queries of this test alone.
            budget: What may be spent in the ledger, over all models and calls; unlimited if not given.
            prices: Of tokens, for each model, for a budget in money.
            on_progress: Called in this thread with the answers that have arrived and how many there will be.

        Raises:
            TrainingError: If there are fewer than two models, or two that can't be told apart by their names.
            BudgetExhaustedError: Before the first query, if all of them would exceed the budget.
            OracleError: If a chat model fails; call again, answers that had arrived are not paid again.
        """
        names = [model_identity(model) for model in models]
        if len(set(names)) != len(names) or len(names) < 2:
            raise TrainingError(
                "a transfer needs two or more chat models with different names, because the ledger tells them apart by "
                "these; nothing was sent."
            )
        limit = budget or Budget(2**31)
        queries, tell = self.queries, on_progress or (lambda *_: None)
        done = iter(range(1, len(queries) * len(models) + 1))
        with ExitStack() as opened:
            books = [
                opened.enter_context(Ledger(Path(ledger), model=f"{name}|labels", price=price))
                for name, price in zip(names, prices or [None] * len(names), strict=True)
            ]
            before = self._require(books, queries, limit)
            answers = [
                Oracle(model, book, limit, max_concurrency=self.settings.max_concurrency).ask(
                    queries,
                    purpose="evaluate",
                    on_answer=lambda: tell(next(done), len(queries) * len(models)),
                )
                for model, book in zip(models, books, strict=True)
            ]
            after, _ = books[0].spent()
        return TransferReport(
            created_with=f"langchain-vpp {version('langchain-vpp')}",
            artifact_digest=self._digest,
            data_digest=self._dataset.digest,
            seed=self.settings.seed,
            trained_against=self._trained_against,
            pictures=len({pair.row for pair in self._pairs}),
            models=self._fronts(names, answers),
            queries=len(queries) * len(models),
            paid=after - before,
            lost=sum(answer is None for each in answers for answer in each),
            warnings=tuple(self._warnings),
        )

    # -- what is asked -------------------------------------------------------------------------------------------

    def _engine(self, source: str | Path | Engine) -> Engine:
        if not isinstance(source, str | Path):
            self._digest: str = getattr(source, "digest", "")
            return source
        # What users get: the graph, if the artifact has one.
        folder, engine, manifest, self._digest = load_artifact(source)
        self._trained_against = manifest.trained_against
        warning = check_unseen(folder, manifest, self._dataset)
        if warning:
            self._warnings.append(warning)
        return engine

    def _protected(self, engine: Engine | None, level: float) -> list[Query]:
        """Put the questions about pictures at a level, through the encoder of run time; ``None`` protects nothing."""
        sent: dict[int, bytes] = {}
        for row in dict.fromkeys(pair.row for pair in self._pairs):
            image = self._dataset.open_image(self._examples[row])
            sent[row] = encode_image(image if engine is None else engine.protect(image, level))
        return [Query(sent[pair.row], pair.question, pair.choices) for pair in self._pairs]

    @staticmethod
    def _require(books: Sequence[Ledger], queries: Sequence[Query], budget: Budget) -> int:
        """Check that what is new to all ledgers fits into the budget; return what has been spent."""
        spent, _ = books[0].spent()
        new = sum(book.count_new(queries) for book in books)
        if spent + new > budget.max_queries:
            raise BudgetExhaustedError(
                f"{new} more queries to {len(books)} chat models would exceed the budget of {budget.max_queries} "
                f"({spent} spent); none of them was sent. Everything is saved: go on with a larger --max-queries."
            )
        return spent

    # -- what came back ------------------------------------------------------------------------------------------

    def _fronts(
        self, names: Sequence[str], answers: Sequence[Sequence[Answer | None]]
    ) -> tuple[ModelFront, ...]:
        seen = [self._seen(name, each) for name, each in zip(names, answers, strict=True)]
        return tuple(
            ModelFront(
                model=each.name,
                originals=each.originals,
                points=tuple(self._point(level, each, seen[0]) for level in self._levels),
            )
            for each in seen
        )

    def _seen(self, name: str, answers: Sequence[Answer | None]) -> _Seen:
        size = len(self._pairs)
        parts = iter([answers[start : start + size] for start in range(0, len(answers), size)])
        originals: tuple[Reading, ...] = ()
        ceilings: dict[str, float] = {}
        if self.settings.query_originals:
            originals, _ = self._judge(columns(self._pairs, next(parts), self._floors, None))
            ceilings = {each.subject: each.accuracy.value for each in originals if each.accuracy is not None}
        at = {
            level: columns(self._pairs, part, self._floors, ceilings)
            for level, part in zip(self._levels, parts, strict=True)
        }
        return _Seen(name, originals, at)

    def _point(self, level: float, seen: _Seen, first: _Seen) -> TransferPoint:
        tasks, utility = self._judge(seen.at[level])
        by_question, lost = ((), None) if seen is first else self._judge(_differences(first, seen, level))
        return TransferPoint(
            level=level,
            utility=utility,
            tasks=tasks,
            lost=lost,
            lost_by_question=tuple(
                Loss(question=each.subject, lost=each.accuracy)
                for each in by_question
                if each.accuracy is not None
            ),
        )

    def _judge(self, asked: Sequence[Column]) -> tuple[tuple[Reading, ...], ConfidenceInterval | None]:
        generator = keyed_generator(self.settings.seed, "bootstrap/task")
        return judge(_READER, asked, self._groups, generator=generator)


def tables(report: TransferReport) -> list[Table]:
    """Utility by level and model, and what is lost of each question."""
    from rich.table import Table  # noqa: PLC0415  only the command line shows tables

    first, *others = report.models
    front = Table(
        "level", *(each.model for each in report.models), *(f"lost by {each.model}" for each in others)
    )
    front.title, front.title_justify = "Utility of the same pictures", "left"
    for points in zip(*(each.points for each in report.models), strict=True):
        cells = [point.utility for point in points] + [point.lost for point in points[1:]]
        front.add_row(f"{points[0].level:.2f}", *(str(cell or "-") for cell in cells))
    result = [front]
    for other in others:
        table = Table("question", *(f"{point.level:.2f}" for point in other.points))
        table.title, table.title_justify = f"Lost by {other.model} against {first.model}", "left"
        lost = [{each.question: each.lost for each in point.lost_by_question} for point in other.points]
        for question in dict.fromkeys(name for each in lost for name in each):
            table.add_row(question, *(str(each.get(question, "-")) for each in lost))
        result.append(table)
    return result


def _differences(first: _Seen, other: _Seen, level: float) -> list[Column]:
    """What the other model answers less, question by question and answer by answer, in scaled accuracy."""
    return [
        Column(before.subject, _scaled(before) - _scaled(after), before.classes, floor=0.0, ceiling=1.0)
        for before, after in zip(first.at[level], other.at[level], strict=True)
        if _is_readable(before) and _is_readable(after)
    ]


def _is_readable(column: Column) -> bool:
    return column.ceiling is not None and scale(column.floor, column.floor, column.ceiling) is not None


def _scaled(column: Column) -> Tensor:
    ceiling = 1.0 if column.ceiling is None else column.ceiling
    return (column.scores - column.floor) / (ceiling - column.floor)
