"""Labelling: the answers and private labels of a data set, read and written a picture at a time.

Each save reads the file again, changes what belongs to one picture, and replaces the file as a whole: a process that is
killed leaves the old file or the new one, and work goes on where the first picture lacks something.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

from langchain_vpp.errors import DataError
from trainer.data.format import INDEX, as_utf8, parse_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_MOST_UNDONE = 500


class Answered(NamedTuple):
    """A question about a picture."""

    question: str
    choices: tuple[str, ...] = ()
    """Possible answers; none for an open question."""
    answer: str = ""
    """Empty if nobody has given one."""


class Labelled(NamedTuple):
    """What is said about a picture."""

    image: str
    """Path relative to the data set's folder."""
    answers: tuple[Answered, ...]
    private: Mapping[str, str]
    """Private attribute -> class."""
    texts: Mapping[str, str]
    """Kind of private text -> the words or numbers in the picture."""
    is_complete: bool
    """Whether training can use the picture as it is."""

    @property
    def version(self) -> str:
        """Digest of what is said, by which a page tells whether somebody else has changed it."""
        said = json.dumps([self.answers, dict(self.private), dict(self.texts)])
        return hashlib.sha256(said.encode()).hexdigest()[:16]


class Said(NamedTuple):
    """What a person says about a picture."""

    answers: Mapping[str, str]
    """Question -> answer; an empty answer is none."""
    private: Mapping[str, str]
    texts: Mapping[str, str]


class Labels:
    """The labels of a data set. Thread-safe; two people may label at once.

    Args:
        folder: Folder with ``data.jsonl``. Its lines may lack answers as yet.

    Raises:
        DataError: If there is no such file, or a line of it can't be read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._done: list[tuple[str, bytes, bytes]] = []
        """Image, its line before, and its line after, of each save."""
        self.pictures()

    def pictures(self) -> list[Labelled]:
        """Read what is said about all pictures, in the order of the file.

        Raises:
            DataError: If a line can't be read.
        """
        lines = [
            _parsed(line, number, self.folder) for number, line in enumerate(self._lines(), 1) if line.strip()
        ]
        asked: dict[str, tuple[str, ...]] = {}
        for line in lines:
            for task in line.get("tasks", ()):
                asked.setdefault(task["question"], tuple(task.get("choices", ())))
        return [_labelled(line, asked) for line in lines]

    def save(self, image: str, version: str, said: Said) -> None:
        """Write what a person says about a picture.

        Args:
            image: The picture.
            version: Version that the person has seen.
            said: The answers and labels. What is said in other fields of the line stays.

        Raises:
            DataError: If the picture was changed meanwhile, or what is said can't be used. Nothing was written.
        """
        with self._lock:
            (shown,) = [each for each in self.pictures() if each.image == image] or [None]
            if shown is None or shown.version != version:
                raise DataError(
                    "somebody else has changed this picture meanwhile, so nothing was written. Look at it again."
                )
            lines = self._lines()
            place, before = _find(lines, image)
            after = _changed(json.loads(before), said, shown)
            if after == json.loads(before):
                return
            text = json.dumps(after, ensure_ascii=False).encode()
            self._check(text, place, shown, said)
            self._replace([*lines[:place], text, *lines[place + 1 :]])
            self._done = [*self._done, (image, before, text)][-_MOST_UNDONE:]

    def undo(self) -> str | None:
        """Take the last save back, and return its picture; ``None`` if there is none.

        Raises:
            DataError: If the picture was changed otherwise meanwhile. Nothing was written.
        """
        with self._lock:
            if not self._done:
                return None
            image, before, after = self._done.pop()
            lines = self._lines()
            place, now = _find(lines, image)
            if now != after:
                raise DataError("the picture was changed meanwhile, so nothing was taken back.")
            self._replace([*lines[:place], before, *lines[place + 1 :]])
            return image

    def file(self, image: str) -> bytes:
        """Read the file of a picture of the data set.

        Raises:
            DataError: If the data set has no such picture, or its file is outside the folder or can't be read.
        """
        failure = "the data set has no such picture"
        if any(each.image == image for each in self.pictures()):
            path = self.folder / image
            try:
                if path.resolve().is_relative_to(self.folder.resolve()):
                    return path.read_bytes()
                failure = "it lies outside the data set's folder"
            except (OSError, ValueError) as error:
                failure = getattr(error, "strerror", None) or type(error).__name__
        raise DataError(f"the picture can't be shown: {failure}.")

    def _check(self, text: bytes, place: int, shown: Labelled, said: Said) -> None:
        """Refuse a line that training can't use, unless it merely goes on lacking answers."""
        reason = ""
        try:
            parse_line(text, "")
        except DataError as error:
            reason = str(error).partition(". Nothing was trained")[0].lstrip(": ")
        if reason and (shown.is_complete or any(map(str.strip, said.answers.values()))):
            raise DataError(f"line {place + 1} was not written: {reason}.")

    def _lines(self) -> list[bytes]:
        path, failure = self.folder / INDEX, ""
        try:
            return as_utf8(path.read_bytes()).splitlines()
        except OSError as error:
            failure = error.strerror or type(error).__name__
        raise DataError(f"{path} could not be read: {failure}. A data set is a folder with {INDEX} in it.")

    def _replace(self, lines: Sequence[bytes]) -> None:
        path = self.folder / INDEX
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


