"""Libraries that do the same in less time (extra ``fast``), where they are installed."""

from __future__ import annotations

import contextlib
import functools
import importlib
from typing import Any


@functools.cache
def fast_module(name: str) -> Any:
    """The module of that name, or ``None`` where it isn't installed: whoever calls knows a slower way."""
    with contextlib.suppress(ImportError):
        return importlib.import_module(name)
    return None
