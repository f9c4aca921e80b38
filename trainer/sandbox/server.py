"""OpenAI-compatible server in front of the local models.

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
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

from langchain_vpp.extras import is_installed, require

require("starlette", "uvicorn", extra="demo")

import torch
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from langchain_vpp.errors import ProtectionError
from langchain_vpp.images.codec import decode_image
from trainer.runtime.serving import listen, serve_app
from trainer.sandbox.formats import ChatRequest, Completion
from trainer.sandbox.screens.calls import respond
from trainer.sandbox.screens.model import ScreenModel
from trainer.sandbox.vision.card_model import CARDS
from trainer.sandbox.vision.film_model import FILMS
from trainer.sandbox.vision.local_model import SCENES, LocalVisionModel, looks_at_clips, strip
from trainer.sandbox.vision.patch_model import SCENES_B
from trainer.sandbox.vision.photo_model import PACKAGES, PhotoModel
from trainer.sandbox.vision.questions import numbered
from trainer.sandbox.vision.temperaments import differing_models

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from PIL import Image
    from starlette.requests import Request

    from trainer.sandbox.vision.local_model import Reply

    Model = LocalVisionModel | ScreenModel | PhotoModel

MODEL_NAME: Final = SCENES.name
"""Name of the model for drawn scenes; the other models are served once they have been trained, and those of screens and
photographs where the packages that they need are installed."""
MAX_BODY: Final = 32 * 2**20
"""Longest request body, in bytes."""


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

    def __init__(self, models: Sequence[Model], record: Path | None) -> None:
        self._models = {model.name: model for model in models}
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
        sent, picture = _seen(asked, model)
        question = asked.question()
        if isinstance(model, ScreenModel):  # it takes a second, in which others are served
            written = await run_in_threadpool(respond, model, picture, question, asked.wishes())
            completion = Completion(asked, written.text, written.calls)
        else:
            reply = await _reply(model, picture, question)
            completion = Completion(asked, reply.text, believed=reply.log_probabilities)
        self._count(asked.model, sent, question)
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


def create_app(*models: Model, record: Path | None = None) -> Starlette:
    """Build the server's ASGI application.

    Args:
        models: Models, each offered under its name.
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
    subjects = [SCENES, *(each for each in (SCENES_B, FILMS, CARDS) if each.weights.is_dir())]
    screens = [ScreenModel()] if is_installed("rapidocr") else []
    photos = [PhotoModel()] if is_installed(*PACKAGES) else []
    scenes = [LocalVisionModel.load(subject=subject) for subject in subjects]
    app = create_app(*scenes, *screens, *photos, *differing_models(scenes[0]), record=record)
    listener = listen(host, port)
    base_url = f"http://{host}:{listener.getsockname()[1]}/v1"
    ready = json.dumps({"base_url": base_url, "model": MODEL_NAME})
    serve_app(app, listener, extra="demo", on_ready=lambda: on_ready(ready))


async def _read(request: Request) -> bytes:
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_BODY:
            raise _Refusal("The request body is too large.", status=413, code="request_too_large")
    return bytes(body)


def _parse(body: bytes) -> ChatRequest:
    try:
        asked = ChatRequest.model_validate_json(body)
        param = None
    except ValidationError as error:
        asked = None
        # Only names of our own fields: keys that were sent could hold content.
        place = error.errors(include_input=False, include_url=False, include_context=False)[0]["loc"]
        param = next((str(step) for step in place if step in ChatRequest.model_fields), None)
    if asked is None:
        what = "The request body is not valid JSON for a chat completion" + (
            f" (at '{param}')." if param else "."
        )
        raise _Refusal(what, code="invalid_request", param=param)
    return asked


def _seen(asked: ChatRequest, model: Model) -> tuple[bytes, Image.Image]:
    """Return the images of a request that a model looks at, as they were sent and as one picture."""
    urls = asked.image_urls()
    sent = [_image(url) for url in (urls if looks_at_clips(model) else urls[-1:])]
    if not sent:
        raise _Refusal(
            "The model answers about an image, and there is none.", code="no_image", param="messages"
        )
    pictures = []
    with contextlib.suppress(ProtectionError):
        pictures = [decode_image(each) for each in sent]
    if not pictures:
        raise _Refusal("The image can't be decoded.", code="invalid_image", param="messages")
    return b"".join(sent), strip(pictures, model.subject) if looks_at_clips(model) else pictures[-1]


def _image(url: str) -> bytes:
    """Return the bytes of an image of a request."""
    head, comma, data = url.partition(",")
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


async def _reply(model: LocalVisionModel | PhotoModel, picture: Image.Image, question: str) -> Reply:
    if isinstance(model, PhotoModel):  # it takes a tenth of a second
        return await run_in_threadpool(model.answer, picture, question)
    return model.answer(picture, question)


async def _events(completion: Completion) -> AsyncIterator[str]:
    for chunk in completion.chunks():
        yield f"data: {json.dumps(chunk)}\n\n"
    yield "data: [DONE]\n\n"


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
