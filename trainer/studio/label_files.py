"""Files that labels are kept in: ``answers.csv`` and ``labels.csv`` of ``vpp data init``, or ``data.jsonl`` itself."""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from langchain_vpp.errors import DataError
from trainer.data.format import INDEX, as_utf8, read_line
from trainer.data.making import QUESTIONS, TEXT, read_questions
from trainer.data.review import ANSWERS, LABELS, Said, read_said, write_said

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

_PARTS: Final[Mapping[str, type[Any]]] = {"tasks": list, "private": dict, "texts": dict}
"""Fields of a line that hold what is said -> their types."""


class Answered(NamedTuple):
    """A question about a picture."""

    question: str
    choices: tuple[str, ...] = ()
    """Possible answers; none for an open question."""
    answer: str = ""
    """Empty if nobody has given one."""


class Labelled(NamedTuple):
    """Everything that is said about a picture."""

    image: str
    """Path relative to the data set's folder."""
    answers: tuple[Answered, ...]
    private: Mapping[str, str]
    """Private attribute -> class."""
    texts: Mapping[str, str]
    """Kind of private text -> the words or numbers in the picture."""
    is_complete: bool
    """Whether nothing is left to be said or confirmed."""
    proposed: tuple[str, ...] = ()
    """Questions, attributes and kinds of text whose values nobody has confirmed."""

    @property
    def version(self) -> str:
        """Digest of what is said, by which a page tells whether somebody else has changed it."""
        said = json.dumps([self.answers, dict(self.private), dict(self.texts), self.proposed])
        return hashlib.sha256(said.encode()).hexdigest()[:16]


class Given(NamedTuple):
    """Everything that a person says about a picture."""

    answers: Mapping[str, str]
    """Question -> answer; an empty answer is none."""
    private: Mapping[str, str]
    texts: Mapping[str, str]


class Change(NamedTuple):
    """A save, which can be taken back."""

    image: str
    before: Any
    after: Any


class LabelFiles(Protocol):
    """Files of a data set in which labels are kept."""

    def pictures(self) -> list[Labelled]:
        """Read everything that is said, in the order of the files."""
        ...

    def write(self, shown: Labelled, given: Given) -> Change | None:
        """Write what a person says about a picture; ``None`` if it changes nothing."""
        ...

    def take_back(self, change: Change) -> None:
        """Undo a save, unless the picture was changed since."""
        ...


