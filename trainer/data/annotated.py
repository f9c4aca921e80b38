"""Pictures whose private text is annotated: a folder with ``annotations.jsonl``, such as ScreenLeak's."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from langchain_vpp.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

ANNOTATIONS: Final = "annotations.jsonl"
"""Name of the file, which has a line for each picture."""
_Extent = tuple[float, float, float, float]


class PrivateText(NamedTuple):
    """Private text in a picture.

    Attributes:
        kind: Kind of the text, such as ``private_person``.
        text: The text.
        boxes: Left, upper, right and lower edge of each of its lines, in pixels.
    """

    kind: str
    text: str
    boxes: tuple[tuple[float, float, float, float], ...]


class OtherWord(NamedTuple):
    """A word that is not private, with its left, upper, right and lower edge in pixels."""

    text: str
    box: tuple[float, float, float, float]


class AnnotatedPicture(NamedTuple):
    """A picture and its private text.

    Attributes:
        path: File of the picture.
        kind: Kind of the picture, such as its layout.
        taken: The way in which it was taken, such as ``screen`` or ``photo``.
        private: All private text in it.
        words: Its other words; ``None`` if nobody noted them.
    """

    path: Path
    kind: str
    taken: str
    private: tuple[PrivateText, ...]
    words: tuple[OtherWord, ...] | None = None


class _Span(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    label: str
    text: str
    bbox: _Extent
    boxes: tuple[_Extent, ...] = ()


class _Line(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    image_path: str
    template: str = "picture"
    taken: str = "screen"
    spans: tuple[_Span, ...] = Field(default=())
    words: tuple[tuple[str, float, float, float, float], ...] | None = None


def load_annotated(folder: Path) -> tuple[AnnotatedPicture, ...]:
    """Load a folder of annotated pictures.

    Each line of ``annotations.jsonl`` names a picture by ``image_path`` and lists its private text under ``spans``: a
    ``label``, the ``text``, and ``bbox``, which is left and upper edge, width and height in pixels. Text on several
    lines can have ``boxes``, one each. ``words`` may list the words that are not private: the text of each, and its
    left and upper edge, width and height. ``template`` and ``taken`` say which kind of picture it is. Other fields are
    ignored.

    Args:
        folder: The folder.

    Raises:
        DataError: If there is no such file, a line is not valid, or a picture is missing or lies elsewhere.
    """
    file = folder / ANNOTATIONS
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeError):
        lines = []
    if not lines:
        raise DataError(f"nothing was measured: there is no {ANNOTATIONS} in {folder}, or it is empty.")
    return tuple(_picture(folder, line, number) for number, line in enumerate(lines, 1) if line.strip())


def _picture(folder: Path, line: str, number: int) -> AnnotatedPicture:
    reason, found = "", None
    try:
        found = _Line.model_validate(json.loads(line))
    except ValidationError as error:
        first = error.errors()[0]
        reason = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    except ValueError:
        reason = "it is no JSON"
    if found is None:
        raise DataError(f"nothing was measured: line {number} of {ANNOTATIONS} is not valid ({reason}).")
    path = folder / found.image_path
    if not path.resolve().is_relative_to(folder.resolve()) or not path.is_file():
        raise DataError(
            f"nothing was measured: the picture of line {number} of {ANNOTATIONS} is not in {folder}."
        )
    words = None if found.words is None else tuple(OtherWord(text, _edges(box)) for text, *box in found.words)
    return AnnotatedPicture(path, found.template, found.taken, tuple(map(_private, found.spans)), words)


def _private(span: _Span) -> PrivateText:
    return PrivateText(span.label, span.text, tuple(map(_edges, span.boxes or (span.bbox,))))


def _edges(extent: Sequence[float]) -> tuple[float, float, float, float]:
    left, top, wide, high = extent
    return left, top, left + wide, top + high
