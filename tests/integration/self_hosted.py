"""Servers that people run themselves, answering in exactly their formats: vLLM, llama.cpp, TGI and Ollama.

Formats of vLLM 0.8 to 0.11, ``llama-server`` of 2025, text-generation-inference 3 and Ollama 0.12, as their sources and
issues have them.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Literal

from tests.e2e.providers import LocalServer, reply

if TYPE_CHECKING:
    from http.server import BaseHTTPRequestHandler

Mood = Literal["answers", "thinks", "only thinks", "can't see", "is busy"]
_CHOICES = re.compile(r"exactly one of: (.*)\.")
THOUGHT = "The picture shows b, I think; or is it a?"


class SelfHosted(LocalServer):
    """A server in one mood; keeps what it was sent."""

    name = ""
    has_logprobs = True

    def __init__(self, mood: Mood = "answers") -> None:
        super().__init__()
        self.mood = mood
        self.bodies: list[bytes] = []

    def handle(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        self.bodies.append(body)
        asked = json.loads(body)
        if self.mood in {"can't see", "is busy"}:
            status, document = self.refusal(asked)
            reply(request, status, document, {})
        elif asked.get("stream"):
            self.stream(request, asked)
        else:
            reply(request, 200, self.completion(asked), {})

    def words(self, asked: dict[str, Any]) -> str:
        if self.mood == "only thinks":
            return ""
        found = _CHOICES.search(json.dumps(asked))
        return found[1].split(", ")[0] if found else "a street"

    def message(self, asked: dict[str, Any]) -> dict[str, Any]:
        return {"role": "assistant", "content": self.words(asked)}

    def choice(self, asked: dict[str, Any]) -> dict[str, Any]:
        ended = "length" if self.mood == "only thinks" else "stop"
        found = {"index": 0, "message": self.message(asked), "logprobs": None, "finish_reason": ended}
        if asked.get("logprobs") and self.has_logprobs:
            found["logprobs"] = {"content": [self.token(self.words(asked), asked)]}
        return found

    def token(self, text: str, asked: dict[str, Any]) -> dict[str, Any]:
        several = [{"token": text, "logprob": -0.1}, {"token": "b", "logprob": -2.5}]
        return {"token": text, "logprob": -0.1, "top_logprobs": several[: asked["top_logprobs"]]}

    def completion(self, asked: dict[str, Any]) -> dict[str, Any]:
        return {
            "id": "chatcmpl-9d2a",
            "object": "chat.completion",
            "created": 1760000000,
            "model": asked["model"],
            "choices": [self.choice(asked)],
            "usage": {"prompt_tokens": 300, "completion_tokens": 2, "total_tokens": 302},
        }

    def refusal(self, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        raise NotImplementedError

    def stream(self, request: BaseHTTPRequestHandler, asked: dict[str, Any]) -> None:
        """Send events without the tokens' number, which these servers add only when they are asked to."""
        whole = {key: value for key, value in self.completion(asked).items() if key != "usage"}
        deltas = [{"role": "assistant", "content": ""}, *({"content": each} for each in self.words(asked))]
        if self.mood == "thinks":
            deltas.insert(1, {self.thoughts: THOUGHT})
        events = [
            whole
            | {
                "object": "chat.completion.chunk",
                "choices": [{"index": 0, "delta": delta, "finish_reason": None}],
            }
            for delta in deltas
        ]
        events[-1]["choices"][0]["finish_reason"] = "stop"
        lines = [f"data: {json.dumps(event)}\n\n" for event in events] + ["data: [DONE]\n\n"]
        send(request, "".join(lines).encode(), "text/event-stream")

    thoughts = "reasoning_content"
    """Field of a message in which thoughts come, where the server parses them."""


class VLLM(SelfHosted):
    name = "vLLM"

    def message(self, asked):
        thought = THOUGHT if "thinks" in self.mood else None
        empty = {"refusal": None, "annotations": None, "audio": None, "function_call": None}
        return {
            "role": "assistant",
            "content": self.words(asked) or None,
            self.thoughts: thought,
            "tool_calls": [],
        } | empty

    def token(self, text, asked):
        # Tokens that are excluded have -9999, as JSON has no infinity.
        found = super().token(text, asked) | {"bytes": list(text.encode())}
        found["top_logprobs"] += [{"token": "<pad>", "logprob": -9999.0, "bytes": list(b"<pad>")}]
        return found

    def completion(self, asked):
        found = super().completion(asked) | {"prompt_logprobs": None, "kv_transfer_params": None}
        found["usage"]["prompt_tokens_details"] = None
        found["choices"][0] |= {"stop_reason": None, "token_ids": None}
        return found

    def refusal(self, asked):
        if self.mood == "is busy":
            return 503, {"detail": "overloaded"}
        text = "At most 0 image(s) may be provided in one prompt."
        return 400, {"error": {"message": text, "type": "BadRequestError", "param": None, "code": 400}}


