"""Fetching of pictures by URL, safe from server-side request forgery.

The author of a message chooses the URL. Therefore every address that its name resolves to must be public, and the
connection goes to a checked address itself: TLS and the ``Host`` header still see the name, but a second, different
answer of the name server has no effect. Each redirect is checked like the first URL. Size and time are bounded in
total, nothing is read from the environment (proxies, ``.netrc``), and neither cookies nor credentials are sent.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import httpcore
import httpx

from langchain_vpp.errors import ProtectionError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable, Sequence

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
# IPv6 ranges that lead to an IPv4 address: NAT64, well-known and local.
_NAT64: Final = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("64:ff9b:1::/48"))
_HEADERS: Final = (("Accept", "image/*"), ("Accept-Encoding", "identity"), ("User-Agent", "langchain-vpp"))
_CHUNK: Final = 65_536


def resolve(host: str, port: int) -> list[str]:
    """Ask the system for all addresses of a host.

    Args:
        host: The name, or an address.
        port: The port that will be connected to.
    """
    return [str(answer[4][0]) for answer in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def is_public(address: str) -> bool:
    """Say whether an address is a global unicast address. One that wraps an address of another network is not.

    Example:
        >>> is_public("93.184.215.14"), is_public("192.168.0.1"), is_public("64:ff9b::c0a8:1")
        (True, False, False)
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.scope_id or parsed.is_site_local or parsed.sixtofour or parsed.teredo:
            return False
        if any(parsed in network for network in _NAT64):
            return False
        if parsed.ipv4_mapped:
            parsed = parsed.ipv4_mapped
    return parsed.is_global and not (parsed.is_multicast or parsed.is_reserved or parsed.is_unspecified)


@dataclass(frozen=True)
class FetchPolicy:
    """Bounds on one fetch, and the addresses that may be connected to.

    Attributes:
        max_bytes: Bound on the size of the body.
        timeout: Seconds for everything together: names, connections, redirects and the body.
        max_redirects: Number of redirects that are followed; none leads from https to http.
        schemes: Allowed URL schemes.
        ports: Allowed ports; ``None`` allows all.
        resolver: Function from a host name and a port to addresses as text.
        is_allowed: Function that judges every address. Only tests against local servers should replace it.
        ssl_context: Certificates to trust; by default those of httpx.
    """

    max_bytes: int = 20_000_000
    timeout: float = 10.0
    max_redirects: int = 3
    schemes: frozenset[str] = frozenset({"https", "http"})
    ports: frozenset[int] | None = frozenset({80, 443})
    resolver: Callable[[str, int], Sequence[str]] = field(default=resolve)
    is_allowed: Callable[[str], bool] = field(default=is_public)
    ssl_context: ssl.SSLContext | None = None


_DEFAULT: Final = FetchPolicy()


class _RefusedError(Exception):
    """The URL is not fetched; the argument is the reason."""


def fetch_image(
    url: str, policy: FetchPolicy = _DEFAULT, *, spend: Callable[[int], None] | None = None
) -> bytes:
    """Download the body of an http(s) URL within bounds; it is not checked to be a picture.

    Args:
        url: The URL.
        policy: The bounds.
        spend: Called with the number of bytes as they arrive, to stop several fetches that are too much together: what
            it raises ends the fetch.

    Raises:
        ProtectionError: If the URL, or one that it redirects to, may not or can't be fetched. The error carries neither
            the URL nor anything of the answer.
    """
    reason = "the server didn't answer as it should."
    try:
        return _fetch(url, policy, deadline=time.monotonic() + policy.timeout, spend=spend)
    except _RefusedError as refused:
        reason = str(refused)
    except (httpcore.TimeoutException, TimeoutError):
        reason = "it took too long."
    except ProtectionError:
        raise
    except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.UnsupportedProtocol, OSError, ValueError):
        pass
    except httpx.InvalidURL:
        reason = "its URL is malformed."
    raise ProtectionError(f"A picture was not fetched: {reason}")


