"""Traces without media: an anonymizer for LangSmith clients, and a wrapper for any callback handler.

Both remove every picture, protected ones too. They are for runs that are opened outside a protected model,
where an original would be recorded, and for traces that should stay small.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import enum
import numbers
import operator
import re
import uuid
from collections import deque
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final

from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from pydantic import BaseModel

from langchain_vpp.messages.spelled import find_file_header, holds_pixels, numbers_spell_file
from langchain_vpp.runnables.calls import error_holds_media

if TYPE_CHECKING:
    from collections.abc import Callable

REMOVED_MEDIA: Final = "[media removed]"
"""What stands in the place of media."""

_MAX_DEPTH: Final = 128
_MAX_BYTES: Final = 256
# Keys under which content blocks hold a payload, whatever its format.
_PAYLOAD_KEYS: Final = frozenset({"base64", "bytes", "data", "file_data", "image_data", "result"})
_PAYLOAD: Final = re.compile(r"[A-Za-z0-9+/_=\s-]{40,}")
_ATOMS: Final = (
    numbers.Number,
    dt.date,
    dt.time,
    dt.timedelta,
    uuid.UUID,
    type,
    type(None),
)
_IGNORED: Final = tuple(name for name in dir(BaseCallbackHandler) if name.startswith("ignore_"))
# A retry state holds the arguments of the call, and nothing that an observer could do without them.
_EVENTS: Final = tuple(
    name for name in dir(BaseCallbackHandler) if name.startswith("on_") and name != "on_retry"
)


def media_anonymizer() -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Build an anonymizer that removes media from what a LangSmith client sends.

    Use it as ``langsmith.Client(anonymizer=media_anonymizer())``. ``hide_inputs`` alone is not enough:
    outputs and errors hold pictures too.

    A client does not pass a model's own settings (the arguments of its constructor and of a call) through its
    anonymizer. A protected model refuses pictures in the arguments of a call.

    Returns:
        A function that copies a run's inputs or outputs with a short note in the place of each picture, video
        or PDF.
    """

    def anonymize(data: dict[str, Any]) -> dict[str, Any]:
        return {_redact(key, 0): _redact_item(key, item, 0) for key, item in data.items()}

    return anonymize


class RedactingCallbackHandler(BaseCallbackHandler):
    """Forwards every event to another handler, with a short note in the place of each picture, video or PDF.

    The protection's upstream guard knows it, and doesn't warn because of it. Events of retries are not
    forwarded.

    Args:
        handler: The handler to shield, sync or async.
    """

    redacts_media: Final = True

    def __new__(cls, handler: BaseCallbackHandler) -> RedactingCallbackHandler:  # noqa: PYI034  see below
        """Choose the async form for an async handler: core looks at whether the events are coroutines."""
        is_async = isinstance(handler, AsyncCallbackHandler)
        return super().__new__(_AsyncRedactingCallbackHandler if is_async else cls)

    def __init__(self, handler: BaseCallbackHandler) -> None:
        self.handler = handler
        self.raise_error = handler.raise_error
        self.run_inline = handler.run_inline


class _AsyncRedactingCallbackHandler(RedactingCallbackHandler, AsyncCallbackHandler):
    pass


def _forward(name: str) -> Callable[..., Any]:
    def event(self: RedactingCallbackHandler, *args: Any, **kwargs: Any) -> Any:
        return getattr(self.handler, name)(*_redact(args, 0), **_redact(kwargs, 0))

    return event


def _aforward(name: str) -> Callable[..., Any]:
    async def event(self: RedactingCallbackHandler, *args: Any, **kwargs: Any) -> Any:
        return await getattr(self.handler, name)(*_redact(args, 0), **_redact(kwargs, 0))

    return event


for _name in _EVENTS:
    setattr(RedactingCallbackHandler, _name, _forward(_name))
    setattr(_AsyncRedactingCallbackHandler, _name, _aforward(_name))
for _name in _IGNORED:
    setattr(RedactingCallbackHandler, _name, property(operator.attrgetter(f"handler.{_name}")))


def _redact(value: Any, depth: int) -> Any:  # noqa: C901, PLR0911  one table of shapes
    """Copy ``value`` without media. What can't be looked into is replaced by a note too."""
    if depth > _MAX_DEPTH:
        return REMOVED_MEDIA
    if isinstance(value, enum.Enum):
        return value if _redact(value.value, depth + 1) == value.value else REMOVED_MEDIA
    if isinstance(value, (str, PurePath)):
        text = value if isinstance(value, str) else str(value)
        return REMOVED_MEDIA if holds_pixels(text) else value
    if isinstance(value, (bytes, bytearray, memoryview)):
        return (
            REMOVED_MEDIA if len(value) > _MAX_BYTES or find_file_header(bytes(value)) is not None else value
        )
    if isinstance(value, Mapping):
        return {_redact(key, depth + 1): _redact_item(key, item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple, AbstractSet, deque)):
        if numbers_spell_file(value):
            return REMOVED_MEDIA
        items = [_redact(item, depth + 1) for item in value]
        if isinstance(value, tuple):
            return type(value)(*items) if hasattr(value, "_fields") else tuple(items)
        return items if isinstance(value, (list, deque)) else set(items)
    if isinstance(value, BaseModel):
        return _redact_model(value, depth)
    if isinstance(value, BaseException):
        return RuntimeError(f"{type(value).__name__} {REMOVED_MEDIA}") if error_holds_media(value) else value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _redact_dataclass(value, depth)
    return value if isinstance(value, _ATOMS) else f"[{type(value).__name__}]"


def _redact_item(key: Any, item: Any, depth: int) -> Any:
    if key in _PAYLOAD_KEYS and isinstance(item, str) and _PAYLOAD.fullmatch(item):
        return REMOVED_MEDIA
    return _redact(item, depth)


def _redact_model(value: BaseModel, depth: int) -> BaseModel:
    # With cached properties and private attributes, which model_copy() would take along as they are.
    clone = value.model_copy()
    for part in ("__dict__", "__pydantic_extra__", "__pydantic_private__"):
        items = getattr(value, part)
        if items is not None:
            redacted = {name: _redact_item(name, item, depth + 1) for name, item in items.items()}
            object.__setattr__(clone, part, redacted)
    return clone


def _redact_dataclass(value: Any, depth: int) -> Any:
    fields = (field.name for field in dataclasses.fields(value) if field.init)
    redacted = {name: _redact_item(name, getattr(value, name), depth + 1) for name in fields}
    with contextlib.suppress(Exception):  # of a constructor that isn't ours; core would log its text
        return dataclasses.replace(value, **redacted)
    return f"[{type(value).__name__}]"