class OlderVLLM(VLLM):
    name = "vLLM before 0.10"

    def refusal(self, asked):
        found = super().refusal(asked)[1].get("error", {"message": "overloaded", "type": "x", "code": 503})
        return found["code"], {"object": "error", "param": None} | found


class LlamaCpp(SelfHosted):
    name = "llama.cpp"

    def message(self, asked):
        found = super().message(asked)
        return found | ({self.thoughts: THOUGHT} if "thinks" in self.mood else {})

    def token(self, text, asked):
        return super().token(text, asked) | {"id": 64, "bytes": list(text.encode())}

    def completion(self, asked):
        timings = {"prompt_n": 300, "prompt_ms": 90.1, "predicted_n": 2, "predicted_per_second": 40.2}
        return super().completion(asked) | {"system_fingerprint": "b6500-6c8b9150", "timings": timings}

    def refusal(self, asked):
        # Some versions quote the messages that they could not take, with the picture.
        text = 'Failed to parse messages: Unsupported content part type: "image_url"; messages = '
        if self.mood == "is busy":
            return 503, {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}
        return 500, {
            "error": {"code": 500, "message": text + json.dumps(asked["messages"]), "type": "server_error"}
        }


class TGI(SelfHosted):
    name = "TGI"

    def words(self, asked):
        # It parses no thoughts: they come as text.
        text = super().words(asked)
        return f"<think>{THOUGHT}</think>{text}" if self.mood == "thinks" else text

    def completion(self, asked):
        return super().completion(asked) | {"id": "", "system_fingerprint": "3.3.5-sha-abcdef0"}

    def refusal(self, asked):
        if self.mood == "is busy":
            return 429, {"error": "Model is overloaded", "error_type": "overloaded"}
        text = "Input validation error: no image processor"
        return 422, {"error": text, "error_type": "validation"}

    def handle(self, request, body):
        if (json.loads(body).get("top_logprobs") or 0) > 5:
            self.bodies.append(body)
            text = "Input validation error: `top_n_tokens` must be >= 0 and <= 5. Given: 20"
            reply(request, 422, {"error": text, "error_type": "validation"}, {})
        else:
            super().handle(request, body)


class Ollama(SelfHosted):
    """Ollama's interface like OpenAI's, at ``/v1``."""

    name = "Ollama, /v1"
    has_logprobs = False
    thoughts = "reasoning"

    def message(self, asked):
        found = super().message(asked)
        return found | ({self.thoughts: THOUGHT} if "thinks" in self.mood else {})

    def completion(self, asked):
        return super().completion(asked) | {"system_fingerprint": "fp_ollama"}

    def refusal(self, asked):
        text = "this model is missing data required for image input"
        status = 503 if self.mood == "is busy" else 400
        return status, {"error": {"message": text, "type": "api_error", "param": None, "code": None}}


class NativeOllama(SelfHosted):
    """Ollama's own interface, at ``/api/chat``: lines of JSON; a prompt that is cached is not counted."""

    name = "Ollama, native"
    has_logprobs = False

    @property
    def address(self) -> str:
        return self.base_url.removesuffix("/v1")

    def refusal(self, asked):
        return (503 if self.mood == "is busy" else 400), {"error": "this model does not support images"}

    def stream(self, request, asked):
        head = {"model": asked["model"], "created_at": "2026-01-01T00:00:00.000000Z"}
        said = [{"content": each} for each in self.words(asked)]
        if "thinks" in self.mood:
            said.insert(0, {"content": "", "thinking": THOUGHT})
        lines = [head | {"message": {"role": "assistant", **each}, "done": False} for each in said]
        ended = {"done_reason": "stop", "total_duration": 1, "eval_count": 2, "eval_duration": 1}
        lines.append(head | {"message": {"role": "assistant", "content": ""}, "done": True} | ended)
        send(
            request,
            b"".join(json.dumps(line).encode() + b"\n" for line in lines),
            "application/x-ndjson",
        )


def send(request: BaseHTTPRequestHandler, data: bytes, kind: str) -> None:
    request.send_response(200)
    request.send_header("Content-Type", kind)
    request.send_header("Content-Length", str(len(data)))
    request.end_headers()
    request.wfile.write(data)
