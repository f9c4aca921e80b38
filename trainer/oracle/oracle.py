"""The black box: a chat model seen as queries in, answers out.

Nothing else in the trainer reaches a chat model, except the optional judge of :mod:`trainer.oracle.scoring`, which sees
text alone. An oracle asks from within its process: answers in flight when that process is killed are lost, although
they may be charged. :mod:`trainer.oracle.subprocess` runs the oracle in a process of its own, which outlives a killed
run until its last answer is recorded.
"""

from __future__ import annotations

import logging
import threading
from concurrent.futures import as_completed
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from langchain_core.runnables.config import ContextThreadPoolExecutor

from langchain_vpp.errors import OracleError
from trainer.oracle.batching import AskSingly, BatchedModel, RequestLostError
from trainer.oracle.comparing import kind
from trainer.oracle.connection import own_retries
from trainer.oracle.gate import Gate
from trainer.oracle.query import PUT_ASIDE, REJECTED, Answer
from trainer.oracle.retry import (
    backoff,
    describe,
    is_rejection,
    is_retryable,
    may_be_charged,
    may_come_from_the_request,
    names_a_filter,
    retry_after,
)
from trainer.oracle.standing_failures import StandingFailures

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Future

    from langchain_core.language_models import BaseChatModel

    from trainer.oracle.ledger import Budget, Ledger
    from trainer.oracle.query import Access, Purpose, Query
    from trainer.oracle.subprocess import SubprocessOracle

logger = logging.getLogger(__name__)

_POLL_S: Final = 0.1
"""Seconds between two looks at queries that another process has in flight."""
_SAMPLE: Final = 16
"""Queries that are asked first under a limit on cost, to learn what one costs."""
_SLICE: Final = 256
"""Queries under a limit on cost between two looks at what has been spent."""
_MOST_REJECTED: Final = 20
"""Rejected requests in a row after which the cause is the provider or a setting, not what they hold."""


@dataclass
class Counts:
    """Answers and failures that an oracle has had so far, by kind."""

    answered: int = 0
    """Answers that can be used."""
    refused: int = 0
    """Answers that say that the model can't or won't ("I can't help with people"), and requests that the provider
    rejected for what they hold, such as with its content filter."""
    empty: int = 0
    """Answers without a word; also parts that are missing or garbled in a reply to several questions."""
    unfit: int = 0
    """Answers that name none of the choices, or several."""
    malformed_logprobs: int = 0
    """Answers without usable log-probabilities although these were asked for; their text was used."""
    failed: int = 0
    """Requests that failed in passing, such as with 429, and were sent again."""
    unanswered: int = 0
    """Failed requests that the provider may charge for all the same: no answer came in time, or none that could be
    read."""
    unmetered: int = 0
    """Answers that name no tokens; under a price they are counted at an estimate."""
    put_aside: list[str] = field(default_factory=list)
    """For each query on which the provider failed again and again while it answered others, the digest of the picture
    as it was sent."""


@dataclass
class _Batch:
    """Requests that are sent at once, and how they ended."""

    answers: dict[str, Answer]
    """Receives the answers, by ledger key."""
    report: Callable[[], None]
    sent: dict[Future[list[Answer]], list[Query]] = field(default_factory=dict)
    """Requests whose end is not recorded yet."""
    errors: list[Exception] = field(default_factory=list)
    rejected: list[tuple[list[Query], Exception]] = field(default_factory=list)
    """Requests that the provider rejected, and that are neither answered nor given up yet."""

    @property
    def unsettled(self) -> list[Query]:
        """Queries of the rejected requests."""
        return [query for queries, _ in self.rejected for query in queries]

    def tell(self, queries: Sequence[Query]) -> None:
        """Report answers."""
        for _ in queries:
            self.report()


