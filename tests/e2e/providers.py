"""Providers of vision models that misbehave: OpenAI's interface, with trouble, or with outages before a good one."""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import re
import socket
import threading
import time
from abc import ABC, abstractmethod
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, Self

import httpx

Trouble = Literal["busy", "silent", "refuses"]
_CHOICES = re.compile(r"exactly one of: (.*)\.")


class _Server(ThreadingHTTPServer):
    request_queue_size = 128
    """Connections that may wait: many clients connect at once."""


class LocalServer(ABC):
    """Listens on a free port while its context is entered."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                owner.handle(self, self.rfile.read(int(self.headers["Content-Length"])))

            def log_message(self, *_: object) -> None:
                pass

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.base_url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @abstractmethod
    def handle(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        """Answer a request, or don't."""


class TroubledProvider(LocalServer):
    """Answers each question with one of its choices, drawn from the picture, or makes trouble.

    Args:
        trouble: Share of the requests for each kind: ``busy`` is a 429 with ``Retry-After``, ``silent`` is a connection
            that ends without an answer, ``refuses`` is an answer that is none.
        holds: How many of the silent connections are held for three seconds before they end.
        seed: Of the draws.
    """

    def __init__(self, trouble: dict[Trouble, float], *, holds: int = 0, seed: int = 0) -> None:
        super().__init__()
        self.trouble = trouble
        self._holds = holds
        self.counts = {"answered": 0, "busy": 0, "silent": 0, "refuses": 0}
        self.paid: list[tuple[str, str]] = []
        """Picture and question of each answer, refusals too."""
        self._random = random.Random(seed)

    def handle(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        text, image = json.loads(body)["messages"][0]["content"]
        with self._lock:
            kind = self._draw()
            self.counts[kind] += 1
            if kind in {"answered", "refuses"}:
                self.paid.append((image["image_url"]["url"], text["text"]))
        if kind == "busy":
            reply(request, 429, {"error": {"message": "slow down"}}, {"Retry-After": "0.05"})
        elif kind == "silent":
            if self.counts["silent"] <= self._holds:
                time.sleep(3)
            request.close_connection = True
            request.connection.shutdown(socket.SHUT_RDWR)
        else:
            refusal = "I'm sorry, I can't help with people."
            reply(request, 200, _completion(refusal if kind == "refuses" else _answer(image, text)), {})

    def _draw(self) -> str:
        draw = self._random.random()
        for kind, share in self.trouble.items():
            if draw < share:
                return kind
            draw -= share
        return "answered"


class Relay(LocalServer):
    """Stands before a provider, and cuts requests off during outages, before any of them is forwarded.

    Args:
        base_url: The provider's.
        delay: Seconds by which each answer is held back.
        outages: Before which request, counted from 0 as they are forwarded, one begins, and how many seconds it lasts;
            ``inf`` lasts until :meth:`restore`.

    Attributes:
        forwarded: Requests that reached the provider.
        in_flight: Those of them whose answer is on its way.
        cut: Requests that were cut off, a number for each outage that has begun.
    """

    def __init__(self, base_url: str, *, delay: float, outages: dict[int, float] | None = None) -> None:
        super().__init__()
        self._target, self._delay = base_url, delay
        self._outages = sorted((outages or {}).items(), reverse=True)
        self._down_until = 0.0
        self.forwarded = self.in_flight = 0
        self.cut: list[int] = []

    def restore(self) -> None:
        self._down_until = 0.0

    def handle(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        if not self._forward():
            request.close_connection = True
            request.connection.shutdown(socket.SHUT_RDWR)
            return
        try:
            url = f"{self._target}/chat/completions"
            answer = httpx.post(
                url, content=body, headers={"Content-Type": "application/json"}, trust_env=False
            )
            time.sleep(self._delay)
            with contextlib.suppress(ConnectionError):  # who asked may be dead
                reply(request, answer.status_code, answer.json(), {})
        finally:
            with self._lock:
                self.in_flight -= 1

    def _forward(self) -> bool:
        with self._lock:
            if self._outages and self.forwarded >= self._outages[-1][0]:
                self._down_until = time.monotonic() + self._outages.pop()[1]
                self.cut.append(0)
            if time.monotonic() < self._down_until:
                self.cut[-1] += 1
                return False
            self.forwarded += 1
            self.in_flight += 1
            return True


def _answer(image: dict[str, Any], text: dict[str, Any]) -> str:
    choices = _CHOICES.search(text["text"])
    options = choices[1].split(", ") if choices else ["1"]
    digest = hashlib.sha256(image["image_url"]["url"].encode()).digest()
    return options[digest[0] % len(options)]


def _completion(text: str) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 90, "completion_tokens": 10, "total_tokens": 100}
    head = {"id": "1", "object": "chat.completion", "created": 0, "model": "m"}
    return head | {"choices": [choice], "usage": usage}


def reply(
    request: BaseHTTPRequestHandler, status: int, body: dict[str, Any], headers: dict[str, str]
) -> None:
    """Send a JSON document."""
    data = json.dumps(body).encode()
    request.send_response(status)
    for name, value in (
        headers | {"Content-Type": "application/json", "Content-Length": str(len(data))}
    ).items():
        request.send_header(name, value)
    request.end_headers()
    request.wfile.write(data)
