"""All faults of a data set at once, and what its size allows to be measured."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from langchain_vpp.errors import DataError
from trainer.data.alike import alike_pairs, fingerprint, is_available
from trainer.data.checks import training_faults, training_warnings
from trainer.data.dataset import Dataset
from trainer.data.format import SPLITS
from trainer.data.index import Fault, check_attributes, check_splits, read_entries, read_text
from trainer.data.review import count_proposals, count_unused
from trainer.statistics import wilson

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import numpy as np

    from trainer.data.format import Example
    from trainer.data.index import Entry

_RARE: Final = 20
"""Fewest training pictures of a class from which an assessor learns anything: a rule of thumb."""
_RARE_TEST: Final = 5
"""Fewest test pictures of a class with which its share in an accuracy is more than luck: a rule of thumb."""
_WIDE: Final = 0.1
"""Largest half-width of the interval of a leak with which two levels can be told apart."""
_Z: Final = 1.96


class Expected(NamedTuple):
    """Interval that an evaluation of this data set will have.

    Attributes:
        subject: The private attribute, or ``tasks``.
        pictures: Test pictures with a label, or pairs of picture and question.
        groups: Independent ones among them: pictures of one group count once.
        chance: Accuracy of the best constant guess.
        half_width: Half of the 95 % interval of the scaled leak, or of the share of right answers. ``None`` where
            nothing can be measured.
        enough: Groups that a half-width of 0.1 takes.
    """

    subject: str
    pictures: int
    groups: int
    chance: float
    half_width: float | None
    enough: int


class Inspection(NamedTuple):
    """Everything that was found in a data set.

    Attributes:
        pictures: Pictures of each split.
        faults: What keeps the data set from being used, by line.
        warnings: What makes a run worth less, a sentence without a full stop each.
        expected: Intervals of an evaluation; empty while there are faults.
    """

    pictures: dict[str, int]
    faults: tuple[Fault, ...]
    warnings: tuple[str, ...]
    expected: tuple[Expected, ...]

    @property
    def is_large_enough(self) -> bool:
        """Whether every leak can be measured to a tenth."""
        return bool(self.expected) and all(
            each.half_width is not None and each.half_width <= _WIDE for each in self.expected
        )

    def as_json(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        return {
            "pictures": self.pictures,
            "faults": [fault._asdict() for fault in self.faults],
            "warnings": list(self.warnings),
            "expected": [each._asdict() for each in self.expected],
            "large_enough": self.is_large_enough,
        }


def inspect_data(folder: Path, *, progress: Callable[[int, int], object] | None = None) -> Inspection:
    """Find every fault of a data set, not only the first, and say what its size allows.

    Every picture and video is decoded. Where the extra ``data`` is installed, pictures that look alike are searched for
    in different splits.

    Args:
        folder: Folder with ``data.jsonl``.
        progress: Called with the number of pictures that were decoded, and of all.

    Raises:
        DataError: If ``data.jsonl`` can't be read.
        MissingExtraError: If there are videos, and ``av`` is not installed.
    """
    faults: list[Fault] = []
    text = read_text(folder)
    entries = read_entries(folder, text, faults.append)
    warnings: list[str] = []
    prints, good = _decode(folder, entries, faults, progress or (lambda _done, _of: None))
    examples = [entry.example for entry in good]
    check_splits(examples, faults.append)
    check_attributes(examples, faults.append)
    dataset = Dataset(folder, tuple(examples), "")
    if not faults:
        faults += training_faults(dataset)
    if not faults:
        warnings += training_warnings(dataset)
    warnings += [*_straddling(good, prints), *_rare(examples)]
    if unused := count_unused(folder, {entry.example.image for entry in entries}):
        warnings.append(
            f"{unused} pictures with an answer in answers.csv are not in data.jsonl: run the same vpp data init again"
        )
    if open_count := count_proposals(folder):
        warnings.append(
            f"{open_count} answers or labels were proposed by a model or a detector and nobody has confirmed them"
        )
    return Inspection(
        {split: sum(each.split == split for each in examples) for split in SPLITS},
        tuple(sorted(faults, key=lambda fault: fault.line or 0)),
        tuple(warnings),
        () if faults else (*_leaks(examples), _answers(examples)),
    )


def _decode(
    folder: Path, entries: Sequence[Entry], faults: list[Fault], progress: Callable[[int, int], object]
) -> tuple[list[np.ndarray], list[Entry]]:
    prints, good, opened = [], [], Dataset(folder, (), "")
    for number, entry in enumerate(entries, 1):
        failure = ""
        try:
            image = opened.open_image(entry.example)
        except DataError as error:
            failure = str(error).split(". Replace the file", maxsplit=1)[0]
        if failure:
            faults.append(Fault(failure, "replace the file or remove the line", entry.line))
        else:
            good.append(entry)
            if is_available():
                prints.append(fingerprint(image))
        progress(number, len(entries))
    return prints, good


def _straddling(entries: Sequence[Entry], prints: Sequence[np.ndarray]) -> list[str]:
    """Warn of pictures in two splits that look alike: an attacker would learn one and be judged by the other."""
    found = [
        (entries[one], entries[other])
        for one, other in alike_pairs(prints)
        if entries[one].example.split != entries[other].example.split
    ]
    if not found:
        return []
    shown = ", ".join(f"{one.line} and {other.line}" for one, other in found[:5])
    more = f" and {len(found) - 5} more pairs" if len(found) > 5 else ""
    warning = (
        f"{len(found)} pairs of pictures look alike and stand in different splits (lines {shown}{more}): give them one "
        "'group' and one split, or attackers are judged by what they learned by heart"
    )
    return [warning]


def _rare(examples: Sequence[Example]) -> list[str]:
    counts: dict[str, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    for example in examples:
        for name, value in example.private.items():
            counts[name][value][example.split] += 1
    return [
        f"class {value!r} of {name!r} has {of['train']} pictures in train and {of['test']} in test: with fewer than "
        f"{_RARE} and {_RARE_TEST} hardly anything is learned or known about it"
        for name, classes in sorted(counts.items())
        for value, of in sorted(classes.items())
        if of["train"] < _RARE or of["test"] < _RARE_TEST
    ]


def _leaks(examples: Sequence[Example]) -> list[Expected]:
    """Foresee the interval of each attribute's leak where a protector hides it: at chance."""
    test = [example for example in examples if example.split == "test"]
    expected = []
    for name in sorted({name for example in examples for name in example.private}):
        labelled = [example for example in test if name in example.private]
        groups = _independent(labelled)
        if not labelled:
            expected.append(Expected(name, 0, 0, 1.0, None, 0))
            continue
        counts = Counter(example.private[name] for example in labelled)
        chance = counts.most_common(1)[0][1] / len(labelled)
        room = 1 - chance
        half = _half_width(chance, groups) / room if room else None
        enough = math.ceil(_Z**2 * chance * room / (_WIDE * room) ** 2) if room else 0
        expected.append(Expected(name, len(labelled), groups, chance, half, enough))
    return expected


def _answers(examples: Sequence[Example]) -> Expected:
    """Foresee the interval of the share of right answers, where half of them are right."""
    asked = [example for example in examples if example.split == "test"]
    pairs, groups = sum(len(example.tasks) for example in asked), _independent(asked)
    enough = math.ceil(_Z**2 * 0.25 / _WIDE**2)
    return Expected("tasks", pairs, groups, 0.5, _half_width(0.5, groups), enough)


def _independent(examples: Sequence[Example]) -> int:
    """Count pictures that say something of their own: those of one group count once, as in the bootstrap."""
    return len({example.group or f"\0{example.image}" for example in examples})


def _half_width(share: float, count: int) -> float:
    ends = wilson(share, count)
    return (ends.high - ends.low) / 2
