"""Engines: what protects a picture. Names load their module on first use; none but ``TorchEngine`` loads torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_vpp.lazy import lazy_names

if TYPE_CHECKING:
    from langchain_vpp.engines.chain import Chain
    from langchain_vpp.engines.classical import CLASSICAL_ENGINES, Blur, Downscale, Pixelate
    from langchain_vpp.engines.engine import Draft, DraftingEngine, Engine, Judged, JudgedDraft, JudgingEngine
    from langchain_vpp.engines.faces import FaceBlur
    from langchain_vpp.engines.learned import OnnxEngine, TorchEngine
    from langchain_vpp.engines.named import NAMED_ENGINES

__all__ = [
    "CLASSICAL_ENGINES",
    "NAMED_ENGINES",
    "Blur",
    "Chain",
    "Downscale",
    "Draft",
    "DraftingEngine",
    "Engine",
    "FaceBlur",
    "Judged",
    "JudgedDraft",
    "JudgingEngine",
    "OnnxEngine",
    "Pixelate",
    "TorchEngine",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "CLASSICAL_ENGINES": "langchain_vpp.engines.classical",
        "NAMED_ENGINES": "langchain_vpp.engines.named",
        "Blur": "langchain_vpp.engines.classical",
        "Chain": "langchain_vpp.engines.chain",
        "Downscale": "langchain_vpp.engines.classical",
        "Draft": "langchain_vpp.engines.engine",
        "DraftingEngine": "langchain_vpp.engines.engine",
        "Engine": "langchain_vpp.engines.engine",
        "FaceBlur": "langchain_vpp.engines.faces",
        "Judged": "langchain_vpp.engines.engine",
        "JudgedDraft": "langchain_vpp.engines.engine",
        "JudgingEngine": "langchain_vpp.engines.engine",
        "OnnxEngine": "langchain_vpp.engines.learned",
        "Pixelate": "langchain_vpp.engines.classical",
        "TorchEngine": "langchain_vpp.engines.learned",
    },
)
