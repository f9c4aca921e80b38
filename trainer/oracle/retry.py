"""Failures of a chat model: which are worth another request, which may be charged, and how long to wait."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final

import httpx
from langchain_core.exceptions import ModelConnectionError, ModelRateLimitError, ModelTimeoutError

if TYPE_CHECKING:
    from collections.abc import Iterator

_RETRYABLE_STATUS: Final = frozenset({408, 409, 425, 429})
_TRANSIENT: Final = (
    ConnectionError,
    TimeoutError,
    httpx.TransportError,
    ModelConnectionError,
    ModelRateLimitError,
    ModelTimeoutError,
)
_TRANSIENT_NAMES: Final = frozenset(
    {"APIConnectionError", "HTTPClientError", "ConnectionError", "TransportError"}
)
"""Base classes of connection errors in clients that use neither httpx's nor LangChain's errors."""
_UNSENT_NAMES: Final = frozenset(
    {
        "ConnectError",
        "ConnectTimeout",
        "ConnectTimeoutError",
        "ConnectionRefusedError",
        "EndpointConnectionError",
        "PoolTimeout",
    }
)
"""Failures before a request was sent, in any client. After any other failure without a status the provider may have
done the work."""
_NO_MONEY: Final = "insufficient_quota"
"""Code of a 429 that waiting does not cure."""
_FIRST_WAIT_S: Final = 0.5
_LONGEST_WAIT_S: Final = 120.0


def is_retryable(error: Exception) -> bool:
    """Whether the same request may succeed later."""
    status, _ = _response(error)
    if status is not None:
        return (status in _RETRYABLE_STATUS or status >= 500) and getattr(error, "code", None) != _NO_MONEY
    return isinstance(error, _TRANSIENT) or not _names(error).isdisjoint(_TRANSIENT_NAMES)


def may_be_charged(error: Exception) -> bool:
    """Whether the provider may have done the work: the request left, and neither an answer nor a status came back."""
    status, _ = _response(error)
    sent = all(_names(each).isdisjoint(_UNSENT_NAMES) for each in _chain(error))
    return status is None and sent and is_retryable(error)


def retry_after(error: Exception) -> float:
    """Seconds for which the provider wants no request, spread a little and bounded; 0 if it did not say."""
    _, headers = _response(error)
    value = str(headers.get("retry-after") or "")
    try:
        seconds = float(value)
    except ValueError:
        seconds = _seconds_until(value, str(headers.get("date") or ""))
    if not seconds > 0:  # this way round, NaN is refused too
        return 0.0
    return min(seconds * random.uniform(1, 1.1), _LONGEST_WAIT_S)  # noqa: S311  spreads load, hides nothing


def backoff(failures: int) -> float:
    """Seconds to wait after a number of failures in a row, at least 1: doubled each time, spread and bounded."""
    wait = min(_FIRST_WAIT_S * 2.0 ** (failures - 1), _LONGEST_WAIT_S)
    return wait * random.uniform(0.5, 1)  # noqa: S311  spreads load, hides nothing


def describe(error: Exception) -> str:
    """Name an error by its type and status only: a provider's error text may quote the request."""
    status, _ = _response(error)
    return type(error).__name__ if status is None else f"{type(error).__name__}, HTTP status {status}"


def _response(error: BaseException) -> tuple[int | None, Mapping[str, Any]]:
    """HTTP status and headers of an error, where it has some: httpx's, or botocore's, which are a dict."""
    for each in _chain(error):
        response = getattr(each, "response", None)
        if isinstance(response, Mapping):
            metadata = response.get("ResponseMetadata")
            if isinstance(metadata, Mapping):
                return metadata.get("HTTPStatusCode"), metadata.get("HTTPHeaders") or {}
        status = getattr(each, "status_code", None)
        if isinstance(status, int):
            headers = getattr(response, "headers", None)
            return status, headers if isinstance(headers, Mapping) else {}
    return None, {}


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and its causes: clients wrap the errors of the clients below them."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__


def _names(error: BaseException) -> set[str]:
    return {kind.__name__ for kind in type(error).__mro__}


def _seconds_until(date: str, now: str) -> float:
    """Seconds from one HTTP date to another; the provider's own ``now``, if it sent one, spares us our clock."""
    try:
        until = parsedate_to_datetime(date)
        since = parsedate_to_datetime(now) if now else datetime.now(UTC)
        return (until - since).total_seconds()
    except (ValueError, TypeError):  # no date; or one of the two lacks its time zone
        return 0.0
