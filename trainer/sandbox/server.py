"""OpenAI-compatible server in front of the local vision models.

Endpoints: ``POST /v1/chat/completions`` (JSON and server-sent events), ``GET /v1/models``, ``GET /health`` and
``GET /stats``, the server's own count of requests. ``python -m trainer.sandbox.server`` runs it alone.
"""

# ruff: noqa: E402  a missing package is named before its import fails
from __future__ import annotations

import argparse
import base64
import binascii
import contextlib
import hashlib
import json
import os
import signal
import socket
import sys
import threading
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from langchain_vpp.extras import require

require("starlette", "uvicorn", extra="demo")

import torch
import uvicorn
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from langchain_vpp.errors import ProtectionError
from langchain_vpp.images.codec import decode_image
from trainer.sandbox.vision.card_model import CARDS
from trainer.sandbox.vision.local_model import SCENES, LocalVisionModel
from trainer.sandbox.vision.patch_model import SCENES_B
from trainer.sandbox.vision.questions import numbered

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from starlette.requests import Request

    from trainer.sandbox.vision.local_model import Reply

MODEL_NAME: Final = SCENES.name
"""Name of the model for drawn scenes; the other models are served once they have been trained."""
MAX_BODY: Final = 32 * 2**20
"""Longest request body, in bytes."""

_IMAGE_TOKENS: Final = 85  # of a low-detail image at OpenAI
_CHARACTERS_PER_TOKEN: Final = 4


class _Part(BaseModel):
    class _ImageURL(BaseModel):
        url: str

    type: str
    text: str = ""
    image_url: _ImageURL | None = None


class _Message(BaseModel):
    role: str
    content: str | list[_Part] | None = None


class _StreamOptions(BaseModel):
    include_usage: bool = False


class _ChatRequest(BaseModel):
    """Fields of a request that take effect; others (``stop``, ``temperature``, ...) are accepted and ignored."""

    model_config = ConfigDict(frozen=True)

    model: str
    messages: list[_Message] = Field(min_length=1)
    n: int | None = Field(default=None, ge=1, le=16)
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = Field(default=None, ge=0, le=20)

    def question(self) -> str:
        """Return the text of the last user message."""
        for message in reversed(self.messages):
            if message.role == "user":
                if isinstance(message.content, str):
                    return message.content
                return "\n".join(part.text for part in message.content or () if part.type == "text")
        return ""

    def image_urls(self) -> list[str]:
        parts = (
            part for message in self.messages if isinstance(message.content, list) for part in message.content
        )
        return [
            part.image_url.url for part in parts if part.type == "image_url" and part.image_url is not None
        ]


