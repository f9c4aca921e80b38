"""Objects that can't be changed once they are built, nor copied to where they would protect nothing."""

from __future__ import annotations

from typing import Any, Final, Self

_UNCHANGEABLE: Final = "A protector can't be changed; build another one"
_UNPICKLABLE: Final = "A protector can't be pickled; build one in each process"


class Unchangeable:
    """Base of protectors: attributes are set once, by ``object.__setattr__`` in the constructor."""

    __slots__ = ()

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(_UNCHANGEABLE)

    def __delattr__(self, name: str) -> None:
        raise AttributeError(_UNCHANGEABLE)

    def __copy__(self) -> Self:
        return self  # immutable, and may be shared

    def __deepcopy__(self, memo: Any) -> Self:
        return self

    def __reduce__(self) -> str | tuple[Any, ...]:
        raise TypeError(_UNPICKLABLE)
