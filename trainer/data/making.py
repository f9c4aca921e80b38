"""A data set from a folder of photographs, a list of questions, and what people or models say about the pictures.

Calling it again goes on: pictures that are there stay, new ones are added, a picture keeps its split, and what somebody
wrote into ``answers.csv`` or ``labels.csv`` is taken over.
"""

from __future__ import annotations

import json
import unicodedata
from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from langchain_vpp.errors import DataError
from trainer.data.format import INDEX, SPLITS, read_line
from trainer.data.groups import PERSON, USUAL, assign_splits, group_pictures
from trainer.data.review import ANSWERS, LABELS, Said, merged, read_rows, read_said, write_said
from trainer.data.sources import take_photographs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from trainer.data.format import Split
    from trainer.data.groups import Reason
    from trainer.data.sources import Source, Taken

    Propose = Callable[[Sequence[Source], Sequence["Asked"], Sequence[Said]], Sequence[Said]]
    """Makes answers or labels of pictures, given the questions and what is known already."""

QUESTIONS: Final = "questions.txt"
"""Name of the file in a data set's folder that holds its questions with their possible answers."""
TEXT: Final = "text:"
"""Beginning of the columns and rows that hold private text, such as ``text:name``."""


class Asked(NamedTuple):
    """A question that is asked about every picture.

    Attributes:
        question: The question.
        choices: Its possible answers; none for an open one.
    """

    question: str
    choices: tuple[str, ...] = ()


class Recipe(NamedTuple):
    """The way in which a data set is made.

    Attributes:
        questions: Asked about each picture.
        answers: CSV with ``image``, ``question`` and ``answer``, or with ``image`` and a column for each question.
        labels: CSV with ``image`` and a column for each private attribute; ``text:KIND`` for private text, ``group``
            and ``split`` for what their names say.
        group_by: Reasons for which pictures stay in one split. With ``person``, who is seen is no private attribute of
            ``data.jsonl``: no attacker could learn in one split who is seen in another.
        seed: Seed of the splits.
        propose: Functions that propose answers and labels.
    """

    questions: tuple[Asked, ...]
    answers: Path | None = None
    labels: Path | None = None
    group_by: tuple[Reason, ...] = USUAL
    seed: int = 0
    propose: tuple[Propose, ...] = ()


class Made(NamedTuple):
    """Outcome of :func:`make_data_set`.

    Attributes:
        taken: The photographs.
        groups: Number of groups of pictures.
        splits: Pictures of each split that are in ``data.jsonl``.
        unanswered: Pictures that have no answer yet, and so no line in ``data.jsonl``.
        unlabelled: Pictures without a private label.
        proposed: Answers and labels that nobody has confirmed.
    """

    taken: Taken
    groups: int
    splits: Mapping[str, int]
    unanswered: int
    unlabelled: int
    proposed: int


def read_questions(path: Path) -> tuple[Asked, ...]:
    """Read questions, one on a line; possible answers follow after bars: ``What colour? | red | green``.

    Empty lines and lines that begin with ``#`` are left out.

    Raises:
        DataError: If there is no question, one stands twice, or the file can't be read.
    """
    reason, text = "", ""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
    if reason:
        raise DataError(
            f"{path} can't be read: {reason}. Write a question on each line of a text file; nothing was written."
        )
    asked = []
    for line in text.splitlines():
        question, *choices = (part.strip() for part in line.split("|"))
        if question and not question.startswith("#"):
            asked.append(Asked(question, tuple(filter(None, choices))))
    if not asked or len({each.question for each in asked}) < len(asked):
        raise DataError(f"{path} must hold questions, one on a line and each once. Nothing was written.")
    return tuple(asked)


def write_questions(path: Path, questions: Sequence[Asked]) -> None:
    """Write questions as :func:`read_questions` reads them."""
    lines = [" | ".join((each.question, *each.choices)) for each in questions]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")


