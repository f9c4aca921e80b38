"""The protocol of engines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL import Image

    from langchain_vpp.engines.words.reader import Word
    from langchain_vpp.engines.words.tokens import TokenSource


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


class Draft(Protocol):
    """A protected picture in which private text has no names yet: the conversation that it belongs to has them.

    Attributes:
        values: Kind and text of each private value, in reading order. A value comes as often as it stands there.
    """

    @property
    def values(self) -> Sequence[tuple[str, str]]:
        """Kind and text of each private value."""
        ...

    def finished(self, tokens: TokenSource) -> Image.Image:
        """Return the protected picture, in which each private value is named by its token.

        Args:
            tokens: Names the values. It is asked for them in the order of ``values``.
        """
        ...


@runtime_checkable
class DraftingEngine(Engine, Protocol):
    """An engine that names private values in its pictures, so that the names can be those of a conversation.

    The gate drafts pictures side by side, and then has their values named in the order of the messages: so the same
    conversation always gives the same names, and the same bytes.
    """

    def draft(self, image: Image.Image, level: float, *, printed: Sequence[Word] = ()) -> Draft:
        """Protect a picture, but for the names of its private values.

        Args:
            image: As in :meth:`Engine.protect`.
            level: As in :meth:`Engine.protect`.
            printed: Words that the page of a document says it has, where it has them. They may be false, so they add to
                what is hidden and never to what is shown.
        """
        ...
