"""Drift: a comparison of a live chat model with the front in an artifact's manifest.

Providers change the models behind a name. A check asks again what training asked when it measured the front: the same
questions about the same pictures of the validation split, protected by the same network at the same levels, in the same
words and as many in one request. It trains nothing, and shows nothing but protected pictures. The network protects in
torch, as it did when the front was measured, even where a graph is served: so every difference is the chat model's.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from langchain_vpp.artifact import load_protector
from langchain_vpp.errors import ArtifactError, DataError
from trainer.evaluation.results import Record
from trainer.evaluation.splits import group_numbers
from trainer.oracle.comparing import kind
from trainer.oracle.ledger import Budget, Ledger, Price
from trainer.oracle.model_spec import model_identity
from trainer.oracle.oracle import Oracle
from trainer.oracle.query import Query
from trainer.runtime.precision import cpu_precision
from trainer.runtime.rng import keyed_generator
from trainer.statistics import ConfidenceInterval, bootstrap_mean, wilson
from trainer.training.validation import TaskScores, Validation

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from langchain_core.language_models import BaseChatModel

    from langchain_vpp.artifact import FrontPoint
    from trainer.data.dataset import Dataset
    from trainer.oracle.query import Answer, Query


class DriftPoint(Record):
    """One level of the manifest's front, measured again."""

    level: float = Field(ge=0, le=1)
    manifest: float
    """The utility that the manifest states."""
    live: ConfidenceInterval | None
    """The utility now. On each side, its 95 % interval is the wider of a bootstrap over groups of pictures and of
    Wilson's (1927), which has a width even where all answers are right. ``None`` if no answer came back."""
    answers: int
    """Number of answers."""
    refused: int
    """Number of refusals among them; they count as wrong."""

    @property
    def drifted(self) -> bool:
        """Whether the manifest's utility lies outside the interval."""
        return self.live is not None and not self.live.low <= self.manifest <= self.live.high


