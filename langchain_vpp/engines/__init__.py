"""Engines: what protects a picture. Names load their module on first use; none but ``TorchEngine`` loads torch."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from langchain_vpp.engines.chain import Chain
    from langchain_vpp.engines.classical import CLASSICAL_ENGINES, Blur, Downscale, Pixelate
    from langchain_vpp.engines.engine import Engine
    from langchain_vpp.engines.faces import FaceBlur
    from langchain_vpp.engines.learned import OnnxEngine, TorchEngine
    from langchain_vpp.engines.named import NAMED_ENGINES

__all__ = [
    "CLASSICAL_ENGINES",
    "NAMED_ENGINES",
    "Blur",
    "Chain",
    "Downscale",
    "Engine",
    "FaceBlur",
    "OnnxEngine",
    "Pixelate",
    "TorchEngine",
]

_HOMES = {
    "CLASSICAL_ENGINES": "classical",
    "NAMED_ENGINES": "named",
    "Blur": "classical",
    "Chain": "chain",
    "Downscale": "classical",
    "Engine": "engine",
    "FaceBlur": "faces",
    "OnnxEngine": "learned",
    "Pixelate": "classical",
    "TorchEngine": "learned",
}


def __getattr__(name: str) -> Any:
    """Load a public name on first use."""
    if name not in _HOMES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
