"""Pages of a PDF as pictures, which can then be protected like any other (extra ``documents``)."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

from PIL import Image

from langchain_vpp import extras
from langchain_vpp.errors import ProtectionError

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_PAGES: Final = 20
"""Default bound on the number of pages."""

# PDFium keeps global state; two threads inside it, even in different documents, crash the process.
_PDFIUM: Final = threading.Lock()
_POINTS_PER_INCH: Final = 72


def rasterize_pdf(
    data: bytes, *, max_pages: int = MAX_PAGES, max_side: int = 1_568, dpi: int = 150
) -> list[Image.Image]:
    """Draw every page of a PDF on white.

    Args:
        data: The file.
        max_pages: A document with more pages is refused, not cut: nobody would notice the missing ones.
        max_side: Bound on the longest side of a page, in pixels.
        dpi: Resolution, where ``max_side`` allows it.

    Returns:
        One new RGB image per page, without metadata, text layer, attachments or links.

    Raises:
        MissingExtraError: If ``pypdfium2`` is not installed.
        ProtectionError: If the document is damaged, locked by a password, empty or too long. The error carries nothing
            of the document.
    """
    pdfium = extras.load("pypdfium2", extra="documents", undone="A document was not protected")
    refusal = "it is damaged, or locked by a password."
    pages: list[Image.Image] = []
    with _PDFIUM:
        try:
            document = pdfium.PdfDocument(data)
            try:
                if 0 < len(document) <= max_pages:
                    pages.extend(_draw(document, max_side=max_side, dpi=dpi))
                else:
                    refusal = f"it has no pages, or more than {max_pages}."
            finally:
                document.close()
        except (pdfium.PdfiumError, ValueError, OSError):
            pages.clear()
    if not pages:
        raise ProtectionError(f"A document was not protected: {refusal}")
    return pages


def _draw(document: Any, *, max_side: int, dpi: int) -> Iterator[Image.Image]:
    for page in document:
        longest = max(*page.get_size(), 1.0)
        scale = min(dpi / _POINTS_PER_INCH, max_side / longest)
        drawn = page.render(scale=scale, may_draw_forms=True).to_pil().convert("RGB")
        clean = Image.new("RGB", drawn.size, "white")
        clean.paste(drawn)
        page.close()
        yield clean