class ReviewFiles:
    """The files that ``vpp data init`` makes to be read and changed, and takes over when it is called again.

    Saving a picture confirms everything that is said about it.

    Args:
        folder: Folder of the data set.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def pictures(self) -> list[Labelled]:
        """Read everything that is said, in the order of the files."""
        answers, labels = self._read()
        choices = self._choices()
        by_image: dict[str, tuple[list[Said], list[Said]]] = {}
        for part, rows in enumerate((answers, labels)):
            for row in rows:
                by_image.setdefault(row.image, ([], []))[part].append(row)
        return [_reviewed(image, *rows, choices) for image, rows in by_image.items()]

    def write(self, shown: Labelled, given: Given) -> Change | None:
        """Write what a person says about a picture; ``None`` if it changes nothing."""
        answers = [
            Said(shown.image, each.question, given.answers.get(each.question, each.answer).strip())
            for each in shown.answers
        ]
        said = _kept(given.private) | {TEXT + name: value for name, value in _kept(given.texts).items()}
        # A label that somebody has emptied keeps a row, so that no detector proposes it again.
        emptied = {row.what: "" for row in self._of(shown.image)[1] if row.what and row.what not in said}
        labels = [Said(shown.image, *each) for each in (said | emptied).items()]
        return self._exchange(shown.image, (answers, labels or [Said(shown.image, "", "")]))

    def take_back(self, change: Change) -> None:
        """Undo a save, unless the picture was changed since."""
        if self._of(change.image) != change.after:
            raise DataError("the picture was changed meanwhile, so nothing was taken back.")
        self._exchange(change.image, change.before)

    def _exchange(self, image: str, after: tuple[list[Said], list[Said]]) -> Change | None:
        before, failure = self._of(image), ""
        if before == after:
            return None
        try:
            for name, rows, ours in zip((ANSWERS, LABELS), self._read(), after, strict=True):
                write_said(self._folder / name, _exchanged(rows, image, ours))
        except OSError as error:
            failure = error.strerror or type(error).__name__
        if failure:
            raise DataError(f"{self._folder} was not written: {failure}. Free the disk, then save again.")
        return Change(image, before, after)

    def _of(self, image: str) -> tuple[list[Said], list[Said]]:
        answers, labels = ([row for row in rows if row.image == image] for rows in self._read())
        return answers, labels

    def _read(self) -> tuple[list[Said], list[Said]]:
        return read_said(self._folder / ANSWERS), read_said(self._folder / LABELS)

    def _choices(self) -> dict[str, tuple[str, ...]]:
        """Read the possible answers of questions."""
        path = self._folder / QUESTIONS
        if path.is_file():
            return {each.question: each.choices for each in read_questions(path)}
        if not (self._folder / INDEX).is_file():
            return {}
        lines = IndexFile(self._folder).lines()  # made before the questions were kept in a file
        tasks = [task for line in lines for task in line.get("tasks", ())]
        return {task["question"]: tuple(task.get("choices", ())) for task in tasks}


class IndexFile:
    """The file ``data.jsonl``, whose lines may lack answers as yet.

    Args:
        folder: Folder of the data set.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def lines(self) -> list[dict[str, Any]]:
        """Read all lines.

        Raises:
            DataError: If the file can't be read, or a line is none of a data set.
        """
        numbered = enumerate(self._raw(), 1)
        return [_parsed(line, number, self._folder) for number, line in numbered if line.strip()]

    def pictures(self) -> list[Labelled]:
        """Read everything that is said, in the order of the file."""
        lines = self.lines()
        asked: dict[str, tuple[str, ...]] = {}
        for line in lines:
            for task in line.get("tasks", ()):
                asked.setdefault(task["question"], tuple(task.get("choices", ())))
        return [_labelled(line, asked) for line in lines]

    def write(self, shown: Labelled, given: Given) -> Change | None:
        """Write what a person says about a picture; what stands in other fields of its line stays."""
        lines = self._raw()
        place, before = _find(lines, shown.image)
        line = json.loads(before)
        after = _changed(line, given, shown)
        if after == line:
            return None
        text = json.dumps(after, ensure_ascii=False).encode()
        _check(text, place, shown, given)
        self._replace([*lines[:place], text, *lines[place + 1 :]])
        return Change(shown.image, before, text)

    def take_back(self, change: Change) -> None:
        """Undo a save, unless the picture was changed since."""
        lines = self._raw()
        place, now = _find(lines, change.image)
        if now != change.after:
            raise DataError("the picture was changed meanwhile, so nothing was taken back.")
        self._replace([*lines[:place], change.before, *lines[place + 1 :]])

    def _raw(self) -> list[bytes]:
        path, failure = self._folder / INDEX, ""
        try:
            return as_utf8(path.read_bytes()).splitlines()
        except OSError as error:
            failure = error.strerror or type(error).__name__
        raise DataError(
            f"{path} could not be read: {failure}. A data set is a folder with {INDEX}; `vpp data init` makes one."
        )

    def _replace(self, lines: Sequence[bytes]) -> None:
        path = self._folder / INDEX
        partial, failure = path.with_name(f".{INDEX}.{os.getpid()}.partial"), ""
        try:
            with partial.open("wb") as file:
                file.write(b"".join(line + b"\n" for line in lines))
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        except OSError as error:
            failure = error.strerror or type(error).__name__
            partial.unlink(missing_ok=True)
        if failure:
            raise DataError(f"{path} was not written: {failure}. Free the disk, then save again.")


