"""What an adapter makes of a published data set: a line for each picture or video, and where its file lies."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, NamedTuple

from langchain_vpp.errors import DataError
from trainer.data.format import as_utf8

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from PIL import Image

    from trainer.data.format import Split

    Load = Callable[[Path, "Options"], Iterator["Item"]]
    """Reads a published data set."""


class Item(NamedTuple):
    """One picture or video.

    Attributes:
        file: Its file, or the picture itself.
        name: Its path in the data set made of it.
        split: Its split; ``None`` if it is to be drawn, with its group.
        tasks: Questions, as in ``data.jsonl``.
        private: Private attribute -> class.
        group: Group, if the data set has groups.
        texts: Kind -> private text in the picture.
        is_video: Whether the file is a video.
    """

    file: Path | Image.Image
    name: str
    split: Split | None
    tasks: Sequence[Mapping[str, Any]]
    private: Mapping[str, str] = {}
    group: str | None = None
    texts: Mapping[str, str] = {}
    is_video: bool = False


class Adapter(NamedTuple):
    """Reader of one format.

    Attributes:
        load: Yields its pictures.
        about: What it is, in a few words.
        options: Option -> meaning and default.
        notes: Deviations from the published protocol, a sentence without a full stop each.
    """

    load: Load
    about: str
    options: Mapping[str, str] = {}
    notes: tuple[str, ...] = ()


class Options:
    """Options of an adapter, as the user wrote them."""

    def __init__(self, given: Mapping[str, str]) -> None:
        self._given = dict(given)

    def text(self, name: str, default: str = "") -> str:
        """Return an option as it is."""
        return self._given.get(name, default)

    def names(self, name: str, default: Sequence[str]) -> tuple[str, ...]:
        """Return an option that is a list with commas."""
        value = self._given.get(name)
        return tuple(default) if value is None else tuple(filter(None, map(str.strip, value.split(","))))

    def one_of(self, name: str, choices: Sequence[str]) -> str:
        """Return an option that is one of several words, the first of them by default.

        Raises:
            DataError: If it is none of them.
        """
        value = self._given.get(name, choices[0])
        if value not in choices:
            raise DataError(f"nothing was converted: the option {name} must be one of {', '.join(choices)}.")
        return value


def require(source: Path, *paths: str) -> list[Path]:
    """Return files or folders of a published data set.

    Raises:
        DataError: If one is missing. The message names all that are.
    """
    if missing := [path for path in paths if not (source / path).exists()]:
        raise DataError(
            f"nothing was converted: {source} lacks {', '.join(missing)}. Give the folder that holds the data set "
            "as it is published, unpacked."
        )
    return [source / path for path in paths]


def existing(source: Path, path: str, named_in: str) -> Path:
    """Return the file of a picture or video that an index names.

    Raises:
        DataError: If it is missing or lies elsewhere.
    """
    inner = PurePath(path)
    file = source / inner
    if inner.is_absolute() or ".." in inner.parts or not file.is_file():
        raise DataError(f"nothing was converted: {named_in} names {path}, which is not in {source}.")
    return file


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        DataError: If it is none.
    """
    try:
        return json.loads(as_utf8(path.read_bytes()))
    except ValueError:
        pass
    raise DataError(f"nothing was converted: {path} is no JSON.")


def read_table(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Read a CSV file with a heading.

    Raises:
        DataError: If it lacks one of the columns.
    """
    lines = as_utf8(path.read_bytes()).decode("utf-8", "replace").splitlines()
    reader = csv.DictReader(lines)
    if missing := [name for name in columns if name not in (reader.fieldnames or ())]:
        raise DataError(f"nothing was converted: {path} lacks the column {', '.join(missing)}.")
    return [{name: value or "" for name, value in row.items() if name is not None} for row in reader]


def read_lines(path: Path) -> list[str]:
    """Read the lines of a text file that are not empty."""
    text = as_utf8(path.read_bytes()).decode("utf-8", "replace")
    return [line.strip() for line in text.splitlines() if line.strip()]


def held_out(key: str, share: float, *, of: str = "val") -> bool:
    """Draw by a digest whether a picture, or all with its key, belongs to a part of a published split.

    Args:
        key: What must stay together.
        share: Size of the part, in [0, 1].
        of: Name of the part, so that different parts are drawn differently.
    """
    number = int.from_bytes(hashlib.sha256(f"{of}/{key}".encode()).digest()[:8])
    return number < share * 2**64


def completed(named: Split | None, has: Collection[Split | None], key: str) -> Split | None:
    """Return the split of a picture where the published data set may lack some.

    Val is for measuring where there is no test, and a part of train is val where that is missing.

    Args:
        named: Its split as published; ``None`` for a data set without splits.
        has: All splits as published.
        key: What must stay together.

    Returns:
        Its split, or ``None`` if all splits are still to be drawn.
    """
    if named is None or not {"val", "test"} & set(has):
        return None
    if named == "val" and "test" not in has:
        return "test"
    if named == "train" and not {"val", "test"} <= set(has):
        return "val" if held_out(key, 0.15) else "train"
    return named
