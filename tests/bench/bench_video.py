"""Cost of protecting a video frame by frame, beside decoding and encoding it alone.

    python -m tests.bench.bench_video [--artifact default] [--seconds 60]

A clip of 1,920 x 1,080 pixels and 25 frames a second, a pan over a picture with a photograph's detail, goes through
``ImageProtector.protect_video`` in a process of its own, on one CPU: the clip, and its first quarter, to see whether
memory grows with the length. The quarter also goes through a decoder and encoder without protection. What counts is the
CPU time of the process and of the one that decodes for it, and the most memory that both took.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from langchain_vpp import ImageProtector
from langchain_vpp.images.bounds import Bounds
from langchain_vpp.images.video import VideoWriter, decode_video
from tests.films import film

from .measuring import machine, memory_megabytes, photograph, pinned

SIZE = (1_920, 1_080)
RATE = 25
GOAL = 25.0
"""Frames of a second that one core should protect."""
MOST_MEGABYTES = 400.0
"""Memory that protecting the clip should take, with the decoder's process."""


def clip(seconds: float) -> bytes:
    """A pan over one picture."""
    frames = round(seconds * RATE)
    wide = Image.open(io.BytesIO(photograph((SIZE[0] + 2 * frames, SIZE[1]))))
    pixels = np.asarray(wide.convert("RGB"))
    return film(
        (np.ascontiguousarray(pixels[:, 2 * number : 2 * number + SIZE[0]]) for number in range(frames)),
        rate=RATE,
        options={"preset": "ultrafast"},
    )


def copied(data: bytes) -> bytes:
    """Decode and encode a video with no protection between."""
    writer = VideoWriter(SIZE)
    for frame, second in decode_video(data, bounds=Bounds(seconds=3_600)):
        writer.add(frame.image, second)
    return writer.close()


def measured(artifact: str | None, data: bytes) -> dict[str, float]:
    """Protect a video, or copy it, and return the CPU seconds and the peak memory of this process and the decoder."""
    work = copied if artifact is None else ImageProtector.from_pretrained(artifact).protect_video
    with pinned():
        before = time.process_time()
        work(data)
        here = time.process_time() - before
    there, memory = _decoders()
    return {
        "cpu_seconds": round(here + there, 2),
        "of_decoder": round(there, 2),
        "peak_megabytes": round(memory_megabytes("VmHWM") + memory, 1),
        "of_decoder_megabytes": round(memory, 1),
    }


def _decoders() -> tuple[float, float]:
    """Return the CPU seconds and the peak memory, in MB, of the processes below this one."""
    seconds, megabytes, ticks = 0.0, 0.0, os.sysconf("SC_CLK_TCK")
    listed = Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii").split()
    for child in listed:
        fields = Path(f"/proc/{child}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        seconds += (int(fields[11]) + int(fields[12])) / ticks
        megabytes += memory_megabytes("VmHWM", child)
    return seconds, megabytes


def _in_a_process(*arguments: str, given: bytes = b"") -> bytes:
    command = [sys.executable, "-m", "tests.bench.bench_video", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, input=given).stdout


def main() -> int:
    """Measure, and print one JSON document; exit with 1 if a goal is missed."""
    os.environ["OMP_NUM_THREADS"] = "1"
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--artifact", default="default")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--work", choices=("clip", "protect", "copy"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work == "clip":
        sys.stdout.buffer.write(clip(options.seconds))
        return 0
    if options.work is not None:
        artifact = options.artifact if options.work == "protect" else None
        print(json.dumps(measured(artifact, sys.stdin.buffer.read())))
        return 0
    report = compared(options.artifact, options.seconds)
    print(json.dumps(report, indent=2))
    is_slow = report["frames_per_core_second"] < GOAL
    return int(is_slow or report["protected"]["peak_megabytes"] > MOST_MEGABYTES)


def compared(artifact: str, seconds: float) -> dict[str, Any]:
    """Protect a clip and its first quarter, and copy the quarter, each in a process of its own."""
    quarter, whole = (
        _in_a_process("--work", "clip", "--seconds", str(length)) for length in (seconds / 4, seconds)
    )
    protected, of_quarter, copy = (
        json.loads(_in_a_process("--work", work, "--artifact", artifact, given=data))
        for work, data in (("protect", whole), ("protect", quarter), ("copy", quarter))
    )
    frames = round(seconds * RATE)
    return {
        "machine": machine(),
        "artifact": artifact,
        "frames": frames,
        "protected": protected,
        "a_quarter": of_quarter,
        "a_quarter_decoded_and_encoded": copy,
        "ratio_to_copy": round(of_quarter["cpu_seconds"] / copy["cpu_seconds"], 2),
        "frames_per_core_second": round(frames / protected["cpu_seconds"], 1),
    }


if __name__ == "__main__":
    sys.exit(main())
