"""Folders of drawn pages, with annotations of their private text."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from langchain_vpp.errors import DataError
from trainer.sandbox.drawing.documents.pages import draw_document

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from trainer.sandbox.drawing.documents.browser import PrivateSpan
    from trainer.sandbox.drawing.documents.pages import Document, Taken

ANNOTATIONS: Final = "annotations.jsonl"
"""Name of the file that says what is private in the pictures of a folder."""
_WAYS: Final[tuple[Taken, ...]] = ("screen", "screen", "screen", "scan", "photo")
"""Ways in which pictures are taken, in turn: more screenshots than others."""


def draw_folder(
    folder: Path,
    layouts: Sequence[str],
    count: int,
    *,
    seed: int = 0,
    scales: Sequence[float] = (1.0, 1.5, 2.0),
    window: tuple[int, int] = (1280, 800),
    progress: Callable[[int], object] = lambda done: None,  # noqa: ARG005  named for callers
) -> None:
    """Draw pages as pictures with ``annotations.jsonl``: a line per picture, which lists its private text.

    A line is ``{"image_path": "images/1.png", "template": "chat", "taken": "screen", "spans": [{"label":
    "private_person", "text": "Ada Byron", "bbox": [x, y, width, height], "boxes": [...]}]}``, in pixels of the picture;
    ``boxes`` has a box for each line of the text. ``words`` lists the words that are not private: the text of each, and
    its box.

    Args:
        folder: A folder that is missing or empty.
        layouts: Names of layouts, which are drawn in turn.
        count: Number of pictures.
        seed: Seed of the pages.
        scales: Device scale factors, one of which is drawn for each page.
        window: Width and height of the browser's window, CSS pixels.
        progress: Called with the number of pictures that are drawn.

    Raises:
        DataError: If the folder holds something, or no browser makes pictures.
    """
    if folder.exists() and any(folder.iterdir()):
        raise DataError(f"no page was drawn: {folder} is not empty. Give a folder that is missing or empty.")
    (folder / "images").mkdir(parents=True, exist_ok=True)
    with (folder / ANNOTATIONS).open("w", encoding="utf-8") as file:
        for number in range(count):
            around = number // len(layouts)
            document = draw_document(
                layouts[number % len(layouts)],
                seed=seed + around,
                taken=_WAYS[around % len(_WAYS)],
                scales=scales,
                window=window,
            )
            path = f"images/{document.layout}-{seed + around}.png"
            document.picture.save(folder / path)
            file.write(json.dumps(_annotation(path, document), ensure_ascii=False) + "\n")
            progress(number + 1)


def _annotation(path: str, document: Document) -> dict[str, Any]:
    return {
        "image_path": path,
        "template": document.layout,
        "taken": document.taken,
        "spans": [_span(each) for each in document.spans],
        "words": [[each.text, *_extent(each.box)] for each in document.words],
    }


def _span(span: PrivateSpan) -> dict[str, Any]:
    left, top, right, bottom = zip(*span.boxes, strict=True)
    whole = (min(left), min(top), max(right), max(bottom))
    return {
        "label": span.kind,
        "text": span.text,
        "bbox": _extent(whole),
        "boxes": [*map(_extent, span.boxes)],
    }


def _extent(box: tuple[float, float, float, float]) -> list[float]:
    """Return the left and upper edge, the width and the height of a box."""
    left, top, right, bottom = (round(edge, 1) for edge in box)
    return [left, top, round(right - left, 1), round(bottom - top, 1)]
