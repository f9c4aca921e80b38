"""Paid answers that a run loses when it is killed with requests in flight, with and without the subprocess oracle.

A process asks a slow provider and is killed with ``kill -9`` while all of its requests are in flight. The provider
finishes them, as a real one does, and charges for them. An answer is lost if the ledger does not hold it afterwards.

    python -m tests.bench.bench_killed_run
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from tests.e2e.providers import LocalServer, reply
from trainer.oracle.ledger import Budget, Ledger
from trainer.oracle.query import Query

from .measuring import machine, summary

if TYPE_CHECKING:
    from http.server import BaseHTTPRequestHandler

IN_FLIGHT = (1, 4, 8, 32)
REPEATS = 5
DELAY_S = 1.0
"""Time that the provider takes for an answer."""
QUERIES = 400
"""Queries to a provider without delay, for the throughput."""

Kind = Literal["in process", "subprocess"]
KINDS: tuple[Kind, ...] = ("in process", "subprocess")

_ASKER = """
import sys, time
from pathlib import Path
from trainer.oracle.ledger import Budget, Ledger
from trainer.oracle.model_spec import ModelSpec
from trainer.oracle.oracle import Oracle
from trainer.oracle.query import Query
from trainer.oracle.subprocess import SubprocessOracle
kind, url, path, count, concurrency, *warm_up = sys.argv[1:]
spec = ModelSpec.parse("sandbox", url)
ledger, budget = Ledger(Path(path), model="m"), Budget(int(count) + len(warm_up))
settings = {"access": "labels", "questions_per_call": 1, "requests_per_second": None,
            "max_concurrency": int(concurrency)}
if kind == "subprocess":
    oracle = SubprocessOracle(spec).open(ledger, budget, **settings)
else:
    oracle = Oracle(spec.build(), ledger, budget, **settings)
queries = [Query(f"picture {number}".encode(), "What colour?", ("red", "blue")) for number in range(int(count))]
if warm_up:
    oracle.ask([Query(b"first", "What colour?", ("red", "blue"))], purpose="train")
start = time.monotonic()
oracle.ask(queries, purpose="train")
print(time.monotonic() - start)
if kind == "subprocess":
    oracle.close()
"""
_REPLY = {
    "id": "1",
    "object": "chat.completion",
    "created": 0,
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "red"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 90, "completion_tokens": 2, "total_tokens": 92},
}


class Outcome(NamedTuple):
    paid: int
    recorded: int
    seconds: float
    """From the start of the process to its first request."""


class Provider(LocalServer):
    """Answers every request after a delay, whether or not anybody still waits for it."""

    def __init__(self, delay: float) -> None:
        super().__init__()
        self._delay = delay
        self.begun: list[float] = []
        self.done = 0

    def handle(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        with self._lock:
            self.begun.append(time.monotonic())
        time.sleep(self._delay)
        with contextlib.suppress(ConnectionError):
            reply(request, 200, _REPLY, {})
        with self._lock:
            self.done += 1


def start(kind: Kind, provider: Provider, path: Path, *arguments: object) -> subprocess.Popen[str]:
    given = [kind, provider.base_url, str(path), *map(str, arguments)]
    return subprocess.Popen([sys.executable, "-c", _ASKER, *given], stdout=subprocess.PIPE, text=True)


def kill_one(kind: Kind, in_flight: int, path: Path) -> Outcome:
    """Kill a process with so many requests in flight; count the answers that were paid and those recorded."""
    with Provider(DELAY_S) as provider:
        began = time.monotonic()
        process = start(kind, provider, path, in_flight, in_flight)
        while len(provider.begun) < in_flight:
            time.sleep(0.005)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        while provider.done < in_flight:
            time.sleep(0.01)
        time.sleep(DELAY_S)  # time to record
        paid = provider.done
    queries = [
        Query(f"picture {number}".encode(), "What colour?", ("red", "blue")) for number in range(in_flight)
    ]
    with Ledger(path, model="m") as ledger:
        held = ledger.reserve(queries, purpose="train", budget=Budget(in_flight))
    return Outcome(paid, len(held.answered), provider.begun[0] - began)


def seconds_for_queries(kind: Kind, path: Path) -> float:
    """Time for many queries to a provider that answers at once, after a first one that waits for both processes."""
    with Provider(0.0) as provider:
        process = start(kind, provider, path, QUERIES, 8, "warm-up")
        return float(process.communicate()[0])


def main() -> None:
    """Measure, and print everything as JSON."""
    result: dict[str, object] = {"machine": machine(), "delay_s": DELAY_S, "repeats": REPEATS}
    with tempfile.TemporaryDirectory() as folder:
        for kind in KINDS:
            rows, starts = {}, []
            for in_flight in IN_FLIGHT:
                outcomes = [
                    kill_one(kind, in_flight, Path(folder) / f"{kind} {in_flight} {turn}.sqlite")
                    for turn in range(REPEATS)
                ]
                starts += [each.seconds for each in outcomes]
                rows[f"{in_flight} in flight"] = {
                    "paid": [each.paid for each in outcomes],
                    "lost": [each.paid - each.recorded for each in outcomes],
                }
            times = [
                seconds_for_queries(kind, Path(folder) / f"{kind} {turn}.sqlite") for turn in range(REPEATS)
            ]
            result[kind] = rows | {
                "seconds to the first request": round(statistics.median(starts), 2),
                "milliseconds per query": summary([1000 * each / QUERIES for each in times], digits=2),
            }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
