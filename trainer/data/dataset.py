"""The data set on disk: a folder with ``data.jsonl``, an image or a video per line (:mod:`trainer.data.format`)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

import numpy as np
import torch
from PIL import Image

from langchain_vpp.errors import DataError
from langchain_vpp.network.config import working_size
from trainer.data.clips import Clips
from trainer.data.index import check_attributes, check_splits, file_digest, read_entries, read_text
from trainer.data.pictures import open_picture

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from trainer.data.format import Example, Split
    from trainer.data.index import Fault

_PADDING: Final = (128, 128, 128)


@dataclass(frozen=True)
class Dataset:
    """A validated data set. Pixels stay on disk until :meth:`pixels` is called."""

    folder: Path
    examples: tuple[Example, ...]
    digest: str
    """sha256, in hex, of ``data.jsonl``."""
    _clips: Clips = field(default_factory=Clips, init=False, compare=False, repr=False)

    def split(self, split: Split) -> tuple[Example, ...]:
        """Examples of one split, in file order."""
        return tuple(example for example in self.examples if example.split == split)

    @property
    def private_attributes(self) -> dict[str, tuple[str, ...]]:
        """Private attributes and their classes as found in the training split, sorted."""
        classes: dict[str, set[str]] = {}
        for example in self.split("train"):
            for name, value in example.private.items():
                classes.setdefault(name, set()).add(value)
        return {name: tuple(sorted(values)) for name, values in sorted(classes.items())}

    @property
    def questions(self) -> tuple[str, ...]:
        """Distinct questions of the training split, in order of appearance."""
        return tuple(
            dict.fromkeys(task.question for example in self.split("train") for task in example.tasks)
        )

    @property
    def has_clips(self) -> bool:
        """Whether any example is a video."""
        return any(example.is_video for example in self.examples)

    def pixels(
        self,
        examples: Sequence[Example],
        working_resolution: int,
        progress: Callable[[int], None] | None = None,
    ) -> Tensor:
        """Load images, or the frames of videos, at the working resolution.

        Images of different shapes share one canvas: each is placed at its top left corner and the rest is grey. A video
        with fewer frames than another one holds its last frame; among videos, an image is a video of one frame.

        Args:
            examples: Examples of this data set.
            working_resolution: Longest side in pixels.
            progress: Called with the number of examples that have been loaded, after each of them.

        Returns:
            ``uint8`` RGB, shape ``[N, 3, H, W]``, or ``[N, T, 3, H, W]`` if the data set has videos; ``H`` and ``W``
            are multiples of 8.

        Raises:
            DataError: If a file can't be read; the message names it.
            MissingExtraError: If there are videos, and ``av`` is not installed.
        """
        clips = []
        for count, example in enumerate(examples, start=1):
            clips.append([_at_resolution(frame, working_resolution) for frame in self.open_frames(example)])
            if progress is not None:
                progress(count)
        pixels = stacked(clips)
        return pixels if self.has_clips else pixels.squeeze(1)

    def labels(self, examples: Sequence[Example]) -> Tensor:
        """Class indices of the private attributes, ``[N, A]``; ``-1`` for a missing label or an unseen class."""
        classes = self.private_attributes
        rows = [
            [
                values.index(example.private[name]) if example.private.get(name) in values else -1
                for name, values in classes.items()
            ]
            for example in examples
        ]
        return torch.tensor(rows, dtype=torch.long).reshape(len(examples), len(classes))

    def picture_digests(self, split: Split) -> frozenset[str]:
        """sha256, in hex, of each image's file in a split.

        Raises:
            DataError: If a file can't be read; the message names it.
        """
        return frozenset(file_digest(self.folder / example.image) for example in self.split(split))

    def open_image(self, example: Example) -> Image.Image:
        """Decode one image at its own size, upright and in RGB; of a video, the frame in the middle.

        Raises:
            DataError: If it can't be read; the message names the file.
        """
        frames = self.open_frames(example)
        return frames[len(frames) // 2]

    def open_frames(self, example: Example) -> Sequence[Image.Image]:
        """Decode one image, or the frames of one video as a chat model gets them, upright and in RGB.

        Raises:
            DataError: If the file can't be read; the message names it.
            MissingExtraError: If it is a video, and ``av`` is not installed.
        """
        path = self.folder / example.image
        return self._clips.frames(path) if example.is_video else (open_picture(path),)


def stacked(clips: Sequence[Sequence[Image.Image]]) -> Tensor:
    """Stack the frames of clips, ``uint8`` of shape ``[N, T, 3, H, W]``.

    Smaller frames lie at the top left, and the rest is grey. A clip with fewer frames than another holds its last one.

    Args:
        clips: RGB frames of each clip, at least one; sides are multiples of 8.
    """
    frames = [frame for clip in clips for frame in clip]
    height = max((frame.height for frame in frames), default=8)
    width = max((frame.width for frame in frames), default=8)
    length = max(map(len, clips), default=1)
    canvas = np.empty((len(clips), length, height, width, 3), dtype=np.uint8)
    canvas[:] = _PADDING
    for row, clip in zip(canvas, clips, strict=True):
        for place, frame in zip(row, clip, strict=False):
            place[: frame.height, : frame.width] = np.asarray(frame)
        row[len(clip) :] = row[len(clip) - 1]
    return torch.from_numpy(canvas).permute(0, 1, 4, 2, 3).contiguous()


def _at_resolution(image: Image.Image, resolution: int) -> Image.Image:
    size = working_size(*image.size, resolution)
    return image if size == image.size else image.resize(size, Image.Resampling.BOX)


def load_dataset(folder: str | Path, *, needs_attributes: bool = True) -> Dataset:
    """Read and check a data set; images are only checked to exist.

    Args:
        folder: The folder that holds ``data.jsonl``.
        needs_attributes: Whether private attributes must be labelled, as an assessor needs them to learn.

    Raises:
        DataError: With the line number, if a line is malformed, an image is missing or outside the folder, a group
            or a picture stands in two splits, copies of a picture contradict each other, an image stands in two lines,
            or the training split can't be learned from. :func:`~trainer.data.inspection.inspect_data` lists all faults
            at once.
    """
    folder = Path(folder)

    def refuse(fault: Fault) -> NoReturn:
        raise DataError(fault.sentence(folder))

    text = read_text(folder)
    examples = tuple(entry.example for entry in read_entries(folder, text, refuse))
    check_splits(examples, refuse)
    if needs_attributes:
        check_attributes(examples, refuse)
    return Dataset(folder, examples, hashlib.sha256(text).hexdigest())
