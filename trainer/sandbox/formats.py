"""OpenAI's formats of requests and replies, as far as the sandbox's server knows them."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from trainer.sandbox.screens.calls import Wishes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from trainer.sandbox.screens.calls import ToolCall

_IMAGE_TOKENS: Final = 85  # of a low-detail image at OpenAI
_CHARACTERS_PER_TOKEN: Final = 4
_PIECE: Final = 4
"""Characters of an answer in each chunk of a stream: tokens of covered text come in several."""


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


class _Function(BaseModel):
    name: str
    description: str = ""
    parameters: dict[str, Any] | None = None


class _Tool(BaseModel):
    function: _Function


class _NamedTool(BaseModel):
    class _Name(BaseModel):
        name: str

    function: _Name


class _ResponseFormat(BaseModel):
    class _JSONSchema(BaseModel):
        model_config = ConfigDict(populate_by_name=True)

        json_: dict[str, Any] = Field(default={}, alias="schema")

    type: str
    json_schema: _JSONSchema | None = None


class ChatRequest(BaseModel):
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
    tools: list[_Tool] | None = None
    tool_choice: str | _NamedTool | None = None
    response_format: _ResponseFormat | None = None

    def wishes(self) -> Wishes:
        """Return the tools and the schema that the answer may or must use; no tool is called after its result."""
        choice = self.tool_choice
        name = choice.function.name if isinstance(choice, _NamedTool) else choice or "auto"
        demanded = None if self.response_format is None else self.response_format.json_schema
        has_result = self.messages[-1].role == "tool"
        return Wishes(
            [] if has_result else [each.function.model_dump() for each in self.tools or ()],
            name,
            None if demanded is None else demanded.json_,
        )

    def question(self) -> str:
        """Return the text of the last user message."""
        for message in reversed(self.messages):
            if message.role == "user":
                if isinstance(message.content, str):
                    return message.content
                return "\n".join(part.text for part in message.content or () if part.type == "text")
        return ""

    def image_urls(self) -> list[str]:
        """Return the addresses of all pictures, in their order."""
        parts = (
            part for message in self.messages if isinstance(message.content, list) for part in message.content
        )
        return [
            part.image_url.url for part in parts if part.type == "image_url" and part.image_url is not None
        ]


class Completion:
    """A reply in OpenAI's formats."""

    def __init__(
        self,
        asked: ChatRequest,
        text: str,
        calls: Sequence[ToolCall] = (),
        *,
        believed: Mapping[str, float] | None = None,
    ) -> None:
        self._asked, self._text = asked, text
        # The answer to a question that was not understood, or to several, counts as certain.
        self._believed = believed or {text: 0.0}
        self._calls: list[dict[str, Any]] = [
            {
                "id": f"call_{uuid.uuid4().hex[:24]}",
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in calls
        ]
        self._head: dict[str, Any] = {
            "id": f"chatcmpl-{uuid.uuid4().hex}",
            "created": int(time.time()),
            "model": asked.model,
        }
        copies = asked.n or 1
        prompt = len(asked.question()) // _CHARACTERS_PER_TOKEN + 1 + _IMAGE_TOKENS * len(asked.image_urls())
        self._usage = {"prompt_tokens": prompt, "completion_tokens": copies, "total_tokens": prompt + copies}
        self._indexes = range(copies)

    @property
    def _finish_reason(self) -> Literal["stop", "tool_calls"]:
        return "tool_calls" if self._calls else "stop"

    def whole(self) -> dict[str, Any]:
        """Return the reply as one object."""
        message: dict[str, Any] = {"role": "assistant", "content": self._text, "refusal": None}
        if self._calls:
            message |= {"content": None, "tool_calls": self._calls}
        choices = [
            {
                "index": index,
                "message": message,
                "logprobs": self._logprobs(),
                "finish_reason": self._finish_reason,
            }
            for index in self._indexes
        ]
        return self._head | {"object": "chat.completion", "choices": choices, "usage": self._usage}

    def chunks(self) -> Iterator[dict[str, Any]]:
        """Yield the chunks of a stream."""
        for index in self._indexes:
            yield self._chunk(index, {"role": "assistant", "content": ""})
            if self._asked.logprobs:
                yield self._chunk(index, {"content": self._text}, logprobs=self._logprobs())
            else:
                yield from (self._chunk(index, {"content": piece}) for piece in _pieces(self._text))
            yield from (self._chunk(index, {"tool_calls": [part]}) for part in self._call_parts())
            yield self._chunk(index, {}, finish_reason=self._finish_reason)
        options = self._asked.stream_options
        if options is not None and options.include_usage:
            yield self._head | {"object": "chat.completion.chunk", "choices": [], "usage": self._usage}

    def _call_parts(self) -> Iterator[dict[str, Any]]:
        """Yield the calls as they are streamed: the name first, then the arguments in pieces."""
        for place, call in enumerate(self._calls):
            function = call["function"]
            yield {"index": place, **call, "function": function | {"arguments": ""}}
            for piece in _pieces(function["arguments"]):
                yield {"index": place, "function": {"arguments": piece}}

    def _chunk(
        self,
        index: int,
        delta: dict[str, Any],
        *,
        logprobs: dict[str, Any] | None = None,
        finish_reason: str | None = None,
    ) -> dict[str, Any]:
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}
        return self._head | {"object": "chat.completion.chunk", "choices": [choice]}

    def _logprobs(self) -> dict[str, Any] | None:
        if not self._asked.logprobs:
            return None
        ranked = sorted(self._believed.items(), key=lambda item: -item[1])[: self._asked.top_logprobs or 0]
        token = _token(self._text, self._believed[self._text])
        return {"content": [token | {"top_logprobs": [_token(*item) for item in ranked]}], "refusal": None}


def _pieces(text: str) -> Iterator[str]:
    yield from (text[start : start + _PIECE] for start in range(0, len(text), _PIECE))


def _token(text: str, log_probability: float) -> dict[str, Any]:
    return {"token": text, "logprob": log_probability, "bytes": list(text.encode())}
