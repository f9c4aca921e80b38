"""Learned visual privacy for LangChain chat models: the provider never sees the original picture."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str

    from langchain_vpp.errors import ArtifactError, ProtectionError, TraceLeakWarning, VPPError
    from langchain_vpp.image_protector import ImageProtector
    from langchain_vpp.runnables.chat_model import protect, protected_class
    from langchain_vpp.runnables.runnable import ProtectedRunnable
    from langchain_vpp.tools import protect_tool

__all__ = [
    "ArtifactError",
    "ImageProtector",
    "ProtectedRunnable",
    "ProtectionError",
    "TraceLeakWarning",
    "VPPError",
    "__version__",
    "protect",
    "protect_tool",
    "protected_class",
]

_HOMES = {
    "ArtifactError": "errors",
    "ImageProtector": "image_protector",
    "ProtectedRunnable": "runnables.runnable",
    "ProtectionError": "errors",
    "TraceLeakWarning": "errors",
    "VPPError": "errors",
    "protect": "runnables.chat_model",
    "protect_tool": "tools",
    "protected_class": "runnables.chat_model",
}


def __getattr__(name: str) -> Any:
    """Load a public name on first use, so that importing the package costs little."""
    if name == "__version__":
        from importlib.metadata import version  # noqa: PLC0415  loads the parsers of e-mail

        value: Any = version("langchain-vpp")
    elif name in _HOMES:
        value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    else:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
