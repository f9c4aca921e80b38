"""Tools whose arguments and output are protected before a run records them."""

from __future__ import annotations

from langchain_vpp.runnables.protected_tool import protect_output, protect_tool

__all__ = ["protect_output", "protect_tool"]
