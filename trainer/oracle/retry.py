"""Failures of a chat model: which are answers, which are worth another request, and which may be charged.

A request fails in one of four ways:

* The provider *rejects* what it holds (400, 403, 413, 415, 422, 451), such as a picture that its content filter stops
  or that is too large. That is an answer about this request, and says nothing about the next one.
* It fails *in passing*: the provider is busy, can't be reached, or sent a reply that the client can't read. A reply was
  unreadable if the client raises an error without a status that is no error of the connection.
* It fails *for good*: the key is wrong, the account is empty, there is no such model.
* It was *never sent*: the client lacks a package or a key, or asking was stopped.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final

from langchain_core.exceptions import (
    ContextOverflowError,
    ModelAuthenticationError,
    ModelInvalidRequestError,
    ModelNotFoundError,
    ModelPermissionDeniedError,
    ModelRateLimitError,
    ModelRefusalError,
)

from langchain_vpp.errors import VPPError
from trainer.oracle.gate import GateClosedError

if TYPE_CHECKING:
    from collections.abc import Iterator

_RETRYABLE_STATUS: Final = frozenset({408, 409, 424, 425, 429, 498, 499})
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
_REJECTIONS: Final = frozenset({400, 403, 413, 415, 422, 451})
"""Statuses that may be about what one request holds."""
_STATUS_OF_TYPE: Final[dict[type[Exception], int]] = {
    ModelRefusalError: 403,
    ContextOverflowError: 400,
    ModelInvalidRequestError: 400,
    ModelAuthenticationError: 401,
    ModelPermissionDeniedError: 403,
    ModelNotFoundError: 404,
    ModelRateLimitError: 429,
}
"""Status that LangChain's errors stand for, where an error names none."""
_NO_MONEY: Final = re.compile(
    r"insufficient_(quota|funds|balance|credits)|billing_|billing hard limit|credit balance is too low",
    re.IGNORECASE,
)
"""An account that is empty, whatever the status: waiting does not cure it, and no picture is its cause."""
_FILTER: Final = re.compile(
    r"content.?(filter|polic|management|moderat)|moderation|flagged|responsible.?ai|safety|guardrail|prohibited",
    re.IGNORECASE,
)
"""A content filter, in the codes of an error. Messages are not searched: they may quote the request."""
_NEVER_SENT: Final = (ImportError, NotImplementedError, GateClosedError, VPPError)
_NEVER_SENT_NAMES: Final = frozenset(
    {"DefaultCredentialsError", "NoCredentialsError", "PartialCredentialsError", "RefreshError"}
)
_LONGEST_TEXT: Final = 200
"""Characters of a text in an error that are looked at."""
_FIRST_WAIT_S: Final = 0.5
_LONGEST_WAIT_S: Final = 120.0


def is_rejection(error: Exception) -> bool:
    """Whether the provider rejected what the request holds; the next request may well be answered."""
    if _lacks_money(error):
        return False
    status = _status(error)
    # Some gateways send a rejection with the status 200, and name the filter only.
    return status in _REJECTIONS or (
        status is None and bool(_embedded(error)) and _codes_name_a_filter(error)
    )


def names_a_filter(error: Exception) -> bool:
    """Whether a rejection says of itself that it comes from a content filter, so that no setting can be its cause."""
    return is_rejection(error) and (isinstance(error, ModelRefusalError) or _codes_name_a_filter(error))


def _codes_name_a_filter(error: Exception) -> bool:
    codes = "\n".join(f"{name} {text}" for name, text in _texts(error) if name != "message")
    return _FILTER.search(codes) is not None


def is_retryable(error: Exception) -> bool:
    """Whether the same request may succeed later."""
    status = _status(error)
    if status is not None:
        return (status in _RETRYABLE_STATUS or status >= 500) and not _lacks_money(error)
    return not _was_never_sent(error)


def may_come_from_the_request(error: Exception) -> bool:
    """Whether what a request holds may be why the provider fails: it fails within, or its reply can't be read."""
    status = _status(error)
    return is_retryable(error) and (may_be_charged(error) if status is None else status >= 500)


def may_be_charged(error: Exception) -> bool:
    """Whether the provider may have done the work: the request left, and no readable answer or refusal came back."""
    status = _status(error)
    if _embedded(error):  # in a reply with the status 200
        return status is None or status >= 500
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
    """Name an error by its type and status only: a provider's error text may quote the request; ours never does."""
    if isinstance(error, VPPError):
        return str(error).rstrip(".")
    status, _ = _response(error)
    return type(error).__name__ if status is None else f"{type(error).__name__}, HTTP status {status}"


def _status(error: BaseException) -> int | None:
    status, _ = _response(error)
    return status


def _response(error: BaseException) -> tuple[int | None, Mapping[str, Any]]:
    """HTTP status and headers of an error, where it has some.

    Clients keep them in ``status_code``, ``code``, a response of httpx, or one of botocore, which is a dict. A status
    below 400 is none: it came with a reply that could not be read.
    """
    for each in _chain(error):
        response = getattr(each, "response", None)
        if isinstance(response, Mapping):
            metadata = response.get("ResponseMetadata")
            if isinstance(metadata, Mapping):
                return _failed(metadata.get("HTTPStatusCode")), metadata.get("HTTPHeaders") or {}
        headers = getattr(response, "headers", None)
        named = (getattr(each, "status_code", None), getattr(each, "code", None))
        for status in (*named, getattr(response, "status_code", None), _embedded(each).get("code")):
            if _failed(status) is not None:
                return _failed(status), headers if isinstance(headers, Mapping) else {}
    return next((status for kind, status in _STATUS_OF_TYPE.items() if isinstance(error, kind)), None), {}


def _failed(status: object) -> int | None:
    if isinstance(status, str) and re.fullmatch(r"[45]\d\d", status):  # as gateways write it into a body
        status = int(status)
    return status if isinstance(status, int) and 400 <= status <= 599 else None


def _embedded(error: BaseException) -> Mapping[str, Any]:
    """The error that a gateway sends in the body of a reply with the status 200, as OpenAI's client raises it."""
    return (
        error.args[0] if isinstance(error, ValueError) and isinstance((*error.args, None)[0], Mapping) else {}
    )


def _lacks_money(error: BaseException) -> bool:
    return any(_NO_MONEY.search(text) for _, text in _texts(error))


def _texts(error: BaseException) -> Iterator[tuple[str, str]]:
    """Yield the short texts of an error with their names: its codes, and everything in its body."""
    for each in _chain(error):
        yield from (("code", str(getattr(each, name, ""))) for name in ("code", "type"))
        for body in (getattr(each, "body", None), getattr(each, "response", None), _embedded(each)):
            yield from _texts_in(body, "body", 4)


def _texts_in(body: object, name: str, depth: int) -> Iterator[tuple[str, str]]:
    if isinstance(body, str):
        yield name.lower(), body[:_LONGEST_TEXT]
    elif isinstance(body, Mapping) and depth:
        for key, value in body.items():
            yield from _texts_in(value, str(key), depth - 1)
    elif isinstance(body, list | tuple) and depth:
        for value in body:
            yield from _texts_in(value, name, depth - 1)


def _was_never_sent(error: BaseException) -> bool:
    return isinstance(error, _NEVER_SENT) or not _names(error).isdisjoint(_NEVER_SENT_NAMES)


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
