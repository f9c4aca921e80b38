"""The sandbox's chat model in this process, behind LangChain's interface."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import ConfigDict, Field, SkipValidation

from langchain_vpp.images.codec import decode_image
from trainer.sandbox.vision.local_model import LocalVisionModel, looks_at_clips, strip

if TYPE_CHECKING:
    from langchain_core.callbacks import CallbackManagerForLLMRun
    from langchain_core.messages import BaseMessage


class SandboxChatModel(BaseChatModel):
    """Chat model that gives the answers of the sandbox's server without a request."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    model_name: str = "sandbox"
    """Name in ledgers and manifests."""
    vision: SkipValidation[LocalVisionModel] = Field(
        default_factory=LocalVisionModel.load, exclude=True, repr=False
    )
    """Local vision model that answers; that of the drawn scenes by default."""

    @property
    def _llm_type(self) -> str:
        return "sandbox-in-process"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,  # noqa: ARG002  answers are one word
        run_manager: CallbackManagerForLLMRun | None = None,  # noqa: ARG002
        **kwargs: Any,
    ) -> ChatResult:
        blocks = messages[-1].content_blocks
        question = "\n".join(block["text"] for block in blocks if block["type"] == "text")
        images = [block["base64"] for block in blocks if block["type"] == "image"]
        seen = images if looks_at_clips(self.vision) else images[-1:]
        pictures = [decode_image(base64.b64decode(image)) for image in seen]
        picture = strip(pictures, self.vision.subject) if looks_at_clips(self.vision) else pictures[-1]
        reply = self.vision.answer(picture, question)
        metadata: dict[str, Any] = {}
        if kwargs.get("logprobs"):
            believed = reply.log_probabilities or {reply.text: 0.0}
            ranked = sorted(believed.items(), key=lambda item: -item[1])[: kwargs.get("top_logprobs", 0)]
            alternatives = [{"token": token, "logprob": value} for token, value in ranked]
            metadata["logprobs"] = {"content": [{"token": reply.text, "top_logprobs": alternatives}]}
        message = AIMessage(reply.text, response_metadata=metadata)
        return ChatResult(generations=[ChatGeneration(message=message)])
