"""The file ``data.jsonl`` of a folder as checked lines; every fault is told, with its line and what to do about it."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from langchain_vpp.errors import DataError
from trainer.data.format import INDEX, SPLITS, as_utf8, facts_of, read_line
from trainer.data.review import ANSWERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from trainer.data.format import Example, Split

    OnFault = Callable[["Fault"], None]


class Fault(NamedTuple):
    """Something in a data set that keeps it from being used.

    Attributes:
        what: The fault, a sentence without a full stop.
        remedy: What to do about it, without a full stop.
        line: Line of ``data.jsonl``, or ``None`` if it is about the whole data set.
    """

    what: str
    remedy: str
    line: int | None = None

    def sentence(self, folder: Path) -> str:
        """Write the fault in one sentence, with the place of the file.

        Example:
            >>> Fault("there is no image '9.png'", "add the file or remove the line", 5).sentence(Path("data"))
            "data/data.jsonl, line 5: there is no image '9.png'. Add the file or remove the line; nothing was trained."
        """
        place = f"{folder / INDEX}" if self.line is None else f"{folder / INDEX}, line {self.line}"
        return f"{place}: {self.what}. {self.remedy[:1].upper()}{self.remedy[1:]}; nothing was trained."


class Entry(NamedTuple):
    """A line of ``data.jsonl`` that can be used.

    Attributes:
        line: Its number, from 1.
        example: Its content.
    """

    line: int
    example: Example


def read_text(folder: Path) -> bytes:
    """Read ``data.jsonl`` as it is.

    Raises:
        DataError: If it can't be read.
    """
    path = folder / INDEX
    try:
        return path.read_bytes()
    except OSError as error:
        failure = error.strerror or type(error).__name__
    if (folder / ANSWERS).is_file() and not path.exists():
        raise DataError(
            f"{folder} has no {INDEX} yet, because no picture had an answer when it was made. Give answers: "
            f"vpp studio --label {folder}, or in {folder / ANSWERS}. Then run the same vpp data init again."
        )
    raise DataError(
        f"{path} could not be read: {failure}. A data set is a folder with {INDEX} in it; "
        "`vpp data init` makes one of your pictures and questions."
    )


def read_entries(folder: Path, text: bytes, on_fault: OnFault) -> list[Entry]:
    """Read the lines of a data set; pictures are only checked to exist.

    Args:
        folder: The data set's folder.
        text: Content of its ``data.jsonl``.
        on_fault: Called with each fault, in the order of the lines. It may raise; else reading goes on without the
            line.
    """
    entries = list(_lines(folder, as_utf8(text), on_fault))
    _check_copies(folder, entries, on_fault)
    return entries


def check_splits(examples: Sequence[Example], on_fault: OnFault) -> None:
    """Tell of splits without a picture."""
    counts = Counter(example.split for example in examples)
    if empty := [split for split in SPLITS if not counts[split]]:
        on_fault(
            Fault(
                f"there is no image in {', '.join(empty)}",
                "each of train, val and test needs some: change the field 'split' of some lines",
            )
        )


def check_attributes(examples: Sequence[Example], on_fault: OnFault) -> None:
    """Tell of a training split that has nothing private to learn."""
    classes: dict[str, set[str]] = defaultdict(set)
    for example in examples:
        if example.split == "train":
            for name, value in example.private.items():
                classes[name].add(value)
    if not classes:
        on_fault(
            Fault(
                "the training split labels no private attribute, so there is nothing to hide",
                "label some under 'private'",
            )
        )
    for name, values in sorted(classes.items()):
        if len(values) < 2:
            on_fault(
                Fault(
                    f"private attribute {name!r} has one class only in train, so nothing can be learned about it",
                    "add images of another class or remove the attribute",
                )
            )


def _lines(folder: Path, text: bytes, on_fault: OnFault) -> Iterator[Entry]:
    seen: dict[Path, int] = {}
    groups: dict[str, tuple[str, int]] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        example = read_line(line)
        if isinstance(example, str):
            on_fault(Fault(example, "correct the line", number))
            continue
        if (fault := _fault_of_file(folder, example, number)) is not None:
            on_fault(fault)
            continue
        file = (folder / example.image).resolve()  # "a.png", "./a.png" and a link to it are one image
        if file in seen:
            what = f"the {_kind(example)} of line {seen[file]} again"
            on_fault(Fault(what, "keep one of the two lines", number))
            continue
        seen[file] = number
        if example.group is not None:
            split, first = groups.setdefault(example.group, (example.split, number))
            if split != example.split:
                on_fault(
                    Fault(
                        f"group {example.group!r} is in {example.split} here and in {split} in line {first}",
                        "keep a group in one split",
                        number,
                    )
                )
        yield Entry(number, example)


def _kind(example: Example) -> str:
    return "video" if example.is_video else "image"


def _fault_of_file(folder: Path, example: Example, number: int) -> Fault | None:
    """Find out whether an image or a video is missing or outside the data set's folder."""
    name, kind = example.image, _kind(example)
    image = folder / name
    try:
        inside, exists = image.resolve().is_relative_to(folder.resolve()), image.is_file()
    except (OSError, ValueError, RuntimeError):  # too long, a NUL, a loop of links
        inside, exists = True, False
    if not inside:
        return Fault(
            f"the {kind} lies outside the data set's folder{_through_link(folder, name)}. A data set may name no files "
            "elsewhere, because its pictures are sent",
            "copy the pictures into the folder with links followed (cp -rL), or use hard links",
            number,
        )
    if not exists:
        return Fault(f"there is no {kind} {name!r}", "add the file or remove the line", number)
    return None


