"""Cost of protecting a video frame by frame, beside decoding and encoding it alone.

    python -m tests.bench.bench_video [--artifact staff-cards] [--seconds 4] [--rounds 3]

A clip of 1,920 x 1,080 pixels and 25 frames a second, a pan over a picture with a photograph's detail, goes through
``ImageProtector.protect_video`` and through a decoder and encoder without protection. Both take turns; what counts is
the CPU time of this process and of the one that decodes. Peak memory is measured in a process of its own, for the clip
and for one four times as long.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
from PIL import Image

from langchain_vpp import ImageProtector
from langchain_vpp.images.bounds import Bounds
from langchain_vpp.images.video import VideoWriter, decode_video
from tests.films import film

from .measuring import machine, memory_megabytes, photograph, pinned, summary

SIZE = (1_920, 1_080)
RATE = 25
GOAL = 25.0
"""Frames of a second that one core should protect."""


def clip(seconds: float) -> bytes:
    """A pan over one picture."""
    frames = round(seconds * RATE)
    wide = Image.open(io.BytesIO(photograph((SIZE[0] + 2 * frames, SIZE[1]))))
    pixels = np.asarray(wide.convert("RGB"))
    return film(
        [np.ascontiguousarray(pixels[:, 2 * number : 2 * number + SIZE[0]]) for number in range(frames)],
        rate=RATE,
        options={"preset": "ultrafast"},
    )


def copied(data: bytes) -> bytes:
    """Decode and encode a video with no protection between."""
    writer = VideoWriter(SIZE)
    for frame, second in decode_video(data, bounds=Bounds(seconds=600)):
        writer.add(frame.image, second)
    return writer.close()


def cpu_seconds(work) -> float:
    """Return the CPU time of this process and of its children, of which one decodes."""
    before = sum(os.times()[:4]) + _children()
    work()
    return sum(os.times()[:4]) + _children() - before


def _children() -> float:
    """Return the CPU time of the processes below this one that still run, which ``os.times`` leaves out."""
    total, ticks = 0.0, os.sysconf("SC_CLK_TCK")
    listed = Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii").split()
    for child in listed:
        fields = Path(f"/proc/{child}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / ticks
    return total


def peak(artifact: str, seconds: float) -> float:
    """Return the most memory, in MB, that a process takes to protect a clip."""
    command = [
        sys.executable,
        "-m",
        "tests.bench.bench_video",
        "--peak",
        str(seconds),
        "--artifact",
        artifact,
    ]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def measure_peak(artifact: str, seconds: float) -> float:
    """Return by how much more memory than a loaded protector with its clip this process takes."""
    protector = ImageProtector.from_pretrained(artifact)
    data = subprocess.run(
        [sys.executable, "-m", "tests.bench.bench_video", "--clip", str(seconds)],
        check=True,
        capture_output=True,
    ).stdout
    protector.protect_video(data)
    return memory_megabytes("VmHWM")


def main() -> int:
    """Measure, and print one JSON document; exit with 1 if a core protects fewer frames than it should."""
    os.environ["OMP_NUM_THREADS"] = "1"
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--artifact", default="staff-cards")
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peak", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--clip", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.clip:
        sys.stdout.buffer.write(clip(options.clip))
        return 0
    if options.peak:
        print(measure_peak(options.artifact, options.peak))
        return 0
    data, frames = clip(options.seconds), round(options.seconds * RATE)
    protector = ImageProtector.from_pretrained(options.artifact)
    protected, bare = [], []
    with pinned():
        for _ in range(max(2, options.rounds)):
            protected.append(cpu_seconds(lambda: protector.protect_video(data)))
            bare.append(cpu_seconds(lambda: copied(data)))
    per_core = frames / min(protected)
    report = {
        "machine": machine(),
        "artifact": options.artifact,
        "frames": frames,
        "cpu_seconds": {"protected": summary(protected), "decoded_and_encoded": summary(bare)},
        "ratio_to_copy": round(min(protected) / min(bare), 2),
        "frames_per_core_second": round(per_core, 1),
        "peak_megabytes": {
            f"{length:g} s": peak(options.artifact, length)
            for length in (options.seconds, 4 * options.seconds)
        },
    }
    print(json.dumps(report, indent=2))
    return int(per_core < GOAL)


if __name__ == "__main__":
    sys.exit(main())
