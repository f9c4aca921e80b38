"""The fetcher against real local servers: what it connects to, and when it stops."""

from __future__ import annotations

import datetime as dt
import http.server
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from langchain_vpp.errors import ProtectionError
from langchain_vpp.fetch import FetchPolicy, fetch_image, is_public

pytestmark = pytest.mark.allow_hosts(
    ["127.0.0.1", "127.0.0.2"]
)  # what is tested is what a real connection goes to

BODY = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8
if TYPE_CHECKING:
    from pathlib import Path

Handle = Callable[[http.server.BaseHTTPRequestHandler], None]


class Server:
    """An HTTP server on a free local port; the path picks the handler, and every request is kept."""

    def __init__(self) -> None:
        self.routes: dict[str, Handle] = {}
        self.requests: list[tuple[str, dict[str, str]]] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.requests.append((self.path, dict(self.headers)))
                outer.routes[self.path](self)

            def log_message(self, *args: Any) -> None:
                pass

        self.httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.httpd.daemon_threads = True
        self.port = self.httpd.server_address[1]
        self.thread = threading.Thread(
            target=self.httpd.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        self.thread.start()

    def close(self) -> None:
        self.httpd.shutdown()
        self.httpd.server_close()


def answer(status: int = 200, body: bytes = BODY, **headers: str) -> Handle:
    def handle(request: http.server.BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            request.send_header(name.replace("_", "-"), value)
        request.end_headers()
        request.wfile.write(body)

    return handle


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()


@pytest.fixture
def policy() -> FetchPolicy:
    """Every name leads to this machine, which is allowed; the rest is as by default."""
    return FetchPolicy(
        ports=None,
        timeout=5,
        resolver=lambda host, port: ["127.0.0.1"],
        is_allowed=lambda address: address == "127.0.0.1",
    )


def refused(url: str, policy: FetchPolicy) -> str:
    with pytest.raises(ProtectionError) as refusal:
        fetch_image(url, policy)
    assert refusal.value.__cause__ is None
    assert refusal.value.__context__ is None
    assert "secret" not in str(refusal.value) + repr(refusal.value.args)
    return str(refusal.value)


def test_a_picture_is_fetched_by_name_and_nothing_else_is_told(
    server: Server, policy: FetchPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    server.routes["/a.png?x=1"] = answer(Set_Cookie="a=b")
    url = f"http://pictures.example:{server.port}/a.png?x=1#part"
    assert fetch_image(url, policy) == BODY
    assert fetch_image(url, policy) == BODY
    for path, headers in server.requests:
        assert path == "/a.png?x=1"
        assert headers.pop("Host") == f"pictures.example:{server.port}"
        assert headers == {"Accept": "image/*", "Accept-Encoding": "identity", "User-Agent": "langchain-vpp"}


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.8.9.1", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254",
        "100.64.0.1", "192.0.2.1", "198.18.0.1", "203.0.113.9", "224.0.0.1", "240.0.0.1", "255.255.255.255",
        "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12::1", "fec0::1", "ff02::1", "2001:db8::1",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1",
        "64:ff9b::7f00:1", "64:ff9b::808:808", "64:ff9b:1::1", "2002:7f00:1::",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "localhost", "",
    ],
)  # fmt: skip
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "::ffff:8.8.8.8"])
def test_addresses_that_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "127.0.0.1",
        "[::1]",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.1",
        "[::ffff:127.0.0.1]",
        "0",
    ],
)
def test_by_default_no_spelling_of_this_machine_is_reached(server: Server, host: str) -> None:
    server.routes["/secret"] = answer()
    refused(f"http://{host}:{server.port}/secret", FetchPolicy(ports=None))
    assert server.requests == []


def test_one_private_address_among_public_ones_is_enough_to_refuse(
    server: Server, policy: FetchPolicy
) -> None:
    server.routes["/secret"] = answer()
    mixed = replace(policy, resolver=lambda host, port: ["127.0.0.1", "10.0.0.1"])
    assert "not a public one" in refused(f"http://a.example:{server.port}/secret", mixed)
    assert server.requests == []


def test_the_name_is_resolved_once_per_request_and_the_checked_address_is_used(
    server: Server, policy: FetchPolicy
) -> None:
    answers = iter([["127.0.0.1"], ["10.0.0.1"]])
    asked: list[str] = []

    def rebinding(host: str, port: int) -> list[str]:
        asked.append(host)
        return next(answers)

    server.routes["/a.png"] = answer()
    assert fetch_image(f"http://a.example:{server.port}/a.png", replace(policy, resolver=rebinding)) == BODY
    assert asked == ["a.example"]


def test_each_redirect_is_checked_again(server: Server, policy: FetchPolicy) -> None:
    names = {"public.example": ["127.0.0.1"], "inner.example": ["10.0.0.1"]}
    named = replace(policy, resolver=lambda host, port: names[host])
    server.routes["/ok"] = answer(302, b"", Location="/a.png")
    server.routes["/a.png"] = answer()
    assert fetch_image(f"http://public.example:{server.port}/ok", named) == BODY
    server.routes["/in"] = answer(307, b"", Location="http://inner.example/secret")
    assert "not a public one" in refused(f"http://public.example:{server.port}/in", named)
    for target in (
        "file:///etc/secret",
        "ftp://public.example/secret",
        "http://u:secret@public.example/",
        "//",
        "gopher:x",
    ):
        server.routes["/out"] = answer(301, b"", Location=target)
        refused(f"http://public.example:{server.port}/out", named)


