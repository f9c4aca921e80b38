"""Receipts: the pictures that left with a request, and what protected them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class SentImage:
    """The record of one protected picture.

    Attributes:
        sha256: Digest, in hex, of the encoded bytes that were sent.
        level: The level at which the picture was protected.
        milliseconds: Time for decoding, protecting and encoding, when that was done.
        original_sha256: Digest of the original file, only if the protector was told to keep it: it identifies
            the picture to anyone who has the file.
        unfamiliar: Set if the engine was not made for pictures like the original: ``covered`` whole, or ``shown`` as
            the engine protected it.
    """

    sha256: str
    level: float
    milliseconds: float
    original_sha256: str | None = None
    unfamiliar: Literal["covered", "shown"] | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """All pictures of one request, and the engine and artifact that protected them."""

    images: tuple[SentImage, ...]
    engine: str
    artifact: str | None

    def as_metadata(self) -> dict[str, Any]:
        """Return the value of ``response_metadata["vpp"]``: plain JSON."""
        images = []
        for sent in self.images:
            entry: dict[str, Any] = {"sha256": sent.sha256, "level": sent.level, "ms": sent.milliseconds}
            if sent.original_sha256 is not None:
                entry["original_sha256"] = sent.original_sha256
            if sent.unfamiliar is not None:
                entry["unfamiliar"] = sent.unfamiliar
            images.append(entry)
        return {"images": images, "engine": self.engine, "artifact": self.artifact}
