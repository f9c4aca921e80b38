"""The level of a request."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from langchain_vpp.errors import ProtectionError

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig

LEVEL_KEY: Final = "vpp_level"
"""The key of ``config["configurable"]`` that asks for a level for one request."""


def requested_level(config: RunnableConfig | None) -> float | None:
    """The level that a request names in ``config["configurable"]["vpp_level"]``, or None.

    The config of the enclosing run counts too, as for every other configurable key.

    Raises:
        ProtectionError: If it is not a number in [0, 1].
    """
    from langchain_core.runnables.config import ensure_config  # noqa: PLC0415  it imports much

    level = ensure_config(config).get("configurable", {}).get(LEVEL_KEY)
    return None if level is None else checked_request_level(level)


def checked_request_level(level: Any) -> float:
    """As :func:`checked_level`, for what came with a request.

    Raises:
        ProtectionError: If ``level`` is not a number in [0, 1].
    """
    if not _is_level(level):
        raise ProtectionError(f"{LEVEL_KEY} must be a number from 0 to 1; nothing was sent.")
    return float(level)


def checked_level(level: Any) -> float:
    """Return a level of a constructor as a float, if it is one."""
    if not _is_level(level):
        msg = "level and min_level must be numbers from 0 to 1"
        raise ValueError(msg)
    return float(level)


def _is_level(level: Any) -> bool:
    if isinstance(level, bool) or not isinstance(level, (int, float)):
        return False
    return math.isfinite(level) and 0 <= level <= 1
