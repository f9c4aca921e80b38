"""The black box: a chat model seen as queries in, answers out.

Besides the optional judge of :mod:`trainer.oracle.scoring`, which sees text alone, nothing else in the trainer reaches a chat
model. An oracle asks from within its process, so what is in flight when that is killed is lost, paid or not;
:mod:`trainer.oracle.subprocess` puts the oracle into a process of its own that lives on until its last answer is recorded.
"""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import math
import random
import re
import threading
import time
from collections.abc import Mapping
from concurrent.futures import as_completed
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final, Literal

import httpx
from langchain_core.exceptions import ModelConnectionError, ModelRateLimitError, ModelTimeoutError
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.rate_limiters import InMemoryRateLimiter
from langchain_core.runnables.config import ContextThreadPoolExecutor

from langchain_vpp.errors import OracleError, TrainingError
from langchain_vpp.images.codec import ENCODED_MIME_TYPE
from trainer.oracle.ledger import Answer, Budget, Ledger, Purpose, Query
from trainer.oracle.scoring import kind, refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
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
_TRANSIENT_NAMES: Final = frozenset(
    {"APIConnectionError", "HTTPClientError", "ConnectionError", "TransportError"}
)
# Failures before a request was sent, by whichever client. After any other one without a status the provider may have
# done the work.
_UNSENT_NAMES: Final = frozenset(
    {
        "ConnectError",
        "ConnectTimeout",
        "ConnectTimeoutError",
        "ConnectionRefusedError",
        "EndpointConnectionError",
        "PoolTimeout",
    }
)
# A 429 that waiting does not cure.
_NO_MONEY: Final = "insufficient_quota"
_FIRST_WAIT_S: Final = 0.5
_LONGEST_WAIT_S: Final = 120.0
_POLL_S: Final = 0.1
_SAMPLE: Final = 16
"""Queries that are asked first under a limit on cost, to learn what one costs."""
_SLICE: Final = 256
"""Queries under a limit on cost between two looks at what has been spent."""
_MOST_PROBABLE: Final = 0.01  # a log-probability is at most 0, up to rounding
_NUMBERED: Final = re.compile(r"[ \t]*(\d{1,3})[.):][ \t]+(\S.*)")


@dataclass
class Counts:
    """What an oracle got back so far."""

    answered: int = 0
    """Answers that can be used."""
    refused: int = 0
    """Answers that say that the model can't or won't ("I can't help with people")."""
    empty: int = 0
    """Answers without a word; also parts that are missing or garbled in a reply to several questions."""
    unfit: int = 0
    """Answers that name none of the choices, or several."""
    malformed_logprobs: int = 0
    """Answers without usable log-probabilities although these were asked for; their text was used."""
    failed: int = 0
    """Requests that failed in passing, such as with 429, and were sent again."""
    unanswered: int = 0
    """Those of the failed requests that the provider may charge for all the same: they got no answer in time."""


