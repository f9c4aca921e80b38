"""Learned visual privacy for LangChain chat models: the provider never sees the original picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_vpp.lazy import lazy_names, redirect
from langchain_vpp.moved import HOMES, RENAMED

if TYPE_CHECKING:
    __version__: str

    from langchain_vpp.errors import ArtifactError, ProtectionError, TraceLeakWarning, VPPError
    from langchain_vpp.guard.budget import RequestBudget
    from langchain_vpp.image_protector import ImageProtector
    from langchain_vpp.messages.blocks import image_block
    from langchain_vpp.runnables.chat_model import protect, protected_class
    from langchain_vpp.runnables.runnable import ProtectedRunnable
    from langchain_vpp.tools import protect_tool

__all__ = [
    "ArtifactError",
    "ImageProtector",
    "ProtectedRunnable",
    "ProtectionError",
    "RequestBudget",
    "TraceLeakWarning",
    "VPPError",
    "__version__",
    "image_block",
    "protect",
    "protect_tool",
    "protected_class",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "ArtifactError": "langchain_vpp.errors",
        "ImageProtector": "langchain_vpp.image_protector",
        "ProtectedRunnable": "langchain_vpp.runnables.runnable",
        "ProtectionError": "langchain_vpp.errors",
        "RequestBudget": "langchain_vpp.guard.budget",
        "TraceLeakWarning": "langchain_vpp.errors",
        "VPPError": "langchain_vpp.errors",
        "__version__": "langchain_vpp.version",
        "image_block": "langchain_vpp.messages.blocks",
        "protect": "langchain_vpp.runnables.chat_model",
        "protect_tool": "langchain_vpp.tools",
        "protected_class": "langchain_vpp.runnables.chat_model",
    },
)

redirect(HOMES, RENAMED)
