"""Faster libraries, where the extra ``fast`` is installed."""

from __future__ import annotations

import functools
from typing import Any

from langchain_vpp import extras


@functools.cache
def fast_module(name: str) -> Any:
    """Return the module of that name, or ``None`` where it isn't installed: callers know a slower way."""
    return extras.find(name)
