"""Regimes of a comparison: how much the labels tell of the chat model, and so whether its answers are worth money."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from trainer.sandbox.chat_model import SandboxChatModel
from trainer.sandbox.vision.local_model import LocalVisionModel
from trainer.sandbox.vision.temperaments import COARSE, TEXT_FIRST, ChangingModel, DifferingModel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

RegimeName = Literal["labels", "no-labels", "coarse", "text-first", "changing"]


class Regime(NamedTuple):
    """A chat model to train against, and the one that answers when the protector is measured."""

    description: str
    trained_against: Callable[[int], LocalVisionModel]
    """Builds the model that training asks, given the query budget."""
    measured_with: Callable[[], LocalVisionModel]
    references: Literal["labels", "model"] = "labels"
    """Source of reference answers in training; see :class:`~trainer.training.config.TrainerConfig`."""
    answers_originals: bool = True
    """Whether the model's accuracy on originals is a ceiling to scale utility by; else every answer right is 1."""

    def chat_model(self, budget: int) -> SandboxChatModel:
        """Build the chat model that training asks."""
        return _chat_model(self.trained_against(budget))

    def judge(self) -> SandboxChatModel:
        """Build the chat model that a trained protector is measured with."""
        return _chat_model(self.measured_with())


def _chat_model(vision: LocalVisionModel) -> SandboxChatModel:
    return SandboxChatModel(model_name=vision.name, vision=vision)


def _plain(_: int = 0) -> LocalVisionModel:
    return LocalVisionModel.load()


def _coarse(_: int = 0) -> LocalVisionModel:
    return DifferingModel(COARSE)


def _text_first(_: int = 0) -> LocalVisionModel:
    return DifferingModel(TEXT_FIRST)


def _changing(budget: int) -> LocalVisionModel:
    plain = LocalVisionModel.load()
    return ChangingModel(
        "sandbox-changing", plain, DifferingModel(TEXT_FIRST, plain), change_after=int(0.45 * budget)
    )


REGIMES: Final[Mapping[RegimeName, Regime]] = {
    "labels": Regime("the model answers as the labels do", _plain, _plain),
    "no-labels": Regime(
        "no label; the model's own answers about originals", _plain, _plain, references="model"
    ),
    "coarse": Regime(
        "the model scales pictures down and refuses to talk about people",
        _coarse,
        _coarse,
        answers_originals=False,
    ),
    "text-first": Regime(
        "the model reads text first, sees little colour, leans towards the first choice",
        _text_first,
        _text_first,
        answers_originals=False,
    ),
    "changing": Regime(
        "the model changes into text-first after half of the answers",
        _changing,
        _text_first,
        answers_originals=False,
    ),
}
"""Name -> regime."""
