"""Chat models and a handler that keep everything that reaches them, and a picture to look for in it."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from tests.integration.recording import noise_png

if TYPE_CHECKING:
    from collections.abc import Iterator


PICTURE = noise_png(31)
ENCODED = base64.b64encode(PICTURE).decode()
BLOCK = {"type": "image", "base64": ENCODED, "mime_type": "image/png"}
MESSAGE = HumanMessage([BLOCK])


class Echo(BaseChatModel):
    """Keeps what its private methods get."""

    seen: list[Any] = []  # noqa: RUF012
    temperature: float = 0.5

    @property
    def _llm_type(self) -> str:
        return "echo"

    @classmethod
    def is_lc_serializable(cls) -> bool:
        return True

    def _generate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> Any:
        self.seen.append((messages, kwargs))
        return ChatResult(generations=[ChatGeneration(message=AIMessage("ok"))])


class Streaming(Echo):
    def _stream(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        self.seen.append((messages, kwargs))
        for text in ("o", "k"):
            yield ChatGenerationChunk(message=AIMessageChunk(text))


class Native(Streaming):
    """Produces protocol events itself, by the hook that core looks for by name."""

    def _stream_chat_model_events(self, messages: list[BaseMessage], **kwargs: Any) -> Iterator[Any]:
        self.seen.append((messages, kwargs))
        yield {"event": "message-start", "id": "1", "role": "ai"}
        yield {"event": "content-block-start", "index": 0, "content": {"type": "text", "text": ""}}
        yield {"event": "content-block-delta", "index": 0, "delta": {"type": "text-delta", "text": "ok"}}
        yield {"event": "content-block-finish", "index": 0, "content": {"type": "text", "text": "ok"}}
        yield {"event": "message-finish", "reason": "stop"}
