"""Copies of values of built-in types, within bounds on what they are written out."""

from __future__ import annotations

from typing import Any, Final

from langchain_vpp.messages.tree import MAX_CONTAINERS, MAX_DEPTH

PLAIN: Final = frozenset({type(None), bool, int, float, complex, str, bytes})
"""Built-in classes whose values nobody can change."""
_MAX_PARTS: Final = 2_000_000


def plain_copy(value: Any) -> Any:
    """Copy a container, and all containers in it, so that nobody else can change the copy.

    Text, bytes and numbers can't be changed, so the copy shares them.

    Args:
        value: A container of a built-in type.

    Returns:
        The copy; ``None`` if there is anything but built-in containers, text, bytes and numbers, or too much or too
        deep. What is shared counts as often as it is written out.
    """
    try:
        return _Copying().container(value, 0)
    except _NotPlainError:
        return None


class _NotPlainError(Exception):
    pass


class _Copying:
    def __init__(self) -> None:
        self._containers = 0
        self._parts = 0

    def container(self, value: Any, depth: int) -> Any:
        self._containers += 1
        if depth > MAX_DEPTH or self._containers > MAX_CONTAINERS:
            raise _NotPlainError
        kind = type(value)
        if kind is dict:
            return self._dict(value, depth + 1)
        if kind is list:
            items = value.copy()
            self._count(items)
            for place, item in enumerate(items):
                if type(item) not in PLAIN:
                    items[place] = self.container(item, depth + 1)
            return items
        if kind not in (tuple, set, frozenset):
            raise _NotPlainError
        items = [*value]
        self._count(items)
        return kind(item if type(item) in PLAIN else self.container(item, depth + 1) for item in items)

    def _dict(self, value: dict[Any, Any], depth: int) -> dict[Any, Any]:
        # In one step, so that another thread can't add to it meanwhile.
        parts = value.copy()
        if parts:
            self._count(parts)
        for key, item in parts.items():
            if type(key) is not str and type(key) not in PLAIN:
                self.container(key, depth)
            if type(item) not in PLAIN:
                parts[key] = self.container(item, depth)
        return parts

    def _count(self, parts: Any) -> None:
        self._parts += len(parts)
        if self._parts > _MAX_PARTS:
            raise _NotPlainError
