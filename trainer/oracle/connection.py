"""Where a chat model's requests go, how long it waits, and how often it sends them again by itself.

All of it is read from the clients that a chat model has built, because that is what happens: an option that a class
does not know is dropped without a word or sent along as a parameter of the model. Where no client can be read, the
fields of the class are taken.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_core.language_models import BaseChatModel

_DEEPEST: Final = 3
"""Clients within clients that are looked at."""


class Connection(NamedTuple):
    """Settings of one client; ``None`` where they are not known."""

    address: str | None
    """Address of the server, in normal form."""
    timeout: float | None
    """Seconds until a request is given up."""
    retries: int | None
    """Times that the client sends a failed request again by itself."""


def connections(model: BaseChatModel) -> tuple[Connection, ...]:
    """Read the settings of a chat model's clients; empty if none can be read."""
    return tuple(dict.fromkeys(_in_clients(model, 0, set())))


def takes_address(model: BaseChatModel, address: str) -> bool:
    """Whether every request of a chat model goes to an address, or to a path below it."""
    wanted = normal_address(address)
    found = addresses(model)
    return bool(found) and all(each == wanted or each.startswith(f"{wanted}/") for each in found)


def takes_timeout(model: BaseChatModel, seconds: float) -> bool:
    """Whether a chat model gives a request up after some seconds."""
    found = {each.timeout for each in connections(model) if each.timeout is not None}
    return found == {seconds} if found else seconds in _numbers(model, "timeout")


def own_retries(model: BaseChatModel) -> int:
    """Times that a chat model sends a failed request again by itself, as far as this is known."""
    found = [each.retries for each in connections(model) if each.retries is not None]
    if not found:
        # Google's clients count attempts: 0 stands for their default, 1 for no retry.
        first = is_a(model, "ChatGoogleGenerativeAI")
        found = [int(value) - first for value in _numbers(model, "retries")]
    return max(found, default=0)


def addresses(model: BaseChatModel) -> set[str]:
    """Addresses that a chat model's requests may go to, in normal form; empty if none is known."""
    found = {each.address for each in connections(model) if each.address is not None}
    return found or _addresses_in_fields(model)


def is_a(model: BaseChatModel, kind: str) -> bool:
    """Whether a chat model is of a class of this name, which need not be installed, or of a subclass."""
    return any(each.__name__ == kind for each in type(model).__mro__)


def normal_address(address: str) -> str:
    """Write an address in normal form: no credentials or query, small letters, no closing slash or usual port.

    Example:
        >>> normal_address("https://user:secret@Example.org:443/v1/")
        'https://example.org/v1'
    """
    try:
        parts = urlsplit(address if "://" in address else f"http://{address}")
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError:
        return address
    host = f"[{host}]" if ":" in host else host
    usual = {"http": 80, "https": 443}.get(parts.scheme.lower())
    shown = "" if port in {None, usual} else f":{port}"
    return f"{parts.scheme.lower()}://{host}{shown}{parts.path.rstrip('/')}"


def _in_clients(owner: object, depth: int, seen: set[int]) -> Iterator[Connection]:
    """Read the clients that an object holds, and those within them; clients of asynchronous calls are the same."""
    for name in _client_names(owner):
        if "async" in name:
            continue
        try:
            client = getattr(owner, name)
        except Exception:  # noqa: BLE001, S112  a client that can't be built is no client
            continue
        if client is None or id(client) in seen:
            continue
        seen.add(id(client))
        found = _connection(client)
        if found is not None:
            yield found
        elif depth < _DEEPEST:
            yield from _in_clients(client, depth + 1, seen)


def _client_names(owner: object) -> list[str]:
    lazy = [
        name
        for kind in type(owner).__mro__
        for name, value in vars(kind).items()
        if isinstance(value, cached_property)
    ]
    private = getattr(owner, "__pydantic_private__", None) or {}
    own = getattr(owner, "__dict__", {})
    return [name for name in dict.fromkeys((*own, *private, *lazy)) if "client" in name]


def _connection(client: Any) -> Connection | None:
    """Read a client of httpx, of OpenAI's or Anthropic's kind, of botocore or of Google; ``None`` for any other."""
    meta = getattr(client, "meta", None)
    if meta is not None and hasattr(meta, "endpoint_url") and hasattr(meta, "config"):
        return Connection(
            normal_address(meta.endpoint_url),
            _seconds(meta.config.read_timeout),
            _attempts(meta.config.retries),
        )
    google = getattr(getattr(client, "_api_client", None), "_http_options", None)
    if google is not None:
        timeout = None if google.timeout is None else google.timeout / 1000
        return Connection(normal_address(str(google.base_url)), timeout, None)
    if not hasattr(client, "base_url") or not hasattr(client, "timeout"):
        return None
    address, retries = str(client.base_url), getattr(client, "max_retries", None)
    return Connection(
        normal_address(address) if address else None,
        _seconds(client.timeout),
        retries if isinstance(retries, int) else None,
    )


def _seconds(timeout: Any) -> float | None:
    """Seconds of a number, or of the time for reading of httpx."""
    value = getattr(timeout, "read", timeout)
    return float(value) if isinstance(value, int | float) else None


def _attempts(retries: Any) -> int | None:
    if not isinstance(retries, Mapping):
        return None
    if "total_max_attempts" in retries:
        return int(retries["total_max_attempts"]) - 1
    return int(retries["max_attempts"]) if "max_attempts" in retries else None


def _addresses_in_fields(model: BaseChatModel) -> set[str]:
    """Addresses that stand in a model's declared fields, besides those of proxies."""
    return {
        normal_address(value)
        for name in type(model).model_fields
        if "proxy" not in name and isinstance(value := getattr(model, name, None), str)
        if "://" in value or re.fullmatch(r"[\w.-]+:\d+(/\S*)?", value)
    }


def _numbers(model: BaseChatModel, word: str) -> list[float]:
    """Numbers in a model's declared fields whose name or alias contains a word."""
    return [
        float(value)
        for name, field in type(model).model_fields.items()
        if word in name or word in str(field.alias)
        if isinstance(value := getattr(model, name, None), int | float)
    ]
