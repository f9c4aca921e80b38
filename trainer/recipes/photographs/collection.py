"""Collections of photographs with what is known of each: objects with boxes, captions, licence.

The folder has a file ``photos.jsonl`` with one JSON object a line: ``image`` (path of the picture), ``split``
(``train`` or ``test``), and where known ``licence`` (COCO's number) and ``objects``: each has ``object``, a class of
COCO, and ``box``: left, top, width and height in pixels.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from langchain_vpp.errors import DataError, ProtectionError
from langchain_vpp.images.codec import decode_image

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from PIL import Image

_FILE: Final = "photos.jsonl"
PERMISSIVE: Final = frozenset({4, 5, 7})
"""COCO's numbers of licences that permit commercial use and changes: CC BY, CC BY-SA, no known restrictions."""


class Thing(NamedTuple):
    """An object of a photograph."""

    name: str
    """Its class, one of COCO's 80."""
    left: float
    top: float
    width: float
    height: float


class Photograph(NamedTuple):
    """One photograph with its annotation."""

    path: Path
    name: str
    """Path relative to the collection."""
    split: str
    licence: int | None
    """COCO's number of the licence; ``None`` if it is not known."""
    source: str
    things: tuple[Thing, ...] | None
    """Its objects; ``None`` if nobody has annotated them."""

    def open(self) -> Image.Image:
        """Decode the picture.

        Raises:
            DataError: If it can't be read; the message names the file.
        """
        try:
            return decode_image(self.path.read_bytes())
        except (OSError, ProtectionError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
        raise DataError(f"{self.path} can't be used as a photograph: {reason}. Nothing was made.")


def read_photographs(folder: Path, split: str) -> tuple[Photograph, ...]:
    """Read one split of a collection, in the order of the file.

    Args:
        folder: The collection.
        split: ``train`` or ``test``.

    Raises:
        DataError: If the file can't be read, a line is malformed, or the split is empty.
    """
    path = folder / _FILE
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise DataError(
            f"{path} can't be read: {error.strerror}. Nothing was made; give the folder of the photographs."
        ) from None
    found = [
        _photograph(folder, line, f"{path}, line {number}") for number, line in enumerate(lines, start=1)
    ]
    chosen = tuple(each for each in found if each.split == split)
    if not chosen:
        raise DataError(f"{path} has no photograph of the split {split!r}. Nothing was made.")
    return chosen


def _photograph(folder: Path, line: str, where: str) -> Photograph:
    try:
        row: dict[str, Any] = json.loads(line)
        name = str(row["image"])
        split, licence, source = str(row["split"]), row.get("licence"), str(row.get("source", ""))
        things = row.get("objects")
        annotated = (
            None if things is None else tuple(Thing(str(t["object"]), *map(float, t["box"])) for t in things)
        )
    except (ValueError, KeyError, TypeError):
        raise DataError(f"{where}: not a photograph's annotation. Nothing was made.") from None
    if not (folder / name).resolve().is_relative_to(folder.resolve()):
        raise DataError(f"{where}: a picture outside the folder. Nothing was made.")
    return Photograph(folder / name, name, split, licence, source, annotated)


def only_permissive(photographs: Sequence[Photograph]) -> tuple[Photograph, ...]:
    """Return the photographs whose licence is known to permit commercial use and changes."""
    return tuple(each for each in photographs if each.licence in PERMISSIVE)