class Oracle:
    """Answers queries through a chat model and a ledger: known ones for nothing, new ones once.

    Args:
        model: Any chat model that takes images and answers text. Its own ``rate_limiter`` is honoured by itself.
        ledger: Where every query is recorded before it is sent and every answer when it arrives.
        budget: What may be spent.
        access: ``"logprobs"`` asks for the alternatives' log-probabilities (OpenAI's ``logprobs`` and ``top_logprobs``
            call options), ``"labels"`` uses the text alone and works with every model.
        questions_per_call: Most questions about one picture in one request: the picture is paid once for all of them.
            Models that are known to support structured output are asked for it, others for numbered lines.
        requests_per_second: Upper limit where the model has no ``rate_limiter``.
        max_concurrency: Requests in flight at once.
        attempts: How often requests are sent in a row without any answer while the provider is overloaded or can't be
            reached. ``Retry-After`` is honoured. The chat model's own ``max_retries`` comes first.

    Attributes:
        counts: What came back so far.

    Raises:
        TrainingError: If log-probabilities of several questions in one reply are asked for: they can't be told apart.
    """

    def __init__(
        self,
        model: BaseChatModel,
        ledger: Ledger,
        budget: Budget,
        *,
        access: Access = "labels",
        questions_per_call: int = 1,
        requests_per_second: float | None = None,
        max_concurrency: int = 8,
        attempts: int = 5,
    ) -> None:
        check_access(access, questions_per_call)
        self._model: Runnable[LanguageModelInput, AIMessage] = (
            model.bind(logprobs=True, top_logprobs=20) if access == "logprobs" else model
        )
        self._structured = _structured(model, questions_per_call)
        self._ledger, self._budget, self._access = ledger, budget, access
        self._questions_per_call = questions_per_call
        self._max_concurrency, self._attempts = max_concurrency, attempts
        limited = requests_per_second is not None and getattr(model, "rate_limiter", None) is None
        self._gate = _Gate(requests_per_second if limited else None)
        self.counts = Counts()

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
            BudgetExhaustedError: Before anything was sent, unless it is the limit on cost that what was asked so far
                shows to be too low.
            OracleError: If the provider refuses or can't be reached, or :meth:`stop` was called. What had been
                answered is in the ledger.
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
        """All at once, or under a limit on cost in slices, each after a look at what the rest would cost."""
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
        failures = 0
        try:
            while pending:
                before = len(pending)
                errors = self._send(pending, answers, on_answer)
                if not errors:
                    break
                failures = failures + 1 if len(pending) == before else 1
                worst = next((error for error in errors if not _retryable(error)), errors[-1])
                if failures == self._attempts or not _retryable(worst):
                    raise OracleError(
                        f"the chat model did not answer {len(pending)} of {before} queries ({_describe(worst)}). "
                        "Answers that had arrived are saved: put the cause right, then resume."
                    )
                self.counts.failed += len(errors)
                logger.warning("%d queries failed (%s), trying again", len(pending), _describe(worst))
                self._ledger.require(pending, self._budget)
                wait = min(_FIRST_WAIT_S * 2 ** (failures - 1), _LONGEST_WAIT_S)
                self._wait(wait * random.uniform(0.5, 1))  # noqa: S311  spreads load, hides nothing
        finally:
            if pending:
                self._ledger.release(pending)

    def _send(
        self, pending: list[Query], answers: dict[str, Answer], on_answer: Callable[[], None] | None
    ) -> list[Exception]:
        """Ask queries at once and record their answers.

        On an interruption or a full disk, queries that are already on their way may be paid: their answers are waited
        for and recorded, and no further one leaves.

        Args:
            pending: What to ask. On return, and when this raises, it holds what the provider is known not to have
                answered.
            answers: Receives the answers, by ledger key.
            on_answer: See :meth:`ask`.

        Returns:
            Why ``pending`` is not empty, an error per request.
        """
        errors: list[Exception] = []
        report = on_answer or _nothing

        def settle(future: Future[list[Answer]]) -> None:
            error = future.exception()
            if error is None:
                self._keep(sent[future], future.result(), answers)
            elif isinstance(error, Exception):
                self._heed(sent[future], error)
                pending.extend(sent[future])
                errors.append(error)
            else:
                raise error
            queries = sent.pop(future)
            for _ in queries if error is None else ():
                report()

        # Nothing leaves before all are handed over: an interruption in between would not know of those on their way.
        handed_over = threading.Event()
        sent: dict[Future[list[Answer]], list[Query]] = {}
        with ContextThreadPoolExecutor(self._max_concurrency) as pool:
            try:
                self._gate.open()
                sent |= {
                    pool.submit(self._request, group, handed_over): group for group in self._groups(pending)
                }
                pending.clear()
                handed_over.set()
                for future in as_completed(tuple(sent)):
                    settle(future)
            except BaseException:
                report = _nothing
                self._gate.close()
                handed_over.set()
                for future in tuple(sent):
                    if future.cancel():
                        pending.extend(sent.pop(future))
                for future in as_completed(tuple(sent)):
                    settle(future)
                raise
        return errors

    def _keep(self, queries: Sequence[Query], replies: Sequence[Answer], answers: dict[str, Answer]) -> None:
        answered = list(zip(queries, replies, strict=True))
        self._ledger.record_all(answered)
        for query, answer in answered:
            answers[self._ledger.key(query)] = answer
            self._count(query, answer)

    def _heed(self, queries: Sequence[Query], error: Exception) -> None:
        self._gate.pause(_retry_after(error))
        if _may_be_charged(error):
            self.counts.unanswered += 1
            self._ledger.doubt(queries)

    def _groups(self, queries: Sequence[Query]) -> list[list[Query]]:
        """Queries that share a request: those about the same picture, in their order."""
        by_image: dict[bytes, list[Query]] = {}
        for query in queries:
            by_image.setdefault(query.image, []).append(query)
        size = self._questions_per_call
        return [
            about[start : start + size] for about in by_image.values() for start in range(0, len(about), size)
        ]

    def _request(self, queries: Sequence[Query], handed_over: threading.Event) -> list[Answer]:
        """Send one request, as soon as all are handed over; runs in a thread of the pool."""
        handed_over.wait()
        self._gate.wait()
        if len(queries) == 1:
            reply = self._model.invoke([as_message(queries[0])])
            return [_answer(_text(reply), reply, logprobs=reply.response_metadata.get("logprobs"))]
        structured = self._structured.get(len(queries))
        if structured is None:
            reply = self._model.invoke([_message(queries[0].image, _numbered_prompt(queries))])
            texts = _numbered_answers(_text(reply), len(queries))
        else:
            both = structured.invoke([_message(queries[0].image, _structured_prompt(queries))])
            reply = both["raw"]
            texts = _structured_answers(reply, len(queries))
        if not any(texts) and refused(_text(reply)):
            texts = [_text(reply)] * len(queries)
        return [_answer(text, reply, share=position, of=len(queries)) for position, text in enumerate(texts)]

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
        counts.malformed_logprobs += self._access == "logprobs" and answer.logprobs is None


