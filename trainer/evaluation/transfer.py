"""Transfer: utility that is lost when one protector meets another chat model than before.

All models are asked the same questions about the same protected pictures, byte for byte, so every difference is the
models'. The leak needs no second measurement: it is a property of the pictures.
"""

from __future__ import annotations

from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from langchain_vpp.errors import BudgetExhaustedError, DataError, TrainingError
from trainer.evaluation.conditions import EvaluatedEngine
from trainer.evaluation.judging import CHAT_MODEL, Column, task_columns, to_readings
from trainer.evaluation.pictures import as_sent
from trainer.evaluation.questions import chance_floors, draw_questions, task_questions
from trainer.evaluation.results import Reading, Record
from trainer.evaluation.splits import group_numbers
from trainer.oracle.ledger import Budget, Ledger, Price
from trainer.oracle.model_spec import model_identity
from trainer.oracle.oracle import Oracle
from trainer.oracle.query import Query
from trainer.runtime.rng import keyed_generator
from trainer.statistics import ConfidenceInterval, scale

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from langchain_core.language_models import BaseChatModel
    from torch import Tensor

    from langchain_vpp.engines import Engine
    from trainer.data.dataset import Dataset
    from trainer.oracle.query import Answer


class TransferSettings(BaseModel):
    """Settings of a transfer test."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    levels: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0)
    """Levels of the protector."""
    seed: int = Field(0, ge=0, lt=2**31)
    queries_per_point: int = Field(200, ge=1)
    """(image, question) pairs of the test split, the same for every level and model, evenly over the questions."""
    query_originals: bool = False
    """Whether the chat models see *unprotected* test pictures, to measure what originals would give. Never by
    default; without it, a utility of 1 means that every answer is right."""
    max_concurrency: int = Field(8, ge=1, le=256)
    """Requests in flight at once."""


class Loss(Record):
    """Scaled accuracy at one question that a chat model loses against the first one; negative where it gains."""

    question: str
    lost: ConfidenceInterval
    """Mean of the paired differences, with its interval over groups of pictures."""


class TransferPoint(Record):
    """One chat model at one level."""

    level: float = Field(ge=0, le=1)
    utility: ConfidenceInterval | None
    """Mean scaled accuracy over the questions: 0 at chance, 1 on originals."""
    tasks: tuple[Reading, ...]
    """Readings by question."""
    lost: ConfidenceInterval | None
    """Mean loss against the first chat model over the questions; ``None`` for the first one."""
    lost_by_question: tuple[Loss, ...]


class ModelFront(Record):
    """One chat model at all levels."""

    model: str
    """The chat model, as :func:`~trainer.oracle.model_spec.model_identity` names it."""
    originals: tuple[Reading, ...]
    """Readings of its answers about unprotected pictures; empty if it was shown none."""
    points: tuple[TransferPoint, ...]
    """Points by rising level."""


class TransferReport(Record):
    """All results of a transfer test, with everything that is needed to repeat it."""

    format: Literal[1] = 1
    created_with: str
    artifact_digest: str
    data_digest: str
    seed: int
    trained_against: str
    """The chat model that the manifest names; empty for an engine that was not trained."""
    pictures: int
    """Number of test pictures that were asked about."""
    models: tuple[ModelFront, ...]
    """Results of each chat model; the others are compared with the first."""
    queries: int
    """Number of queries, over all models."""
    paid: int
    """Queries that were new to the ledger; the others had been answered in an earlier call."""
    lost: int
    """Queries of a process that died before the answer arrived: never asked again, and in no accuracy."""
    warnings: tuple[str, ...] = ()

    @property
    def sentences(self) -> tuple[str, ...]:
        """One sentence for each further model and level."""
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


class _Answered(NamedTuple):
    """Scores of one chat model's answers."""

    name: str
    originals: tuple[Reading, ...]
    at: Mapping[float, Sequence[Column]]
    """Level -> a column for each question."""