def make_data_set(
    photos: Path, out: Path, recipe: Recipe, *, progress: Callable[[str, int, int], object]
) -> Made:
    """Make a data set of photographs, or go on with one.

    Args:
        photos: Folder of photographs.
        out: Folder of the data set.
        recipe: The way in which it is made.
        progress: Called with the name of a phase, and how much of how many is done.

    Raises:
        DataError: If there is no picture, fewer than three groups, or a CSV names pictures or questions that there are
            not.
    """
    taken = take_photographs(photos, out, lambda done, of: progress("pictures", done, of))
    names = _Names(taken.sources)
    labels, groups, splits = names.labels(recipe.labels)
    answers = names.answers(recipe.answers, recipe.questions)
    answers = merged(read_said(out / ANSWERS), answers)
    labels = merged(read_said(out / LABELS), labels)
    place = partial(_placed, taken.sources, groups=groups, splits=splits, out=out, recipe=recipe)
    placed = place(labels)  # too few groups are refused before anything is proposed, and perhaps paid
    for propose in recipe.propose:
        proposals = propose(taken.sources, recipe.questions, [*answers, *labels])
        asked = {each.question for each in recipe.questions}
        answers = merged(answers, [each for each in proposals if each.what in asked])
        labels = merged(labels, [each for each in proposals if each.what not in asked])
        placed = place(labels)
    _write_review(out, taken.sources, recipe.questions, answers, labels)
    grouped, _ = placed
    shown = [each for each in labels if each.what != PERSON] if PERSON in recipe.group_by else labels
    lines = list(_lines(taken.sources, recipe.questions, answers, shown, zip(*placed, strict=True)))
    _write_index(out, lines)
    return Made(
        taken,
        len(set(grouped)),
        {split: sum(line["split"] == split for line in lines) for split in SPLITS},
        len(taken.sources) - len(lines),
        len(taken.sources) - len({each.image for each in labels if each.what and each.value}),
        sum(each.is_proposed and bool(each.value) for each in (*answers, *labels)),
    )


