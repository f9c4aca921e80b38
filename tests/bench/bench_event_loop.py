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
import io
import json
import random
import time
from typing import TYPE_CHECKING, Any

from langchain_core.messages import BaseMessage, HumanMessage
from PIL import Image

from langchain_vpp import ImageProtector
from langchain_vpp.engines import Pixelate, TorchEngine

from .measuring import machine, percentile

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

ROUNDS = 3
PICTURES = 3
SECONDS = 1.5
SIZE = (4000, 3000)
TICK = 0.001


def photograph() -> bytes:
    """A 12 MP JPEG with the detail, and so the size, of a photograph."""
    chance = random.Random(0)
    coarse = Image.frombytes("RGB", (500, 375), chance.randbytes(500 * 375 * 3))
    picture = coarse.resize(SIZE, Image.Resampling.BICUBIC)
    noise = Image.effect_noise(SIZE, 24).convert("RGB")
    encoded = io.BytesIO()
    Image.blend(picture, noise, 0.3).save(encoded, "JPEG", quality=88)
    return encoded.getvalue()


def torch_engine() -> TorchEngine:
    """A small random network at the default working resolution: this is about speed alone."""
    import torch

    from langchain_vpp.protector import Protector, ProtectorConfig

    torch.set_num_threads(1)
    config = ProtectorConfig(width=16, blocks=(1, 1, 1), working_resolution=384)
    return TorchEngine(Protector(config), digest="0" * 64)


async def lags_beside(work: Callable[[], Awaitable[Any]]) -> list[float]:
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


def protecting(engine: Any, messages: list[BaseMessage], *, on_loop: bool = False) -> Callable[[], Any]:
    async def work() -> None:
        # Another protector each time, so that nothing is remembered.
        for _ in range(PICTURES):
            protector = ImageProtector(engine, level=0.7, memo_bytes=0)
            if on_loop:
                protector.protect_messages(messages)
            else:
                await protector.aprotect_messages(messages)

    return work


async def main() -> None:
    """Print one JSON document."""
    encoded = base64.b64encode(photograph()).decode()
    messages: list[BaseMessage] = [
        HumanMessage([{"type": "image", "base64": encoded, "mime_type": "image/jpeg"}])
    ]
    classical, learned = Pixelate(), torch_engine()
    subjects = {
        "idle": idle,
        "c_burner": c_burner,
        "pixelate": protecting(classical, messages),
        "torch": protecting(learned, messages),
        "pixelate_on_the_loop": protecting(classical, messages, on_loop=True),
    }
    lags: dict[str, list[float]] = {name: [] for name in subjects}
    seconds = dict.fromkeys(subjects, 0.0)
    await protecting(learned, messages)()
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
    floor = results["c_burner"]
    report = {
        "benchmark": "event_loop",
        "unit": "ms of lag",
        "picture": {"width": SIZE[0], "height": SIZE[1], "bytes": len(encoded) * 3 // 4},
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