class DriftReport(Record):
    """All results of a drift check, with everything that is needed to repeat it."""

    format: Literal[1] = 1
    created_with: str
    artifact_digest: str
    data_digest: str
    trained_against: str
    """The chat model that the manifest names."""
    model: str
    """The chat model that was asked, as the ledger names it."""
    points: tuple[DriftPoint, ...]
    drifted: bool
    """Whether the utility at any level has drifted."""
    queries: int
    """Number of queries."""
    paid: int
    """Queries that were new to the ledger; the others had been answered in an earlier call."""
    lost: int
    """Queries of a process that died before the answer arrived: never asked again, and in no figure."""

    @property
    def resolution(self) -> float | None:
        """Half the widest interval: smaller changes of utility may go unseen. ``None`` if no answer came back."""
        return (
            max((each.live.high - each.live.low for each in self.points if each.live), default=0.0) / 2
            or None
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """A sentence without a full stop for each level that has drifted or could not be measured."""
        said = []
        for point in self.points:
            if point.live is None:
                said.append(f"at level {point.level:g} no answer came back: its utility is not known")
            elif point.drifted:
                verb = "fallen" if point.live.value < point.manifest else "risen"
                refusals = (
                    f", {point.refused} of {point.answers} answers are refusals" if point.refused else ""
                )
                said.append(
                    f"at level {point.level:g} the utility has {verb} from {point.manifest:.2f} in the manifest to "
                    f"{point.live}{refusals}"
                )
        return tuple(said)


class DriftCheck:
    """Puts the questions behind a manifest's front together again, and asks a live chat model.

    Args:
        artifact: The artifact's folder.
        dataset: The data set that the artifact was trained on.
        queries_per_point: Number of questions at each level, if fewer than the manifest's front rests on: the first of
            them are asked, and intervals get wider.

    Raises:
        ArtifactError: If the artifact can't be loaded, or its manifest does not say how its front was measured.
        DataError: If the data set is another one, or a picture can't be read.
    """

    def __init__(
        self, artifact: str | Path, dataset: Dataset, *, queries_per_point: int | None = None
    ) -> None:
        protector, self._manifest, self._digest = load_protector(Path(artifact))
        measured = [point.answers for point in self._manifest.front]
        if not measured or not all(measured):
            raise ArtifactError(
                "the manifest does not say on how many answers its front rests, so nothing can be compared with it; "
                "nothing was sent. Train the protector again with this version, and with a share of the budget for "
                "validation."
            )
        if self._manifest.data_digest != dataset.digest:
            raise DataError(
                "the manifest's front was measured on the validation split of another data set, and utility on other "
                "pictures can't be compared with it; nothing was sent. Give the data set of the training."
            )
        self._validation = Validation.of(dataset, protector.config.working_resolution)
        count = min(measured) if queries_per_point is None else min(*measured, queries_per_point)
        self._pairs = self._validation.pairs(count, seed=self._manifest.seed)
        self._groups = group_numbers(dataset.split("val"))[self._pairs[:, 0]]
        with cpu_precision():  # as training does by default, so that the same bytes are sent
            self._asked = [
                self._validation.queries(protector, point.level, self._pairs)
                for point in self._manifest.front
            ]

    @property
    def queries(self) -> list[Query]:
        """Queries to the chat model."""
        return [query for queries in self._asked for query in queries]

    @property
    def questions_per_call(self) -> int:
        """Largest number of questions about one picture in one request, as in training."""
        return self._manifest.questions_per_call

    def measure(
        self,
        model: BaseChatModel,
        *,
        ledger: str | Path,
        budget: Budget | None = None,
        price: Price | None = None,
        max_concurrency: int = 8,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> DriftReport:
        """Ask the chat model as it is now.

        Args:
            model: The live chat model.
            ledger: File for the queries of this check alone. Another check needs another file, because a ledger's
                queries are not asked again.
            budget: Limit of what is spent in the ledger, over all calls; unlimited if not given.
            price: Price of tokens, for a budget in money.
            max_concurrency: Requests in flight at once.
            on_progress: Called in this thread with the number of answers so far and in all.

        Raises:
            BudgetExhaustedError: Before the first query, if all of them would exceed the budget.
            OracleError: If the chat model fails; call again, answers that had arrived are not paid again.
        """
        queries, tell = self.queries, on_progress or (lambda *_: None)
        done = iter(range(1, len(queries) + 1))
        name = model_identity(model)
        with Ledger(
            Path(ledger), model=f"{name}|labels|{self.questions_per_call} at once", price=price
        ) as book:
            before, _ = book.spent()
            oracle = Oracle(
                model,
                book,
                budget or Budget(2**31),
                questions_per_call=self.questions_per_call,
                max_concurrency=max_concurrency,
            )
            answers = iter(
                oracle.ask(queries, purpose="evaluate", on_answer=lambda: tell(next(done), len(queries)))
            )
            after, _ = book.spent()
        replies = [[next(answers) for _ in asked] for asked in self._asked]
        points = tuple(
            self._point(*each) for each in zip(self._manifest.front, self._asked, replies, strict=True)
        )
        return DriftReport(
            created_with=f"langchain-vpp {version('langchain-vpp')}",
            artifact_digest=self._digest,
            data_digest=self._manifest.data_digest,
            trained_against=self._manifest.trained_against,
            model=name,
            points=points,
            drifted=any(point.drifted for point in points),
            queries=len(queries),
            paid=after - before,
            lost=sum(answer is None for each in replies for answer in each),
        )

    def _point(
        self, stated: FrontPoint, asked: Sequence[Query], replies: Sequence[Answer | None]
    ) -> DriftPoint:
        scores = self._validation.score(self._pairs, replies)
        return DriftPoint(
            level=stated.level,
            manifest=stated.utility,
            live=self._estimate(scores),
            answers=scores.answers,
            refused=sum(
                reply is not None and kind(reply.text, query.choices) == "refused"
                for query, reply in zip(asked, replies, strict=True)
            ),
        )

    def _estimate(self, scores: TaskScores) -> ConfidenceInterval | None:
        if not scores.answers:
            return None
        drawn = bootstrap_mean(
            scores.right, self._groups, generator=keyed_generator(self._manifest.seed, "drift")
        )
        low, high = wilson(drawn.value, scores.answers)
        return ConfidenceInterval(
            value=scores.utility,
            low=scores.scaled(min(drawn.low, low)),
            high=scores.scaled(max(drawn.high, high)),
        )
