"""The black box: a chat model seen as queries in, answers out. Nothing else in the trainer reaches a chat model."""

from __future__ import annotations

import base64
import logging
import time
from concurrent.futures import as_completed
from typing import TYPE_CHECKING, Any, Final, Literal

import httpx
from langchain_core.exceptions import ModelConnectionError, ModelRateLimitError, ModelTimeoutError
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables.config import ContextThreadPoolExecutor

from langchain_vpp.errors import OracleError
from langchain_vpp.pixels import ENCODED_MIME_TYPE
from trainer.ledger import Answer, Budget, Ledger, Purpose, Query

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future

    from langchain_core.language_models import BaseChatModel, LanguageModelInput
    from langchain_core.runnables import Runnable

logger = logging.getLogger(__name__)

Access = Literal["logprobs", "labels"]
_RETRYABLE_STATUS: Final = frozenset({408, 409, 425, 429})
_TRANSIENT: Final = (
    ConnectionError,
    TimeoutError,
    httpx.TransportError,
    ModelConnectionError,
    ModelRateLimitError,
    ModelTimeoutError,
)
# Bases of the connection errors of clients that use neither httpx's nor LangChain's.
_TRANSIENT_NAMES: Final = frozenset({"APIConnectionError", "HTTPClientError", "ConnectionError"})
_FIRST_WAIT_S: Final = 0.5
_MOST_PROBABLE: Final = 0.01  # a log-probability is at most 0, up to rounding


class Oracle:
    """Answers queries through a chat model and a ledger: known ones for nothing, new ones once.

    Args:
        model: Any chat model that takes images and answers text.
        ledger: Where every query is recorded before it is sent and every answer when it arrives.
        budget: What may be spent.
        access: ``"logprobs"`` asks for the alternatives' log-probabilities (OpenAI's ``logprobs`` and ``top_logprobs``
            call options), ``"labels"`` uses the text alone and works with every model.
        max_concurrency: Requests in flight at once.
        attempts: How often a query is tried when the provider is overloaded or can't be reached. The chat model's own
            ``max_retries`` comes first and honours ``Retry-After``.
    """

    def __init__(
        self,
        model: BaseChatModel,
        ledger: Ledger,
        budget: Budget,
        *,
        access: Access = "labels",
        max_concurrency: int = 8,
        attempts: int = 4,
    ) -> None:
        self._model: Runnable[LanguageModelInput, AIMessage] = (
            model.bind(logprobs=True, top_logprobs=20) if access == "logprobs" else model
        )
        self._ledger, self._budget = ledger, budget
        self._max_concurrency, self._attempts = max_concurrency, attempts

    def ask(
        self, queries: Sequence[Query], *, purpose: Purpose, on_answer: Callable[[], None] | None = None
    ) -> list[Answer | None]:
        """Answer queries, in their order.

        Args:
            queries: Equal ones are asked once.
            purpose: Recorded in the ledger.
            on_answer: Called in this thread after each new answer is on disk.

        Returns:
            An answer for each query; ``None`` where one was sent by a process that died before the answer arrived.

        Raises:
            BudgetExhaustedError: Before anything was sent.
            OracleError: If the provider refuses or can't be reached. What had been answered is in the ledger.
            LedgerError: If the ledger can't be written.
        """
        reservation = self._ledger.reserve(queries, purpose=purpose, budget=self._budget)
        answers: dict[str, Answer] = dict(reservation.answered)
        pending = list(reservation.new)
        wait = _FIRST_WAIT_S
        try:
            for attempt in range(1, self._attempts + 1):
                failure = self._send(pending, answers, on_answer)
                if failure is None:
                    break
                if attempt == self._attempts or not _retryable(failure):
                    raise OracleError(
                        f"the chat model did not answer {len(pending)} of {len(queries)} queries "
                        f"({_describe(failure)}). Answers that had arrived are saved: put the cause right, "
                        "then resume."
                    )
                logger.warning("%d queries failed (%s), trying again", len(pending), _describe(failure))
                time.sleep(wait)
                wait *= 2
        finally:
            if pending:
                self._ledger.release(pending)
        return [answers.get(self._ledger.key(query)) for query in queries]

    def _send(
        self, pending: list[Query], answers: dict[str, Answer], on_answer: Callable[[], None] | None
    ) -> Exception | None:
        """Ask queries at once and record their answers.

        On an interruption or a full disk, queries that are already on their way may be paid: their answers are waited
        for and recorded, and no further one leaves.

        Args:
            pending: What to ask. On return, and when this raises, it holds what the provider is known not to have
                answered.
            answers: Receives the answers, by ledger key.
            on_answer: See :meth:`ask`.

        Returns:
            Why ``pending`` is not empty: of all failures one that will not get better, if there is one.
        """
        failure: Exception | None = None

        def settle(future: Future[AIMessage]) -> None:
            nonlocal failure
            error = future.exception()
            if error is None:
                answer = _answer(future.result())
                self._ledger.record(sent[future], answer)
                answers[self._ledger.key(sent[future])] = answer
            elif isinstance(error, Exception):
                pending.append(sent[future])
                failure = error if failure is None or _retryable(failure) else failure
            else:
                raise error
            del sent[future]
            if error is None and on_answer is not None:
                on_answer()

        with ContextThreadPoolExecutor(self._max_concurrency) as pool:
            sent = {pool.submit(self._model.invoke, [as_message(query)]): query for query in pending}
            pending.clear()
            try:
                for future in as_completed(tuple(sent)):
                    settle(future)
            except BaseException:
                on_answer = None
                pending.extend([sent.pop(future) for future in tuple(sent) if future.cancel()])
                for future in as_completed(tuple(sent)):
                    settle(future)
                raise
        return failure


def as_message(query: Query) -> HumanMessage:
    """What the chat model is sent for a query: its prompt, then its picture."""
    image = {
        "type": "image",
        "base64": base64.b64encode(query.image).decode(),
        "mime_type": ENCODED_MIME_TYPE,
    }
    return HumanMessage(content=[{"type": "text", "text": query.prompt}, image])


def _answer(message: AIMessage) -> Answer:
    usage = message.usage_metadata
    return Answer(
        # JSON can spell half of a surrogate pair, which no file can hold; the paid answer must not be lost for it.
        text=message.text.encode(errors="replace").decode(),
        logprobs=_first_token(message.response_metadata.get("logprobs")),
        input_tokens=usage["input_tokens"] if usage else 0,
        output_tokens=usage["output_tokens"] if usage else 0,
    )


def _first_token(logprobs: Any) -> dict[str, float] | None:
    """Alternatives of the first token from OpenAI's format; anything malformed counts as absent."""
    try:
        alternatives = logprobs["content"][0]["top_logprobs"]
        found = {str(each["token"]): float(each["logprob"]) for each in alternatives}
    except (TypeError, KeyError, IndexError, ValueError):
        return None
    if not all(value <= _MOST_PROBABLE for value in found.values()):  # so written, it refuses NaN too
        return None
    return found or None


def _retryable(error: Exception) -> bool:
    status = getattr(error, "status_code", None)
    if isinstance(status, int):
        return status in _RETRYABLE_STATUS or status >= 500
    names = {kind.__name__ for kind in type(error).__mro__}
    return isinstance(error, _TRANSIENT) or not names.isdisjoint(_TRANSIENT_NAMES)


def _describe(error: Exception) -> str:
    """Type and status only: a provider's error text may quote the request."""
    status = getattr(error, "status_code", None)
    return (
        f"{type(error).__name__}, HTTP status {status}" if isinstance(status, int) else type(error).__name__
    )
