"""Vision chat models of Hugging Face's transformers, asked in this process.

``ChatHuggingFace`` of langchain-huggingface writes a conversation with a local model as one text, in which a picture is
a mark without pixels. This class hands the pictures to the model's processor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import Field, PrivateAttr

from langchain_vpp import extras
from langchain_vpp.images.codec import decode_image
from langchain_vpp.messages.base64 import decode_base64

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_core.callbacks import CallbackManagerForLLMRun
    from langchain_core.messages import BaseMessage

_ROLES = {"human": "user", "ai": "assistant", "system": "system"}


class TransformersChatModel(BaseChatModel):
    """A model that answers in text about texts and pictures, such as one of the Qwen-VL, LLaVA or Idefics families.

    Args:
        model: Folder with the weights, or their name on Hugging Face's hub.
        max_new_tokens: Most tokens of an answer. The likeliest token is always taken, so answers repeat.
        options: Further options of ``AutoModelForImageTextToText.from_pretrained``, such as ``dtype``.

    Raises:
        MissingExtraError: If transformers is missing.
        OSError: If there is no such model.

    Example:
        >>> model = TransformersChatModel(model="Qwen/Qwen2.5-VL-3B-Instruct")  # doctest: +SKIP
    """

    model: str
    max_new_tokens: int = 64
    options: dict[str, Any] = Field(default_factory=dict)
    _processor: Any = PrivateAttr()
    _network: Any = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        """Load the model."""
        super().model_post_init(context)
        library = extras.load("transformers", extra="huggingface", undone="nothing was sent")
        self._processor = library.AutoProcessor.from_pretrained(self.model)
        self._network = library.AutoModelForImageTextToText.from_pretrained(self.model, **self.options).eval()

    @property
    def _llm_type(self) -> str:
        return "transformers"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,  # noqa: ARG002  nothing is streamed
        **_: Any,
    ) -> ChatResult:
        conversation = [
            {"role": _ROLES[message.type], "content": [_part(block) for block in message.content_blocks]}
            for message in messages
        ]
        inputs = self._processor.apply_chat_template(
            conversation, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
        ).to(self._network.device)
        length = inputs["input_ids"].shape[1]
        made = self._network.generate(**inputs, max_new_tokens=self.max_new_tokens, do_sample=False)[
            0, length:
        ]
        text = _before(self._processor.decode(made, skip_special_tokens=True), stop or ())
        usage = {"input_tokens": length, "output_tokens": len(made), "total_tokens": length + len(made)}
        ended = "length" if len(made) >= self.max_new_tokens else "stop"
        message = AIMessage(text, usage_metadata=usage, response_metadata={"finish_reason": ended})
        return ChatResult(generations=[ChatGeneration(message=message)])


def _part(block: Any) -> dict[str, Any]:
    """Turn a block of a message into what a processor takes.

    Raises:
        NotImplementedError: If it is neither text nor a picture that came along.
    """
    data = decode_base64(block.get("base64") or "") if block["type"] == "image" else None
    if data:
        return {"type": "image", "image": decode_image(data)}
    if block["type"] == "text":
        return {"type": "text", "text": block["text"]}
    raise NotImplementedError(
        f"nothing was asked: a local model takes no block {block['type']!r} of this kind."
    )


def _before(text: str, stop: Sequence[str]) -> str:
    ends = [place for word in stop if (place := text.find(word)) >= 0]
    return text[: min(ends)] if ends else text
