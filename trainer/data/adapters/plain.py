"""Tables and folders: ``csv`` and ``folder``."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

from langchain_vpp.batch import PICTURE_SUFFIXES
from langchain_vpp.errors import DataError
from trainer.data.adapters.format import Adapter, Item, completed, existing
from trainer.data.format import SPLITS
from trainer.data.review import read_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from trainer.data.adapters.format import Options
    from trainer.data.format import Split

_PRIVATE: Final = "private."
_TEXT: Final = "text."
_KNOWN: Final = frozenset({"image", "split", "group", "question", "answer", "choices", "answers"})
_NAMES_OF_SPLITS: Final[Mapping[str, Split]] = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test",
}  # fmt: skip


def load_csv(source: Path, options: Options) -> Iterator[Item]:
    """Read a CSV file: a row for each picture and question.

    Columns are ``image``, ``question``, ``answer``, and optionally ``choices`` and ``answers`` (with bars between
    them), ``split``, ``group``, ``private.NAME`` and ``text.KIND``.

    Raises:
        DataError: With the line, if a column is unknown or missing, or rows of one picture contradict each other.
    """
    del options
    path = source / "data.csv" if source.is_dir() else source
    if not path.is_file():
        raise DataError(f"nothing was converted: {source} lacks data.csv. Give the CSV file, or its folder.")
    rows = read_rows(path)
    needed = {"image", "question", "answer"}
    names = set(rows[0]) if rows else set[str]()
    if rows and (missing := sorted(needed - names)):
        raise DataError(f"nothing was converted: {path} lacks the column {', '.join(missing)}.")
    unknown = [name for name in sorted(names - _KNOWN) if not name.startswith((_PRIVATE, _TEXT))]
    if unknown:
        raise DataError(
            f"nothing was converted: {path} has a column {unknown[0]!r}. Columns are image, question, answer, choices, "
            "answers, split, group, private.NAME and text.KIND."
        )
    by_image: dict[str, list[tuple[int, Mapping[str, str]]]] = defaultdict(list)
    for number, row in enumerate(rows, 2):
        by_image[row["image"]].append((number, row))
    for image, own in by_image.items():
        facts = _agreed(path, own)
        group = facts.get("group")
        split = _split_named(path, facts.get("split"), own[0][0])
        yield Item(
            existing(path.parent, image, path.name),
            f"images/{image}",
            split,
            [_task(row) for _, row in own if row["question"]],
            {
                name.removeprefix(_PRIVATE): value
                for name, value in facts.items()
                if name.startswith(_PRIVATE)
            },
            group,
            {name.removeprefix(_TEXT): value for name, value in facts.items() if name.startswith(_TEXT)},
        )


def load_folder(source: Path, options: Options) -> Iterator[Item]:
    """Read folders ``SPLIT/CLASS/picture``, or ``CLASS/picture``, as other programs call them image folders.

    The class is the answer to a question, or with the option ``private`` a private attribute.
    """
    question = options.text("question", "What does the picture show?")
    private = options.text("private")
    pictures = [
        path
        for path in sorted(source.rglob("*"))
        if path.is_file() and path.suffix.lower() in PICTURE_SUFFIXES
    ]
    shallow = [path for path in pictures if len(path.relative_to(source).parts) < 2]
    if shallow or not pictures:
        where = shallow[0].name if shallow else str(source)
        raise DataError(
            f"nothing was converted: {where} does not lie in a folder of a class. The format is CLASS/picture.jpg, or "
            "train/CLASS/picture.jpg, val/... and test/..."
        )
    found = []
    for path in pictures:
        parts = path.relative_to(source).parts
        named = _NAMES_OF_SPLITS.get(parts[0].lower()) if len(parts) > 2 else None
        found.append((path, named, parts[1] if named else parts[0]))
    classes = sorted({each for _, _, each in found})
    has = {named for _, named, _ in found}
    for path, named, of in found:
        name = path.relative_to(source).as_posix()
        task: dict[str, Any] = {"question": question, "answer": of, "choices": classes}
        if private:
            task = {"question": question, "answer": options.text("answer", "unknown")}
        yield Item(
            path, f"images/{name}", completed(named, has, name), [task], {private: of} if private else {}
        )


def _agreed(path: Path, rows: list[tuple[int, Mapping[str, str]]]) -> dict[str, str]:
    """Return what all rows of a picture say of it."""
    facts: dict[str, str] = {}
    for number, row in rows:
        for name, value in row.items():
            if name in {"question", "answer", "choices", "answers", "image"} or not value:
                continue
            if facts.setdefault(name, value) != value:
                raise DataError(
                    f"nothing was converted: {path}, line {number}: another value of {name!r} than in a row above of "
                    "the same picture. Keep one."
                )
    return facts


def _split_named(path: Path, text: str | None, number: int) -> Split | None:
    if text is None:
        return None
    split = _NAMES_OF_SPLITS.get(text.lower())
    if split is None:
        raise DataError(
            f"nothing was converted: {path}, line {number}: {text!r} is no split. Write {', '.join(SPLITS)}."
        )
    return split


def _task(row: Mapping[str, str]) -> dict[str, Any]:
    task: dict[str, Any] = {"question": row["question"], "answer": row["answer"]}
    for name in ("choices", "answers"):
        if row.get(name):
            task[name] = [part.strip() for part in row[name].split("|")]
    return task


ADAPTERS: Final = {
    "csv": Adapter(load_csv, "a row for each picture and question, with private.NAME columns"),
    "folder": Adapter(
        load_folder,
        "SPLIT/CLASS/picture or CLASS/picture",
        {
            "question": "the question that the class answers",
            "private": "name of the private attribute that the class is, in place of an answer",
            "answer": "the answer to the question where the class is private",
        },
    ),
}