def _reviewed(
    image: str, answers: Sequence[Said], labels: Sequence[Said], choices: Mapping[str, tuple[str, ...]]
) -> Labelled:
    told = {row.what: row for row in labels if row.what and row.value}
    proposed = [row.what for row in (*answers, *told.values()) if row.value and row.is_proposed]
    return Labelled(
        image,
        tuple(Answered(row.what, choices.get(row.what, ()), row.value) for row in answers),
        {name: row.value for name, row in told.items() if not name.startswith(TEXT)},
        {name.removeprefix(TEXT): row.value for name, row in told.items() if name.startswith(TEXT)},
        all(row.value for row in answers) and not proposed,
        tuple(name.removeprefix(TEXT) for name in proposed),
    )


def _exchanged(rows: Iterable[Said], image: str, ours: Sequence[Said]) -> list[Said]:
    """Put rows in the place of those of a picture, or at the end if it has none."""
    result: list[Said] = []
    placed = False
    for row in rows:
        if row.image != image:
            result.append(row)
        elif not placed:
            result += ours
            placed = True
    return result if placed else [*result, *ours]


def _parsed(line: bytes, number: int, folder: Path) -> dict[str, Any]:
    """Read a line that may lack answers.

    Raises:
        DataError: If it is not of the form of a line.
    """
    try:
        parsed = json.loads(line)
        tasks, private, texts = (parsed.get(name, kind()) for name, kind in _PARTS.items())
        values = [value for part in (private, texts) for value in part.values()]
        values += [task.get("answer", "") for task in tasks] + [task["question"] for task in tasks]
        values += [choice for task in tasks for choice in task.get("choices", ())] + [parsed["image"]]
        if all(isinstance(value, str) for value in values):
            return dict(parsed)
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    raise DataError(
        f"{folder / INDEX}, line {number}: this is no line of a data set. Correct it, then open the studio again."
    )


def _labelled(line: Mapping[str, Any], asked: Mapping[str, tuple[str, ...]]) -> Labelled:
    tasks = {task["question"]: task for task in line.get("tasks", ())}
    answers = [
        Answered(question, tuple(task.get("choices", ())), task.get("answer", ""))
        for question, task in tasks.items()
    ]
    answers += [Answered(question, choices) for question, choices in asked.items() if question not in tasks]
    complete = not isinstance(read_line(json.dumps(line).encode()), str)
    return Labelled(
        line["image"], tuple(answers), dict(line.get("private", {})), dict(line.get("texts", {})), complete
    )


def _find(lines: Sequence[bytes], image: str) -> tuple[int, bytes]:
    for place, line in enumerate(lines):
        if line.strip() and json.loads(line).get("image") == image:
            return place, line
    raise DataError("the data set has no such picture any more, so nothing was written.")


def _changed(line: dict[str, Any], given: Given, shown: Labelled) -> dict[str, Any]:
    """Return a line with what a person says; tasks without an answer go, unless all of them do."""
    known = {task["question"]: task for task in line.get("tasks", ())}
    tasks = []
    for each in shown.answers:
        answer = given.answers.get(each.question, each.answer).strip()
        task = known.get(each.question, {"question": each.question})
        if each.choices:
            task = task | {"choices": list(each.choices)}
        if answer:
            tasks.append(task | {"answer": answer})
    if not tasks:
        tasks = [{name: value for name, value in task.items() if name != "answer"} for task in known.values()]
    changed = line | {"tasks": tasks, "private": _kept(given.private)}
    texts = _kept(given.texts)
    if texts or "texts" in line:
        changed["texts"] = texts
    return changed


def _check(text: bytes, place: int, shown: Labelled, given: Given) -> None:
    """Refuse a line that training can't use, unless it merely goes on lacking answers."""
    fault = read_line(text)
    if isinstance(fault, str) and (shown.is_complete or any(map(str.strip, given.answers.values()))):
        raise DataError(f"line {place + 1} was not written: {fault}.")


def _kept(said: Mapping[str, str]) -> dict[str, str]:
    return {name.strip(): value.strip() for name, value in said.items() if name.strip() and value.strip()}
