"""Failures of a chat model on their way from one process to another.

Errors of clients can't be pickled as a rule, and hold the request. What :mod:`trainer.oracle.retry` looks at goes
along: their types, statuses, codes, headers and bodies.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, Final, NamedTuple

_CODES: Final = ("status_code", "code", "type", "body")


class _Part(NamedTuple):
    """An error of a chain of causes."""

    kind: type[BaseException] | str
    args: tuple[Any, ...]
    attributes: dict[str, Any]
    headers: dict[str, str] | None
    status: int | None


def pack(error: BaseException) -> bytes:
    """Write down an error with its causes; see :func:`unpack`."""
    parts: list[_Part] = []
    current: BaseException | None = error
    while current is not None and len(parts) < 8:
        parts.append(_part(current))
        current = current.__cause__
    return pickle.dumps(parts)


def unpack(packed: bytes) -> Exception:
    """Return an error that :mod:`trainer.oracle.retry` judges as it would have judged the original.

    Args:
        packed: Result of :func:`pack`, of a process of ours.
    """
    last: BaseException | None = None
    for part in reversed(pickle.loads(packed)):  # noqa: S301  written by a process of ours
        kind = part.kind if isinstance(part.kind, type) else type(part.kind, (Exception,), {})
        error: BaseException = kind.__new__(kind, *part.args)
        error.args = part.args
        for name, value in part.attributes.items():
            error.__dict__[name] = value
        if part.headers is not None:
            error.__dict__["response"] = SimpleNamespace(headers=part.headers, status_code=part.status)
        error.__cause__ = last
        last = error
    return last if isinstance(last, Exception) else RuntimeError()


def _part(error: BaseException) -> _Part:
    attributes = {name: value for name in _CODES if _travels(value := getattr(error, name, None))}
    response = getattr(error, "response", None)
    if isinstance(response, Mapping) and _travels(response):
        attributes["response"] = dict(response)
    headers = getattr(response, "headers", None)
    embedded = (*error.args, None)[0]
    return _Part(
        type(error) if _travels(type(error)) else type(error).__name__,
        # Other texts may quote the request.
        (embedded,) if isinstance(embedded, Mapping) and _travels(embedded) else (),
        {name: value for name, value in attributes.items() if value is not None},
        dict(headers) if isinstance(headers, Mapping) else None,
        getattr(response, "status_code", None) if isinstance(headers, Mapping) else None,
    )


def _travels(value: object) -> bool:
    try:
        pickle.dumps(value)
    except (pickle.PicklingError, TypeError, AttributeError, RecursionError, ValueError):
        return False
    return True