def check_access(access: Access, questions_per_call: int) -> None:
    """Check that what is asked for can be had together.

    Raises:
        TrainingError: If log-probabilities of several questions in one reply are asked for.
    """
    if access == "logprobs" and questions_per_call > 1:
        raise TrainingError(
            "several questions per call have no log-probabilities of their own; nothing was sent. "
            "Use one question per call, or the access 'labels'."
        )


def _nothing() -> None:
    pass


class _ClosedError(Exception):
    """A request was held back because of an interruption."""


class _Gate:
    """Lets requests out: no faster than a rate, not while the provider wants a pause, none after an interruption.

    Once it is stopped, it is never opened again.
    """

    def __init__(self, requests_per_second: float | None) -> None:
        self._limiter: InMemoryRateLimiter | None = None
        self._tick = 0.05
        if requests_per_second is not None:
            self._limiter = InMemoryRateLimiter(requests_per_second=requests_per_second)
            self._tick = min(self._tick, 0.25 / requests_per_second)
        self._closed, self.stopped = threading.Event(), threading.Event()
        self._not_before = -math.inf

    def open(self) -> None:
        self._closed.clear()
        if (
            self.stopped.is_set()
        ):  # looked at last, as it is set before the gate is closed: so it ends up closed
            self._closed.set()

    def close(self) -> None:
        self._closed.set()

    def stop(self) -> None:
        self.stopped.set()
        self._closed.set()

    def pause(self, seconds: float) -> None:
        if seconds > 0:
            self._not_before = max(self._not_before, time.monotonic() + seconds)

    def wait(self) -> None:
        while not self._closed.is_set():
            left = self._not_before - time.monotonic()
            if left <= 0 and (self._limiter is None or self._limiter.acquire(blocking=False)):
                return
            self._closed.wait(max(left, self._tick))
        raise _ClosedError


def as_message(query: Query) -> HumanMessage:
    """What the chat model is sent for a query: its prompt, then its picture."""
    return _message(query.image, query.prompt)


def _message(picture: bytes, prompt: str) -> HumanMessage:
    image = {
        "type": "image",
        "base64": base64.b64encode(picture).decode(),
        "mime_type": ENCODED_MIME_TYPE,
    }
    return HumanMessage(content=[{"type": "text", "text": prompt}, image])


# -- several questions in one request --------------------------------------------------------------------------


def _structured(
    model: BaseChatModel, questions_per_call: int
) -> dict[int, Runnable[LanguageModelInput, dict[str, Any]]]:
    """The model bound to a schema for each number of answers; empty if it isn't known to support that."""
    if not (model.profile or {}).get("structured_output"):
        return {}
    bound: dict[int, Runnable[LanguageModelInput, Any]] = {}
    try:
        for count in range(2, questions_per_call + 1):
            # As a dict: some clients check a reply against a class themselves, and lose one that is paid and garbled.
            bound[count] = model.with_structured_output(_schema(count), include_raw=True)
    except NotImplementedError:
        return {}
    return bound


def _schema(count: int) -> dict[str, Any]:
    names = [f"answer_{number}" for number in range(1, count + 1)]
    return {
        "title": "answers",
        "description": "Answers to numbered questions about a picture.",
        "type": "object",
        "properties": {name: {"type": "string"} for name in names},
        "required": names,
        "additionalProperties": False,
    }


def _questions(queries: Sequence[Query]) -> str:
    return "\n".join(
        f"{number}. {' '.join(query.prompt.split())}" for number, query in enumerate(queries, start=1)
    )


def _structured_prompt(queries: Sequence[Query]) -> str:
    return f"Answer each question about the picture, the first as answer_1 and so on.\n{_questions(queries)}"


def _numbered_prompt(queries: Sequence[Query]) -> str:
    return (
        "Answer each question about the picture. Reply with one line per question and nothing else: its number, a "
        f"full stop, a space and the answer.\n{_questions(queries)}"
    )


