"""Traces without media: an anonymizer for LangSmith clients, and a wrapper for any callback handler.

Both remove every picture, protected ones too. They serve runs that are opened outside of a protected model, where an
original would be recorded, and traces that should stay small.
"""

from __future__ import annotations

import operator
import re
from typing import TYPE_CHECKING, Any, Final

from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler

from langchain_vpp.messages.dialects import INLINE_PAYLOAD_KEYS
from langchain_vpp.messages.tree import Finding, TreeWalk, error_holds_media

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_vpp.messages.registry import Shape

REMOVED_MEDIA: Final = "[media removed]"
"""Text in the place of media."""

# Base64 of any length under one of these keys is a payload, whatever its format.
_PAYLOAD_KEYS: Final = INLINE_PAYLOAD_KEYS | {"image_data"}
_PAYLOAD: Final = re.compile(r"[A-Za-z0-9+/_=\s-]{40,}")
_IGNORED: Final = tuple(name for name in dir(BaseCallbackHandler) if name.startswith("ignore_"))
# A retry state is the arguments of the call and the outcome: without them, nothing is left to observe.
_EVENTS: Final = tuple(
    name for name in dir(BaseCallbackHandler) if name.startswith("on_") and name != "on_retry"
)


def media_anonymizer() -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Build an anonymizer that removes media from everything that a LangSmith client sends.

    Use it as ``langsmith.Client(anonymizer=media_anonymizer())``. ``hide_inputs`` alone is not enough: outputs and
    errors hold pictures too.

    A client does not pass a model's own settings (the arguments of its constructor and of a call) through its
    anonymizer. A protected model refuses pictures in the arguments of a call.

    Returns:
        A function that copies a run's inputs or outputs with a short note in the place of each picture, video
        or PDF.

    Example:
        >>> anonymize = media_anonymizer()
        >>> anonymize({"question": "What?", "thumbnail": bytes(1000)})
        {'question': 'What?', 'thumbnail': '[media removed]'}
    """

    def anonymize(data: dict[str, Any]) -> dict[str, Any]:
        redacted: dict[str, Any] = _Redaction().value(data)
        return redacted

    return anonymize


class RedactingCallbackHandler(BaseCallbackHandler):
    """Forwards every event to another handler, with a short note in the place of each picture, video or PDF.

    The protection knows this handler, and doesn't warn of enclosing runs because of it. Events of retries are not
    forwarded.

    Args:
        handler: The handler to shield, sync or async.
    """

    redacts_media: Final = True

    def __new__(cls, handler: BaseCallbackHandler) -> RedactingCallbackHandler:  # noqa: PYI034  see below
        """Choose the async form for an async handler, because core checks whether the events are coroutines."""
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
        return getattr(self.handler, name)(*_redacted(args), **_redacted(kwargs))

    return event


def _aforward(name: str) -> Callable[..., Any]:
    async def event(self: RedactingCallbackHandler, *args: Any, **kwargs: Any) -> Any:
        return await getattr(self.handler, name)(*_redacted(args), **_redacted(kwargs))

    return event


for _name in _EVENTS:
    setattr(RedactingCallbackHandler, _name, _forward(_name))
    setattr(_AsyncRedactingCallbackHandler, _name, _aforward(_name))
for _name in _IGNORED:
    setattr(RedactingCallbackHandler, _name, property(operator.attrgetter(f"handler.{_name}")))


class _Redaction(TreeWalk):
    """Copies a value with notes in the place of media, and of objects that can't be looked into."""

    copies = True
    # A trace can do without long tokens.
    knows_tokens = False

    def value(self, value: Any, opaque: Any = None, depth: int = 0) -> Any:
        if isinstance(value, type):
            return value
        if isinstance(value, BaseException):
            return (
                RuntimeError(f"{type(value).__name__} {REMOVED_MEDIA}") if error_holds_media(value) else value
            )
        return super().value(value, opaque, depth)

    def keyed(self, value: Any, parts: dict[Any, Any], shape: Shape, opaque: Any, depth: int) -> Any:
        kept: dict[Any, Any] = {}
        is_redacted = False
        for key, item in parts.items():
            kept_key = key if self.is_clean(key, depth) else REMOVED_MEDIA
            kept[kept_key] = REMOVED_MEDIA if _is_payload(key, item) else item
            is_redacted = is_redacted or kept_key is not key or kept[kept_key] is not item
        walked = super().keyed(value, kept, shape, opaque, depth)
        return REMOVED_MEDIA if walked is value and is_redacted else walked

    def refuse(self, finding: Finding, value: Any) -> Any:  # noqa: ARG002  as in the base class
        return f"[{finding.type_name}]" if finding.kind == "unknown" else REMOVED_MEDIA


def _redacted(arguments: Any) -> Any:
    return _Redaction().value(arguments)


def _is_payload(key: Any, item: Any) -> bool:
    return key in _PAYLOAD_KEYS and isinstance(item, str) and _PAYLOAD.fullmatch(item) is not None
