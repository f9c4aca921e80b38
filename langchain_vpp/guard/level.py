"""The level of protection: in the constructor, and as a request names it."""

from __future__ import annotations

import numbers
from typing import TYPE_CHECKING, Any, Final

from langchain_vpp.errors import ProtectionError

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig

LEVEL_KEY: Final = "vpp_level"
"""Key of ``config["configurable"]`` under which a request asks for a level."""


def requested_level(config: RunnableConfig | None) -> float | None:
    """Read the level that a request names in ``config["configurable"]["vpp_level"]``, if it names one.

    The config of the enclosing run counts too, as for every other configurable key.

    Raises:
        ProtectionError: If the level is not a number in [0, 1].
    """
    from langchain_core.runnables.config import ensure_config  # noqa: PLC0415  loads all Runnables

    level = ensure_config(config).get("configurable", {}).get(LEVEL_KEY)
    return None if level is None else checked_request_level(level)


def checked_request_level(level: Any) -> float:
    """Return the level of a request as a float.

    Raises:
        ProtectionError: If ``level`` is not a number in [0, 1].
    """
    if not _is_level(level):
        raise ProtectionError(f"{LEVEL_KEY} must be a number from 0 to 1; nothing was sent.")
    return float(level)


def checked_level(level: Any) -> float:
    """Return the level of a constructor as a float.

    Raises:
        ValueError: If ``level`` is not a number in [0, 1].
    """
    if not _is_level(level):
        msg = "level and min_level must be numbers from 0 to 1"
        raise ValueError(msg)
    return float(level)


def _is_level(level: Any) -> bool:
    # Every real number, such as a float32 of numpy.
    if isinstance(level, bool) or not isinstance(level, numbers.Real):
        return False
    try:
        return 0 <= float(level) <= 1
    except OverflowError:  # of an integer beyond all floats
        return False
