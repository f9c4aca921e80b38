"""The oracle in a process of its own, whose answers in flight outlive the training process.

The provider charges for the last requests of a run that is killed, but the run can't wait for their answers any more.
Therefore a small subprocess owns the chat model, the oracle and the reservations in the ledger. It belongs to a session
of its own, where neither a signal to the training process nor Ctrl-C in its terminal reaches it. It loads no torch, so
it is ready before the training process is. Queries come through its standard input. When that ends, because the
training process is done or dead, the subprocess sends nothing more, records the answers in flight, and ends, at the
latest when its last request has run out of time. A run that is resumed meanwhile finds those queries reserved by a
living process and waits for them (:class:`~trainer.oracle.ledger.Reservation`).

Answers in flight are still lost when the subprocess itself is killed with ``kill -9``, or the machine stops.

Messages are lines of JSON; both ends are of one installation. The training process sends the model first, then any
number of times a ledger to open or queries to ask. The subprocess reports each answer after it is on disk, warnings,
and how each batch ended. The answers themselves are read from the ledger.
"""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from dataclasses import asdict
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Literal, Self

from langchain_vpp import errors
from langchain_vpp.errors import OracleError, VPPError
from trainer.oracle.batching import check_access
from trainer.oracle.ledger import Budget, Ledger, Price
from trainer.oracle.model_spec import ModelSpec, model_identity
from trainer.oracle.oracle import Counts, Oracle
from trainer.oracle.query import Query

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from langchain_core.language_models import BaseChatModel

    from trainer.oracle.query import Access, Answer, Purpose

_RECORDING_S: Final = 5.0
"""Seconds to record how the last requests ended."""


