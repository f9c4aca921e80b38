"""Pages of a PDF as pictures, which can then be protected like any other (extra ``documents``)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from langchain_vpp import extras
from langchain_vpp.errors import ProtectionError
from langchain_vpp.images.bounds import Bounds
from langchain_vpp.images.isolated import IsolatedError, run_isolated

if TYPE_CHECKING:
    from PIL import Image

MAX_PAGES: Final = 20
"""Default bound on the number of pages."""


class PrintedWord(NamedTuple):
    """A word that a page says it has. The page may show something else there, or nothing.

    Attributes:
        text: The word.
        box: Left, upper, right and lower edge, in pixels of the drawn page.
        line: Number of its line.
    """

    text: str
    box: tuple[float, float, float, float]
    line: int


class Page(NamedTuple):
    """A page of a document.

    Attributes:
        image: The page as it is drawn, RGB.
        words: The words of its text; empty unless they were asked for.
    """

    image: Image.Image
    words: tuple[PrintedWord, ...] = ()


def rasterize_pdf(
    data: bytes,
    *,
    max_pages: int = MAX_PAGES,
    max_side: int = 1_568,
    dpi: int = 150,
    bounds: Bounds | None = None,
) -> list[Image.Image]:
    """Draw every page of a PDF on white, in another process.

    Args:
        data: The file.
        max_pages: A document with more pages is refused, not cut: nobody would notice the missing ones.
        max_side: Bound on the longest side of a page, in pixels.
        dpi: Resolution, where ``max_side`` allows it.
        bounds: What drawing may cost; by default a minute.

    Returns:
        One new RGB image per page, without metadata, text layer, attachments or links.

    Raises:
        MissingExtraError: If ``pypdfium2`` is not installed.
        ProtectionError: If the document is damaged, locked by a password, empty, too long, or takes too much time or
            memory. The error carries nothing of the document.
    """
    task = {"max_pages": max_pages, "max_side": max_side, "dpi": dpi}
    return [page.image for page in _pages(data, task, bounds)]


def read_pdf(data: bytes, *, max_pages: int = MAX_PAGES, bounds: Bounds | None = None) -> list[Page]:
    """Draw every page of a PDF as :func:`rasterize_pdf` does, and read the words of its text.

    Args:
        data: The file.
        max_pages: A document with more pages is refused.
        bounds: What drawing may cost; by default a minute.

    Raises:
        MissingExtraError: If ``pypdfium2`` is not installed.
        ProtectionError: If :func:`rasterize_pdf` would raise it.
    """
    task = {"max_pages": max_pages, "max_side": 1_568, "dpi": 150, "text": True}
    return _pages(data, task, bounds)


def _pages(data: bytes, task: dict[str, Any], bounds: Bounds | None) -> list[Page]:
    extras.require("pypdfium2", extra="documents", undone="A document was not protected")
    reason = ""
    try:
        drawn = run_isolated(
            {"task": "draw", **task}, data, bounds or Bounds(), lambda width, height: (width, height)
        )
        return [Page(each.image, _words(each.text)) for each in drawn]
    except IsolatedError as error:
        reason = error.reason
    refusal = {
        "pages": f"it has no pages, or more than {task['max_pages']}.",
        "damaged": "it is damaged, or locked by a password.",
    }
    raise ProtectionError(
        f"A document was not protected: {refusal.get(reason, 'drawing it takes too long, or too much memory.')}"
    )


def _words(text: bytes) -> tuple[PrintedWord, ...]:
    """Read what the other process says about the words of a page.

    Raises:
        IsolatedError: If it is anything else than words.
    """
    try:
        return tuple(
            PrintedWord(str(word), (float(left), float(top), float(right), float(bottom)), int(line))
            for word, left, top, right, bottom, line in (json.loads(text) if text else ())
        )
    except (TypeError, ValueError):
        pass
    raise IsolatedError
