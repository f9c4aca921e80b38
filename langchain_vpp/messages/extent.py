"""The extent of a value: about how much work it makes."""

from __future__ import annotations

import re
from typing import Any, Final

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.prompt_values import PromptValue

from langchain_vpp.messages.copies import PLAIN

_NESTING: Final = frozenset({dict, list, tuple, set, frozenset})
_BUILT_IN: Final = PLAIN | _NESTING
_MAX_PARTS: Final = 2_000_000
_MESSAGES: Final = frozenset({AIMessage, HumanMessage, SystemMessage, ToolMessage})
_BRIEF: Final = 800
_SHORT: Final = 20_000
_COST_OF_A_PART: Final = 5  # in characters
# Where data is looked for, which takes longer than to read words.
_NO_WORDS: Final = re.compile(r"[^\w\s.,;:!?'\"()/@-]|\S{33}")


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
        elif kind not in PLAIN and kind not in _MESSAGES:
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
        # Not `isinstance`, which asks the object for its class: that and methods of subclasses may do anything.
        if issubclass(type(each), (str, bytes)):
            size += str.__len__(each) if issubclass(type(each), str) else bytes.__len__(each)
            continue
        if type(each) not in _BUILT_IN:
            each = _held(each)
        if type(each) in _NESTING:
            size += _COST_OF_A_PART * len(each)
            rest += each.values() if type(each) is dict else each
    return size


def _held(value: Any) -> Any:
    """Return what a message or a prompt value holds; ``None`` for any other object."""
    if not issubclass(type(value), (BaseMessage, PromptValue)):
        return None
    try:
        return object.__getattribute__(value, "__dict__")
    except Exception:  # noqa: BLE001  of a class that hides it; the walk says what is wrong
        return None
