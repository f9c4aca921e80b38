"""Engines one after the other."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from langchain_vpp.engines.engine import DraftingEngine, Judged, finished_draft, judged_by

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL import Image

    from langchain_vpp.engines.engine import Draft, Engine
    from langchain_vpp.engines.words.reader import Word
    from langchain_vpp.engines.words.tokens import TokenSource


class Chain:
    """Protects a picture with one engine, and its result with the next; an engine itself.

    Both get the same level. Nothing that an engine hides can come back, because the next sees its result alone.

    Each engine judges what it is given: the first one the picture, the second one the result of the first. A picture
    that is unfamiliar to either is unfamiliar to the chain, and is covered whole: what an engine was not made for may
    be just what it should have hidden. Engines without a domain, such as ``Words``, know every picture.

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
        return self.judged(image, level).covered

    def judged(self, image: Image.Image, level: float) -> Judged:
        """Protect one picture; see :meth:`JudgingEngine.judged <langchain_vpp.engines.JudgingEngine.judged>`."""
        first, second = self._parts
        before = judged_by(first, image, level)
        after = judged_by(second, before.image, level)
        return Judged(after.image, before.is_familiar and after.is_familiar)

    def _draft(self, image: Image.Image, level: float, *, printed: Sequence[Word] = ()) -> Draft:
        first, second = self._parts
        if isinstance(second, DraftingEngine):
            before = judged_by(first, image, level)
            return _Followed(
                second.draft(before.image, level, printed=printed),
                None,
                level,
                is_familiar=before.is_familiar,
            )
        assert isinstance(first, DraftingEngine)
        return _Followed(first.draft(image, level, printed=printed), second, level)


class _Followed:
    """A draft, with what the other engine of a chain says of the picture or makes of it.

    Args:
        draft: The draft of one engine.
        engine: The engine that protects the picture once it is finished; ``None`` if the other one came first.
        level: Level of that engine.
        is_familiar: What the engine that came first says of the picture.
    """

    def __init__(
        self, draft: Draft, engine: Engine | None, level: float, *, is_familiar: bool = True
    ) -> None:
        self._draft, self._engine, self._level, self._is_familiar = draft, engine, level, is_familiar

    @property
    def values(self) -> Sequence[tuple[str, str]]:
        """Kind and text of each private value, of a covered picture too: later text may name them."""
        return self._draft.values

    def finished(self, tokens: TokenSource) -> Image.Image:
        return self.judged(tokens).covered

    def judged(self, tokens: TokenSource) -> Judged:
        own = finished_draft(self._draft, tokens)
        after = own if self._engine is None else judged_by(self._engine, own.image, self._level)
        return Judged(after.image, self._is_familiar and own.is_familiar and after.is_familiar)


def _digest(*parts: str | None) -> str:
    return hashlib.sha256(f"chain/1/{'/'.join(map(str, parts))}".encode()).hexdigest()