class SubprocessOracle:
    """Asks a chat model from a subprocess, which records the answers in flight if this process dies.

    Otherwise it answers as :class:`~trainer.oracle.oracle.Oracle` does.

    The subprocess starts at once and gets ready while this process does other work.

    Args:
        model: Chat model to ask. It is set up in this process too, so that an error is raised at once.

    Attributes:
        identity: Name of the chat model; see :func:`~trainer.oracle.model_spec.model_identity`.
        counts: Answers and failures so far.
        pid: Process id of the subprocess.

    Raises:
        TrainingError: If the chat model can't be set up.
    """

    def __init__(self, model: ModelSpec) -> None:
        self.identity = model_identity(model.build())
        self.counts = Counts()
        self._ledger: Ledger | None = None
        self._asked = False
        self._process = subprocess.Popen(
            # -P: no module of the folder that we happen to work in.
            [sys.executable, "-P", "-m", "trainer.oracle.subprocess"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self.pid = self._process.pid
        self._tell(model=model)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Send nothing more, wait until the answers in flight are recorded, and end the subprocess."""
        if not self._asked:
            self._process.kill()  # it has nothing to record
        requests, reports = self._pipes
        with contextlib.suppress(BrokenPipeError):
            requests.close()
        for _ in self._reports():
            pass
        self._process.wait()
        reports.close()

    def open(
        self,
        ledger: Ledger,
        budget: Budget,
        *,
        access: Access,
        questions_per_call: int,
        requests_per_second: float | None,
        max_concurrency: int,
    ) -> Self:
        """Choose the ledger and how to ask from now on; see :class:`~trainer.oracle.oracle.Oracle`.

        Args:
            ledger: Ledger from which this process reads the answers. The subprocess opens the same file.
            budget: Limit on queries and cost.
            access: Whether log-probabilities are asked for.
            questions_per_call: Most questions about one picture in one request.
            requests_per_second: Upper limit.
            max_concurrency: Requests in flight at once.

        Raises:
            TrainingError: If the arguments contradict each other.
        """
        check_access(access, questions_per_call)
        self._ledger = ledger
        self._tell(
            ledger={
                "path": str(ledger.path),
                "model": ledger.model,
                "price": ledger.price,
                "store_images": ledger.store_images,
            },
            budget=budget,
            settings={
                "access": access,
                "questions_per_call": questions_per_call,
                "requests_per_second": requests_per_second,
                "max_concurrency": max_concurrency,
            },
        )
        return self

    def ask(
        self, queries: Sequence[Query], *, purpose: Purpose, on_answer: Callable[[], None] | None = None
    ) -> list[Answer | None]:
        """Answer queries, in their order; see :meth:`trainer.oracle.oracle.Oracle.ask`.

        When this raises, the subprocess has ended: no further request leaves, and answers in flight have been recorded.

        Raises:
            OracleError: Also if the subprocess was killed. Queries in flight then count as sent and are never asked
                again.
        """
        if self._ledger is None:
            raise OracleError("the subprocess oracle has no ledger; nothing was sent. Open one first.")
        self._asked = True
        try:
            self._tell(
                purpose=purpose,
                queries=[(base64.b64encode(query.image).decode(), *query[1:]) for query in queries],
            )
            self._await_batch(on_answer)
        except BaseException:
            self.close()
            raise
        return self._ledger.known(queries)

    def _await_batch(self, on_answer: Callable[[], None] | None) -> None:
        for report in self._reports():
            if "failure" in report:
                kind, message = report["failure"]
                raise getattr(errors, kind)(message)
            if "done" in report:
                return
            if on_answer is not None and "answered" in report:
                on_answer()
        raise OracleError(
            f"the process that asks the chat model has ended (exit code {self._process.wait()}). Answers that had "
            "arrived are saved; what was in flight counts as sent and is not asked again. Resume."
        )

    @property
    def _pipes(self) -> tuple[IO[bytes], IO[bytes]]:
        requests, reports = self._process.stdin, self._process.stdout
        if requests is None or reports is None:
            raise OracleError("the process that asks the chat model has no pipes; nothing was sent.")
        return requests, reports

    def _tell(self, **message: object) -> None:
        requests, _ = self._pipes
        # If it has ended, its reports say why.
        with contextlib.suppress(BrokenPipeError):
            if not requests.closed:
                requests.write(json.dumps(message).encode() + b"\n")
                requests.flush()

    def _reports(self) -> Iterator[dict[str, Any]]:
        """Yield the reports of the subprocess until it ends; takes in counts and warnings on the way."""
        _, reports = self._pipes
        while not reports.closed and (line := reports.readline()).endswith(b"\n"):
            report = json.loads(line)
            for name, count in report.get("counts", {}).items():
                setattr(self.counts, name, count)
            if "warning" in report:
                name, level, message = report["warning"]
                logging.getLogger(name).log(level, "%s", message)
            yield report


# -- in the subprocess -----------------------------------------------------------------------------------------


class _Reports(logging.Handler):
    """Reports to the training process, for as long as that lives."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(logging.WARNING)
        self._stream = os.fdopen(descriptor, "wb", buffering=0)
        self._writing = threading.Lock()

    def tell(self, **report: object) -> None:
        with self._writing, contextlib.suppress(BrokenPipeError):
            self._stream.write(json.dumps(report).encode() + b"\n")

    def emit(self, record: logging.LogRecord) -> None:
        self.tell(warning=(record.name, record.levelno, record.getMessage()))


class _Subprocess:
    """Serves the training process: opens ledgers and asks queries."""

    def __init__(self, requests: IO[bytes], reports: _Reports) -> None:
        self._requests, self._reports = requests, reports
        self._oracle: Oracle | None = None
        self._ledger: Ledger | None = None
        self._batch: threading.Thread | None = None

    def run(self) -> None:
        """Serve until the training process is done or dead and nothing is in flight."""
        longest = 0.0
        try:
            for message in self._messages():
                if "model" in message:
                    named = ModelSpec(*message["model"])
                    longest, model = named.longest_answer_s, named.build()
                elif "ledger" in message:
                    self._open(model, **message)
                else:
                    # In a thread, so that the end of the input is noticed while it is at work.
                    self._batch = threading.Thread(target=self._ask, kwargs=message)
                    self._batch.start()
        except VPPError as error:
            self._reports.tell(failure=_described(error))
        self._finish(longest + _RECORDING_S)

    def _messages(self) -> Iterator[dict[str, Any]]:
        # A line without its end is from a training process that was killed while it wrote.
        while (line := self._requests.readline()).endswith(b"\n"):
            if self._batch is not None:
                self._batch.join()
            yield json.loads(line)

    def _open(
        self, model: BaseChatModel, ledger: dict[str, Any], budget: Sequence[Any], settings: dict[str, Any]
    ) -> None:
        if self._ledger is not None:
            self._ledger.close()
        price = None if ledger["price"] is None else Price(*ledger["price"])
        self._ledger = Ledger(**ledger | {"path": Path(ledger["path"]), "price": price})
        self._oracle = Oracle(model, self._ledger, Budget(*budget), **settings)

    def _ask(
        self, purpose: Purpose, queries: Sequence[tuple[str, str, Sequence[str], Literal["word", "words"]]]
    ) -> None:
        oracle, tell = self._oracle, self._reports.tell
        if oracle is None:
            return tell(failure=_described(OracleError("nothing was sent: no ledger is open.")))
        outcome: dict[str, Any] = {"done": True}
        try:
            oracle.ask(
                [
                    Query(base64.b64decode(image), question, tuple(choices), length)
                    for image, question, choices, length in queries
                ],
                purpose=purpose,
                on_answer=lambda: tell(answered=True, counts=asdict(oracle.counts)),
            )
        except VPPError as error:
            outcome = {"failure": _described(error)}
        return tell(**outcome, counts=asdict(oracle.counts))

    def _finish(self, seconds: float) -> None:
        """Send nothing more and wait until the answers in flight are recorded."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for descriptor in (
            1,
            2,
        ):  # a reader of the training process's output must not wait for this process too
            os.dup2(nowhere, descriptor)
        if self._oracle is not None and self._batch is not None:
            self._oracle.stop()
            self._batch.join(seconds)
            if self._batch.is_alive():
                os._exit(1)  # a request does not end; an ordinary exit would wait for its thread
        if self._ledger is not None:
            self._ledger.close()


def _described(error: VPPError) -> tuple[str, str]:
    return type(error).__name__, str(error)


def _end_with(unexpected: threading.ExceptHookArgs) -> None:
    """End at once when a batch fails in an unforeseen way: the training process would wait for it for ever."""
    threading.__excepthook__(unexpected)
    os._exit(1)


def main() -> None:
    """Run the subprocess; keeps prints of libraries out of the reports."""
    for number in (signal.SIGINT, signal.SIGTERM):  # it ends by itself, soon after the training process
        signal.signal(number, signal.SIG_IGN)
    reports = _Reports(os.dup(1))
    os.dup2(2, 1)
    logging.getLogger().addHandler(reports)
    threading.excepthook = _end_with
    _Subprocess(sys.stdin.buffer, reports).run()


if __name__ == "__main__":
    main()
