"""Engines that can be chosen by name, as with ``vpp protect --engine``."""

from __future__ import annotations

from typing import Final

from langchain_vpp.engines.classical import CLASSICAL_ENGINES, Blur, Downscale, Pixelate
from langchain_vpp.engines.faces import FaceBlur

NAMED_ENGINES: Final[dict[str, type[Blur | Pixelate | Downscale | FaceBlur]]] = {
    **CLASSICAL_ENGINES,
    FaceBlur.name: FaceBlur,
}
"""Name -> class of the engine. Some need an extra, and say so when they are made."""
