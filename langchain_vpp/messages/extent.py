"""The extent of a value of built-in types, written out with all that it shares."""

from __future__ import annotations

from typing import Any, Final

from langchain_vpp.messages.tree import MAX_CONTAINERS, MAX_DEPTH

_NESTING: Final = frozenset({dict, list, tuple, set, frozenset})
_PLAIN: Final = frozenset({type(None), bool, int, float, complex, str, bytes})
_BUILT_IN: Final = _PLAIN | _NESTING
_MAX_PARTS: Final = 2_000_000


def is_plain(value: Any) -> bool:
    """Say whether a container is made of built-in containers, text, bytes and numbers, few and flat enough.

    What is shared counts as often as it is written out.
    """
    level, containers, parts = [value], 1, 0
    for _ in range(MAX_DEPTH + 1):
        below: list[Any] = []
        for each in filter(None, level):
            kinds = set(map(type, each))
            parts += len(each)
            if type(each) is dict:
                kinds.update(map(type, each.values()))
            if kinds <= _PLAIN:  # most containers of a message
                continue
            if not kinds <= _BUILT_IN:
                return False
            members = (*each, *each.values()) if type(each) is dict else each
            below += [part for part in members if type(part) in _NESTING]
        containers += len(below)
        if containers > MAX_CONTAINERS or parts > _MAX_PARTS:
            return False
        if not below:
            return True
        level = below
    return False
