"""How long the event loop waits while 12-megapixel pictures are protected beside it.

A ticker asks to be woken every millisecond and notes how late it is. Beside it runs, in turn and over several
rounds: nothing; a burner in C on another thread that never holds the GIL (the floor: what any busy thread of the
process costs); the protector through its async entry point; and the same work done on the loop itself.

    python -m tests.bench.bench_event_loop
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import time
from typing import TYPE_CHECKING, Any, TypeAlias

from langchain_core.messages import BaseMessage, HumanMessage

from langchain_vpp import ImageProtector
from langchain_vpp.engines import Pixelate, TorchEngine

from .measuring import machine, percentile, photograph

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Work: TypeAlias = Callable[[], Awaitable[Any]]

ROUNDS = 3
PICTURES = 3
SECONDS = 1.5
SIZE = (4000, 3000)
TICK = 0.001


def torch_engine() -> TorchEngine:
    """A small random network at the default working resolution: this is about speed alone."""
    import torch

    from langchain_vpp.network.protector import Protector, ProtectorConfig

    torch.set_num_threads(1)
    config = ProtectorConfig(width=16, blocks=(1, 1, 1), working_resolution=384)
    return TorchEngine(Protector(config), digest="0" * 64)


async def lags_beside(work: Work) -> list[float]:
    """Milliseconds by which each tick was late while ``work`` went on."""
    lags: list[float] = []

    async def tick() -> None:
        while True:
            wanted = time.perf_counter() + TICK
            await asyncio.sleep(TICK)
            lags.append((time.perf_counter() - wanted) * 1000)

    ticker = asyncio.create_task(tick())
    await asyncio.sleep(20 * TICK)
    lags.clear()
    await work()
    await asyncio.sleep(2 * TICK)  # the last wait ends after the work
    ticker.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await ticker
    return lags


async def idle() -> None:
    await asyncio.sleep(SECONDS)


async def c_burner() -> None:
    block = bytes(64 * 2**20)

    def burn() -> None:
        until = time.perf_counter() + SECONDS
        while time.perf_counter() < until:
            hashlib.sha256(block).digest()

    await asyncio.to_thread(burn)


def protecting(
    build: Callable[[], ImageProtector], messages: list[BaseMessage], *, on_loop: bool = False
) -> Work:
    """Protect the messages a few times, by a protector that remembers nothing."""

    async def work() -> None:
        for _ in range(PICTURES):
            if on_loop:
                build().protect_messages(messages)
            else:
                await build().aprotect_messages(messages)

    return work


def conversation() -> list[BaseMessage]:
    """One message with one picture of 12 megapixels."""
    encoded = base64.b64encode(photograph(SIZE)).decode()
    return [HumanMessage([{"type": "image", "base64": encoded, "mime_type": "image/jpeg"}])]


async def measured(subjects: dict[str, Work]) -> dict[str, dict[str, float]]:
    """Percentiles of the lag beside each subject, in milliseconds, over interleaved rounds."""
    lags: dict[str, list[float]] = {name: [] for name in subjects}
    seconds = dict.fromkeys(subjects, 0.0)
    for _ in range(ROUNDS):
        for name, work in subjects.items():
            started = time.perf_counter()
            lags[name] += await lags_beside(work)
            seconds[name] += time.perf_counter() - started
    results: dict[str, dict[str, float]] = {}
    for name, values in lags.items():
        ordered = sorted(values)
        shares = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}
        results[name] = {key: round(percentile(ordered, share), 3) for key, share in shares.items()}
        results[name] |= {"ticks": len(ordered), "seconds": round(seconds[name], 2)}
    return results


async def main() -> None:
    """Print one JSON document."""
    messages = conversation()
    classical, learned = Pixelate(), torch_engine()

    def by(engine: Any) -> Callable[[], ImageProtector]:
        return lambda: ImageProtector(engine, level=0.7, memo_bytes=0)

    await protecting(by(learned), messages)()
    results = await measured({
        "idle": idle,
        "c_burner": c_burner,
        "pixelate": protecting(by(classical), messages),
        "torch": protecting(by(learned), messages),
        "pixelate_on_the_loop": protecting(by(classical), messages, on_loop=True),
    })  # fmt: skip
    floor = results["c_burner"]
    report = {
        "benchmark": "event_loop",
        "unit": "ms of lag",
        "picture": {"width": SIZE[0], "height": SIZE[1]},
        "pictures": ROUNDS * PICTURES,
        "results": results,
        "ratio_to_c_burner": {
            name: {key: round(result[key] / floor[key], 2) for key in ("p50", "p95", "p99", "max")}
            for name, result in results.items()
        },
        "machine": machine(),
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    asyncio.run(main())