def _fetch(start: str, policy: FetchPolicy, *, deadline: float, spend: Callable[[int], None] | None) -> bytes:
    url = httpx.URL(start)
    context = policy.ssl_context or httpx.create_ssl_context(trust_env=False)
    for _ in range(policy.max_redirects + 1):
        _check_url(url, policy)
        # A pool per request, so that no connection, TLS session or cookie is shared between redirects.
        backend = _PinnedBackend(policy, deadline)
        with httpcore.ConnectionPool(ssl_context=context, network_backend=backend) as pool:
            headers: list[tuple[bytes | str, bytes | str]] = [("Host", url.netloc), *_HEADERS]
            with pool.stream("GET", str(url.copy_with(fragment=None)), headers=headers) as response:
                location = _header(response, b"location")
                if response.status in _REDIRECTS and location:
                    target = url.join(location)
                    if url.scheme == "https" and target.scheme != "https":
                        raise _RefusedError("it redirects from https to http.")
                    url = target
                    continue
                if response.status != httpx.codes.OK:
                    raise _RefusedError(f"the server answered with status {response.status}.")
                return _read(response, policy.max_bytes, spend)
    raise _RefusedError("it redirects too often.")


def _check_url(url: httpx.URL, policy: FetchPolicy) -> None:
    if url.scheme not in policy.schemes:
        raise _RefusedError("its scheme is not allowed.")
    # httpx writes characters that no host name has, and IPv6 zones, with a percent sign.
    if not url.host or "%" in url.host:
        raise _RefusedError("its URL names no host.")
    if url.userinfo:
        raise _RefusedError("its URL holds credentials.")
    if policy.ports is not None and (url.port or _DEFAULT_PORTS.get(url.scheme)) not in policy.ports:
        raise _RefusedError("its port is not allowed.")


def _header(response: httpcore.Response, name: bytes) -> str:
    values = [value.decode("latin-1") for key, value in response.headers if key.lower() == name]
    return values[0] if values else ""


def _read(response: httpcore.Response, max_bytes: int, spend: Callable[[int], None] | None) -> bytes:
    announced = _header(response, b"content-length")
    body = bytearray()
    if announced.isdigit() and int(announced) > max_bytes:
        raise _RefusedError("it is too large.")
    for chunk in response.iter_stream():
        if spend is not None:
            spend(len(chunk))
        body.extend(chunk)
        if len(body) > max_bytes:
            raise _RefusedError("it is too large.")
    return bytes(body)


def _remaining(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise _RefusedError("it took too long.")
    return left


class _PinnedBackend(httpcore.NetworkBackend):
    """Resolves a name, checks all its addresses, and connects to one of them, before one deadline."""

    def __init__(self, policy: FetchPolicy, deadline: float) -> None:
        self._policy = policy
        self._deadline = deadline
        self._sockets = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002 - the deadline governs
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        addresses = self._addresses(host, port)
        if not addresses:
            raise _RefusedError("its host has no address.")
        if not all(self._policy.is_allowed(address) for address in addresses):
            raise _RefusedError("its host is not a public one.")
        for address in addresses:
            try:
                stream = self._sockets.connect_tcp(
                    address, port, _remaining(self._deadline), local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
            return _BoundedStream(stream, self._deadline)
        raise _RefusedError("its host can't be reached.")

    def _addresses(self, host: str, port: int) -> Sequence[str]:
        # The system's resolver takes no timeout, so it runs in a thread that is abandoned after the deadline.
        found: list[str] = []

        def look_up() -> None:
            try:
                found.extend(self._policy.resolver(host, port))
            except (OSError, UnicodeError):
                found.clear()

        thread = threading.Thread(target=look_up, name="vpp-resolve", daemon=True)
        thread.start()
        thread.join(_remaining(self._deadline))
        if thread.is_alive():
            raise _RefusedError("it took too long.")
        return found


class _BoundedStream(httpcore.NetworkStream):
    """A connection whose every operation ends at the deadline, however slowly the other side sends."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: float) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002
        return self._stream.read(min(max_bytes, _CHUNK), _remaining(self._deadline))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        self._stream.write(buffer, _remaining(self._deadline))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002
    ) -> httpcore.NetworkStream:
        secured = self._stream.start_tls(ssl_context, server_hostname, _remaining(self._deadline))
        return _BoundedStream(secured, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
