"""Readings of protected clips by who has all frames, beside who has one.

    python -m tests.bench.bench_clips [--frames 6]

A letter with a name, an address of mail and a telephone number, and a photograph with a face, are filmed by a camera
that stands still and has noise, new in each frame. Frames leave as ``on_video="sample"`` sends them. They are read one
by one, in the frame that shows most, and in the mean and the median of all: words by an OCR engine, and the face by how
much its place resembles the original (correlation, 1 for the original itself). No picture of all frames may show more
than the weakest frame, and the weakest no more than a frame by itself, within a bound.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import os
import statistics
import sys
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from langchain_core.messages import HumanMessage
from PIL import Image, ImageDraw, ImageFont

from langchain_vpp import ImageProtector
from langchain_vpp.guard.budget import RequestBudget
from tests.films import film
from trainer.attackers.frames import looked_at

from .measuring import machine

if TYPE_CHECKING:
    from collections.abc import Callable

LEVELS = (0.0, 0.5, 1.0)
NOISE = 8.0
"""Deviation of the camera's noise, of 255."""
BOUND = 0.05
"""Reading by which all frames may exceed one, since readings are noisy themselves."""
PRIVATE = ("Keller", "keller@example", "901820")
_LINES = ("Dear Anna Keller,", "write to keller@example.org", "or call +49 30 901820 today.")
_FACE = (slice(20, 190), slice(160, 290))
"""Rows and columns of the face in the photograph."""


def letter() -> Any:
    """Return a letter, ``uint8`` of shape ``[H, W, 3]``."""
    image = Image.new("RGB", (560, 200), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(24)
    for number, line in enumerate(_LINES):
        draw.text((24, 24 + 52 * number), line, fill=(20, 20, 20), font=font)
    return np.asarray(image)


def photograph() -> Any:
    """Return a photograph of a person, ``uint8`` of shape ``[H, W, 3]``."""
    from skimage.data import astronaut  # takes a second to load

    return np.asarray(astronaut())


def filmed(picture: Any, frames: int) -> bytes:
    """Return a film of a picture, by a camera with noise."""
    rng = np.random.default_rng(0)
    noisy = (np.clip(picture + rng.normal(0, NOISE, picture.shape), 0, 255) for _ in range(frames))
    return film((each.astype(np.uint8) for each in noisy), rate=1, options={"crf": "12"})


def sent(protector: ImageProtector, data: bytes, level: float) -> torch.Tensor:
    """Return the frames of a film that would be sent, ``uint8`` of shape ``[T, 3, H, W]``."""
    block = {"type": "video", "base64": base64.b64encode(data).decode(), "mime_type": "video/mp4"}
    (message,) = protector.protect_messages([HumanMessage([block])], level=level)
    pictures = (base64.b64decode(each["base64"]) for each in message.content if each["type"] == "image")
    arrays = [np.asarray(Image.open(io.BytesIO(each))) for each in pictures]
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2)


def readings(frames: torch.Tensor, read: Callable[[torch.Tensor], float]) -> dict[str, float]:
    """Read frames one by one, and pictures that are made of all; ``read`` takes a picture, ``[3, H, W]``."""
    singly = [read(frame) for frame in frames]
    made = {f"{view} of frames": read(looked_at(frames[None], view)[0]) for view in ("mean", "median")}
    all_ways = {"a single frame": statistics.fmean(singly), "the weakest frame": max(singly), **made}
    return {name: round(value, 3) for name, value in all_ways.items()}


def face_reader(original: Any) -> Callable[[torch.Tensor], float]:
    """Return a function that says how much the place of the face resembles the original."""
    wanted = original[_FACE].astype(float).ravel()

    def read(picture: torch.Tensor) -> float:
        shown = picture.permute(1, 2, 0).numpy()[_FACE].astype(float).ravel()
        return 0.0 if shown.std() < 1e-6 else max(0.0, float(np.corrcoef(shown, wanted)[0, 1]))

    return read


def word_reader() -> Callable[[torch.Tensor], float]:
    """Return a function that says which share of the private words an OCR engine finds."""
    from trainer.attackers.ocr import fold, rapid_ocr

    reader = rapid_ocr(sides=(640,))

    def read(picture: torch.Tensor) -> float:
        text = " ".join(map(fold, reader(picture)))
        return statistics.fmean(fold(word) in text for word in PRIVATE)

    return read


def measure(frames: int) -> dict[str, Any]:
    """Read protected clips of a letter and of a face."""
    budget = RequestBudget(seconds=3_600)
    options: dict[str, Any] = {
        "on_video": "sample",
        "on_unfamiliar": "warn",
        "min_level": 0.0,
        "budget": budget,
    }
    page, portrait = letter(), photograph()
    subjects = {
        "words": ("screens", page, word_reader(), LEVELS[1:2]),
        "face": ("photographs", portrait, face_reader(portrait), LEVELS),
    }
    report: dict[str, Any] = {"machine": machine(), "frames": frames, "readings": {}}
    for name, (artifact, picture, read, levels) in subjects.items():
        protector = ImageProtector.from_pretrained(artifact, **options)
        data = filmed(picture, frames)
        report["readings"][name] = {
            "the original": round(read(torch.from_numpy(picture).permute(2, 0, 1)), 3),
            **{f"level {level:g}": readings(sent(protector, data, level), read) for level in levels},
        }
    return report


def main() -> int:
    """Measure, and print one JSON document; exit with 1 if several frames show more than one."""
    os.environ["OMP_NUM_THREADS"] = "1"
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=6)
    report = measure(parser.parse_args().frames)
    print(json.dumps(report, indent=2))
    points = (
        point for each in report["readings"].values() for point in each.values() if isinstance(point, dict)
    )
    return int(any(max(point.values()) > point["a single frame"] + BOUND for point in points))


if __name__ == "__main__":
    sys.exit(main())