class Oracle:
    """Answers queries through a chat model and a ledger: known queries for nothing, new queries once.

    Args:
        model: Any chat model that takes images and answers text. Its own ``rate_limiter`` is honoured. Or how to ask
            one, which then says itself what is asked for, and how many questions at once.
        ledger: Where every query is recorded before it is sent, and every answer when it arrives.
        budget: Limit on queries and cost.
        access: ``"logprobs"`` asks for the alternatives' log-probabilities (OpenAI's call options ``logprobs`` and
            ``top_logprobs``); ``"labels"`` uses the text alone and works with every model.
        questions_per_call: Most questions about one picture in one request; see
            :class:`~trainer.oracle.batching.BatchedModel`.
        requests_per_second: Upper limit where the model has no ``rate_limiter``.
        max_concurrency: Requests in flight at once.
        attempts: How often requests are sent in a row without any answer while the provider is overloaded or can't be
            reached. Those on which it fails while it answers others are put aside, and get an answer that can't be
            used. ``Retry-After`` is honoured. The chat model's own ``max_retries`` comes first: what such requests
            cost is in no budget, so it should be 0.

    Attributes:
        counts: Answers and failures so far.

    Raises:
        TrainingError: If log-probabilities of several questions in one reply are asked for: they can't be told apart.
    """

    def __init__(
        self,
        model: BaseChatModel | BatchedModel,
        ledger: Ledger,
        budget: Budget,
        *,
        access: Access = "labels",
        questions_per_call: int = 1,
        requests_per_second: float | None = None,
        max_concurrency: int = 8,
        attempts: int = 5,
    ) -> None:
        if not isinstance(model, BatchedModel):
            model = BatchedModel(model, access=access, questions_per_call=questions_per_call)
        self._model = model
        self._ledger, self._budget, self._access = ledger, budget, access
        self._max_concurrency, self._attempts = max_concurrency, attempts
        limited = requests_per_second is not None and getattr(model.model, "rate_limiter", None) is None
        self._gate = Gate(requests_per_second if limited else None)
        self._failing = StandingFailures(self._model, self._gate, ledger)
        self._rejected_in_a_row = 0
        self._is_proven = False
        """Whether the provider has answered, so that a rejection is about what a request holds."""
        self.counts = Counts()
        if own_retries(model.model) > 0:
            logger.warning(
                "the chat model sends a failed request up to %d more times by itself, and no budget counts them: "
                "build it with max_retries=0",
                own_retries(model.model),
            )

    def ask(
        self, queries: Sequence[Query], *, purpose: Purpose, on_answer: Callable[[], None] | None = None
    ) -> list[Answer | None]:
        """Answer queries, in their order.

        Args:
            queries: Equal ones are asked once.
            purpose: Recorded in the ledger.
            on_answer: Called in this thread after each new answer is on disk.

        Returns:
            An answer for each query; ``None`` where one was sent by a process that died before the answer arrived. Such
            a query counts as sent, and is never asked again.

        Raises:
            BudgetExhaustedError: Before anything was sent. Under a limit on cost, also after a part of the queries, if
                their cost shows that the rest would exceed it.
            OracleError: If the provider fails or can't be reached, or rejects many requests in a row, or :meth:`stop`
                was called. Answers that had arrived are in the ledger. A single rejected request is an answer: refused.
            LedgerError: If the ledger can't be written.
        """
        answers: dict[str, Answer] = {}
        for part in self._parts(queries):
            while True:
                reservation = self._ledger.reserve(part, purpose=purpose, budget=self._budget)
                answers |= reservation.answered
                self._ask_new(list(reservation.new), answers, on_answer)
                if not reservation.elsewhere:
                    break
                self._wait(_POLL_S)  # another process is asking
        return [answers.get(self._ledger.key(query)) for query in queries]

    def stop(self) -> None:
        """Send no further request, ever; called from another thread than the one that asks.

        A call of :meth:`ask` that is under way records the answers in flight, then raises.
        """
        self._gate.stop()

    def _wait(self, seconds: float) -> None:
        if self._gate.stopped.wait(seconds):
            raise OracleError("asking was stopped. Answers that had arrived are saved: resume.")

    def _parts(self, queries: Sequence[Query]) -> Iterator[Sequence[Query]]:
        """All queries at once, or under a limit on cost in slices, each after a look at what the rest would cost."""
        if self._budget.max_cost is None:
            yield queries
            return
        start = 0
        while start < len(queries):
            self._ledger.require(queries[start:], self._budget)
            size = _SAMPLE if self._ledger.mean_cost() is None else _SLICE
            yield queries[start : start + size]
            start += size

    def _ask_new(
        self, pending: list[Query], answers: dict[str, Answer], on_answer: Callable[[], None] | None
    ) -> None:
        """Ask queries, again and again while failures are passing; releases those that got no answer."""
        failures = 0
        try:
            while pending:
                before = len(pending)
                errors = self._send(pending, answers, on_answer)
                if not errors:
                    continue  # nothing is left, or what is left is asked one by one
                failures = failures + 1 if len(pending) == before else 1
                worst = next((error for error in errors if not is_retryable(error)), errors[-1])
                if failures == 1:
                    self._failing.note_progress()
                is_over = failures >= self._attempts or not is_retryable(worst)
                if is_over and all(map(may_come_from_the_request, errors)):
                    is_standing = self._failing.are_standing(pending, worst)
                    if is_standing:
                        self._put_aside(pending, answers)
                        break
                    is_over = is_standing is not None
                if is_over:
                    raise OracleError(
                        f"the chat model did not answer {len(pending)} of {before} queries ({describe(worst)}). "
                        "Answers that had arrived are saved: put the cause right, then resume."
                    )
                self.counts.failed += len(errors)
                logger.warning("%d queries failed (%s), trying again", len(pending), describe(worst))
                self._ledger.require(pending, self._budget)
                self._wait(backoff(min(failures, self._attempts)))
        finally:
            if pending:
                self._ledger.release(pending)

    def _put_aside(self, pending: list[Query], answers: dict[str, Answer]) -> None:
        """Record that queries get no answer that can be used, and go on."""
        self._ledger.record_all([(query, Answer(PUT_ASIDE)) for query in pending])
        for query in pending:
            answers[self._ledger.key(query)] = Answer(PUT_ASIDE)
            self.counts.put_aside.append(query.image_digest)
        pending.clear()

    def _send(
        self, pending: list[Query], answers: dict[str, Answer], on_answer: Callable[[], None] | None
    ) -> list[Exception]:
        """Ask queries at once and record their answers.

        On an interruption or a full disk, queries that are already on their way may be paid: their answers are waited
        for and recorded, and no further query leaves.

        Args:
            pending: Queries to ask. On return, and when this raises, it holds those that the provider is known not to
                have answered.
            answers: Receives the answers, by ledger key.
            on_answer: See :meth:`ask`.

        Returns:
            Why ``pending`` is not empty, an error per request.
        """
        batch = _Batch(answers, on_answer or _nothing)
        # Nothing leaves before all are handed over: an interruption in between would not know of those on their way.
        handed_over = threading.Event()
        with ContextThreadPoolExecutor(self._max_concurrency) as pool:
            try:
                self._gate.open()
                batch.sent |= {
                    pool.submit(self._request, group, handed_over): group
                    for group in self._model.group(pending)
                }
                pending.clear()
                handed_over.set()
                for future in as_completed(tuple(batch.sent)):
                    self._settle(future, batch, pending)
                    self._require_some_accepted(batch)
            except BaseException:
                batch.report = _nothing
                self._gate.close()
                handed_over.set()
                for future in tuple(batch.sent):
                    if future.cancel():
                        pending.extend(batch.sent.pop(future))
                for future in as_completed(tuple(batch.sent)):
                    self._settle(future, batch, pending)
                pending.extend(batch.unsettled)
                raise
        self._settle_rejected(batch, pending)
        return batch.errors

    def _settle(self, future: Future[list[Answer]], batch: _Batch, pending: list[Query]) -> None:
        """Record how a request ended."""
        queries = batch.sent[future]
        error = future.exception()
        if error is None:
            self._rejected_in_a_row, self._is_proven = 0, True
            self._failing.note_answered(queries)
            self._keep(queries, future.result(), batch.answers)
        elif isinstance(error, RequestLostError):
            self.counts.unanswered += len(queries)
            self._ledger.give_up(queries)
        elif isinstance(error, Exception) and is_rejection(error):
            self._rejected_in_a_row += 1
            batch.rejected.append((queries, error))
        elif isinstance(error, Exception):
            batch.errors.extend(self._heed(queries, error))
            pending.extend(queries)
        else:
            raise error
        del batch.sent[future]
        if error is None:
            batch.tell(queries)

    def _settle_rejected(self, batch: _Batch, pending: list[Query]) -> None:
        """Record rejections as answers, once it is known that they are about what the requests hold."""
        self._is_proven = self._is_proven or (bool(batch.rejected) and self._ledger.has_answers())
        try:
            while batch.rejected:
                queries, error = batch.rejected[-1]
                is_answer = self._is_proven or names_a_filter(error)
                if is_answer:
                    self._keep(queries, [Answer(REJECTED)] * len(queries), batch.answers)
                else:  # as for every request, perhaps: a wrong setting, or no access
                    pending.extend(queries)
                    batch.errors.append(error)
                batch.rejected.pop()
                batch.tell(queries if is_answer else ())
        finally:
            pending.extend(batch.unsettled)

    def _require_some_accepted(self, batch: _Batch) -> None:
        if self._rejected_in_a_row >= _MOST_REJECTED:
            _, error = batch.rejected[-1]
            raise OracleError(
                f"the provider rejected {self._rejected_in_a_row} requests in a row ({describe(error)}), so no more "
                "were sent. See what it says of its content filter, the account and the model's settings, then resume: "
                "the last requests are asked again."
            )

    def _request(self, queries: Sequence[Query], handed_over: threading.Event) -> list[Answer]:
        """Send one request as soon as all are handed over; runs in a thread of the pool."""
        handed_over.wait()
        self._gate.wait()
        return self._model.ask(queries)

    def _keep(self, queries: Sequence[Query], replies: Sequence[Answer], answers: dict[str, Answer]) -> None:
        """Record the answers of one request."""
        answered = list(zip(queries, replies, strict=True))
        self._ledger.record_all(answered)
        for query, answer in answered:
            answers[self._ledger.key(query)] = answer
            self._count(query, answer)

    def _heed(self, queries: Sequence[Query], error: Exception) -> list[Exception]:
        """Pause as long as the provider wants, and note a request that may be charged without an answer.

        Returns:
            The error, unless it is none: the queries are to be asked one by one.
        """
        if isinstance(error, AskSingly):
            return []
        self._gate.pause(retry_after(error))
        if may_be_charged(error):
            self.counts.unanswered += 1
            self._ledger.doubt(queries)
        return [error]

    def _count(self, query: Query, answer: Answer) -> None:
        counts = self.counts
        match kind(answer.text, query.choices):
            case "usable":
                counts.answered += 1
            case "refused":
                counts.refused += 1
            case "empty":
                counts.empty += 1
            case "unfit":
                counts.unfit += 1
        if not answer.input_tokens:
            if not counts.unmetered and self._ledger.price is not None:
                logger.warning("an answer names no tokens: such answers count at an estimate of their cost")
            counts.unmetered += 1
        counts.malformed_logprobs += self._access == "logprobs" and answer.logprobs is None


class Asks(Protocol):
    """Whatever answers queries as an :class:`Oracle` does."""

    def ask(
        self, queries: Sequence[Query], *, purpose: Purpose, on_answer: Callable[[], None] | None = None
    ) -> list[Answer | None]:
        """Answer queries; see :meth:`Oracle.ask`."""


class Elsewhere(Protocol):
    """A chat model that other processes ask."""

    @property
    def identity(self) -> str:
        """Name of the chat model; see :func:`~trainer.oracle.model_spec.model_identity`."""

    def open(
        self,
        ledger: Ledger,
        budget: Budget,
        *,
        access: Access,
        questions_per_call: int,
        requests_per_second: float | None,
        max_concurrency: int,
    ) -> Oracle | SubprocessOracle:
        """Have the chat model answer through a ledger; the arguments are those of :class:`Oracle`."""


def _nothing() -> None:
    pass
