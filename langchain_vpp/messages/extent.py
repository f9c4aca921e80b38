"""The extent of a value of built-in types, written out with all that it shares."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from langchain_vpp.messages.tree import MAX_CONTAINERS, MAX_DEPTH

_NESTING: Final = frozenset({dict, list, tuple, set, frozenset})
_PLAIN: Final = frozenset({type(None), bool, int, float, complex, str, bytes})


def is_plain(value: Any) -> bool:
    """Say whether a value is made of built-in containers, text, bytes and numbers, few and flat enough.

    What is shared counts as often as it is written out.
    """
    return _size(value, {}, 0).containers <= MAX_CONTAINERS


class _Size(NamedTuple):
    containers: int
    height: int


_TOO_LARGE: Final = _Size(MAX_CONTAINERS + 1, 0)


def _size(value: Any, seen: dict[int, _Size], depth: int) -> _Size:
    known = seen.get(id(value))
    if known is not None:
        return known if depth + known.height <= MAX_DEPTH else _TOO_LARGE
    if depth > MAX_DEPTH:
        return _TOO_LARGE
    seen[id(value)] = _TOO_LARGE  # if it holds itself
    containers, height = 1, 0
    for part in (*value.keys(), *value.values()) if type(value) is dict else value:
        kind = type(part)
        if kind in _NESTING:
            size = _size(part, seen, depth + 1)
            containers, height = containers + size.containers, max(height, size.height + 1)
        elif kind not in _PLAIN:
            return _TOO_LARGE
    seen[id(value)] = _Size(containers, height)
    return seen[id(value)]
