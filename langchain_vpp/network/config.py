"""Configuration of the network, and the size at which it works. Loads no torch, because graphs need both, too."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

STRIDE: Final = 4
"""Space-to-depth factor; with the one downsampling below it, sides must be multiples of ``2 * STRIDE``."""
POOLED_SIDE: Final = 32
"""Side, in pixels, of the cells over which features are pooled to tell familiar pictures from others."""

# Bounded, so that a hostile manifest can't ask for a network that fills the memory.
_Count = Annotated[int, Field(ge=0, le=32)]
_Level = Annotated[float, Field(ge=0, le=1)]


class ProtectorConfig(BaseModel):
    """Configuration of a :class:`~langchain_vpp.network.protector.Protector`.

    Manifests keep it, so later versions must be able to read it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: Literal["s2d"] = "s2d"
    width: int = Field(48, ge=8, le=256)
    """Channels at a quarter of the resolution; twice as many at an eighth."""
    blocks: tuple[_Count, _Count, _Count] = (2, 4, 2)
    """Number of residual blocks before, inside and after the coarse stage."""
    working_resolution: int = Field(384, ge=32, le=1024)
    """Longest side in pixels at which the network works. No detail above it survives, whatever the weights."""
    level_knots: tuple[_Level, ...] = Field((0.0, 1.0), min_length=2, max_length=65)
    """Levels of the network at equally spaced user levels from 0 to 1: ascending, linear in between."""


def working_size(width: int, height: int, working_resolution: int) -> tuple[int, int]:
    """Return the size at which an image is protected: its longest side bounded, both sides multiples of 8.

    Args:
        width: Width of the image, in pixels.
        height: Height of the image, in pixels.
        working_resolution: Bound on the longest side, in pixels.

    Example:
        >>> working_size(4000, 3000, 384)
        (384, 288)
        >>> working_size(64, 64, 384)
        (64, 64)
    """
    scale = min(1.0, working_resolution / max(width, height))
    multiple = 2 * STRIDE
    return (
        max(multiple, round(width * scale / multiple) * multiple),
        max(multiple, round(height * scale / multiple) * multiple),
    )
