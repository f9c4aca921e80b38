"""The extent of a value: whether it is written out within bounds, and about how much work it makes."""

from __future__ import annotations

import re
from typing import Any, Final

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from langchain_vpp.messages.tree import MAX_CONTAINERS, MAX_DEPTH

_NESTING: Final = frozenset({dict, list, tuple, set, frozenset})
_PLAIN: Final = frozenset({type(None), bool, int, float, complex, str, bytes})
_BUILT_IN: Final = _PLAIN | _NESTING
_MAX_PARTS: Final = 2_000_000
_MESSAGES: Final = frozenset({AIMessage, HumanMessage, SystemMessage, ToolMessage})
_BRIEF: Final = 800
_SHORT: Final = 20_000
_COST_OF_A_PART: Final = 5  # in characters
# Where data is looked for, which takes longer than to read words.
_NO_WORDS: Final = re.compile(r"[^\w\s.,;:!?'\"()/@-]|\S{33}")


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


def is_brief(value: Any) -> bool:
    """Say whether messages are a few words, which are searched sooner than a thread could be woken."""
    left, rest = _BRIEF, [value]
    while rest:
        each = rest.pop()
        kind = type(each)
        left -= _COST_OF_A_PART
        if kind in (str, bytes):
            left -= len(each)
            if left < 0 or kind is bytes or _NO_WORDS.search(each):
                return False
        elif kind in _NESTING:
            left -= _COST_OF_A_PART * len(each)
        elif kind is int:
            left -= each.bit_length()
        elif kind not in _PLAIN and kind not in _MESSAGES:
            return False
        if left < 0:
            return False
        if kind in _MESSAGES:
            rest += (each.__dict__, each.__pydantic_extra__, each.__pydantic_private__)
        elif kind in _NESTING:
            rest += (*each, *each.values()) if kind is dict else each
    return True


def is_short(value: Any) -> bool:
    """Say whether messages are so short that to look up whether they are known takes no time to speak of."""
    kinds = map(type, value) if type(value) in (list, tuple) else (type(value),)
    return all(kind is str or issubclass(kind, BaseMessage) for kind in kinds) and extent(value) <= _SHORT


def extent(value: Any, *, most: int = 5_000) -> int:
    """Return about as many characters as a value holds. It decides who waits for whom, and nothing else.

    Args:
        value: Anything.
        most: Bound on the parts that are looked at. A value of more counts as a long one.
    """
    size, rest = 0, [value]
    while rest:
        if most <= 0:
            return size + _MAX_PARTS
        most -= 1
        each = rest.pop()
        if isinstance(each, (str, bytes)):
            size += len(each)
            continue
        if type(each) not in _BUILT_IN:
            each = getattr(each, "__dict__", None)  # messages and prompt values
        if type(each) in _NESTING:
            size += _COST_OF_A_PART * len(each)
            rest += each.values() if type(each) is dict else each
    return size
