"""The data set on disk: a folder with ``data.jsonl``, one image per line (:mod:`trainer.data.format`)."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from PIL import Image

from langchain_vpp.errors import DataError, ProtectionError
from langchain_vpp.images.codec import decode_image
from langchain_vpp.network.config import working_size
from trainer.data.format import INDEX, SPLITS, as_utf8, facts_of, parse_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor

    from trainer.data.format import Example, Split

_PADDING: Final = (128, 128, 128)


@dataclass(frozen=True)
class Dataset:
    """A validated data set. Pixels stay on disk until :meth:`pixels` is called."""

    folder: Path
    examples: tuple[Example, ...]
    digest: str
    """sha256, in hex, of ``data.jsonl``."""

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

    def pixels(
        self,
        examples: Sequence[Example],
        working_resolution: int,
        progress: Callable[[int], None] | None = None,
    ) -> Tensor:
        """Load images at the working resolution.

        Images of different shapes share one canvas: each is placed at its top left corner and the rest is grey.

        Args:
            examples: Examples of this data set.
            working_resolution: Longest side in pixels.
            progress: Called with the number of images that have been loaded, after each image.

        Returns:
            ``uint8`` RGB, shape ``[N, 3, H, W]``; ``H`` and ``W`` are multiples of 8.

        Raises:
            DataError: If an image can't be read; the message names the file.
        """
        images = []
        for count, example in enumerate(examples, start=1):
            image = self.open_image(example)
            size = working_size(*image.size, working_resolution)
            images.append(
                np.asarray(image.resize(size, Image.Resampling.BOX) if size != image.size else image)
            )
            if progress is not None:
                progress(count)
        height = max((image.shape[0] for image in images), default=8)
        width = max((image.shape[1] for image in images), default=8)
        canvas = np.empty((len(images), height, width, 3), dtype=np.uint8)
        canvas[:] = _PADDING
        for row, pixels in zip(canvas, images, strict=True):
            row[: pixels.shape[0], : pixels.shape[1]] = pixels
        return torch.from_numpy(canvas).permute(0, 3, 1, 2).contiguous()

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
        return frozenset(_digest(self.folder / example.image).hex() for example in self.split(split))

    def open_image(self, example: Example) -> Image.Image:
        """Decode one image at its own size, upright and in RGB.

        Raises:
            DataError: If it can't be read; the message names the file.
        """
        path = self.folder / example.image
        try:
            return decode_image(path.read_bytes())
        except (OSError, ProtectionError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
        raise DataError(f"{path} can't be used: {reason}. Replace the file or remove its line from {INDEX}.")


def load_dataset(folder: str | Path, *, needs_attributes: bool = True) -> Dataset:
    """Read and check a data set; images are only checked to exist.

    Args:
        folder: The folder that holds ``data.jsonl``.
        needs_attributes: Whether private attributes must be labelled, as an assessor needs them to learn.

    Raises:
        DataError: With the line number, if a line is malformed, an image is missing or outside the folder, a group
            or a picture stands in two splits, copies of a picture contradict each other, an image stands in two lines,
            or the training split can't be learned from.
    """
    folder = Path(folder)
    path = folder / INDEX
    failure = ""
    try:
        text = path.read_bytes()
    except OSError as error:
        failure = error.strerror or type(error).__name__
    if failure:
        raise DataError(f"{path} could not be read: {failure}. A data set is a folder with {INDEX} in it.")
    dataset = Dataset(folder, tuple(_parse(folder, as_utf8(text))), hashlib.sha256(text).hexdigest())
    _check_splits(dataset)
    if needs_attributes:
        _check_attributes(dataset)
    return dataset


def _parse(folder: Path, text: bytes) -> Iterator[Example]:
    seen: dict[Path, int] = {}
    pictures: list[tuple[int, Example]] = []
    groups: dict[str, tuple[str, int]] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        where = f"{folder / INDEX}, line {number}"
        example = parse_line(line, where)
        _check_image(folder, example.image, where)
        file = (folder / example.image).resolve()  # "a.png", "./a.png" and a link to it are one image
        if file in seen:
            raise DataError(f"{where}: the image of line {seen[file]} again. Nothing was trained.")
        seen[file] = number
        if example.group is not None:
            split, first_line = groups.setdefault(example.group, (example.split, number))
            if split != example.split:
                raise DataError(
                    f"{where}: group {example.group!r} is in {example.split} here and in {split} in line "
                    f"{first_line}. Keep a group on one side; nothing was trained."
                )
        pictures.append((number, example))
        yield example
    _check_copies(folder, pictures)


def _check_image(folder: Path, name: str, where: str) -> None:
    """Refuse an image that is missing or outside the data set's folder."""
    image = folder / name
    try:
        inside, exists = image.resolve().is_relative_to(folder.resolve()), image.is_file()
    except (OSError, ValueError, RuntimeError):  # too long, a NUL, a loop of links
        inside, exists = True, False
    if not inside:
        raise DataError(
            f"{where}: the image lies outside the data set's folder{_through_link(folder, name)}. A data set may name "
            "no files elsewhere, because its pictures are sent. Nothing was trained; copy the pictures into the folder "
            "with links followed (cp -rL), or use hard links."
        )
    if not exists:
        raise DataError(f"{where}: there is no image {name!r}. Nothing was trained.")


