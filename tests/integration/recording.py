"""Local HTTP servers that keep every byte that they get, and answer like the providers' APIs.

A provider answers with the sha256 of each picture in the request, or with a call of the first tool.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import gzip
import hashlib
import io
import json
import random
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_BASE64_FILE = re.compile(r"[A-Za-z0-9+/_-]{100,}={0,2}")
_URL_SAFE = str.maketrans("-_", "+/")
_QUOTED = re.compile(r"'([^']+)'")


def noise_png(seed: int = 0, size: tuple[int, int] = (24, 24)) -> bytes:
    """A picture of random pixels: no stretch of it turns up anywhere by chance."""
    pixels = random.Random(seed).randbytes(size[0] * size[1] * 3)
    encoded = io.BytesIO()
    Image.frombytes("RGB", size, pixels).save(encoded, "PNG")
    return encoded.getvalue()


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Recorder:
    """A running server, and all that it was sent."""

    url: str = ""
    reply: Callable[[dict[str, Any]], str | dict[str, Any]] | None = None
    """Reply of OpenAI's chat completions in place of the usual one: a text, or the arguments of a call."""
    requests: list[Request] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, request: Request) -> None:
        with self.lock:
            self.requests.append(request)

    def clear(self) -> None:
        with self.lock:
            self.requests.clear()

    @property
    def wire(self) -> list[bytes]:
        """Everything that was received: request lines, headers and bodies."""
        with self.lock:
            return [
                f"{request.method} {request.path}\n{request.headers}".encode() + b"\n" + request.body
                for request in self.requests
            ]


