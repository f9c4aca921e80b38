"""The level of protection: in the constructor, and as a request names it."""

from __future__ import annotations

import numbers
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from langchain_vpp.errors import ProtectionError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from langchain_core.runnables import RunnableConfig

LEVEL_KEY: Final = "vpp_level"
"""Key of ``config["configurable"]`` under which a request asks for a level."""

RequestLevel = float | str
"""A level that a request names: a number from 0 to 1, or a preset of the protector. Checked by :class:`Levels`."""


class Levels(NamedTuple):
    """The levels that a protector allows.

    Attributes:
        default: The level of requests that name none.
        floor: The least level. What a request asks for is raised to it.
        presets: Levels by name.
    """

    default: float
    floor: float
    presets: Mapping[str, float]

    @classmethod
    def checked(cls, level: Any, min_level: Any, presets: Mapping[str, float] | None) -> Levels:
        """Check the levels of a constructor.

        Args:
            level: The level of requests that name none.
            min_level: The least level. ``None`` stands for ``level``: a request can only ask for more.
            presets: Levels by name.

        Raises:
            ValueError: If a level is not a number in [0, 1], or ``level`` is below ``min_level``.
        """
        default = _checked(level)
        floor = default if min_level is None else _checked(min_level)
        if default < floor:
            msg = "level must not be below min_level"
            raise ValueError(msg)
        named = {str(name): _checked(value) for name, value in (presets or {}).items()}
        return cls(default, floor, MappingProxyType(named))

    def effective(self, level: RequestLevel | None) -> float:
        """Return the level for a request.

        Args:
            level: The level that the request names, or ``None``.

        Raises:
            ProtectionError: If ``level`` is neither a number in [0, 1] nor a preset.
        """
        if level is None:
            return self.default
        named: Any = self.presets.get(level) if isinstance(level, str) else level
        if not _is_level(named):
            names = f", or one of {', '.join(self.presets)}" if self.presets else ""
            raise ProtectionError(f"{LEVEL_KEY} must be a number from 0 to 1{names}; nothing was sent.")
        return max(float(named), self.floor)


def requested_level(config: RunnableConfig | None) -> RequestLevel | None:
    """Read the level that a request names in ``config["configurable"]["vpp_level"]``, if it names one.

    The config of the enclosing run counts too, as for every other configurable key.
    """
    from langchain_core.runnables.config import ensure_config  # noqa: PLC0415  loads all Runnables

    level: RequestLevel | None = ensure_config(config).get("configurable", {}).get(LEVEL_KEY)
    return level


def _checked(level: Any) -> float:
    if not _is_level(level):
        msg = (
            "level, min_level and presets must be numbers from 0 to 1; names such as 'balanced' are known to artifacts "
            "with presets only"
        )
        raise ValueError(msg)
    return float(level)


def _is_level(level: Any) -> bool:
    if isinstance(level, bool) or not isinstance(level, numbers.Real):
        return False
    try:
        return 0 <= float(level) <= 1
    except OverflowError:  # of an integer beyond all floats
        return False
