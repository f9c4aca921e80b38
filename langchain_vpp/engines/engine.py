"""The protocol of engines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from PIL import Image


@runtime_checkable
class Engine(Protocol):
    """Anything that can protect a picture.

    Engines of this package have three more attributes, which others may have:

    * ``name``, a word for receipts and reports;
    * ``digest``, the sha256, in hex, of everything that determines the output;
    * ``working_resolution``, the longest side in pixels at which an engine looks at pictures, if that is bounded. Such
      an engine is given pictures that were decoded and scaled to that size, and its result is enlarged again.

    Example:
        >>> class Grey:
        ...     def protect(self, image, level):
        ...         return image.convert("L").convert("RGB")
        >>> isinstance(Grey(), Engine)
        True
    """

    def protect(self, image: Image.Image, level: float) -> Image.Image:
        """Return a new RGB image of the same size.

        Args:
            image: An upright RGB image without metadata. It must not be changed.
            level: Privacy level from 0 (most useful) to 1 (most private).
        """
        ...
