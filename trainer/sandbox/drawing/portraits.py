"""Collections of labelled portraits, such as FairFace's, divided for training, validation and testing.

The folder is like the published FairFace subset: ``labels.csv`` with the columns ``file``, ``age_group``, ``gender``
and ``race``, and the pictures below ``train/`` and ``val/``. Children are left out. Portraits of ``val/`` are for
testing; a digest of the file name divides those of ``train/`` between training and validation.
"""

from __future__ import annotations

import csv
import hashlib
import io
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from langchain_vpp.errors import DataError, ProtectionError
from langchain_vpp.images.codec import decode_image

if TYPE_CHECKING:
    from collections.abc import Mapping

    from PIL import Image

    from trainer.data.format import Split

PORTRAIT_ATTRIBUTES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "gender": ("female", "male"),
        "age_group": ("20-29", "30-39", "40-49", "50-59", "60-69", "more than 70"),
        "race": (
            "Black",
            "East Asian",
            "Indian",
            "Latino Hispanic",
            "Middle Eastern",
            "Southeast Asian",
            "White",
        ),
    }
)
"""Attribute of a portrait -> its values, as in FairFace's annotation with blanks for underscores."""

_MINORS: Final = frozenset({"0-2", "3-9", "10-19"})
_VALIDATION_SHARE: Final = 10
"""One in this many portraits of ``train/`` is kept for validation."""


class Portrait(NamedTuple):
    """One picture of a face with its annotation."""

    path: Path
    name: str
    """Path relative to its collection, which stands for the person: nobody is known to have two portraits."""
    attributes: Mapping[str, str]
    """A value for each of :data:`PORTRAIT_ATTRIBUTES`."""

    def open(self) -> Image.Image:
        """Decode the picture.

        Raises:
            DataError: If it can't be read; the message names the file.
        """
        try:
            return decode_image(self.path.read_bytes())
        except (OSError, ProtectionError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
        raise DataError(f"{self.path} can't be used as a portrait: {reason}. Nothing was made.")


def read_portraits(folder: Path) -> dict[Split, tuple[Portrait, ...]]:
    """Read a collection of portraits and divide it into splits; see the module's description.

    Raises:
        DataError: If the labels can't be read, name an unknown value or a file that is missing or outside the folder,
            or leave a split without a portrait.
    """
    found: dict[Split, list[Portrait]] = {"train": [], "val": [], "test": []}
    for portrait in _labelled(folder):
        if portrait.name.startswith("val/"):
            found["test"].append(portrait)
        else:
            digest = int.from_bytes(hashlib.sha256(portrait.name.encode()).digest()[:8])
            found["train" if digest % _VALIDATION_SHARE else "val"].append(portrait)
    empty = [split for split, portraits in found.items() if not portraits]
    if empty:
        raise DataError(
            f"{folder / 'labels.csv'} leaves no adult's portrait for {', '.join(empty)}. Nothing was made; "
            "portraits for training are below train/, those for testing below val/."
        )
    return {
        split: tuple(sorted(portraits, key=lambda portrait: portrait.name))
        for split, portraits in found.items()
    }


def _labelled(folder: Path) -> list[Portrait]:
    path = folder / "labels.csv"
    portraits: dict[str, Portrait] = {}
    for number, row in enumerate(_rows(path), start=2):
        if row["age_group"] in _MINORS:
            continue
        where = f"{path}, line {number}"
        portrait = _portrait(folder, row, where)
        if portrait.name in portraits:
            raise DataError(f"{where}: a file that an earlier line names. Nothing was made.")
        portraits[portrait.name] = portrait
    return list(portraits.values())


def _rows(path: Path) -> list[dict[str, str]]:
    reason = ""
    try:
        reader = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8")), restval="", strict=True)
        rows = list(reader)
        missing = sorted({"file", *PORTRAIT_ATTRIBUTES} - set(reader.fieldnames or ()))
        if missing:
            reason = f"it has no column {', '.join(missing)}"
    except OSError as error:
        reason = error.strerror or type(error).__name__
    except (UnicodeDecodeError, csv.Error):
        reason = "it is not a table of comma-separated values"
    if reason:
        raise DataError(f"{path} can't be used: {reason}. Nothing was made; a collection has such a file.")
    return rows


def _portrait(folder: Path, row: Mapping[str, str], where: str) -> Portrait:
    values = {name: row[name].replace("_", " ") for name in PORTRAIT_ATTRIBUTES}
    unknown = [name for name, value in values.items() if value not in PORTRAIT_ATTRIBUTES[name]]
    if unknown:
        raise DataError(f"{where}: {unknown[0]} has a value that is none of FairFace's. Nothing was made.")
    name = row["file"]
    parts = Path(name).parts
    if len(parts) < 2 or parts[0] not in {"train", "val"} or ".." in parts:
        raise DataError(f"{where}: the file must lie below train/ or val/. Nothing was made.")
    if not (folder / name).is_file():
        raise DataError(f"{where}: there is no picture {name!r}. Nothing was made.")
    return Portrait(folder / name, name, values)