def _structured_answers(reply: AIMessage, count: int) -> list[str]:
    """The values of a whole structure; a part that was cut off is no answer, so no lenient parser reads it."""
    given: Any = None
    if reply.tool_calls:
        given = reply.tool_calls[0]["args"]
    else:
        with contextlib.suppress(ValueError):
            given = json.loads(reply.text)
    values = given if isinstance(given, Mapping) else {}
    answers = [values.get(f"answer_{number}", "") for number in range(1, count + 1)]
    return [
        answer if isinstance(answer, str) else "" if answer is None else json.dumps(answer)
        for answer in answers
    ]


def _numbered_answers(text: str, count: int) -> list[str]:
    """The lines that carry a number; all are empty if a number is strange or stands twice, for then none is safe."""
    found: dict[int, str] = {}
    for line in text.splitlines():
        match = _NUMBERED.fullmatch(line)
        if match is None:
            continue
        number = int(match[1])
        if number in found or not 1 <= number <= count:
            return [""] * count
        found[number] = match[2].strip()
    return [found.get(number, "") for number in range(1, count + 1)]


# -- replies and errors ----------------------------------------------------------------------------------------


def _text(message: AIMessage) -> str:
    # OpenAI's client gives a refusal a field of its own.
    text = message.text or str(message.additional_kwargs.get("refusal") or "")
    # JSON can spell half of a surrogate pair, which no file can hold; the paid answer must not be lost for it.
    return text.encode(errors="replace").decode()


def _answer(text: str, message: AIMessage, *, logprobs: Any = None, share: int = 0, of: int = 1) -> Answer:
    """An answer with its share of the reply's tokens; the shares add up to the whole."""
    usage = message.usage_metadata
    tokens = (usage["input_tokens"], usage["output_tokens"]) if usage else (0, 0)
    mine = [whole // of + (share < whole % of) for whole in tokens]
    return Answer(text.encode(errors="replace").decode(), _first_token(logprobs), *mine)


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


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and what caused it: clients wrap the ones below them."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__


def _response(error: BaseException) -> tuple[int | None, Mapping[str, Any]]:
    """HTTP status and headers of an error, where it has some: httpx's, or botocore's, which are a dict."""
    for each in _chain(error):
        response = getattr(each, "response", None)
        if isinstance(response, Mapping):
            metadata = response.get("ResponseMetadata")
            if isinstance(metadata, Mapping):
                return metadata.get("HTTPStatusCode"), metadata.get("HTTPHeaders") or {}
        status = getattr(each, "status_code", None)
        if isinstance(status, int):
            headers = getattr(response, "headers", None)
            return status, headers if isinstance(headers, Mapping) else {}
    return None, {}


def _retryable(error: Exception) -> bool:
    status, _ = _response(error)
    if status is not None:
        return (status in _RETRYABLE_STATUS or status >= 500) and getattr(error, "code", None) != _NO_MONEY
    return isinstance(error, _TRANSIENT) or not _names(error).isdisjoint(_TRANSIENT_NAMES)


def _may_be_charged(error: Exception) -> bool:
    """Whether a request may have been worked on: it was sent, and neither an answer nor a status came back."""
    status, _ = _response(error)
    sent = all(_names(each).isdisjoint(_UNSENT_NAMES) for each in _chain(error))
    return status is None and sent and _retryable(error)


def _names(error: BaseException) -> set[str]:
    return {kind.__name__ for kind in type(error).__mro__}


def _retry_after(error: Exception) -> float:
    """Seconds for which the provider wants no request, spread a little and bounded; 0 if it did not say."""
    _, headers = _response(error)
    value = str(headers.get("retry-after") or "")
    try:
        seconds = float(value)
    except ValueError:
        seconds = _seconds_until(value, str(headers.get("date") or ""))
    if not seconds > 0:  # so written, it refuses NaN too
        return 0.0
    return min(seconds * random.uniform(1, 1.1), _LONGEST_WAIT_S)  # noqa: S311  spreads load, hides nothing


def _seconds_until(date: str, now: str) -> float:
    """From one HTTP date to another: the provider's own, so that our clock does not matter, if it sends one."""
    try:
        until = parsedate_to_datetime(date)
        since = parsedate_to_datetime(now) if now else datetime.now(UTC)
        return (until - since).total_seconds()
    except (ValueError, TypeError):  # no date; or one of the two lacks its time zone
        return 0.0


def _describe(error: Exception) -> str:
    """Type and status only: a provider's error text may quote the request."""
    status, _ = _response(error)
    return type(error).__name__ if status is None else f"{type(error).__name__}, HTTP status {status}"
