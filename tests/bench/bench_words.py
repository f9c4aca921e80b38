"""Cost of protecting a screen of text beside reading it, and beside a hit in the memory of pictures.

    python -m tests.bench.bench_words [--rounds 5]

A screen of 1,600 x 1,000 pixels with some 300 words is read, protected, and sent a second time. All three take turns
in one process; what counts is process CPU time.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from langchain_core.messages import HumanMessage
from PIL import Image, ImageDraw, ImageFont

from langchain_vpp import ImageProtector
from langchain_vpp.engines.words import RapidReader, Words
from langchain_vpp.guard.budget import RequestBudget

from .measuring import machine, memory_megabytes, pinned, summary

if TYPE_CHECKING:
    from collections.abc import Callable

SIZE = (1600, 1000)
BOUND = 1.3
TEXT = "please send the report to Uchenna Olatunji before the end of the month and check the total of $240.00"
FEWEST = 2
PATIENCE = 600.0
"""Seconds that a picture may take: a busy machine must not end the measurement."""


def screen(number: int) -> Image.Image:
    """A screen of text; each number gives another one, so that no round finds it in a memory."""
    picture = Image.new("RGB", SIZE, "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(18)
    for row in range(28):
        draw.text((40 + row % 3 * 20, 20 + row * 34), f"{row + number} {TEXT}", fill="black", font=font)
    return picture


def message(picture: Image.Image) -> list[HumanMessage]:
    data = io.BytesIO()
    picture.save(data, "PNG")
    url = "data:image/png;base64," + base64.b64encode(data.getvalue()).decode()
    return [HumanMessage([{"type": "image_url", "image_url": {"url": url}}])]


def seconds(work: Callable[[], object]) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun


def main() -> int:
    """Measure, print one JSON document; exit with 1 if the ratio exceeds its bound."""
    os.environ["OMP_NUM_THREADS"] = "1"
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="file for the JSON, in the place of stdout")
    options = parser.parse_args()
    if options.rounds < FEWEST:
        parser.error(f"at least {FEWEST} rounds")
    with pinned():
        report = measure(options.rounds)
    text = json.dumps(report, indent=2)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")
    else:
        print(text)
    print(f"protecting / reading: {report['ratio_to_reader']:.2f} (bound {BOUND})", file=sys.stderr)
    return int(report["ratio_to_reader"] > BOUND)


def measure(rounds: int) -> dict[str, object]:
    """Compare reading, protecting and a hit in the memory; the first round warms up and does not count."""
    reader, engine = RapidReader(), Words(seconds=PATIENCE)
    protector = ImageProtector(engine, level=0.5, budget=RequestBudget(seconds=PATIENCE))
    read, protect, again = [], [], []
    for number in range(rounds + 1):
        picture = screen(number)
        read.append(seconds(lambda picture=picture: reader.read(picture)))
        protect.append(seconds(lambda picture=picture: engine.protect(picture, 0.5)))
        sent = message(picture)
        protector.protect_messages(sent)
        again.append(seconds(lambda sent=sent: protector.protect_messages(sent)))
    pairs = list(zip(protect[1:], read[1:], strict=True))
    return {
        "ratio_to_reader": statistics.median(one / other for one, other in pairs),
        "reader_seconds": summary(read[1:]),
        "protect_seconds": summary(protect[1:]),
        "again_seconds": summary(again[1:]),
        "peak_megabytes": memory_megabytes("VmHWM"),
        "machine": machine(),
    }


if __name__ == "__main__":
    sys.exit(main())
