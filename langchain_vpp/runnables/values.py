"""Values of any shape: the messages in them are protected, the rest is searched."""

from __future__ import annotations

import copy
import dataclasses
import datetime as dt
import enum
import numbers
import sys
import uuid
from collections import deque
from collections.abc import Mapping
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final

from langchain_core.messages import BaseMessage, HumanMessage
from langchain_core.prompt_values import ChatPromptValue, PromptValue, StringPromptValue
from langchain_core.runnables.config import run_in_executor
from pydantic import BaseModel

from langchain_vpp.errors import ProtectionError
from langchain_vpp.messages.spelled import numbers_spell_file
from langchain_vpp.messages.walk import coerce_messages
from langchain_vpp.runnables.calls import refuse_media

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_core.callbacks import Callbacks

    from langchain_vpp.guard.gate import Gate

    _Visit = Callable[[BaseMessage], BaseMessage]

_ROLES: Final = frozenset(
    {"ai", "assistant", "developer", "function", "human", "remove", "system", "tool", "user"}
)
_PLAIN: Final = (
    numbers.Number,
    dt.date,
    dt.time,
    dt.timedelta,
    uuid.UUID,
    type(None),
)
_MAX_DEPTH: Final = 64
_SPELLED: Final = (
    "A picture is encoded in plain data of the input, so nothing was sent. Put it into a message."
)


def protect_value(protector: Gate, value: Any, *, level: float | None, callbacks: Callbacks = None) -> Any:
    """Protect the messages anywhere in a value, and refuse pictures anywhere else in it.

    Args:
        protector: What protects them.
        value: The input of a Runnable, or the output of a tool.
        level: The level that the request names, or None.
        callbacks: The callbacks of the request, if an enclosing run may have recorded the value.

    Raises:
        ProtectionError: If anything can't be protected.
    """
    found = _collect(value)
    return _substitute(value, protector.admit(found, level=level, callbacks=callbacks).messages)


async def aprotect_value(
    protector: Gate, value: Any, *, level: float | None, callbacks: Callbacks = None
) -> Any:
    """As :func:`protect_value`; the work is done in threads."""
    found = await run_in_executor(None, _collect, value)
    return _substitute(value, (await protector.aadmit(found, level=level, callbacks=callbacks)).messages)


def _collect(value: Any) -> list[BaseMessage]:
    found: list[BaseMessage] = []

    def collect(message: BaseMessage) -> BaseMessage:
        found.append(message)
        return message

    _rewrite(value, collect, 0)
    return found


def _substitute(value: Any, messages: list[BaseMessage]) -> Any:
    replacements = iter(messages)

    def substitute(_: BaseMessage) -> BaseMessage:
        return next(replacements)

    return _rewrite(value, substitute, 0)


def _rewrite(value: Any, visit: _Visit, depth: int) -> Any:  # noqa: C901, PLR0911, PLR0912  one table of shapes
    """Copy ``value`` with every message in it replaced by what ``visit`` returns.

    Text is visited as a message of its own, so that encoded pictures in it are found.

    Raises:
        ProtectionError: If ``value`` holds anything that is neither a message nor plain data.
    """
    if depth > _MAX_DEPTH:
        raise ProtectionError("The input is nested too deeply, so nothing was sent.")
    if isinstance(value, enum.Enum):
        _rewrite(value.value, _refuse_picture, depth + 1)
        return value
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, PurePath):
        _rewrite_text(str(value), _refuse_picture)
        return value
    if isinstance(value, str):
        return _rewrite_text(value, visit)
    if isinstance(value, BaseMessage):
        return visit(value)
    if isinstance(value, StringPromptValue):
        return StringPromptValue(text=_rewrite_text(value.text, visit))
    if isinstance(value, PromptValue):
        return ChatPromptValue(messages=[visit(message) for message in value.to_messages()])
    if _is_message_like(value):
        return visit(coerce_messages([value])[0])
    if isinstance(value, Mapping):
        return {_rewrite_key(key, visit): _rewrite(item, visit, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset, deque)):
        if numbers_spell_file(value):
            raise ProtectionError(_SPELLED)
        items = [_rewrite(item, visit, depth + 1) for item in value]
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            return _rebuilt(value, lambda: type(value)(*items))
        if isinstance(value, deque):
            return deque(items, value.maxlen)
        return _rebuilt(value, lambda: type(value)(items))
    if isinstance(value, BaseModel):
        return _rewrite_model(value, visit, depth)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {
            field.name: _rewrite(getattr(value, field.name), visit, depth + 1)
            for field in dataclasses.fields(value)
            if field.init
        }
        return _rebuilt(value, lambda: dataclasses.replace(value, **fields))
    graph_types = sys.modules.get("langgraph.types")
    if graph_types is not None and isinstance(value, graph_types.Send):
        send = copy.copy(value)
        send.arg = _rewrite(value.arg, visit, depth + 1)
        return send
    raise ProtectionError(
        f"The input holds a {type(value).__name__}, which can't be checked for pictures, so nothing was "
        "sent. Put pictures into messages, or seal them (protector.seal)."
    )


def _rewrite_model(value: BaseModel, visit: _Visit, depth: int) -> BaseModel:
    # Field by field, so that cached properties and private attributes are copied no more than fields are.
    clone = value.model_copy()
    for part in ("__dict__", "__pydantic_extra__", "__pydantic_private__"):
        items = getattr(value, part)
        if items is not None:
            rewritten = {name: _rewrite(item, visit, depth + 1) for name, item in items.items()}
            object.__setattr__(clone, part, rewritten)
    return clone


def _rebuilt(value: Any, build: Callable[[], Any]) -> Any:
    """Call a constructor of the caller's. Its exception may quote the content, so ours replaces it."""
    try:
        return build()
    except Exception:  # noqa: BLE001, S110  ours is raised below, outside
        pass
    raise ProtectionError(
        f"The input holds a {type(value).__name__}, which can't be rebuilt with protected content, so "
        "nothing was sent."
    )


def _rewrite_text(text: str, visit: _Visit) -> str:
    content = visit(HumanMessage(content=text)).content
    if not isinstance(content, str):
        raise ProtectionError(_SPELLED)
    return content


def _refuse_picture(message: BaseMessage) -> BaseMessage:
    """Visit what can't be replaced, such as the value of an enum."""
    refuse_media(message)
    return message


def _rewrite_key(key: Any, visit: _Visit) -> Any:
    if isinstance(key, (str, *_PLAIN)):
        return _rewrite(key, visit, 0)
    raise ProtectionError("A mapping in the input has a key that is not plain data, so nothing was sent.")


def _is_message_like(value: Any) -> bool:
    if isinstance(value, Mapping):
        roles = (value.get("role"), value.get("type"))
        return "content" in value and any(isinstance(role, str) and role in _ROLES for role in roles)
    # A pair of texts needs no conversion: its texts are checked as they are.
    is_pair = isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], list)
    return is_pair and isinstance(value[0], str) and value[0] in _ROLES