class _Refusal(Exception):  # noqa: N818 - the client's error, not ours
    """Answers a request with status 4xx; the message never holds content of the request."""

    def __init__(self, message: str, *, status: int = 400, code: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body = {
            "error": {"message": message, "type": "invalid_request_error", "param": param, "code": code}
        }


class _Sandbox:
    """The endpoints and their counts."""

    def __init__(self, models: Sequence[LocalVisionModel], record: Path | None) -> None:
        self._models = {model.subject.name: model for model in models}
        # Unbuffered and in append mode: a request is on record before it is answered, even if we are killed.
        self._record = None if record is None else record.open("ab", buffering=0)
        self._seen: set[bytes] = set()
        self._completions = 0
        self._repeated = 0

    def close(self) -> None:
        if self._record is not None:
            self._record.close()

    async def complete(self, request: Request) -> Response:
        body = await _read(request)
        self._write_record(body)
        asked = _parse(body)
        model = self._models.get(asked.model)
        if model is None:
            what = f"This server has no such model; it has {', '.join(map(repr, self._models))}."
            raise _Refusal(what, status=404, code="model_not_found", param="model")
        image = _image_bytes(asked)
        try:
            picture = decode_image(image)
        except ProtectionError:
            picture = None
        if picture is None:
            raise _Refusal("The image can't be decoded.", code="invalid_image", param="messages")
        question = asked.question()
        reply = model.answer(picture, question)
        self._count(asked.model, image, question)
        completion = _Completion(asked, reply)
        if asked.stream:
            return StreamingResponse(_events(completion), media_type="text/event-stream")
        return JSONResponse(completion.whole())

    async def models(self, _: Request) -> Response:
        entries = [
            {"id": name, "object": "model", "created": 0, "owned_by": "langchain-vpp"}
            for name in self._models
        ]
        return JSONResponse({"object": "list", "data": entries})

    async def health(self, _: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def stats(self, _: Request) -> Response:
        counts = {"completions": self._completions, "distinct": len(self._seen), "repeated": self._repeated}
        return JSONResponse(counts)

    def _count(self, model: str, image: bytes, question: str) -> None:
        self._completions += 1
        for each in numbered(question) or [question]:
            pair = hashlib.sha256(hashlib.sha256(image).digest() + f"{model}/{each}".encode()).digest()
            self._repeated += pair in self._seen
            self._seen.add(pair)

    def _write_record(self, body: bytes) -> None:
        if self._record is None:
            return
        line = body
        if b"\n" in body or not body.startswith(b"{"):
            try:
                line = json.dumps(json.loads(body)).encode()
            except ValueError:  # a body that is no JSON is kept as a JSON string
                line = json.dumps(body.decode("latin-1")).encode()
        self._record.write(line + b"\n")


class _Completion:
    """A reply in OpenAI's formats."""

    def __init__(self, asked: _ChatRequest, reply: Reply) -> None:
        self._asked = asked
        self._reply = reply
        self._head: dict[str, Any] = {
            "id": f"chatcmpl-{uuid.uuid4().hex}",
            "created": int(time.time()),
            "model": asked.model,
        }
        copies = asked.n or 1
        prompt = len(asked.question()) // _CHARACTERS_PER_TOKEN + 1 + _IMAGE_TOKENS * len(asked.image_urls())
        self._usage = {"prompt_tokens": prompt, "completion_tokens": copies, "total_tokens": prompt + copies}
        self._indexes = range(copies)

    def whole(self) -> dict[str, Any]:
        message = {"role": "assistant", "content": self._reply.text, "refusal": None}
        choices = [
            {"index": index, "message": message, "logprobs": self._logprobs(), "finish_reason": "stop"}
            for index in self._indexes
        ]
        return self._head | {"object": "chat.completion", "choices": choices, "usage": self._usage}

    def chunks(self) -> Iterator[dict[str, Any]]:
        for index in self._indexes:
            yield self._chunk(index, {"role": "assistant", "content": ""})
            yield self._chunk(index, {"content": self._reply.text}, logprobs=self._logprobs())
            yield self._chunk(index, {}, finish_reason="stop")
        options = self._asked.stream_options
        if options is not None and options.include_usage:
            yield self._head | {"object": "chat.completion.chunk", "choices": [], "usage": self._usage}

    def _chunk(
        self,
        index: int,
        delta: dict[str, str],
        *,
        logprobs: dict[str, Any] | None = None,
        finish_reason: Literal["stop"] | None = None,
    ) -> dict[str, Any]:
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}
        return self._head | {"object": "chat.completion.chunk", "choices": [choice]}

    def _logprobs(self) -> dict[str, Any] | None:
        if not self._asked.logprobs:
            return None
        # The answer to a question that was not understood, or to several, counts as certain.
        believed = self._reply.log_probabilities or {self._reply.text: 0.0}
        ranked = sorted(believed.items(), key=lambda item: -item[1])[: self._asked.top_logprobs or 0]
        token = _token(self._reply.text, believed[self._reply.text])
        return {"content": [token | {"top_logprobs": [_token(*item) for item in ranked]}], "refusal": None}


def create_app(*models: LocalVisionModel, record: Path | None = None) -> Starlette:
    """Build the server's ASGI application.

    Args:
        models: Local vision models, each offered under its subject's name.
        record: File to which the body of each completion request is appended as a line of JSON.

    Raises:
        OSError: If ``record`` can't be opened.
    """
    sandbox = _Sandbox(models, record)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        try:
            yield
        finally:
            sandbox.close()

    return Starlette(
        routes=[
            Route("/v1/chat/completions", sandbox.complete, methods=["POST"]),
            Route("/v1/models", sandbox.models),
            Route("/health", sandbox.health),
            Route("/stats", sandbox.stats),
        ],
        exception_handlers={_Refusal: _refuse, HTTPException: _refuse_route},
        lifespan=lifespan,
    )


def serve(
    host: str = "127.0.0.1",
    port: int = 0,
    record: Path | None = None,
    *,
    on_ready: Callable[[str], None],
) -> None:
    """Serve until the process is asked to stop.

    Args:
        host: IPv4 address or name to listen on.
        port: TCP port; 0 picks a free one.
        record: File for request bodies; see :func:`create_app`.
        on_ready: Called once, when connections are accepted, with a line of JSON that has ``base_url`` and ``model``.

    Raises:
        OSError: If the address is in use or ``record`` can't be opened.
        ArtifactError: If a model can't be loaded.
    """
    torch.set_num_threads(1)  # one image is too small to share among threads
    subjects = [SCENES, *(each for each in (SCENES_B, CARDS) if each.weights.is_dir())]
    app = create_app(*(LocalVisionModel.load(subject=subject) for subject in subjects), record=record)
    # With the protocol named, asyncio turns Nagle's algorithm off; without it each small answer waits 40 ms.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        if os.name == "posix":  # elsewhere the option lets two servers share a port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        base_url = f"http://{host}:{listener.getsockname()[1]}/v1"
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, lifespan="on", timeout_graceful_shutdown=2
        )
        server = _AnnouncingServer(
            config, lambda: on_ready(json.dumps({"base_url": base_url, "model": MODEL_NAME}))
        )
        server.run(sockets=[listener])


