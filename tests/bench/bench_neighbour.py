"""How much longer one user waits beside 200 hostile requests.

A user sends a question, a conversation of 20 messages with a new question, and a picture of 640 x 480, one after the
other, through the async entry point: alone, beside plain loops in other processes, and beside 200 requests at once that
are built to be expensive. All take turns in one process, round by round. The loops are the control: one for each
processor, they say what any other work on the machine does to the user.

    python -m tests.bench.bench_neighbour [--rounds 3] [--hostile 200] [--calls 100]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import subprocess
import sys
import time
import warnings
from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage, HumanMessage

from langchain_vpp import ImageProtector, ProtectionError
from langchain_vpp.guard.pool import usable_cpus
from tests.hostile_files import HOSTILE, png

from .bench_hostile import message
from .measuring import machine, percentile, photograph

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from langchain_core.messages import BaseMessage

    Waits = dict[str, list[float]]

PAUSE = 0.01
KINDS = ("text", "conversation", "picture")
CONDITIONS = ("alone", "beside loops", "beside")


def hostile_requests(count: int) -> list[list[HumanMessage]]:
    """Requests with one file each, with many large pictures, and with many addresses."""
    names = [name for name in HOSTILE if not name.startswith(("avif", "tiff, 64 MP lzma"))]
    files = [message(HOSTILE[name]()) for name in names]
    many = message(b"")
    large = message(png(4_000, 1, 0)).content
    many.content = [*large * 40]
    remote = HumanMessage(
        [{"type": "image", "url": f"https://slow.example/{number}.png"} for number in range(90)]
    )
    kinds = [*files, many, remote]
    return [[kinds[number % len(kinds)]] for number in range(count)]


def slow_server(url: str) -> bytes:
    """Answer after a while."""
    time.sleep(2)
    return b"nothing"


def conversation(number: int) -> list[BaseMessage]:
    """Ten turns that stay, and a new question."""
    turns: list[BaseMessage] = []
    for turn in range(10):
        turns += [
            HumanMessage(f"Please tell me what you know about part {turn} of the engine. " * 3),
            AIMessage(f"Part {turn} turns the crank, and its bearings want oil every {turn} days. " * 6),
        ]
    return [*turns, HumanMessage(f"And what is new, {number}?")]


async def waits(protector: ImageProtector, calls: int) -> Waits:
    """Milliseconds that each call of the harmless user takes."""
    taken: Waits = {kind: [] for kind in KINDS}
    picture = [message(photograph((640, 480)))]
    for number in range(calls):
        requests = ([HumanMessage(f"What is new, {number}?")], conversation(number), picture)
        for kind, messages in zip(KINDS, requests, strict=True):
            started = time.perf_counter()
            await protector.aprotect_messages(messages)
            taken[kind].append((time.perf_counter() - started) * 1000)
            await asyncio.sleep(PAUSE)
    return taken


@contextlib.asynccontextmanager
async def loops() -> AsyncIterator[None]:
    """A plain loop in a process of its own for each processor."""
    endless = [sys.executable, "-c", "while True: pass"]
    processes = [subprocess.Popen(endless) for _ in range(usable_cpus())]  # noqa: ASYNC220  at once
    try:
        await asyncio.sleep(0.5)
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


@contextlib.asynccontextmanager
async def attacks(
    protector: ImageProtector, requests: Sequence[list[HumanMessage]], done: list[int]
) -> AsyncIterator[None]:
    """Hostile requests, all at once; ``done`` receives a number for each that was answered meanwhile."""

    async def attack(messages: list[HumanMessage]) -> None:
        with contextlib.suppress(ProtectionError):
            await protector.aprotect_messages(messages)
        done.append(1)

    tasks = [asyncio.ensure_future(attack(each)) for each in requests]
    try:
        await asyncio.sleep(0.5)  # they are all in line
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def measure(rounds: int, hostile: int, calls: int) -> dict[str, Any]:
    """Percentiles under all conditions, and their ratios."""
    protector = ImageProtector.from_pretrained(
        "staff-cards", memo_bytes=0, on_document="rasterize", on_remote_url="fetch", fetch=slow_server
    )
    requests = hostile_requests(hostile)
    await waits(protector, 5)
    samples: dict[str, Waits] = {name: {kind: [] for kind in KINDS} for name in CONDITIONS}
    done: list[int] = []
    for _ in range(rounds):
        for name, condition in zip(
            CONDITIONS,
            (contextlib.nullcontext(), loops(), attacks(protector, requests, done)),
            strict=True,
        ):
            async with condition:
                for kind, values in (await waits(protector, calls)).items():
                    samples[name][kind] += values
        await asyncio.sleep(3)  # what was under way ends
    shares = {"p50": 0.5, "p99": 0.99}
    results = {
        name: {
            kind: {key: round(percentile(sorted(values), share), 2) for key, share in shares.items()}
            for kind, values in kinds.items()
        }
        for name, kinds in samples.items()
    }
    ratios = {
        name: {
            kind: {key: round(results[name][kind][key] / results["alone"][kind][key], 2) for key in shares}
            for kind in KINDS
        }
        for name in CONDITIONS[1:]
    }
    return {"results": results, "ratio_to_alone": ratios, "hostile_answered": len(done)}


def main() -> None:
    """Print one JSON document, and a line."""
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--hostile", type=int, default=200)
    parser.add_argument("--calls", type=int, default=100)
    options = parser.parse_args()
    measured = asyncio.run(measure(options.rounds, options.hostile, options.calls))
    for name, ratios in measured["ratio_to_alone"].items():
        told = ", ".join(f"{kind} {ratios[kind]['p50']}x and {ratios[kind]['p99']}x" for kind in KINDS)
        print(f"{name}, median and p99 to those alone: {told}", file=sys.stderr)
    print(json.dumps({"benchmark": "neighbour", "unit": "ms", **measured, "machine": machine()}, indent=2))


if __name__ == "__main__":
    main()
