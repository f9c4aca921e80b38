"""Engines one after the other."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from langchain_vpp.engines.engine import DraftingEngine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL import Image

    from langchain_vpp.engines.engine import Draft, Engine
    from langchain_vpp.engines.words.reader import Word
    from langchain_vpp.engines.words.tokens import TokenSource


class Chain:
    """Protects a picture with one engine, and its result with the next; an engine itself.

    Both get the same level. Nothing that an engine hides can come back, because the next sees its result alone.

    Args:
        first: Sees the picture.
        second: Sees the result of ``first``.

    Attributes:
        name: Both names, joined by ``+``.
        digest: sha256, in hex, of both digests; ``None`` if an engine has none, because then nothing stands for
            everything that determines the output.
        working_resolution: The smaller one, in pixels; ``None`` if neither engine bounds it. Both engines get
            pictures of that size.

    A chain names private values (:class:`~langchain_vpp.engines.DraftingEngine`) if one of its engines does.

    Raises:
        ValueError: If both engines name private values: the second would read the names that the first has given.

    Example:
        >>> from PIL import Image
        >>> from langchain_vpp.engines import Blur, Pixelate
        >>> chain = Chain(Blur(), Pixelate())
        >>> chain.name
        'blur+pixelate'
        >>> chain.protect(Image.new("RGB", (64, 48)), 0.5).size
        (64, 48)
    """

    def __init__(self, first: Engine, second: Engine) -> None:
        self._parts = (first, second)
        drafting = [isinstance(part, DraftingEngine) for part in self._parts]
        if all(drafting):
            msg = "Only one engine of a chain can name private values"
            raise ValueError(msg)
        if any(drafting):
            self.draft = self._draft
        self.name = "+".join(getattr(part, "name", type(part).__name__) for part in self._parts)
        digests = [getattr(part, "digest", None) for part in self._parts]
        self.digest = None if None in digests else _digest(*digests)
        resolutions = (getattr(part, "working_resolution", None) for part in self._parts)
        self.working_resolution = min((each for each in resolutions if each is not None), default=None)

    def protect(self, image: Image.Image, level: float) -> Image.Image:
        """Protect one picture; see :meth:`Engine.protect <langchain_vpp.engines.Engine.protect>`."""
        for part in self._parts:
            image = part.protect(image, level)
        return image

    def _draft(self, image: Image.Image, level: float, *, printed: Sequence[Word] = ()) -> Draft:
        first, second = self._parts
        if isinstance(second, DraftingEngine):
            return second.draft(first.protect(image, level), level, printed=printed)
        assert isinstance(first, DraftingEngine)
        return _Followed(first.draft(image, level, printed=printed), second, level)


class _Followed:
    """A draft that another engine protects once it is finished."""

    def __init__(self, draft: Draft, engine: Engine, level: float) -> None:
        self._draft, self._engine, self._level = draft, engine, level

    @property
    def values(self) -> Sequence[tuple[str, str]]:
        return self._draft.values

    def finished(self, tokens: TokenSource) -> Image.Image:
        return self._engine.protect(self._draft.finished(tokens), self._level)


def _digest(*parts: str | None) -> str:
    return hashlib.sha256(f"chain/1/{'/'.join(map(str, parts))}".encode()).hexdigest()