def _through_link(folder: Path, name: str) -> str:
    """Say whether the name stays within the folder and a link leads out of it, as into a cache of downloads."""
    within = not Path(name).is_absolute() and ".." not in Path(name).parts
    return ": a link leads there" if within and (folder / name).exists() else ""


def _check_copies(folder: Path, pictures: Sequence[tuple[int, Example]]) -> None:
    """Refuse copies of a picture under two names: in two splits, or with labels or answers that contradict each other.

    Training would see what is measured, or learn that one picture is two things.
    """
    by_size: dict[int, list[tuple[int, Example]]] = defaultdict(list)
    for number, example in pictures:
        by_size[(folder / example.image).stat().st_size].append((number, example))
    first: dict[bytes, tuple[int, Split]] = {}
    told: dict[tuple[bytes, str], tuple[int, str]] = {}
    for alike in by_size.values():
        if not _may_contradict([example for _, example in alike]):
            continue  # only files of one size can be equal, so hardly any has to be read
        for number, example in alike:
            digest = _digest(folder / example.image)
            where = f"{folder / INDEX}, line {number}"
            line, split = first.setdefault(digest, (number, example.split))
            if split != example.split:
                raise DataError(
                    f"{where}: the picture of line {line}, which is in {split}, again in {example.split}. Keep a "
                    "picture in one split; nothing was trained."
                )
            for what, value in facts_of(example).items():
                line, other = told.setdefault((digest, what), (number, value))
                if other != value:
                    raise DataError(
                        f"{where}: the picture of line {line} again, with another value of {what}. Keep one of the "
                        "two, or put answers of several annotators into 'answers'; nothing was trained."
                    )


def _may_contradict(examples: Sequence[Example]) -> bool:
    """Say whether pictures could not be copies of each other without a fault."""
    facts = [*map(facts_of, examples)]
    values: dict[str, set[str]] = defaultdict(set)
    for each in facts:
        for what, value in each.items():
            values[what].add(value)
    return len({example.split for example in examples}) > 1 or any(len(each) > 1 for each in values.values())


def _digest(path: Path) -> bytes:
    try:
        return hashlib.sha256(path.read_bytes()).digest()
    except OSError as error:
        reason = error.strerror or type(error).__name__
    raise DataError(f"{path} can't be used: {reason}. Replace the file or remove its line from {INDEX}.")


def _check_splits(dataset: Dataset) -> None:
    """Refuse a data set that lacks a split."""
    counts = Counter(example.split for example in dataset.examples)
    empty = [split for split in SPLITS if not counts[split]]
    if empty:
        raise DataError(
            f"{dataset.folder / INDEX} has no image in {', '.join(empty)}. "
            "Each of train, val and test needs some; nothing was trained."
        )


def _check_attributes(dataset: Dataset) -> None:
    """Refuse a data set whose training split has nothing private to learn."""
    attributes = dataset.private_attributes
    if not attributes:
        raise DataError(f"{dataset.folder / INDEX} labels no private attribute, so there is nothing to hide.")
    for name, classes in attributes.items():
        if len(classes) < 2:
            raise DataError(
                f"private attribute {name!r} has one class only in train, so nothing can be learned about it. "
                "Add images of another class or remove the attribute."
            )
