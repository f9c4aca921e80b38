"""Data sets of attributes: ``vispr``, ``fairface`` and ``celeba``.

They ask nothing, so some of their attributes become questions, and the others are private.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from langchain_vpp.errors import DataError
from trainer.data.adapters.format import (
    Adapter,
    Item,
    existing,
    held_out,
    read_json,
    read_lines,
    read_table,
    require,
)
from trainer.data.format import SPLITS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from trainer.data.adapters.format import Options
    from trainer.data.format import Split

SEVEN: Final = (
    "a4_gender", "a9_face_complete", "a10_face_partial", "a12_semi_nudity", "a17_color", "a64_rel_personal",
    "a65_rel_social",
)  # fmt: skip
"""The seven attributes of VISPR with which SPAct and later work measure privacy."""
_VISPR_SPLITS: Final[Mapping[str, Split]] = {"train2017": "train", "val2017": "val", "test2017": "test"}
_VISPR_TASKS: Final = ("a59_sports", "a73_landmark")
_FAIRFACE_TASKS: Final = ("age",)
_FAIRFACE: Final = ("age", "gender", "race")
_AGES: Final = ("0-2", "3-9", "10-19", "20-29", "30-39", "40-49", "50-59", "60-69", "more than 70")
_CELEBA_TASKS: Final = ("Smiling", "Eyeglasses", "Wearing_Hat")
_CELEBA_PRIVATE: Final = ("Male", "Young")
_CELEBA_SPLITS: Final[Mapping[str, Split]] = {"0": "train", "1": "val", "2": "test"}
_ASK: Final[Mapping[str, str]] = {
    "a59_sports": "Does the picture show sports?",
    "a73_landmark": "Does the picture show a landmark?",
    "age": "How old is the person?",
    "gender": "What is the gender of the person?",
    "race": "What is the race of the person?",
    "Smiling": "Is the person smiling?",
    "Eyeglasses": "Does the person wear eyeglasses?",
    "Wearing_Hat": "Does the person wear a hat?",
}


def load_vispr(source: Path, options: Options) -> Iterator[Item]:
    """Read VISPR: ``annotations/SPLIT2017/ID.json`` and ``images/SPLIT2017/ID.jpg``.

    Each attribute is ``yes`` or ``no`` for every picture. Private are the seven of SPAct, or with ``attributes=all``
    all that occur in every split, but those that are asked for.

    Raises:
        DataError: If a folder or picture is missing.
    """
    wanted = options.one_of("attributes", ("seven", "all"))
    tasks = options.names("tasks", _VISPR_TASKS)
    require(source, *(f"annotations/{part}" for part in _VISPR_SPLITS))
    named: dict[Path, tuple[Split, dict[str, Any]]] = {}
    for part, split in _VISPR_SPLITS.items():
        for path in sorted((source / "annotations" / part).glob("*.json")):
            named[path] = (split, read_json(path))
    private = SEVEN if wanted == "seven" else tuple(sorted(_everywhere(named.values()) - {*tasks, "a0_safe"}))
    for path, (split, content) in named.items():
        image = content["image_path"]
        found = set(content["labels"])
        yield Item(
            existing(source, image, path.name),
            image,
            split,
            [_asked(name, "yes" if name in found else "no", ("yes", "no")) for name in tasks],
            labels_of(found, tuple(name for name in private if name not in tasks)),
        )


def load_fairface(source: Path, options: Options) -> Iterator[Item]:
    """Read FairFace: ``fairface_label_train.csv`` and ``fairface_label_val.csv``, or ``labels.csv`` for both.

    Val as published is the test split, and a tenth of train is val.

    Raises:
        DataError: If a file is missing, or lacks a column.
    """
    published = [source / f"fairface_label_{part}.csv" for part in ("train", "val")]
    files = [path for path in published if path.is_file()] or [source / "labels.csv"]
    if not files[0].is_file():
        raise DataError(
            f"nothing was converted: {source} lacks fairface_label_train.csv and fairface_label_val.csv. Give the "
            "folder that holds them and the folders train and val."
        )
    tasks = options.names("tasks", _FAIRFACE_TASKS)
    _check_names(tasks, _FAIRFACE)
    for path in files:
        for row in read_table(path, ("file", "gender", "race")):
            facts = {
                "age": row.get("age") or row.get("age_group", ""),
                "gender": row["gender"],
                "race": row["race"],
            }
            part = row["file"].partition("/")[0]
            held = part == "train" and held_out(row["file"], 0.1)
            split: Split = "test" if part == "val" else "val" if held else "train"
            choices = {"age": _AGES, "gender": ("Female", "Male"), "race": ()}
            yield Item(
                existing(source, row["file"], path.name),
                f"images/{row['file']}",
                split,
                [_asked(name, facts[name], choices[name]) for name in tasks],
                {name: facts[name] for name in _FAIRFACE if name not in tasks and facts[name]},
            )


def load_celeba(source: Path, options: Options) -> Iterator[Item]:
    """Read CelebA: ``list_attr_celeba.txt``, ``list_eval_partition.txt`` and ``img_align_celeba``.

    With ``identity_CelebA.txt`` the pictures of one person are a group.

    Raises:
        DataError: If a file is missing, or has no such attribute.
    """
    labels, partition, _ = require(
        source, "list_attr_celeba.txt", "list_eval_partition.txt", "img_align_celeba"
    )
    tasks, private = options.names("tasks", _CELEBA_TASKS), options.names("private", _CELEBA_PRIVATE)
    lines = read_lines(labels)
    names = lines[1].split()
    _check_names((*tasks, *private), names)
    splits = dict(line.split() for line in read_lines(partition))
    identity = source / "identity_CelebA.txt"
    people = dict(line.split() for line in read_lines(identity)) if identity.is_file() else {}
    for line in lines[2:]:
        file, *values = line.split()
        facts = dict(zip(names, values, strict=True))
        if file not in splits:
            raise DataError(f"nothing was converted: {partition} lacks {file}.")
        yield Item(
            existing(source, f"img_align_celeba/{file}", labels.name),
            f"images/{file}",
            _CELEBA_SPLITS[splits[file]],
            [_asked(name, _yes(facts[name]), ("yes", "no")) for name in tasks],
            {name.lower(): _yes(facts[name]) for name in private},
            people.get(file),
        )


def _everywhere(annotations: Iterable[tuple[Split, Mapping[str, Any]]]) -> set[str]:
    """Return the labels that pictures of every split have: others could not be learned or not be measured."""
    by_split: dict[Split, set[str]] = {split: set() for split in SPLITS}
    for split, content in annotations:
        by_split[split].update(content["labels"])
    return set.intersection(*by_split.values())


def labels_of(found: Collection[str], attributes: Sequence[str]) -> dict[str, str]:
    """Write which attributes a picture has: ``yes`` or ``no`` for each."""
    return {name: "yes" if name in found else "no" for name in attributes}


def _asked(name: str, answer: str, choices: Sequence[str]) -> dict[str, Any]:
    question = (
        _ASK.get(name) or f"Is this true of the picture: {name.partition('_')[2].replace('_', ' ') or name}?"
    )
    task: dict[str, Any] = {"question": question, "answer": answer}
    matching = [choice for choice in choices if choice.casefold() == answer.casefold()]
    return task | ({"choices": list(choices), "answer": matching[0]} if matching else {})


def _yes(value: str) -> str:
    return "yes" if value == "1" else "no"


def _check_names(given: Sequence[str], known: Sequence[str]) -> None:
    if unknown := [name for name in given if name not in known]:
        raise DataError(
            f"nothing was converted: there is no attribute {unknown[0]!r}. Choose from {', '.join(known)}."
        )


ADAPTERS: Final = {
    "vispr": Adapter(
        load_vispr,
        "VISPR, every attribute as yes or no",
        {
            "attributes": "seven (those of SPAct, the default) or all",
            "tasks": f"attributes that are asked for ({', '.join(_VISPR_TASKS)})",
        },
        ("VISPR asks nothing: attributes that are not private stand in for questions",),
    ),
    "fairface": Adapter(
        load_fairface,
        "FairFace: age, gender and race of faces",
        {"tasks": "attributes that are asked for (age); the others are private"},
        ("FairFace asks nothing: an attribute stands in for a question; val as published is the test split",),
    ),
    "celeba": Adapter(
        load_celeba,
        "CelebA: forty attributes of faces, by person where identity_CelebA.txt is there",
        {
            "tasks": f"attributes that are asked for ({', '.join(_CELEBA_TASKS)})",
            "private": f"private attributes ({', '.join(_CELEBA_PRIVATE)})",
        },
        ("CelebA asks nothing: attributes stand in for questions",),
    ),
}