class TransferTest:
    """Protects the pictures and draws the questions once, and puts them to any chat models.

    Args:
        source: An artifact's folder, or any engine.
        dataset: Images with task questions; the test split is used.
        settings: Levels and number of questions.

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
        self._subject = EvaluatedEngine.load(source, dataset)
        by_subject = task_questions(self._examples)
        self._floors = chance_floors(by_subject)
        self._pairs = draw_questions(by_subject, self.settings.queries_per_point, seed=self.settings.seed)
        self._groups = group_numbers(self._examples)[[pair.row for pair in self._pairs]]
        self._levels = sorted(set(self.settings.levels))
        self._asked = {level: self._protected(self._subject.engine, level) for level in self._levels}
        self._originals = self._protected(None, 0.0) if self.settings.query_originals else []

    @property
    def queries(self) -> list[Query]:
        """Queries to each chat model, those about unprotected pictures first."""
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
            models: Two or more chat models; the others are compared with the first.
            ledger: File for the queries of this test alone.
            budget: Limit of what is spent in the ledger, over all models and calls; unlimited if not given.
            prices: Prices of each model's tokens, for a budget in money.
            on_progress: Called in this thread with the number of answers so far and in all.

        Raises:
            TrainingError: If there are fewer than two models, or two of one name at one address.
            BudgetExhaustedError: Before the first query, if all of them would exceed the budget.
            OracleError: If a chat model fails; call again, answers that had arrived are not paid again.
        """
        names = [model_identity(model) for model in models]
        if len(set(names)) != len(names) or len(names) < 2:
            raise TrainingError(
                "a transfer needs two or more chat models with different names or addresses, because the ledger tells "
                "them apart by these; nothing was sent."
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
            artifact_digest=self._subject.digest,
            data_digest=self._dataset.digest,
            seed=self.settings.seed,
            trained_against=self._subject.trained_against,
            pictures=len({pair.row for pair in self._pairs}),
            models=self._fronts(names, answers),
            queries=len(queries) * len(models),
            paid=after - before,
            lost=sum(answer is None for each in answers for answer in each),
            warnings=self._subject.warnings,
        )

    def _protected(self, engine: Engine | None, level: float) -> list[Query]:
        """Put all questions about pictures at a level; an engine of ``None`` protects nothing."""
        sent: dict[int, bytes] = {}
        for row in dict.fromkeys(pair.row for pair in self._pairs):
            sent[row] = as_sent(self._dataset, self._examples[row], engine, level)
        return [Query(sent[pair.row], pair.question, pair.choices) for pair in self._pairs]

    @staticmethod
    def _require(books: Sequence[Ledger], queries: Sequence[Query], budget: Budget) -> int:
        """Require that the queries that are new to each ledger fit into the budget; return the queries spent so far."""
        spent, _ = books[0].spent()
        new = sum(book.count_new(queries) for book in books)
        if spent + new > budget.max_queries:
            raise BudgetExhaustedError(
                f"{new} more queries to {len(books)} chat models would exceed the budget of {budget.max_queries} "
                f"({spent} spent); none of them was sent. Everything is saved: go on with a larger --max-queries."
            )
        return spent

    def _fronts(
        self, names: Sequence[str], answers: Sequence[Sequence[Answer | None]]
    ) -> tuple[ModelFront, ...]:
        answered = [self._scored(name, each) for name, each in zip(names, answers, strict=True)]
        return tuple(
            ModelFront(
                model=each.name,
                originals=each.originals,
                points=tuple(self._point(level, each, answered[0]) for level in self._levels),
            )
            for each in answered
        )

    def _scored(self, name: str, answers: Sequence[Answer | None]) -> _Answered:
        size = len(self._pairs)
        parts = iter([answers[start : start + size] for start in range(0, len(answers), size)])
        originals: tuple[Reading, ...] = ()
        ceilings: dict[str, float] = {}
        if self.settings.query_originals:
            originals, _ = self._judge(task_columns(self._pairs, next(parts), self._floors, None))
            ceilings = {each.subject: each.accuracy.value for each in originals if each.accuracy is not None}
        at = {
            level: task_columns(self._pairs, part, self._floors, ceilings)
            for level, part in zip(self._levels, parts, strict=True)
        }
        return _Answered(name, originals, at)

    def _point(self, level: float, answered: _Answered, first: _Answered) -> TransferPoint:
        tasks, utility = self._judge(answered.at[level])
        by_question, lost = (
            ((), None) if answered is first else self._judge(_differences(first, answered, level))
        )
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
        return to_readings(CHAT_MODEL, asked, self._groups, generator=generator)


def _differences(first: _Answered, other: _Answered, level: float) -> list[Column]:
    """Subtract the other model's scaled scores from the first one's, answer by answer."""
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
