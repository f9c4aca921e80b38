"""Figures of the audit from its measurements."""

from __future__ import annotations

from collections import defaultdict
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from trainer.recipes.photographs.audit.pasted import PastedPicture

_ORIGINALS: Final = "originals"
_SIZES: Final = (24, 32, 48, 80, 130, 1000)
_COUNTED: Final = ("faces", "objects", "words")
_MOST: Final = 3
"""Numbers of people from which counts are alike: three or more."""


class Audit(NamedTuple):
    """All measurements: variant -> rows; empty where nothing was measured."""

    pasted: Mapping[str, Any] = MappingProxyType({})
    faces: Mapping[str, Any] = MappingProxyType({})
    objects: Mapping[str, Any] = MappingProxyType({})
    words: Mapping[str, Any] = MappingProxyType({})
    attacks: Mapping[str, Any] = MappingProxyType({})


def summarise(pictures: Sequence[PastedPicture], audit: Audit) -> dict[str, Any]:
    """Return all figures of a report.

    Args:
        pictures: The photographs with pasted faces, in the order of their rows.
        audit: The measurements.
    """
    groups = [list(_groups(picture, number)) for picture in pictures for number in range(len(picture.faces))]
    names = dict.fromkeys(name for measured in audit for name in measured if name != _ORIGINALS)
    return {
        "pasted_faces": len(groups),
        "pictures": {
            kind: len(rows[_ORIGINALS]) for kind, rows in audit._asdict().items() if kind in _COUNTED and rows
        },
        "variants": {name: _figures(audit, name, groups) for name in names},
        "attackers on originals": audit.attacks.get(_ORIGINALS, {}),
    }


def _figures(audit: Audit, name: str, groups: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Return everything that was measured of a variant."""
    figures: dict[str, Any] = {}
    if name in audit.pasted:
        figures["pasted faces still found"] = _pasted(audit.pasted, name, groups)
    if name in audit.faces:
        figures["photographs' faces still found"] = _photographed(audit.faces, name)
    if name in audit.objects:
        figures["objects kept"] = _objects(audit.objects, name)
    if name in audit.words:
        figures["words still read"] = _words(audit.words, name)
    if name in audit.attacks:
        figures["attackers"] = audit.attacks[name]
    return figures


def _groups(picture: PastedPicture, number: int) -> Iterator[str]:
    """Return the groups that a face belongs to."""
    face = picture.faces[number]
    yield "all"
    top = next(size for size in _SIZES if face.height < size)
    yield f"height below {top}" if top != _SIZES[-1] else f"height from {_SIZES[-2]}"
    yield "dark picture" if picture.dark else "bright picture"
    for name, value in face.attributes.items():
        yield f"{name}: {value}"


def _pasted(pasted: Mapping[str, Any], name: str, groups: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Return, for each group, how many faces are found on originals, and which share of them is still found."""
    before: dict[str, int] = defaultdict(int)
    after: dict[str, int] = defaultdict(int)
    covered: dict[str, list[bool]] = defaultdict(list)
    by_finder: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for own, original, row in zip(groups, pasted[_ORIGINALS], pasted[name], strict=True):
        seen, still = any(original["found"].values()), any(row["found"].values())
        for group in own:
            before[group] += seen
            after[group] += seen and still
            covered[group].append(row["covered"])
        for finder, found in original["found"].items():
            by_finder[finder][0] += found
            by_finder[finder][1] += found and row["found"][finder]
    return {
        "detectors": {finder: _share(pair[1], pair[0]) for finder, pair in by_finder.items()},
        "groups": {
            group: _share(after[group], before[group])
            | {"covered": sum(covered[group]) / len(covered[group])}
            for group in sorted(before)
        },
    }


def _photographed(faces: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the share of the faces in photographs that each detector still finds."""
    result = {}
    for finder in faces[_ORIGINALS][0]:
        found = still = 0
        for original, shown in zip(faces[_ORIGINALS], faces[name], strict=True):
            found += len(original[finder])
            still += sum(any(_alike(box, other) for other in shown[finder]) for box in original[finder])
        result[finder] = _share(still, found)
    return result


def _alike(one: Sequence[float], other: Sequence[float]) -> bool:
    height = one[3] - one[1]
    inside = one[0] < (other[0] + other[2]) / 2 < one[2] and one[1] < (other[1] + other[3]) / 2 < one[3]
    return inside and 0.4 * height < other[3] - other[1] < 2.5 * height


def _objects(objects: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the shares of objects that are still there, and of pictures with the same number of people."""
    there = kept = new = alike = 0
    for original, shown in zip(objects[_ORIGINALS], objects[name], strict=True):
        there += len(original)
        kept += len(original.keys() & shown.keys())
        new += len(shown.keys() - original.keys())
        alike += min(original.get("person", 0), _MOST) == min(shown.get("person", 0), _MOST)
    return {
        "kinds of objects": _share(kept, there),
        "kinds that appear": _share(new, there),
        "same number of people (0, 1, 2, 3 or more)": _share(alike, len(objects[name])),
    }


def _words(words: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the share of the words that each reader still reads."""
    result = {}
    for reader in words[_ORIGINALS][0]:
        before = still = 0
        for original, shown in zip(words[_ORIGINALS], words[name], strict=True):
            before += len(original[reader])
            still += len(set(original[reader]) & set(shown[reader]))
        result[reader] = _share(still, before)
    return result


def _share(part: int, whole: int) -> dict[str, Any]:
    return {"share": part / whole if whole else None, "of": whole}
