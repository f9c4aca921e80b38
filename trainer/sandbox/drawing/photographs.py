"""Collections of real photographs with what is known of each.

The folder has ``photos.jsonl`` with an object a line: ``image`` (path of the picture), ``split`` (``train`` or
``test``), and where they are known ``licence`` (COCO's number), ``objects`` (each with ``object``, a class of COCO, and
``box``: left, top, width and height in pixels), ``captions`` and ``okvqa`` (questions with ``answers``: answer -> its
VQA soft score).
"""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  pydantic reads annotations
from typing import Final, Literal, NamedTuple

from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from langchain_vpp.errors import DataError, ProtectionError
from langchain_vpp.images.codec import decode_image

INDEX: Final = "photos.jsonl"
"""Name of the file with the annotations."""
_PERMISSIVE: Final = frozenset({4, 5, 7})
"""COCO's numbers of licences that permit commercial use and changes: CC BY, CC BY-SA, no known restrictions."""


class Annotated(BaseModel):
    """An object and where it is."""

    model_config = ConfigDict(frozen=True)

    name: str = Field(alias="object")
    box: tuple[float, float, float, float]


class SoftQuestion(BaseModel):
    """A question with the VQA soft score of each answer."""

    model_config = ConfigDict(frozen=True)

    question: str
    answers: dict[str, float]


class Annotation(BaseModel):
    """One line of ``photos.jsonl``."""

    model_config = ConfigDict(frozen=True)

    image: str
    split: Literal["train", "test"]
    source: str = ""
    licence: int | None = None
    objects: tuple[Annotated, ...] | None = None
    captions: tuple[str, ...] = ()
    okvqa: tuple[SoftQuestion, ...] = ()


class Photograph(NamedTuple):
    """A photograph and its annotation."""

    path: Path
    known: Annotation

    @property
    def is_permissive(self) -> bool:
        """Whether the licence is known to permit commercial use and changes."""
        return self.known.licence in _PERMISSIVE

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, read from the head of the file.

        Raises:
            DataError: If it can't be read; the message names the file.
        """
        try:
            with Image.open(self.path) as file:
                return file.size
        except OSError as error:
            reason = error.strerror or type(error).__name__
        raise DataError(f"{self.path} can't be used as a photograph: {reason}. Nothing was made.")

    def open(self) -> Image.Image:
        """Decode the picture.

        Raises:
            DataError: If it can't be read; the message names the file.
        """
        try:
            return decode_image(self.path.read_bytes()).convert("RGB")
        except (OSError, ProtectionError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
        raise DataError(f"{self.path} can't be used as a photograph: {reason}. Nothing was made.")


def read_photographs(folder: Path) -> tuple[Photograph, ...]:
    """Read a collection, in the order of its file.

    Raises:
        DataError: If the file can't be read, or a line is malformed or names a picture that is missing or outside the
            folder.
    """
    path, reason, lines = folder / INDEX, "", list[str]()
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
    if reason:
        raise DataError(f"{path} can't be read: {reason}. Nothing was made; give a folder of photographs.")
    return tuple(
        _photograph(folder, line, f"{path}, line {number}")
        for number, line in enumerate(lines, start=1)
        if line.strip()
    )


def read_split(folder: Path, split: Literal["train", "test"]) -> tuple[Photograph, ...]:
    """Read one split of a collection, in the order of its file.

    Raises:
        DataError: If :func:`read_photographs` would raise it, or the split is empty.
    """
    chosen = tuple(each for each in read_photographs(folder) if each.known.split == split)
    if not chosen:
        raise DataError(f"{folder / INDEX} has no photograph of the split {split!r}. Nothing was made.")
    return chosen


def _photograph(folder: Path, line: str, where: str) -> Photograph:
    known = None
    try:
        known = Annotation.model_validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
    if known is None:
        raise DataError(
            f"{where}: not the annotation of a photograph ({place or 'no JSON'}). Nothing was made."
        )
    path = folder / known.image
    if not path.resolve().is_relative_to(folder.resolve()) or not path.is_file():
        raise DataError(f"{where}: the picture is missing or outside the folder. Nothing was made.")
    return Photograph(path, known)