class _AnnouncingServer(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, announce: Callable[[], None]) -> None:
        super().__init__(config)
        self._announce = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._announce()


async def _read(request: Request) -> bytes:
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_BODY:
            raise _Refusal("The request body is too large.", status=413, code="request_too_large")
    return bytes(body)


def _parse(body: bytes) -> _ChatRequest:
    try:
        asked = _ChatRequest.model_validate_json(body)
        param = None
    except ValidationError as error:
        asked = None
        # Only names of our own fields: keys that were sent could hold content.
        place = error.errors(include_input=False, include_url=False, include_context=False)[0]["loc"]
        param = next((str(step) for step in place if step in _ChatRequest.model_fields), None)
    if asked is None:
        what = "The request body is not valid JSON for a chat completion" + (
            f" (at '{param}')." if param else "."
        )
        raise _Refusal(what, code="invalid_request", param=param)
    return asked


def _image_bytes(asked: _ChatRequest) -> bytes:
    """Return the bytes of the last image of a request."""
    urls = asked.image_urls()
    if not urls:
        raise _Refusal(
            "The model answers about an image, and there is none.", code="no_image", param="messages"
        )
    head, comma, data = urls[-1].partition(",")
    if not head.startswith("data:"):
        what = "Only data URLs are read; the sandbox fetches no remote image."
        raise _Refusal(what, code="remote_image", param="messages")
    decoded = None
    if comma and head.startswith("data:image/") and head.endswith(";base64"):
        with contextlib.suppress(binascii.Error, ValueError):
            decoded = base64.b64decode(data, validate=True)
    if decoded is None:
        raise _Refusal("The image's data URL is malformed.", code="invalid_image_url", param="messages")
    return decoded


async def _events(completion: _Completion) -> AsyncIterator[str]:
    for chunk in completion.chunks():
        yield f"data: {json.dumps(chunk)}\n\n"
    yield "data: [DONE]\n\n"


def _token(text: str, log_probability: float) -> dict[str, Any]:
    return {"token": text, "logprob": log_probability, "bytes": list(text.encode())}


async def _refuse(_: Request, error: Exception) -> Response:
    if not isinstance(error, _Refusal):
        raise error
    return JSONResponse(error.body, status_code=error.status)


async def _refuse_route(_: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    refusal = _Refusal("There is no such endpoint.", status=error.status_code, code="unknown_endpoint")
    return JSONResponse(refusal.body, status_code=refusal.status, headers=error.headers)


def _stop_with_parent() -> None:
    """Stop when our standard input ends, so that no server outlives the process that started it."""

    def wait() -> None:
        # Not through `sys.stdin`: its lock would be held when the interpreter ends.
        while os.read(0, 4096):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


def main() -> None:
    """Serve from the command line."""
    parser = argparse.ArgumentParser(description="Serve the sandbox's local vision model.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--record", type=Path)
    parser.add_argument("--stop-with-stdin", action="store_true", help="stop when standard input ends")
    arguments = parser.parse_args()
    if arguments.stop_with_stdin:
        _stop_with_parent()

    def announce(line: str) -> None:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    serve(arguments.host, arguments.port, arguments.record, on_ready=announce)


if __name__ == "__main__":
    main()
