"""The sandbox's chat model in this process: as a black box behind LangChain's interface, and as a white one."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import torch
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import ConfigDict, Field, SkipValidation
from torch import nn

from langchain_vpp.errors import DataError
from langchain_vpp.images.codec import decode_image
from trainer.algorithms.surrogate import NoQueries
from trainer.oracle.scoring import normalise
from trainer.sandbox.vision.local_model import LocalVisionModel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from langchain_core.callbacks import CallbackManagerForLLMRun
    from langchain_core.messages import BaseMessage
    from torch import Tensor

    from trainer.algorithms.surrogate import AnswerSpace


class SandboxChatModel(BaseChatModel):
    """The sandbox's chat model in this process: the same answers as its server, without the requests."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    model_name: str = "sandbox"
    """What ledgers and manifests call it."""
    vision: SkipValidation[LocalVisionModel] = Field(
        default_factory=LocalVisionModel.load, exclude=True, repr=False
    )

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
        reply = self.vision.answer(decode_image(base64.b64decode(images[-1])), question)
        metadata: dict[str, Any] = {}
        if kwargs.get("logprobs"):
            believed = reply.log_probabilities or {reply.text: 0.0}
            ranked = sorted(believed.items(), key=lambda item: -item[1])[: kwargs.get("top_logprobs", 0)]
            alternatives = [{"token": token, "logprob": value} for token, value in ranked]
            metadata["logprobs"] = {"content": [{"token": reply.text, "top_logprobs": alternatives}]}
        message = AIMessage(reply.text, response_metadata=metadata)
        return ChatResult(generations=[ChatGeneration(message=message)])


class VocabularyNetwork(nn.Module):
    """A local vision model's network that answers a data set's questions in the data set's vocabulary.

    Args:
        space: Questions and answers; all must be of the model's subject.
        vision: Whose network it is. Pictures must come in its size.

    Raises:
        DataError: If the model does not understand a question.
    """

    def __init__(self, space: AnswerSpace, vision: LocalVisionModel) -> None:
        super().__init__()
        self.network = vision.network
        self._attributes = tuple(_attribute(vision, question) for question in space.questions)
        self._size = len(space.answers)
        self._columns = {
            name: [space.answers.index(normalise(choice)) for choice in vision.subject.choices[name]]
            for name in self._attributes
        }

    def forward(self, images: Tensor) -> Tensor:
        """From images in [0, 1], ``[B, 3, H, W]``, to logits ``[B, Q, V]``, ``-inf`` for what a question excludes."""
        believed = self.network(images, self._attributes)
        result = images.new_full(
            (len(images), len(self._attributes), self._size), -torch.inf, dtype=torch.float32
        )
        for question, name in enumerate(self._attributes):
            result[:, question, self._columns[name]] = believed[name].float()
        return result


class AttributeReader(nn.Module):
    """A local vision model's network as an attacker's: what the provider itself could start from.

    Args:
        attributes: Private attributes and their classes, all of the model's subject.
        vision: Whose network it is.
    """

    def __init__(self, attributes: Mapping[str, tuple[str, ...]], vision: LocalVisionModel) -> None:
        super().__init__()
        self.network = vision.network
        self._columns = {
            name: [vision.subject.choices[name].index(each) for each in classes]
            for name, classes in attributes.items()
        }

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """From images in [0, 1], ``[B, 3, H, W]``, to logits of each attribute, ``[B, K_a]``."""
        believed = self.network(images, tuple(self._columns))
        return tuple(believed[name][:, columns].float() for name, columns in self._columns.items())


class WhiteBox(NoQueries):
    r"""Utility loss with true gradients through the sandbox's network: what no black box can give.

    .. math:: L_u(x) = \frac{1}{|Q_x|} \sum_{q \in Q_x} \frac{-\log p_M(y_q \mid x, q)}{\log K_q}

    Args:
        space: Questions and answers; all must be of the model's subject.
        vision: The chat model. Pictures must come in its size.
    """

    def __init__(self, space: AnswerSpace, vision: LocalVisionModel) -> None:
        self._space = space
        self._network = VocabularyNetwork(space, vision).requires_grad_(requires_grad=False)

    def loss(self, images: Tensor, references: Tensor, *, generator: torch.Generator) -> Tensor:  # noqa: ARG002
        """Utility loss per image, shape ``[B]``, differentiable in ``images``."""
        asked = references >= 0
        log_posterior: Tensor = self._network(images).log_softmax(dim=-1)
        losses = (
            -log_posterior.gather(-1, references.clamp(min=0)[..., None])[..., 0] / self._space.sizes.log()
        )
        return losses.masked_fill(~asked, 0.0).sum(dim=1) / asked.sum(dim=1).clamp(min=1)

    @torch.no_grad()
    def probabilities(self, images: Tensor) -> Tensor:
        """The chat model's probabilities, shape ``[B, Q, V]``."""
        result: Tensor = self._network(images).softmax(dim=-1)
        return result


def _attribute(vision: LocalVisionModel, question: str) -> str:
    attribute = vision.route(question)
    if attribute is None:
        raise DataError("the sandbox's chat model does not understand a question of the data set.")
    return attribute
