"""Drawn data sets in the project's format, written whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import numpy as np

from langchain_vpp.errors import DataError
from langchain_vpp.images.video import VideoWriter
from trainer.data.format import SPLITS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from PIL import Image

    from trainer.data.format import Split


_OPTIONS: Final[Mapping[str, Mapping[str, Any]]] = {".png": {"compress_level": 1}, ".jpg": {"quality": 92}}
_FOLDERS: Final[Mapping[str, str]] = {".png": "images", ".jpg": "images", ".mp4": "videos"}


class Film(NamedTuple):
    """A drawn film."""

    frames: Sequence[Image.Image]
    rate: int
    """Frames of a second."""


class Entry(NamedTuple):
    """A drawn picture or film and its line in ``data.jsonl``, without ``image``, ``video`` and ``split``."""

    drawn: Image.Image | Film
    fields: Mapping[str, Any]


def write_data(
    out: Path,
    draw: Callable[[np.random.Generator, Split, int], Entry],
    *,
    sizes: Mapping[Split, int],
    seed: int,
    suffix: Literal[".png", ".jpg", ".mp4"],
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write ``data.jsonl``, and ``images/`` or ``videos/``.

    An image or film depends only on ``seed``, its split and its index in the split. A larger data set therefore begins
    with those of a smaller one, and no split shares a random stream with another.

    Args:
        out: A folder that is missing or empty.
        draw: Draws an image or a film from its own source of randomness, its split and its index.
        sizes: Images in each split, at least 0.
        seed: At least 0.
        suffix: File format of the images, or ``.mp4`` for films.
        progress: Called with (images written, images in all) after each image.

    Raises:
        DataError: If a size or the seed is negative, or the folder is not empty or can't be written. Errors of ``draw``
            pass through. Nothing is left behind.
    """
    total = sum(sizes.values())
    if seed < 0 or min(sizes.values()) < 0 or total == 0:
        raise DataError(
            "No data was made: the sizes and the seed must not be negative, and one size must be positive."
        )
    created, files = not out.exists(), _FOLDERS[suffix]
    unfinished = out / f".{os.getpid()}.unfinished"
    problem = None
    try:
        out.mkdir(parents=True, exist_ok=True)
        if any(out.iterdir()):
            problem = "No data was made: the output folder is not empty; choose another or empty it."
        else:
            (unfinished / files).mkdir(parents=True)
            lines = []
            for done, line in enumerate(_lines(unfinished, draw, sizes, seed, suffix), start=1):
                lines.append(line)
                if progress is not None:
                    progress(done, total)
            (unfinished / "data.jsonl").write_text("".join(lines), encoding="utf-8")
            # data.jsonl last, so that a folder that has it is whole.
            (unfinished / files).replace(out / files)
            (unfinished / "data.jsonl").replace(out / "data.jsonl")
    except OSError as error:
        problem = f"The data was not made: the output folder can't be written ({error.strerror})."
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
        if created:
            with contextlib.suppress(OSError):
                out.rmdir()  # stays if there is anything in it
    if problem is not None:
        raise DataError(problem)


def _lines(
    folder: Path,
    draw: Callable[[np.random.Generator, Split, int], Entry],
    sizes: Mapping[Split, int],
    seed: int,
    suffix: str,
) -> Iterator[str]:
    for split, size in sizes.items():
        for index in range(size):
            drawn, fields = draw(np.random.default_rng((seed, SPLITS.index(split), index)), split, index)
            name = f"{_FOLDERS[suffix]}/{split}-{index:06d}{suffix}"
            if isinstance(drawn, Film):
                (folder / name).write_bytes(_encoded(drawn))
            else:
                drawn.save(folder / name, **_OPTIONS[suffix])
            key = "video" if isinstance(drawn, Film) else "image"
            yield json.dumps({key: name, "split": split} | dict(fields)) + "\n"


def _encoded(film: Film) -> bytes:
    writer = VideoWriter(film.frames[0].size)
    for number, frame in enumerate(film.frames):
        writer.add(frame, number / film.rate)
    return writer.close()
