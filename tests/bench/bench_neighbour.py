"""How much longer one user waits beside 200 hostile requests.

A user sends a text and a picture of 640 x 480, one after the other, through the async entry point; alone and beside 200
requests at once that are built to be expensive. Both take turns in one process, round by round.

    python -m tests.bench.bench_neighbour [--rounds 3] [--hostile 200] [--calls 100]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
import time
import warnings
from typing import TYPE_CHECKING, Any

from langchain_core.messages import HumanMessage

from langchain_vpp import ImageProtector, ProtectionError
from tests.hostile_files import HOSTILE, png

from .bench_hostile import message
from .measuring import machine, percentile, photograph

if TYPE_CHECKING:
    from collections.abc import Sequence

PAUSE = 0.01


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


async def waits(protector: ImageProtector, calls: int) -> dict[str, list[float]]:
    """Milliseconds that each call of the harmless user takes."""
    taken: dict[str, list[float]] = {"text": [], "picture": []}
    picture = [message(photograph((640, 480)))]
    for number in range(calls):
        for kind, messages in (("text", [HumanMessage(f"What is new, {number}?")]), ("picture", picture)):
            started = time.perf_counter()
            await protector.aprotect_messages(messages)
            taken[kind].append((time.perf_counter() - started) * 1000)
            await asyncio.sleep(PAUSE)
    return taken


async def beside(
    protector: ImageProtector, requests: Sequence[list[HumanMessage]], calls: int
) -> tuple[dict[str, list[float]], int]:
    """The same beside hostile requests, and how many of these were answered meanwhile."""
    answered = 0

    async def attack(messages: list[HumanMessage]) -> None:
        nonlocal answered
        with contextlib.suppress(ProtectionError):
            await protector.aprotect_messages(messages)
        answered += 1

    tasks = [asyncio.ensure_future(attack(each)) for each in requests]
    await asyncio.sleep(0.5)  # they are all in line
    taken = await waits(protector, calls)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return taken, answered


async def measure(rounds: int, hostile: int, calls: int) -> dict[str, Any]:
    """Percentiles of both, and their ratios."""
    protector = ImageProtector.from_pretrained(
        "staff-cards", memo_bytes=0, on_document="rasterize", on_remote_url="fetch", fetch=slow_server
    )
    requests = hostile_requests(hostile)
    await waits(protector, 5)
    samples: dict[str, dict[str, list[float]]] = {
        name: {"text": [], "picture": []} for name in ("alone", "beside")
    }
    answered = 0
    for _ in range(rounds):
        alone = await waits(protector, calls)
        crowded, done = await beside(protector, requests, calls)
        answered += done
        for name, taken in (("alone", alone), ("beside", crowded)):
            for kind, values in taken.items():
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
        kind: {key: round(results["beside"][kind][key] / results["alone"][kind][key], 2) for key in shares}
        for kind in ("text", "picture")
    }
    return {"results": results, "ratio_to_alone": ratios, "hostile_answered": answered}


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
    ratios = measured["ratio_to_alone"]
    print(
        f"{options.hostile} hostile requests beside one harmless user: p99 of a text {ratios['text']['p99']}x, "
        f"of a picture {ratios['picture']['p99']}x",
        file=sys.stderr,
    )
    print(json.dumps({"benchmark": "neighbour", "unit": "ms", **measured, "machine": machine()}, indent=2))


if __name__ == "__main__":
    main()
