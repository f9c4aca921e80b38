"""Chat models that answer by looking at the picture."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any

import numpy as np
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from PIL import Image
from pydantic import Field

if TYPE_CHECKING:
    import numpy.typing as npt


class LookingModel(BaseChatModel):
    """Keeps the text that it is asked, and answers by it and by the pixels."""

    calls: list[str] = Field(default_factory=list)

    def reply(self, text: str, pixels: npt.NDArray[np.float64] | None) -> str:
        """The answer.

        Args:
            text: Of the last message.
            pixels: Of its picture, from 0 to 255, shape ``[H, W, 3]``; ``None`` without one.
        """
        raise NotImplementedError

    @property
    def _llm_type(self) -> str:
        return "eyes"

    def _generate(
        self, messages: list[BaseMessage], stop=None, run_manager=None, **kwargs: Any
    ) -> ChatResult:
        blocks = messages[-1].content_blocks
        (text,) = (block["text"] for block in blocks if block["type"] == "text")
        picture = next((block["base64"] for block in blocks if block["type"] == "image"), None)
        pixels = None
        if picture is not None:
            pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGB"), dtype=float)
        self.calls.append(text)
        answer = self.reply(text, pixels)
        return ChatResult(generations=[ChatGeneration(message=AIMessage(answer))])