def _parsed(line: bytes, number: int, folder: Path) -> dict[str, Any]:
    """Read a line that may lack answers.

    Raises:
        DataError: If it is not of the form of a line.
    """
    try:
        parsed = json.loads(line)
        tasks, private, texts = (parsed.get(name, kind()) for name, kind in _PARTS.items())
        if (
            isinstance(parsed["image"], str)
            and all(
                isinstance(task["question"], str) and isinstance(task.get("answer", ""), str)
                for task in tasks
            )
            and all(isinstance(choice, str) for task in tasks for choice in task.get("choices", ()))
            and all(isinstance(value, str) for part in (private, texts) for value in part.values())
        ):
            return dict(parsed)
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    raise DataError(
        f"{folder / INDEX}, line {number}: this is no line of a data set. Correct it, then open the studio again."
    )


_PARTS: Mapping[str, type[Any]] = {"tasks": list, "private": dict, "texts": dict}


def _labelled(line: Mapping[str, Any], asked: Mapping[str, tuple[str, ...]]) -> Labelled:
    tasks = {task["question"]: task for task in line.get("tasks", ())}
    answers = [
        Answered(question, tuple(task.get("choices", ())), task.get("answer", ""))
        for question, task in tasks.items()
    ]
    answers += [Answered(question, choices) for question, choices in asked.items() if question not in tasks]
    try:
        parse_line(json.dumps(line).encode(), "")
        complete = True
    except DataError:
        complete = False
    return Labelled(
        line["image"], tuple(answers), dict(line.get("private", {})), dict(line.get("texts", {})), complete
    )


def _find(lines: Sequence[bytes], image: str) -> tuple[int, bytes]:
    for place, line in enumerate(lines):
        if line.strip() and json.loads(line).get("image") == image:
            return place, line
    raise DataError("the data set has no such picture any more, so nothing was written.")


def _changed(line: dict[str, Any], said: Said, shown: Labelled) -> dict[str, Any]:
    """Return a line with what a person says; tasks without an answer go, unless all of them do."""
    known = {task["question"]: task for task in line.get("tasks", ())}
    tasks = []
    for each in shown.answers:
        answer = said.answers.get(each.question, each.answer).strip()
        task = known.get(each.question, {"question": each.question})
        if each.choices:
            task = task | {"choices": list(each.choices)}
        if answer:
            tasks.append(task | {"answer": answer})
    if not tasks:
        tasks = [{name: value for name, value in task.items() if name != "answer"} for task in known.values()]
    changed = line | {"tasks": tasks, "private": _kept(said.private)}
    texts = _kept(said.texts)
    if texts or "texts" in line:
        changed["texts"] = texts
    return changed


def _kept(said: Mapping[str, str]) -> dict[str, str]:
    return {name.strip(): value.strip() for name, value in said.items() if name.strip() and value.strip()}
