"""Pages of a PDF as pictures, which can then be protected like any other (extra ``documents``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from langchain_vpp import extras
from langchain_vpp.errors import ProtectionError
from langchain_vpp.images.bounds import Bounds
from langchain_vpp.images.isolated import IsolatedError, run_isolated

if TYPE_CHECKING:
    from PIL import Image

MAX_PAGES: Final = 20
"""Default bound on the number of pages."""


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
    extras.require("pypdfium2", extra="documents", undone="A document was not protected")
    reason = ""
    task = {"task": "draw", "max_pages": max_pages, "max_side": max_side, "dpi": dpi}
    try:
        drawn = run_isolated(task, data, bounds or Bounds(), lambda width, height: (width, height))
        return [page for _, page in drawn]
    except IsolatedError as error:
        reason = error.reason
    refusal = {
        "pages": f"it has no pages, or more than {max_pages}.",
        "damaged": "it is damaged, or locked by a password.",
    }
    raise ProtectionError(
        f"A document was not protected: {refusal.get(reason, 'drawing it takes too long, or too much memory.')}"
    )
