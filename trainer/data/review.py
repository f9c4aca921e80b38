"""Answers and labels that a person can read and change: ``answers.csv`` and ``labels.csv`` in a data set's folder.

Each row has a column ``source``: ``person`` for what somebody gave or confirmed, and ``proposed by ...`` for what a
model or a detector made of the picture. To confirm a row, write ``person`` there; to correct it, change its value as
well. ``vpp data init`` reads both files when it is called again, and never changes a row of a person.
"""

from __future__ import annotations

import csv
import io
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from langchain_vpp.errors import DataError
from trainer.data.format import as_utf8

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from pathlib import Path

ANSWERS: Final = "answers.csv"
LABELS: Final = "labels.csv"
PERSON: Final = "person"
_PROPOSED: Final = "proposed by "
_ANSWER_COLUMNS: Final = ("image", "question", "answer", "source")
_LABEL_COLUMNS: Final = ("image", "what", "value", "source")


class Said(NamedTuple):
    """One thing that is said about a picture.

    Attributes:
        image: The picture, as in ``data.jsonl``.
        what: A question; or the name of a private attribute, or ``text:`` and a kind of private text.
        value: The answer, class or text; empty if nobody has said it yet.
        source: ``person``, or ``proposed by`` a model or detector.
    """

    image: str
    what: str
    value: str
    source: str = PERSON

    @property
    def is_proposed(self) -> bool:
        """Whether nobody has confirmed it."""
        return self.source.startswith(_PROPOSED)


def proposed_by(name: str) -> str:
    """Write the source of a proposal."""
    return f"{_PROPOSED}{name}"


def read_said(path: Path) -> list[Said]:
    """Read ``answers.csv`` or ``labels.csv``; nothing if there is no such file.

    Raises:
        DataError: With the line, if the file is not what :func:`write_said` writes.
    """
    if not path.exists():
        return []
    columns = _ANSWER_COLUMNS if path.name == ANSWERS else _LABEL_COLUMNS
    rows = read_rows(path)
    for number, row in enumerate(rows, 2):
        if missing := [name for name in columns if name not in row]:
            raise DataError(
                f"{path}, line {number}: the column {missing[0]!r} is missing; nothing was changed."
            )
        if row[columns[2]] and not row[columns[1]]:
            raise DataError(
                f"{path}, line {number}: there is a value and nothing in the column {columns[1]!r}. Write there what "
                "it says, such as gender; nothing was changed."
            )
    return [Said(*(row[name].strip() for name in columns)) for row in rows]


def write_said(path: Path, said: Iterable[Said]) -> None:
    """Write ``answers.csv`` or ``labels.csv``, as a whole file or not at all."""
    columns = _ANSWER_COLUMNS if path.name == ANSWERS else _LABEL_COLUMNS
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows(said)
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(text.getvalue(), encoding="utf-8", newline="")
    partial.replace(path)


def merged(known: Sequence[Said], more: Sequence[Said]) -> list[Said]:
    """Add to what is known: a person's word replaces a proposal, a proposal replaces nothing but an empty value."""
    result: dict[tuple[str, str], Said] = {(each.image, each.what): each for each in known}
    for each in more:
        old = result.get((each.image, each.what))
        if old is None or not old.value or (old.is_proposed and each.value and not each.is_proposed):
            result[each.image, each.what] = each
    return list(result.values())


def count_proposals(folder: Path) -> int:
    """Count the answers and labels of a data set that nobody has confirmed."""
    return sum(
        each.is_proposed and bool(each.value)
        for name in (ANSWERS, LABELS)
        for each in read_said(folder / name)
    )


def count_unused(folder: Path, used: Collection[str]) -> int:
    """Count the pictures that have an answer in ``answers.csv`` and are not among those that are used."""
    return len({each.image for each in read_said(folder / ANSWERS) if each.value} - set(used))


def read_rows(path: Path) -> list[Mapping[str, str]]:
    """Read a CSV file with a heading, whatever program wrote it.

    Raises:
        DataError: If it can't be read, has no heading or no column ``image``, or a row has more cells than the heading.
    """
    reason = ""
    try:
        text = as_utf8(path.read_bytes()).decode("utf-8")
    except OSError as error:
        reason = error.strerror or type(error).__name__
    except UnicodeDecodeError:
        reason = "it is not UTF-8. Save it as CSV in UTF-8"
    if reason:
        raise DataError(f"{path} can't be read: {reason}. Nothing was changed.")
    heading = text.partition("\n")[0]
    separator = max(",;\t", key=heading.count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator)
    rows: list[dict[str, str]] = []
    with suppress(csv.Error):
        rows = list(reader)
        reason = "fine"
    if not reason:
        raise DataError(f"{path}, line {reader.line_num}: it is no CSV; nothing was changed.")
    names = [name.strip() for name in reader.fieldnames or ()]
    if "image" not in names or len(set(names)) < len(names):
        raise DataError(
            f"{path}: the first line must name the columns, each once and one of them 'image'; nothing was changed."
        )
    for number, row in enumerate(rows, 2):
        if None in row:
            raise DataError(
                f"{path}, line {number}: the row has more cells than the heading. Put texts with a {separator!r} into "
                "quotes; nothing was changed."
            )
    return [{name.strip(): (value or "").strip() for name, value in row.items()} for row in rows]
