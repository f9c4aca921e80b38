"""Reaction to pictures that an engine was not made for."""

from __future__ import annotations

import warnings
from typing import Any, Final, Literal, NamedTuple

from PIL import Image

from langchain_vpp.engines.engine import Judged, flat_cover
from langchain_vpp.errors import DomainWarning, ProtectionError, UnfamiliarPictureError
from langchain_vpp.guard.foreign import call_foreign
from langchain_vpp.images.codec import strip_metadata

OnUnfamiliar = Literal["cover", "raise", "warn"]
"""Values of ``ImageProtector(on_unfamiliar=...)``."""
_SHOWN: Final = (
    "a picture is unlike those that the artifact was made for, so what it shows may be private. It was protected and "
    'not covered, because on_unfamiliar is "warn"'
)
_REFUSED: Final = (
    "A picture is unlike those that the artifact was made for, so nothing was sent. Give pictures of that kind, use an "
    'engine that was made for this one, or have such pictures covered: on_unfamiliar="cover".'
)


class Protected(NamedTuple):
    """A protected picture at the size at which the engine saw it, and what its receipt says of its kind."""

    image: Image.Image
    unfamiliar: Literal["covered", "shown"] | None = None


class ProtectedFile(NamedTuple):
    """An encoded protected picture, and what its receipt says of its kind.

    Attributes:
        encoded: A baseline JPEG without metadata.
        unfamiliar: ``covered`` or ``shown`` if the engine was not made for pictures like the original.
    """

    encoded: bytes
    unfamiliar: Literal["covered", "shown"] | None


class Unfamiliar:
    """Decides what is sent of a picture that an engine has judged.

    Args:
        reaction: Reaction to a picture that the engine was not made for.

    Raises:
        ValueError: If the reaction is unknown.
    """

    def __init__(self, reaction: OnUnfamiliar) -> None:
        if reaction not in ("cover", "raise", "warn"):
            msg = "on_unfamiliar must be one of cover, raise, warn"
            raise ValueError(msg)
        self._reaction = reaction

    def decided(self, judged: Any, image: Image.Image) -> Protected:
        """Return the pixels that an engine made of a picture, or what stands for a picture that it was not made for.

        Args:
            judged: Result of the engine, which may be anybody's; whatever does not say that it knows the picture does
                not know it.
            image: The picture that the engine was given.

        Raises:
            UnfamiliarPictureError: If the picture is to be refused.
            ProtectionError: If the engine's result is not what it should be.
        """
        if not isinstance(judged, Judged):
            raise ProtectionError("The engine did not judge the picture, so nothing was sent.")
        if judged.is_familiar is True:
            return Protected(_checked(judged.image, image))
        if self._reaction == "raise":
            raise UnfamiliarPictureError(_REFUSED)
        if self._reaction == "warn":
            warnings.warn(_SHOWN, DomainWarning, stacklevel=2)
            return Protected(_checked(judged.image, image), "shown")
        return Protected(flat_cover(image.size), "covered")


def _checked(protected: Any, image: Image.Image) -> Image.Image:
    """Return the pixels that an engine made of a picture, and nothing else of its result."""
    if not isinstance(protected, Image.Image) or protected is image:
        raise ProtectionError("The engine did not return a new picture, so nothing was sent.")
    if protected.mode != "RGB" or protected.size != image.size:
        raise ProtectionError(
            "The engine did not return an RGB picture of the same size, so nothing was sent."
        )
    # Pixels only: an engine that carried `info` over would carry metadata over.
    return call_foreign("engine", lambda: strip_metadata(protected))
