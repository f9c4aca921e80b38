"""The oracle in a process of its own, so that what is in flight survives the death of the run that asked.

A run that is killed can't wait for the answers to its last requests, which the provider charges all the same. So a
small process, the courier, owns the chat model, the oracle and the reservations in the ledger. It is in a session of
its own, where neither a signal to the run nor Ctrl-C in its terminal reaches it, and it loads no torch, so it is up
before the run is. Queries come through its input. When that ends, because the run is done or dead, it sends nothing
more, records the answers in flight, and ends, at the latest when its last request has run out of time. A run that is
resumed meanwhile finds those queries in the hands of a living process and waits for them
(:class:`~trainer.oracle.ledger.Reservation`).

Only who kills the courier itself with ``kill -9``, or the machine, still loses what was in flight.

Messages are lines of JSON; both ends are of one installation. The courier is told, in this order: the model; then any
number of times a ledger to open or queries to ask. It reports each answer after it is on disk, warnings, and how each
batch ended. The answers themselves are read from the ledger.
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
from typing import IO, TYPE_CHECKING, Any, Final, Self

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
"""Time to write down how the last requests ended."""


class SubprocessOracle:
    """Asks a chat model from a process of its own; :class:`~trainer.oracle.oracle.Oracle` with answers that outlive us.

    The process starts at once and gets ready while this one does other work.

    Args:
        model: What to ask. It is set up here too, for an error at once.

    Attributes:
        identity: What names the chat model; see :func:`~trainer.oracle.model_spec.model_identity`.
        counts: What came back so far.
        pid: Process id of the courier.

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
        """Let nothing more be sent, wait until the answers in flight are recorded, and end the process."""
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
        """Say where and how to ask from now on; what is not described here is as in :class:`~trainer.oracle.oracle.Oracle`.

        Args:
            ledger: Where this process reads the answers. The courier opens the same file.
            budget: What may be spent.
            access: What is asked for.
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

        When this raises, the courier is closed: no further request leaves, and answers in flight have been recorded.

        Raises:
            OracleError: Also if the courier has ended. What was in flight then counts as sent and is never asked again.
        """
        if self._ledger is None:
            raise OracleError("the courier has no ledger; nothing was sent. Open one first.")
        self._asked = True
        try:
            self._tell(
                purpose=purpose,
                queries=[
                    (base64.b64encode(query.image).decode(), query.question, query.choices)
                    for query in queries
                ],
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
        """What the courier says, until it ends; counts and warnings are taken in on the way."""
        _, reports = self._pipes
        while not reports.closed and (line := reports.readline()).endswith(b"\n"):
            report = json.loads(line)
            for name, count in report.get("counts", {}).items():
                setattr(self.counts, name, count)
            if "warning" in report:
                name, level, message = report["warning"]
                logging.getLogger(name).log(level, "%s", message)
            yield report


# -- the process -----------------------------------------------------------------------------------------------


class _Reports(logging.Handler):
    """Tells the run what happened, for as long as it is there."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(logging.WARNING)
        self._stream = os.fdopen(descriptor, "wb", buffering=0)
        self._writing = threading.Lock()

    def tell(self, **report: object) -> None:
        with self._writing, contextlib.suppress(BrokenPipeError):
            self._stream.write(json.dumps(report).encode() + b"\n")

    def emit(self, record: logging.LogRecord) -> None:
        self.tell(warning=(record.name, record.levelno, record.getMessage()))


class _Process:
    """The courier's side."""

    def __init__(self, requests: IO[bytes], reports: _Reports) -> None:
        self._requests, self._reports = requests, reports
        self._oracle: Oracle | None = None
        self._ledger: Ledger | None = None
        self._batch: threading.Thread | None = None

    def run(self) -> None:
        """Serve until the run is done or dead and nothing is in flight."""
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
        self._settle(longest + _RECORDING_S)

    def _messages(self) -> Iterator[dict[str, Any]]:
        while (line := self._requests.readline()).endswith(
            b"\n"
        ):  # not when the run was killed in the midst of one
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

    def _ask(self, purpose: Purpose, queries: Sequence[tuple[str, str, Sequence[str]]]) -> None:
        oracle, tell = self._oracle, self._reports.tell
        if oracle is None:
            return tell(failure=_described(OracleError("nothing was sent: no ledger is open.")))
        outcome: dict[str, Any] = {"done": True}
        try:
            oracle.ask(
                [
                    Query(base64.b64decode(image), question, tuple(choices))
                    for image, question, choices in queries
                ],
                purpose=purpose,
                on_answer=lambda: tell(answered=True, counts=asdict(oracle.counts)),
            )
        except VPPError as error:
            outcome = {"failure": _described(error)}
        return tell(**outcome, counts=asdict(oracle.counts))

    def _settle(self, seconds: float) -> None:
        """Send nothing more and wait until what is in flight is recorded."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for descriptor in (1, 2):  # whoever reads the run's output must not wait for us too
            os.dup2(nowhere, descriptor)
        if self._oracle is not None and self._batch is not None:
            self._oracle.stop()
            self._batch.join(seconds)
            if self._batch.is_alive():
                os._exit(1)  # a request that does not end; a common exit would wait for its thread
        if self._ledger is not None:
            self._ledger.close()


def _described(error: VPPError) -> tuple[str, str]:
    return type(error).__name__, str(error)


def _end_with(unexpected: threading.ExceptHookArgs) -> None:
    """A batch that fails otherwise than foreseen must not leave the run waiting for its end."""
    threading.__excepthook__(unexpected)
    os._exit(1)


def main() -> None:
    """Run the courier; what others print to its output must not get between the reports."""
    for number in (signal.SIGINT, signal.SIGTERM):  # it ends by itself, soon after the run
        signal.signal(number, signal.SIG_IGN)
    reports = _Reports(os.dup(1))
    os.dup2(2, 1)
    logging.getLogger().addHandler(reports)
    threading.excepthook = _end_with
    _Process(sys.stdin.buffer, reports).run()


if __name__ == "__main__":
    main()