@contextlib.contextmanager
def recording_server() -> Iterator[Recorder]:
    recorder = Recorder()

    class Handler(_Handler):
        owner = recorder

    server = _Server(("127.0.0.1", 0), Handler)
    recorder.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield recorder
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def picture_digests(body: Any) -> list[str]:
    """The sha256 of each file in base64 anywhere in a request, in its order."""
    digests = []
    for text in _texts(body):
        for run in _BASE64_FILE.findall(text):
            with contextlib.suppress(binascii.Error):
                data = base64.b64decode(run.translate(_URL_SAFE))
                digests.append(hashlib.sha256(data).hexdigest())
    return digests


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    owner: Recorder

    def handle(self) -> None:
        # A client may hang up at any time.
        with contextlib.suppress(ConnectionError):
            super().handle()

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._respond()

    def do_POST(self) -> None:
        self._respond()

    def do_PATCH(self) -> None:
        self._respond()

    def _respond(self) -> None:
        body = self._read()
        encoding = self.headers.get("Content-Encoding")
        if encoding == "gzip":
            body = gzip.decompress(body)
        elif encoding == "zstd":  # of a LangSmith client, which brings the package
            import zstandard

            body = zstandard.ZstdDecompressor().decompressobj().decompress(body)
        self.owner.add(Request(self.command, self.path, dict(self.headers), body))
        route = next((answer for pattern, answer in _ROUTES if re.search(pattern, self.path)), None)
        if route is None:
            self._send(404, "application/json", b'{"error": {"message": "no such path"}}')
            return
        content = json.loads(body) if body[:1] == b"{" else {}
        if self.owner.reply is not None:
            content["reply"] = self.owner.reply(content)
        content_type, payload = route(self.path, content)
        self._send(200, content_type, payload)

    def _read(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            chunks = []
            while size := int(self.rfile.readline().strip(), 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(chunks)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _send(self, status: int, content_type: str, payload: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


def _answer(body: Any) -> str:
    digests = picture_digests(body)
    return f"saw {' '.join(digests)}" if digests else "saw nothing"


def _json(value: Any) -> tuple[str, bytes]:
    return "application/json", json.dumps(value).encode()


def _events(values: list[Any], *, named: bool = False, done: bool = False) -> tuple[str, bytes]:
    lines = []
    for value in values:
        name = f"event: {value['type']}\n" if named else ""
        lines.append(f"{name}data: {json.dumps(value)}\n\n")
    if done:
        lines.append("data: [DONE]\n\n")
    return "text/event-stream", "".join(lines).encode()


def _from_schema(schema: dict[str, Any], text: str) -> Any:
    """A value that the schema allows."""
    for union in ("anyOf", "oneOf", "allOf"):
        if union in schema:
            return _from_schema(schema[union][0], text)
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type")
    if kind == "object":
        return {name: _from_schema(part, text) for name, part in schema.get("properties", {}).items()}
    values: dict[Any, Any] = {"integer": 3, "number": 3.5, "boolean": True, "array": [], "null": None}
    return values.get(kind, text)


def _quoted(messages: list[Any]) -> str:
    spoken = [" ".join(_texts(message["content"])) for message in messages if message.get("role") == "user"]
    found = _QUOTED.findall(spoken[-1]) if spoken else []
    return found[0] if found else "a text"


def _openai_call(body: dict[str, Any]) -> dict[str, Any] | None:
    tools = [tool["function"] for tool in body.get("tools", []) if tool.get("type") == "function"]
    choice = body.get("tool_choice")
    if not tools or choice == "none" or (body["messages"][-1]["role"] == "tool" and choice in (None, "auto")):
        return None
    if isinstance(body.get("reply"), str):
        return None
    wanted = choice["function"]["name"] if isinstance(choice, dict) else tools[0]["name"]
    function = next(tool for tool in tools if tool["name"] == wanted)
    arguments = body.get("reply") or _from_schema(
        function.get("parameters", {"type": "object"}), _quoted(body["messages"])
    )
    return {
        "id": "call_1",
        "type": "function",
        "function": {"name": wanted, "arguments": json.dumps(arguments, ensure_ascii=False)},
    }


def _openai_text(body: dict[str, Any]) -> str:
    if "reply" in body:
        return body["reply"] if isinstance(body["reply"], str) else json.dumps(body["reply"])
    wanted = body.get("response_format") or {}
    if wanted.get("type") == "json_schema":
        return json.dumps(_from_schema(wanted["json_schema"]["schema"], "a text"))
    if wanted.get("type") == "json_object":
        return json.dumps({"setup": "a text", "punchline": "a text"})
    return _answer(body["messages"])


def _openai_chat(_: str, body: dict[str, Any]) -> tuple[str, bytes]:
    call = _openai_call(body)
    usage = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
    frame = {"id": "chatcmpl-1", "created": 1, "model": body["model"]}
    if not body.get("stream"):
        message = {"role": "assistant", "content": None if call else _openai_text(body)}
        if call:
            message["tool_calls"] = [call]
        choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if call else "stop"}
        return _json({**frame, "object": "chat.completion", "choices": [choice], "usage": usage})
    piece = 24 if "reply" not in body else 3
    if call:
        deltas: list[dict[str, Any]] = [{"tool_calls": [{"index": 0, **call}]}]
        if "reply" in body:
            text, call["function"]["arguments"] = call["function"]["arguments"], ""
            deltas += [
                {"tool_calls": [{"index": 0, "function": {"arguments": text[start : start + piece]}}]}
                for start in range(0, len(text), piece)
            ]
    else:
        text = _openai_text(body)
        deltas = [{"content": text[start : start + piece]} for start in range(0, len(text), piece)]
    deltas[0]["role"] = "assistant"
    chunks = [{**frame, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    chunks.append({**frame, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    if (body.get("stream_options") or {}).get("include_usage"):
        chunks.append({**frame, "choices": [], "usage": usage})
    return _events([{**chunk, "object": "chat.completion.chunk"} for chunk in chunks], done=True)


def _openai_responses(_: str, body: dict[str, Any]) -> tuple[str, bytes]:
    text = _answer(body["input"])
    part = {"type": "output_text", "text": text, "annotations": []}
    item = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [part]}
    usage = {
        "input_tokens": 7,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 12,
    }
    response = {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "status": "completed",
        "model": body["model"],
        "output": [item],
        "usage": usage,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
    }
    if not body.get("stream"):
        return _json(response)
    at = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": {**response, "status": "in_progress", "output": []}},
        {"type": "response.output_item.added", "output_index": 0, "item": {**item, "content": []}},
        {"type": "response.content_part.added", **at, "part": {**part, "text": ""}},
        {"type": "response.output_text.delta", **at, "delta": text, "logprobs": []},
        {"type": "response.output_text.done", **at, "text": text, "logprobs": []},
        {"type": "response.content_part.done", **at, "part": part},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": response},
    ]
    return _events([{**event, "sequence_number": n} for n, event in enumerate(events)], named=True)


def _anthropic(_: str, body: dict[str, Any]) -> tuple[str, bytes]:
    text = _answer([body["messages"], body.get("system")])
    usage = {"input_tokens": 7, "output_tokens": 5}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": body["model"], "usage": usage}
    end = {"stop_reason": "end_turn", "stop_sequence": None}
    if not body.get("stream"):
        return _json({**message, **end, "content": [{"type": "text", "text": text}]})
    start = {**message, "content": [], "stop_reason": None, "stop_sequence": None}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": start},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": end, "usage": {"output_tokens": 5}},
        {"type": "message_stop"},
    ]
    return _events(events, named=True)


def _google(path: str, body: dict[str, Any]) -> tuple[str, bytes]:
    if "countTokens" in path:
        return _json({"totalTokens": 7})
    content = {"role": "model", "parts": [{"text": _answer(body["contents"])}]}
    usage = {"promptTokenCount": 7, "candidatesTokenCount": 5, "totalTokenCount": 12}
    response = {
        "candidates": [{"content": content, "finishReason": "STOP", "index": 0}],
        "usageMetadata": usage,
        "modelVersion": "m",
    }
    return _events([response]) if "stream" in path else _json(response)


def _ollama(_: str, body: dict[str, Any]) -> tuple[str, bytes]:
    frame = {"model": body["model"], "created_at": "2024-01-01T00:00:00Z"}
    message = {"role": "assistant", "content": _answer(body["messages"])}
    counts = {"prompt_eval_count": 7, "eval_count": 5, "done_reason": "stop", "total_duration": 1}
    last = {**frame, "message": {"role": "assistant", "content": ""}, "done": True, **counts}
    lines = [{**frame, "message": message, "done": False}, last]
    if body.get("stream") is False:
        return _json({**last, "message": message})
    return "application/x-ndjson", "".join(json.dumps(line) + "\n" for line in lines).encode()


def _bedrock(_: str, body: dict[str, Any]) -> tuple[str, bytes]:
    return _json(
        {
            "output": {"message": {"role": "assistant", "content": [{"text": _answer(body["messages"])}]}},
            "stopReason": "end_turn",
            "usage": {"inputTokens": 7, "outputTokens": 5, "totalTokens": 12},
            "metrics": {"latencyMs": 1},
        }
    )


_LANGSMITH_INGEST = {
    "use_multipart_endpoint": False,
    "scale_up_qsize_trigger": 1000,
    "scale_up_nthreads_limit": 16,
    "scale_down_nempty_trigger": 4,
    "size_limit": 100,
    "size_limit_bytes": 20_971_520,
}
_ROUTES = (
    (r"/chat/completions$", _openai_chat),
    (r"/responses$", _openai_responses),
    (r"/messages/count_tokens", lambda _path, _body: _json({"input_tokens": 7})),
    (r"/messages(\?|$)", _anthropic),
    (r"/models/[^/]+:\w+", _google),
    (r"/api/chat$", _ollama),
    (r"/model/[^/]+/converse$", _bedrock),
    (r"/model/[^/]+/count-tokens$", lambda _path, _body: _json({"inputTokens": 7})),
    # A LangSmith server.
    (r"/info$", lambda _path, _body: _json({"version": "1", "batch_ingest_config": _LANGSMITH_INGEST})),
    (r"/runs|/feedback$", lambda _path, _body: _json({})),
)