class _Names:
    """Pictures by the names that people give them: that of the data set, or that of the photograph."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._images: dict[str, str] = {}
        short: dict[str, set[str]] = defaultdict(set)
        for source in sources:
            name = _plain(source.name)
            self._images |= {name: source.image, source.image: source.image}
            short[name.rpartition("/")[2]].add(source.image)
        self._images |= {name: min(images) for name, images in short.items() if len(images) == 1}

    def answers(self, path: Path | None, questions: Sequence[Asked]) -> list[Said]:
        """Read a CSV of answers, in either form."""
        if path is None:
            return []
        rows = self._rows(path)
        known = [each.question for each in questions]
        if rows and {"question", "answer"} <= rows[0][1].keys():
            said = [Said(image, row["question"], row["answer"]) for image, row in rows]
        else:
            said = [Said(image, name, row[name]) for image, row in rows for name in row if name != "image"]
        if unknown := sorted({each.what for each in said} - set(known)):
            raise DataError(
                f"{path} answers {unknown[0]!r}, which is none of the {len(known)} questions. Write it as in the "
                "questions; nothing was written."
            )
        return [each for each in said if each.value]

    def labels(self, path: Path | None) -> tuple[list[Said], dict[str, str], dict[str, Split]]:
        """Read a CSV of labels: what is said, and groups and splits by picture."""
        if path is None:
            return [], {}, {}
        said, groups, splits = [], {}, {}
        for image, row in self._rows(path):
            for name, value in row.items():
                if name == "image" or not value:
                    continue
                if name == "group":
                    groups[image] = value
                elif name == "split":
                    match = [split for split in SPLITS if split == value]
                    if not match:
                        raise DataError(f"{path}: {value!r} is no split. Write train, val or test.")
                    splits[image] = match[0]
                else:
                    said.append(Said(image, name, value))
        return said, groups, splits

    def _rows(self, path: Path) -> list[tuple[str, Mapping[str, str]]]:
        rows = [{**row, "image": _plain(row["image"])} for row in read_rows(path)]
        if unknown := [row["image"] for row in rows if row["image"] not in self._images]:
            raise DataError(
                f"{path} names {len(unknown)} pictures that there are not, the first {unknown[0]!r}. Write names as in "
                "the folder of photographs; nothing was written."
            )
        return [(self._images[row["image"]], row) for row in rows]


def _plain(name: str) -> str:
    """Write the name of a file as all systems mean it: slashes, no dot at its start, and composed letters."""
    return unicodedata.normalize("NFC", name.replace("\\", "/")).removeprefix("./")


def _earlier_splits(out: Path) -> Iterator[tuple[str, Split]]:
    path = out / INDEX
    if path.exists():
        for line in path.read_bytes().splitlines():
            example = read_line(line)
            if not isinstance(example, str):
                yield example.image, example.split


def _placed(
    sources: Sequence[Source],
    labels: Sequence[Said],
    *,
    groups: Mapping[str, str],
    splits: Mapping[str, Split],
    out: Path,
    recipe: Recipe,
) -> tuple[list[str], list[Split]]:
    """Choose group and split of each picture."""
    people = {each.image: each.value for each in labels if each.what == PERSON}
    traits = [
        source.traits._replace(named=groups.get(source.image, ""), person=people.get(source.image, ""))
        for source in sources
    ]
    grouped = group_pictures(traits, recipe.group_by)
    position = {source.image: index for index, source in enumerate(sources)}
    known = {position[image]: split for image, split in _earlier_splits(out) if image in position}
    wanted = {position[image]: split for image, split in splits.items()}
    return grouped, assign_splits(grouped, known, seed=recipe.seed, wanted=wanted)


def _write_review(
    out: Path,
    sources: Sequence[Source],
    questions: Sequence[Asked],
    answers: Sequence[Said],
    labels: Sequence[Said],
) -> None:
    """Write the questions, and everything that people can read and change, with an empty row where nothing is said."""
    write_questions(out / QUESTIONS, questions)
    blanks = [Said(source.image, each.question, "") for source in sources for each in questions]
    write_said(out / ANSWERS, merged(answers, blanks))
    told = [each for each in labels if each.what]
    labelled = {each.image for each in told}
    empty = [Said(source.image, "", "") for source in sources if source.image not in labelled]
    write_said(out / LABELS, [*told, *empty])


def _lines(
    sources: Sequence[Source],
    questions: Sequence[Asked],
    answers: Sequence[Said],
    labels: Sequence[Said],
    placed: Iterator[tuple[str, Split]],
) -> Iterator[dict[str, Any]]:
    """Write the line of each picture that has an answer."""
    answered = {(each.image, each.what): each.value for each in answers if each.value}
    told: dict[str, dict[str, str]] = defaultdict(dict)
    for each in labels:
        if each.what and each.value:
            told[each.image][each.what] = each.value
    for source, (group, split) in zip(sources, placed, strict=True):
        tasks = [
            {"question": each.question, "answer": answer}
            | ({"choices": list(each.choices)} if each.choices else {})
            for each in questions
            if (answer := answered.get((source.image, each.question)))
        ]
        facts = told[source.image]
        texts = {name.removeprefix(TEXT): value for name, value in facts.items() if name.startswith(TEXT)}
        private = {name: value for name, value in facts.items() if not name.startswith(TEXT)}
        line = {"image": source.image, "split": split, "group": group, "tasks": tasks, "private": private}
        if tasks:
            yield line | ({"texts": texts} if texts else {})


def _write_index(out: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    texts = [json.dumps(line, ensure_ascii=False) for line in lines]
    for line, text in zip(lines, texts, strict=True):
        if isinstance(fault := read_line(text.encode()), str):
            raise DataError(
                f"the answers or labels of {line['image']} can't be used: {fault}. Correct them in {ANSWERS} or "
                f"{LABELS}, or in the file that you gave; {INDEX} was not changed."
            )
    if texts or (out / INDEX).exists():
        write_index(out, texts)


def write_index(out: Path, lines: Sequence[str]) -> None:
    """Write ``data.jsonl``, as a whole file or not at all."""
    partial = out / f"{INDEX}.partial"
    partial.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")
    partial.replace(out / INDEX)