def test_redirects_are_bounded(server: Server, policy: FetchPolicy) -> None:
    server.routes["/round"] = answer(302, b"", Location="/round")
    assert "redirects too often" in refused(f"http://a.example:{server.port}/round", policy)
    assert len(server.requests) == policy.max_redirects + 1


def test_size_is_bounded_whether_announced_or_not(server: Server, policy: FetchPolicy) -> None:
    small = replace(policy, max_bytes=len(BODY) - 1)
    server.routes["/secret"] = answer()
    assert "too large" in refused(f"http://a.example:{server.port}/secret", small)

    def endless(request: http.server.BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        try:
            while True:
                request.wfile.write(BODY)
        except OSError:
            pass

    server.routes["/endless"] = endless
    assert "too large" in refused(f"http://a.example:{server.port}/endless", small)
    assert fetch_image(f"http://a.example:{server.port}/secret", replace(policy, max_bytes=len(BODY))) == BODY


@pytest.mark.parametrize("part", ["headers", "body", "nothing"])
def test_time_is_bounded_in_total_however_slowly_the_server_drips(
    server: Server, policy: FetchPolicy, part: str
) -> None:
    stop = threading.Event()

    def drip(request: http.server.BaseHTTPRequestHandler) -> None:
        if part == "body":
            request.send_response(200)
            request.end_headers()
        try:
            for _ in range(200):
                if stop.wait(0.05):
                    return
                if part != "nothing":
                    request.wfile.write(
                        b"HTTP/1.1 200 OK\r\nX: y\r\n" if _ == 0 and part == "headers" else b"X: y\r\n"
                    )
                    request.wfile.flush()
        except OSError:
            pass

    server.routes["/secret"] = drip
    start = time.monotonic()
    assert "too long" in refused(f"http://a.example:{server.port}/secret", replace(policy, timeout=0.4))
    assert time.monotonic() - start < 2
    stop.set()


def test_a_resolver_that_hangs_is_left_behind(policy: FetchPolicy) -> None:
    hang = threading.Event()

    def slow(host: str, port: int) -> list[str]:
        hang.wait(5)
        return []

    start = time.monotonic()
    assert "too long" in refused("http://secret.example/", replace(policy, timeout=0.2, resolver=slow))
    assert time.monotonic() - start < 2
    hang.set()


@pytest.mark.parametrize(
    "url",
    ["file:///secret", "ftp://secret.example/", "gopher://secret", "http://", "http:///secret", "secret", "",
     "http://user:secret@a.example/", "https://secret.example:22/", "http://secret.example:8080/", "http://[secret/",
     "http://sec ret.example/", "http://secret.example\x00/",
     "data:image/png;base64,secret"],
)  # fmt: skip
def test_urls_that_are_not_for_us(url: str) -> None:
    looked_up: list[str] = []

    def record(host: str, port: int) -> list[str]:
        looked_up.append(host)
        return []

    refused(url, FetchPolicy(resolver=record))
    assert looked_up == []


def test_errors_of_the_server_are_refusals(server: Server, policy: FetchPolicy) -> None:
    for status in (204, 206, 304, 401, 404, 500):
        server.routes["/secret"] = answer(status, b"" if status in (204, 304) else b"secret")
        assert f"status {status}" in refused(f"http://a.example:{server.port}/secret", policy)
    server.routes["/short"] = answer(200, BODY, Content_Length=str(len(BODY) + 9))
    refused(f"http://a.example:{server.port}/short", policy)
    server.routes["/junk"] = lambda request: request.wfile.write(b"secret junk\r\n\r\n") and None
    refused(f"http://a.example:{server.port}/junk", policy)


def test_an_address_that_does_not_answer_gives_way_to_the_next(server: Server, policy: FetchPolicy) -> None:
    both = replace(
        policy, resolver=lambda host, port: ["127.0.0.2", "127.0.0.1"], is_allowed=lambda address: True
    )
    server.routes["/a.png"] = answer()
    assert fetch_image(f"http://a.example:{server.port}/a.png", both) == BODY
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        assert "can't be reached" in refused(f"http://secret.example:{unused.getsockname()[1]}/", policy)


def certificate(name: str) -> tuple[bytes, bytes]:
    """Make a key and a certificate for ``name`` that signs itself, as PEM."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    signed = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return secret, signed.public_bytes(pem)


def test_tls_sees_the_name_though_the_connection_goes_to_the_address(
    server: Server, policy: FetchPolicy, tmp_path: Path
) -> None:
    key, public = certificate("pictures.example")
    (tmp_path / "both.pem").write_bytes(key + public)
    named: list[str | None] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "both.pem")
    context.sni_callback = lambda connection, name, _: named.append(name)
    server.httpd.socket = context.wrap_socket(server.httpd.socket, server_side=True)
    server.routes["/secret"] = answer()
    server.routes["/down"] = answer(302, b"", Location=f"http://pictures.example:{server.port}/secret")
    trusting = replace(policy, ssl_context=ssl.create_default_context(cadata=public.decode()))
    assert fetch_image(f"https://pictures.example:{server.port}/secret", trusting) == BODY
    assert named == ["pictures.example"]
    assert "from https to http" in refused(f"https://pictures.example:{server.port}/down", trusting)
    served = len(server.requests)
    refused(f"https://other.example:{server.port}/secret", trusting)
    refused(f"https://pictures.example:{server.port}/secret", policy)
    assert len(server.requests) == served