def _through_link(folder: Path, name: str) -> str:
    """Say whether the name stays within the folder and a link leads out of it, as into a cache of downloads."""
    within = not Path(name).is_absolute() and ".." not in Path(name).parts
    return ": a link leads there" if within and (folder / name).exists() else ""


def _check_copies(folder: Path, entries: Sequence[Entry], on_fault: OnFault) -> None:
    """Tell of copies of a picture under two names: in two splits, or with labels or answers that contradict each other.

    Training would see what is measured, or learn that one picture is two things.
    """
    by_size: dict[int, list[Entry]] = defaultdict(list)
    for entry in entries:
        by_size[(folder / entry.example.image).stat().st_size].append(entry)
    first: dict[str, tuple[int, Split]] = {}
    told: dict[tuple[str, str], tuple[int, str]] = {}
    for alike in by_size.values():
        if not _may_contradict([entry.example for entry in alike]):
            continue  # only files of one size can be equal, so hardly any has to be read
        for number, example in alike:
            digest = file_digest(folder / example.image)
            line, split = first.setdefault(digest, (number, example.split))
            if split != example.split:
                on_fault(
                    Fault(
                        f"the picture of line {line}, which is in {split}, again in {example.split}",
                        "keep a picture in one split",
                        number,
                    )
                )
            for what, value in facts_of(example).items():
                line, other = told.setdefault((digest, what), (number, value))
                if other != value:
                    on_fault(
                        Fault(
                            f"the picture of line {line} again, with another value of {what}",
                            "keep one of the two, or put answers of several annotators into 'answers'",
                            number,
                        )
                    )


def _may_contradict(examples: Sequence[Example]) -> bool:
    """Say whether pictures could not be copies of each other without a fault."""
    facts = [*map(facts_of, examples)]
    values: dict[str, set[str]] = defaultdict(set)
    for each in facts:
        for what, value in each.items():
            values[what].add(value)
    return len({example.split for example in examples}) > 1 or any(len(each) > 1 for each in values.values())


def file_digest(path: Path) -> str:
    """Compute the sha256, in hex, of a file.

    Raises:
        DataError: If it can't be read; the message names it.
    """
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        reason = error.strerror or type(error).__name__
    raise DataError(f"{path} can't be used: {reason}. Replace the file or remove its line from {INDEX}.")
