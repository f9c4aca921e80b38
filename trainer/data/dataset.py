"""The data set on disk: a folder with ``data.jsonl``, one image per line, in splits.

::

    {"image": "images/1.jpg", "split": "train", "group": "g1",
     "tasks": [{"question": "...", "answer": "...", "choices": ["..."], "answers": ["..."]}],
     "private": {"gender": "female", "age_group": "30-39"},
     "texts": {"name": "Odrana Velori", "id number": "482-1936"}}

``choices``, ``answers`` (several annotators) and ``group`` (kept on one side of a split) are optional, and an image may
miss some of the private attributes. ``texts`` is optional too: private words and numbers as they stand in the picture.
They are no classes, so no assessor learns them; the evaluation's text recogniser looks for them.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_args

import numpy as np
import torch
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from langchain_vpp.errors import DataError, ProtectionError
from langchain_vpp.images.codec import decode_image
from langchain_vpp.network.protector import working_size
from trainer.algorithms.interface import AnswerSpace
from trainer.oracle.scoring import normalise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from torch import Tensor

Split = Literal["train", "val", "test"]
_NotEmpty = Annotated[str, Field(pattern=r"\S")]
_INDEX = "data.jsonl"
_PADDING = (128, 128, 128)
_TELLING = 0.1
"""Share of what can be read about a private attribute that must be read from a task's answers to be worth a warning."""
_DEVIATIONS = 3.0
"""Standard deviations of guessing that it must exceed."""


class Task(BaseModel):
    """One question about an image, with the reference answer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    question: str = Field(min_length=1)
    answer: str = Field(min_length=1)
    choices: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()
    """Answers of several annotators; the score is then the VQA soft accuracy."""

    @model_validator(mode="after")
    def _answer_is_a_choice(self) -> Task:
        chosen = [normalise(choice) for choice in self.choices]
        if len(set(chosen)) != len(chosen):
            raise ValueError("two choices read the same")
        if chosen and normalise(self.answer) not in chosen:
            raise ValueError("the answer is none of the choices")
        return self


class Example(BaseModel):
    """One line of ``data.jsonl``; ``image`` is relative to the data set's folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    image: str = Field(min_length=1)
    split: Split
    group: str | None = None
    tasks: tuple[Task, ...] = Field(min_length=1)
    private: dict[str, str] = {}
    texts: dict[_NotEmpty, _NotEmpty] = {}
    """What it is -> the words or numbers in the picture."""


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
            DataError: If one can't be read; the message names the file.
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
        raise DataError(f"{path} can't be used: {reason}. Replace the file or remove its line from {_INDEX}.")


def as_tensor(image: Image.Image) -> Tensor:
    """An RGB image as ``uint8``, shape ``[3, H, W]`` (torchvision's function costs seconds of import)."""
    return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)


def as_image(pixels: Tensor) -> Image.Image:
    """The inverse of :func:`as_tensor`, from values in [0, 1], shape ``[3, H, W]``, rounded to 8 bits."""
    return Image.fromarray(pixels.clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).numpy())


def load_dataset(folder: str | Path) -> Dataset:
    """Read and check a data set; images are only checked to exist.

    Raises:
        DataError: With the line number, if a line is malformed, an image is missing or outside the folder, a group
            or a picture stands in two splits, an image stands in two lines, or the training split can't be learned
            from.
    """
    folder = Path(folder)
    path = folder / _INDEX
    failure = ""
    try:
        text = path.read_bytes()
    except OSError as error:
        failure = error.strerror or type(error).__name__
    if failure:
        raise DataError(f"{path} could not be read: {failure}. A data set is a folder with {_INDEX} in it.")
    examples = tuple(_parse(folder, text))
    dataset = Dataset(folder, examples, hashlib.sha256(text).hexdigest())
    _check(dataset)
    return dataset


def _parse(folder: Path, text: bytes) -> Iterable[Example]:
    seen: dict[str, int] = {}
    pictures: list[tuple[int, Example]] = []
    groups: dict[str, tuple[str, int]] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        where = f"{folder / _INDEX}, line {number}"
        example = _parse_line(line, where)
        _check_image(folder, example.image, where)
        if example.image in seen:
            raise DataError(f"{where}: the image of line {seen[example.image]} again. Nothing was trained.")
        seen[example.image] = number
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


def _parse_line(line: bytes, where: str) -> Example:
    try:
        # From the bytes, not through `json`: it accepts halves of surrogate pairs, which can't be sent or stored.
        return Example.model_validate_json(line)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        reason = "not JSON" if first["type"] == "json_invalid" else f"{place}: {first['msg']}".lstrip(": ")
    raise DataError(f"{where}: {reason}. Nothing was trained; correct the line.")


def _check_image(folder: Path, name: str, where: str) -> None:
    image = folder / name
    try:
        inside, exists = image.resolve().is_relative_to(folder.resolve()), image.is_file()
    except (OSError, ValueError, RuntimeError):  # too long, a NUL, a loop of links
        inside, exists = True, False
    if not inside:
        raise DataError(f"{where}: the image lies outside the data set's folder. Nothing was trained.")
    if not exists:
        raise DataError(f"{where}: there is no image {name!r}. Nothing was trained.")


