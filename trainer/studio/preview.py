"""A picture at a level, at the size at which it is shown.

The decoded and reduced picture is kept, so another level costs the engine and an encoder. The steps are those of the
gate (:mod:`langchain_vpp.guard.pictures`) with ``output_size="fit"``: a picture that is shown is, byte for byte, the
one that would be sent at that size. Engines that name private values are the exception: the conversation numbers its
names. Pages of documents are another: they are kept at the size at which they are shown.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from langchain_vpp.engines import DraftingEngine
from langchain_vpp.engines.words.tokens import TokenNumbers
from langchain_vpp.errors import ProtectionError
from langchain_vpp.images.codec import encode_image, encode_scaled, resized, strip_metadata
from langchain_vpp.network.config import working_size
from langchain_vpp.providers import within

if TYPE_CHECKING:
    from collections.abc import Mapping

    from PIL import Image

    from langchain_vpp.engines import Engine
    from trainer.studio.protectors import Protectors
    from trainer.studio.uploads import Session, Upload

SMALL: Final = (240, 240)
"""Box of a picture on the contact sheet, in pixels."""


class Shown(NamedTuple):
    """A protected picture as it is shown."""

    encoded: bytes
    level: float
    """Level that was used: the one that was asked for, or the floor."""
    milliseconds: float
    hidden: Mapping[str, int]
    """Kind of private text -> how often it was covered; empty for engines that don't tell."""


def original(upload: Upload, page: int, *, small: bool) -> bytes:
    """Encode the original for the browser that has brought it.

    Raises:
        ProtectionError: If there is no such page.
    """
    image = upload.copy(page, upload.shown_size(page))
    return encode_image(resized(image, within(*image.size, SMALL)) if small else image)


class View(NamedTuple):
    """A page of a session's upload."""

    session: Session
    upload: Upload
    page: int


def protected(view: View, protectors: Protectors, name: str, level: float, *, small: bool = False) -> Shown:
    """Protect a page, or return what was made of it before.

    Args:
        view: The page.
        protectors: Protectors that the studio offers.
        name: Name of one of them.
        level: From 0 to 1; raised to the floor of the studio.
        small: Whether it is for the contact sheet.

    Raises:
        ProtectionError: If the level is none, there is no such page, or the picture can't be protected.
        ArtifactError: If there is no such protector.
    """
    level = protectors.offer(name).levels.effective(level)
    session, upload, page = view

    def make() -> tuple[object, int]:
        started = time.perf_counter()
        picture, hidden = _protected(upload, page, protectors.engine(name), level)
        size = upload.shown_size(page)
        encoded = encode_scaled(picture, within(*size, SMALL) if small else size)
        shown = Shown(encoded, level, (time.perf_counter() - started) * 1000, hidden)
        return shown, len(encoded)

    return cast("Shown", session.results.get((upload.id, page, name, level, small), make))


def pixels(upload: Upload, page: int, engine: Engine, level: float) -> tuple[Image.Image, Image.Image]:
    """Return a page as the engine sees it, and the engine's result."""
    image = _seen(upload, page, engine)
    return image, _protected(upload, page, engine, level)[0]


def _seen(upload: Upload, page: int, engine: Engine) -> Image.Image:
    resolution = getattr(engine, "working_resolution", None)
    size = upload.shown_size(page) if resolution is None else working_size(*upload.size(page), resolution)
    return upload.copy(page, size)


def _protected(
    upload: Upload, page: int, engine: Engine, level: float
) -> tuple[Image.Image, Mapping[str, int]]:
    image = _seen(upload, page, engine)
    hidden: Mapping[str, int] = {}
    if isinstance(engine, DraftingEngine):
        draft = engine.draft(image, level)
        hidden = Counter(kind for kind, _ in draft.values)
        result = draft.finished(TokenNumbers())
    else:
        result = engine.protect(image, level)
    if result is image or result.mode != "RGB" or result.size != image.size:
        raise ProtectionError(
            "The engine did not return a new picture of the same size, so nothing is shown."
        )
    return strip_metadata(result), hidden
