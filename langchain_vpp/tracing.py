"""Traces without media: a client for LangSmith, an anonymizer for one, and a wrapper for any callback handler.

All remove every picture, protected ones too. They serve runs that are opened outside of a protected model, where an
original would be recorded, and traces that should stay small.
"""

from __future__ import annotations

import contextlib
import functools
import operator
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler

from langchain_vpp.messages.dialects import INLINE_PAYLOAD_KEYS
from langchain_vpp.messages.failures import error_holds_media
from langchain_vpp.messages.tree import Finding, TreeWalk, find_media

if TYPE_CHECKING:
    from collections.abc import Callable

    from langsmith import Client

    from langchain_vpp.messages.registry import Shape

REMOVED_MEDIA: Final = "[media removed]"
"""Text in the place of media."""

# Base64 of any length under one of these keys is a payload, whatever its format.
_PAYLOAD_KEYS: Final = INLINE_PAYLOAD_KEYS | {"image_data"}
# Of a run: what the anonymizer of a client covers, and what routes a request.
_KEPT_FIELDS: Final = frozenset(
    {
        "inputs", "outputs", "error", "attachments", "address", "_replica_auths",
        "api_key", "api_url", "service_key", "tenant_id", "authorization", "cookie",
    }
)  # fmt: skip
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

    A client passes the inputs, outputs, errors and metadata of a run through its anonymizer, and nothing else.
    Attachments, tags, names, events, feedback, and a model's own settings (the arguments of its constructor and of a
    call) leave it as they are. :func:`redacting_client` closes these too.

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


def redacting_client(**options: Any) -> Client:
    """Build a LangSmith client that removes media from every part of the runs and the feedback that it sends.

    Beside what :func:`media_anonymizer` covers, these are attachments, tags, names, events, the model's settings, and
    feedback. An attachment is kept if it is text without media; a note takes the place of any other. Examples and
    datasets that you upload yourself are not changed, and neither is what a write replica sends with a client of its
    own.

    Args:
        **options: Arguments of :class:`langsmith.Client`. An ``anonymizer`` gets what is left.

    Example::

        from langchain_core.tracers import LangChainTracer

        chain.invoke(question, {"callbacks": [LangChainTracer(client=redacting_client())]})
    """
    remove_media = media_anonymizer()
    anonymize = options.pop("anonymizer", None)
    if anonymize is not None:
        options["anonymizer"] = lambda data: anonymize(remove_media(data))
    return _client_class()(**{"anonymizer": remove_media, **options})


@functools.cache
def _client_class() -> type[Client]:
    from langsmith import Client  # noqa: PLC0415  takes seconds

    class RedactingClient(Client):
        """Removes media from all arguments of the methods by which runs and feedback leave."""

        def create_run(self, name: str, inputs: dict[str, Any], run_type: Any, **kwargs: Any) -> None:
            kwargs = _redacted_fields(kwargs)
            super().create_run(_redacted(name), inputs, run_type, **kwargs)

        def update_run(self, run_id: Any, **kwargs: Any) -> None:
            super().update_run(run_id, **_redacted_fields(kwargs))

        def batch_ingest_runs(self, create: Any = None, update: Any = None) -> None:
            super().batch_ingest_runs(_redacted_runs(create), _redacted_runs(update))

        def multipart_ingest(self, create: Any = None, update: Any = None, **kwargs: Any) -> None:
            super().multipart_ingest(_redacted_runs(create), _redacted_runs(update), **kwargs)

        def create_feedback(self, *args: Any, **kwargs: Any) -> Any:
            return super().create_feedback(*_redacted(args), **_redacted_fields(kwargs))

    return RedactingClient


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


def _redacted_fields(fields: dict[str, Any]) -> dict[str, Any]:
    """Redact the fields of a run or of feedback, except those that a client's anonymizer or its server needs."""
    redacted = {key: item if key in _KEPT_FIELDS else _redacted(item) for key, item in fields.items()}
    attachments = fields.get("attachments")
    if attachments:
        redacted["attachments"] = {
            _redacted(name): _redacted_attachment(attachment) for name, attachment in attachments.items()
        }
    return redacted


def _redacted_runs(runs: Any) -> Any:
    if not runs:
        return runs
    return [_redacted_fields(dict(run) if isinstance(run, Mapping) else run.model_dump()) for run in runs]


def _redacted_attachment(attachment: Any) -> tuple[str, bytes]:
    """Return the MIME type and the bytes of an attachment if it is text without media, else a note."""
    with contextlib.suppress(Exception):  # whatever can't be read as text is removed
        mime_type, data = (
            (attachment["mime_type"], attachment["data"]) if isinstance(attachment, Mapping) else attachment
        )
        if isinstance(data, bytes) and find_media([mime_type, data.decode()]) is None:
            return mime_type, data
    return "text/plain", REMOVED_MEDIA.encode()


def _is_payload(key: Any, item: Any) -> bool:
    return key in _PAYLOAD_KEYS and isinstance(item, str) and _PAYLOAD.fullmatch(item) is not None
