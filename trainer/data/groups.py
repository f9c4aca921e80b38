"""Groups of pictures that belong together, and their splits: what training saw must not be in the test."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, get_args

from langchain_vpp.errors import DataError
from trainer.data.alike import alike_pairs
from trainer.data.format import SPLITS

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence

    import numpy as np

    from trainer.data.format import Split

Reason = Literal["folder", "time", "alike", "person"]
REASONS: Final[tuple[Reason, ...]] = get_args(Reason)
USUAL: Final[tuple[Reason, ...]] = ("folder", "time", "alike")
PERSON: Final = "person"
"""Private attribute that says who is seen."""
SHARES: Final[Mapping[Split, float]] = {"train": 0.7, "val": 0.15, "test": 0.15}
_TOGETHER_S: Final = 120
"""Seconds between two pictures that count as one occasion."""
_PRECEDENCE: Final[tuple[Split, ...]] = ("train", "val", "test")


class Traits(NamedTuple):
    """That by which a picture is grouped.

    Attributes:
        digest: sha256 of the original file.
        folder: Its subfolder; empty for a picture that lies in none.
        taken: Time at which it was taken, in seconds, or ``None``.
        bits: Perceptual hash; see :func:`~trainer.data.alike.fingerprint`. ``None`` where the extra is missing.
        named: Group that the user gave it; it stays apart from all others.
        person: Who is seen; empty if nobody said so.
    """

    digest: str
    folder: str
    taken: float | None
    bits: np.ndarray | None
    named: str = ""
    person: str = ""


def group_pictures(pictures: Sequence[Traits], reasons: Collection[Reason]) -> list[str]:
    """Name the group of each picture.

    Pictures are in one group if a chain of reasons links them: one subfolder, two minutes between them, the same
    look, or the same person. Pictures whose group the user named are linked by that name alone.

    Args:
        pictures: The pictures.
        reasons: Reasons that count.

    Returns:
        A name for each picture, which does not depend on the others outside its group.
    """
    links = _Links(len(pictures))
    free = [index for index, each in enumerate(pictures) if not each.named]
    links.join_equal((index, ("named", each.named)) for index, each in enumerate(pictures) if each.named)
    links.join_equal((index, ("file", pictures[index].digest)) for index in free)
    for reason in ("folder", "person"):
        if reason in reasons:
            links.join_equal((index, value) for index in free if (value := getattr(pictures[index], reason)))
    if "time" in reasons:
        timed = sorted((taken, index) for index in free if (taken := pictures[index].taken) is not None)
        for (earlier, one), (later, other) in pairwise(timed):
            if later - earlier <= _TOGETHER_S:
                links.join(one, other)
    if "alike" in reasons:
        known = [(index, bits) for index in free if (bits := pictures[index].bits) is not None]
        for one, other in alike_pairs([bits for _, bits in known]):
            links.join(known[one][0], known[other][0])
    return _named(pictures, links)


def _named(pictures: Sequence[Traits], links: _Links) -> list[str]:
    members: dict[int, list[int]] = defaultdict(list)
    for index in range(len(pictures)):
        members[links.root(index)].append(index)
    names = [""] * len(pictures)
    for inside in members.values():
        name = pictures[inside[0]].named or min(pictures[index].digest for index in inside)[:12]
        for index in inside:
            names[index] = name
    return names


def assign_splits(
    groups: Sequence[str], known: Mapping[int, Split], *, seed: int, wanted: Mapping[int, Split] | None = None
) -> list[Split]:
    """Assign whole groups to splits, near to 70, 15 and 15 per cent of the pictures.

    Args:
        groups: Group of each picture.
        known: Index of a picture -> the split that it had. A group keeps it; where members had several, training wins,
            so that nothing that was learned from is measured later.
        seed: Seed of the order in which new groups are assigned.
        wanted: Index of a picture -> the split that the user gave it, which comes before all others.

    Raises:
        DataError: If there are fewer than three groups, or the user put a group into two splits.
    """
    sizes = Counter(groups)
    if len(sizes) < len(SPLITS):
        raise DataError(
            f"the {len(groups)} pictures form {len(sizes)} group{'s' * (len(sizes) != 1)}, and each of train, val and "
            "test needs one of its own. Add pictures of other people, places or days, or let fewer things keep "
            "pictures together (vpp data init --group-by alike, or none). Nothing was split."
        )
    had: dict[str, set[Split]] = defaultdict(set)
    for index, split in known.items():
        had[groups[index]].add(split)
    given: dict[str, set[Split]] = defaultdict(set)
    for index, split in (wanted or {}).items():
        given[groups[index]].add(split)
    if torn := sorted(name for name, splits in given.items() if len(splits) > 1):
        raise DataError(
            f"group {torn[0]!r} was given two splits in the labels. Keep a group in one; nothing was split."
        )
    chosen: dict[str, Split] = {}
    for name, splits in had.items():
        chosen[name] = next(split for split in _PRECEDENCE if split in splits)
    for name, (split,) in given.items():
        chosen[name] = split
    counts = Counter[str]()
    for name, split in chosen.items():
        counts[split] += sizes[name]
    new = sorted(sizes.keys() - chosen.keys(), key=lambda name: (-sizes[name], _shuffled(name, seed)))
    for position, name in enumerate(new):
        empty = [split for split in SPLITS if not counts[split]]
        among = empty if len(empty) >= len(new) - position else SPLITS
        split = max(among, key=lambda each: SHARES[each] - counts[each] / len(groups))
        chosen[name] = split
        counts[split] += sizes[name]
    return [chosen[name] for name in groups]


def _shuffled(name: str, seed: int) -> str:
    return hashlib.sha256(f"{seed}/{name}".encode()).hexdigest()


class _Links:
    """Disjoint sets of numbers."""

    def __init__(self, count: int) -> None:
        self._parents = list(range(count))

    def root(self, number: int) -> int:
        while self._parents[number] != number:
            self._parents[number] = self._parents[self._parents[number]]
            number = self._parents[number]
        return number

    def join(self, one: int, other: int) -> None:
        one, other = sorted((self.root(one), self.root(other)))
        self._parents[other] = one

    def join_equal(self, keyed: Iterable[tuple[int, Hashable]]) -> None:
        first: dict[Hashable, int] = {}
        for number, key in keyed:
            self.join(first.setdefault(key, number), number)