def _check_copies(folder: Path, pictures: Sequence[tuple[int, Example]]) -> None:
    """Refuse a picture that stands in two splits under two names: what is measured on it would be what was learned."""
    by_size: dict[int, list[tuple[int, Example]]] = defaultdict(list)
    for number, example in pictures:
        by_size[(folder / example.image).stat().st_size].append((number, example))
    first: dict[bytes, tuple[int, Split]] = {}
    for alike in by_size.values():
        if len({example.split for _, example in alike}) < 2:
            continue  # only files of one size can be equal, so hardly any has to be read
        for number, example in alike:
            digest = _digest(folder / example.image)
            line, split = first.setdefault(digest, (number, example.split))
            if split != example.split:
                raise DataError(
                    f"{folder / _INDEX}, line {number}: the picture of line {line}, which is in {split}, again in "
                    f"{example.split}. Keep a picture in one split; nothing was trained."
                )


def _digest(path: Path) -> bytes:
    try:
        return hashlib.sha256(path.read_bytes()).digest()
    except OSError as error:
        reason = error.strerror or type(error).__name__
    raise DataError(f"{path} can't be used: {reason}. Replace the file or remove its line from {_INDEX}.")


def _check(dataset: Dataset) -> None:
    counts = Counter(example.split for example in dataset.examples)
    empty = [split for split in get_args(Split) if not counts[split]]
    if empty:
        raise DataError(
            f"{dataset.folder / _INDEX} has no image in {', '.join(empty)}. "
            "Each of train, val and test needs some; nothing was trained."
        )
    attributes = dataset.private_attributes
    if not attributes:
        raise DataError(
            f"{dataset.folder / _INDEX} labels no private attribute, so there is nothing to hide."
        )
    for name, classes in attributes.items():
        if len(classes) < 2:
            raise DataError(
                f"private attribute {name!r} has one class only in train, so nothing can be learned about it. "
                "Add images of another class or remove the attribute."
            )


def check_for_training(dataset: Dataset) -> tuple[str, ...]:
    """Find what would make a training run worthless, before anything is paid.

    Returns:
        Warnings, a sentence each: task answers that give a private attribute away on their own, with the accuracy
        that no protector can go below while it keeps the task; and reference answers that can't be reached.

    Raises:
        DataError: If a picture of the validation split can't be read, a private attribute can't be measured on it, or a
            question has one possible answer only.
    """
    space = answer_space(dataset)
    for question, candidates in zip(space.questions, space.candidates, strict=True):
        if int(candidates.sum()) < 2:
            raise DataError(
                f"the question {question!r} has one possible answer only, so nothing can be learned from it. "
                "Give it choices, add images with another answer, or remove it; nothing was trained."
            )
    examples = dataset.split("val")
    labels = dataset.labels(examples)
    for name, column in zip(dataset.private_attributes, labels.T, strict=True):
        if len(torch.unique(column[column >= 0])) < 2:
            raise DataError(
                f"private attribute {name!r} has fewer than two classes of train on val: its leak can't be measured. "
                "Nothing was trained; label images of another class there or remove the attribute."
            )
    for example in examples:
        dataset.open_image(example)
    asked = sum(len(example.tasks) for example in examples)
    missing = asked - int((references(examples, space) >= 0).sum())
    warnings = _giveaways(dataset)
    if missing:
        warnings.append(
            f"{missing} of {asked} questions on val are new, or have a reference answer that train lacks: left out"
        )
    return tuple(warnings)


def _giveaways(dataset: Dataset) -> list[str]:
    """Warn of task answers from which a private attribute can be guessed."""
    pairs: dict[tuple[str, str, Split], list[tuple[str, str]]] = defaultdict(list)
    for example in dataset.examples:
        for task in example.tasks:
            for name, value in example.private.items():
                pairs[name, task.question, example.split].append((normalise(task.answer), value))
    warnings = []
    for name in dataset.private_attributes:
        for question in dataset.questions:
            known, held_out = pairs[name, question, "train"], pairs[name, question, "val"]
            if not known or not held_out:
                continue
            guesses: dict[str, Counter[str]] = defaultdict(Counter)
            for answer, value in known:
                guesses[answer][value] += 1
            usual = Counter(value for _, value in known).most_common(1)[0][0]
            best = {answer: counts.most_common(1)[0][0] for answer, counts in guesses.items()}
            right = sum(best.get(answer, usual) == value for answer, value in held_out) / len(held_out)
            chance = Counter(value for _, value in held_out).most_common(1)[0][1] / len(held_out)
            noise = math.sqrt(chance * (1 - chance) / len(held_out))
            if right - chance > max(_TELLING * (1 - chance), _DEVIATIONS * noise):
                warnings.append(
                    f"the answer to {question!r} tells {name!r} right for {right:.0%} of the images of val "
                    f"({chance:.0%} by guessing): while this task is kept, protection can't go below that floor"
                )
    return warnings


def answer_space(dataset: Dataset) -> AnswerSpace:
    """The training questions and what each may be answered: its choices, or else every training answer to it."""
    questions = dataset.questions
    options: dict[str, dict[str, None]] = {question: {} for question in questions}
    for example in dataset.split("train"):
        for task in example.tasks:
            for text in task.choices or (task.answer, *task.answers):
                options[task.question][normalise(text)] = None
    answers = tuple(sorted({answer for each in options.values() for answer in each}))
    candidates = torch.tensor([[answer in options[question] for answer in answers] for question in questions])
    return AnswerSpace(questions, answers, candidates)


def references(examples: Sequence[Example], space: AnswerSpace) -> Tensor:
    """Index of the reference answer to each question, ``[N, Q]``; ``-1`` if not asked or not in the vocabulary."""
    question_index = {question: index for index, question in enumerate(space.questions)}
    answer_index = {answer: index for index, answer in enumerate(space.answers)}
    table = torch.full((len(examples), len(space.questions)), -1)
    for row, example in zip(table, examples, strict=True):
        for task in example.tasks:
            if task.question in question_index:
                row[question_index[task.question]] = answer_index.get(normalise(task.answer), -1)
    return table
