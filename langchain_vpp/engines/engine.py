"""The protocol of engines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, runtime_checkable

from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Sequence

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


class Judged(NamedTuple):
    """A protected picture, and whether the engine was made for pictures like its original.

    Attributes:
        image: The protected picture. Of an unfamiliar original it may show private parts.
        is_familiar: Whether the original is like those that the engine was made for.
    """

    image: Image.Image
    is_familiar: bool

    @property
    def covered(self) -> Image.Image:
        """The protected picture; one grey if the original is unfamiliar."""
        return self.image if self.is_familiar else flat_cover(self.image.size)


@runtime_checkable
class JudgingEngine(Engine, Protocol):
    """An engine that was made for pictures of one kind, and tells pictures of other kinds from them.

    Its ``protect`` covers unfamiliar pictures whole. The gate calls ``judged``, and decides itself.
    """

    def judged(self, image: Image.Image, level: float) -> Judged:
        """Protect a picture, and say whether it is of the kind that the engine was made for.

        Args:
            image: As in :meth:`Engine.protect`.
            level: As in :meth:`Engine.protect`.
        """
        ...


_COVER: Final = (128, 128, 128)


def flat_cover(size: tuple[int, int]) -> Image.Image:
    """Make the picture of one grey that stands for a covered one. It tells nothing of the original but its size."""
    return Image.new("RGB", size, _COVER)


def judged_by(engine: Engine, image: Image.Image, level: float) -> Judged:
    """Protect a picture by any engine; those that judge nothing know every picture.

    Args:
        engine: The engine.
        image: As in :meth:`Engine.protect`.
        level: As in :meth:`Engine.protect`.
    """
    if isinstance(engine, JudgingEngine):
        return engine.judged(image, level)
    return Judged(engine.protect(image, level), is_familiar=True)


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
class JudgedDraft(Protocol):
    """A :class:`Draft` of an engine that tells unfamiliar pictures. Its ``finished`` covers them whole."""

    def judged(self, tokens: TokenSource) -> Judged:
        """Finish the picture, and say whether it is of the kind that the engine was made for.

        Args:
            tokens: As in :meth:`Draft.finished`.
        """
        ...


def finished_draft(draft: Draft, tokens: TokenSource) -> Judged:
    """Finish any draft; those that judge nothing know every picture.

    Args:
        draft: The draft.
        tokens: As in :meth:`Draft.finished`.
    """
    if isinstance(draft, JudgedDraft):
        return draft.judged(tokens)
    return Judged(draft.finished(tokens), is_familiar=True)


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
