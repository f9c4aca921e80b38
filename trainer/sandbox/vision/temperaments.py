"""Stand-ins for chat models that differ from the labels: they see, prefer and refuse in ways of their own.

The model of :mod:`trainer.sandbox.vision.local_model` answers as the labels do wherever it can, so its answers tell a
trainer little that labelled pictures don't. Providers' models are not like that: they scale pictures to a size of their
own, read text before anything else, refuse to talk about people, lean towards what a prompt lists first, and change.
These stand-ins do so on purpose, with the same network behind them. On originals they still answer most questions as
the labels do; on protected pictures they don't, and only their answers tell.
"""

from __future__ import annotations

import re
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

import torch
from torch import Tensor, nn

from trainer.sandbox.vision.local_model import SCENES, LocalVisionModel, Reply

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL import Image

REFUSAL: Final = "I'm sorry, but I can't help with identifying people."
"""Answer to a question about a person whose face can be seen."""
_ABOUT_PEOPLE: Final = frozenset({"hair", "skin", "glasses", "build", "shirt_number", "pose"})
_FACE: Final = ("hair", "skin", "glasses")
_TEXT: Final = "shirt_number"
_NUMBERS: Final = frozenset({"sign_digit", "count"})
"""Attributes whose answer is a number, which text in the picture may be taken for."""
_CHANGE_AFTER: Final = 250


class Temperament(NamedTuple):
    """Habits by which a stand-in's answers differ from what its network would answer."""

    name: str
    """Name of the model on the server."""
    side: int | None = None
    """Side in pixels to which it scales pictures before it looks at them; ``None`` leaves them as they are."""
    colour: float = 1.0
    """Share of the colour that it sees; 0 is grey."""
    first_listed: float = 0.0
    """Added to the logit of the choice that the prompt lists first."""
    refuses_faces: float | None = None
    """Confidence in hair, skin and glasses, all three, from which it refuses questions about the person."""
    text_first: float | None = None
    """Confidence in the number on the shirt from which it answers questions about other numbers with it."""


COARSE: Final = Temperament("sandbox-coarse", side=40, first_listed=1.0, refuses_faces=0.6)
"""Scales pictures down, and refuses to talk about people whose face it sees."""
TEXT_FIRST: Final = Temperament("sandbox-text-first", colour=0.5, first_listed=2.0, text_first=0.5)
"""Reads text before shapes, sees little colour, and leans towards the choice that the prompt lists first."""


class DifferingModel(LocalVisionModel):
    """Answers about drawn scenes with habits of its own.

    Args:
        temperament: The habits.
        model: Model whose network it answers with; the sandbox's if not given.
    """

    def __init__(self, temperament: Temperament, model: LocalVisionModel | None = None) -> None:
        super().__init__((model or LocalVisionModel.load()).network, replace(SCENES, name=temperament.name))
        self.temperament = temperament

    def reply(self, seen: Tensor, attribute: str, question: str) -> Reply:
        """Answer a question about one attribute; see :meth:`LocalVisionModel.reply`."""
        habits = self.temperament
        asked = dict.fromkeys((attribute, *_FACE, _TEXT))
        believed = {
            name: each[0] for name, each in self.log_probabilities(self._view(seen), tuple(asked)).items()
        }
        faces = min(_confidence(believed[name]) for name in _FACE)
        if habits.refuses_faces is not None and attribute in _ABOUT_PEOPLE and faces >= habits.refuses_faces:
            return Reply(REFUSAL, attribute, {})
        choices, values = self.subject.choices[attribute], believed[attribute]
        if habits.text_first is not None and attribute in _NUMBERS:
            text = self.subject.choices[_TEXT][int(believed[_TEXT].argmax())]
            if text in choices and _confidence(believed[_TEXT]) >= habits.text_first:
                values = torch.full_like(values, -10.0)
                values[choices.index(text)] = 0.0
        values = values.clone()
        if (first := _first_listed(question, choices)) is not None:
            values[first] += habits.first_listed
        return Reply.of(attribute, choices, values.log_softmax(dim=0))

    def _view(self, images: Tensor) -> Tensor:
        """Look at pictures, ``[B, 3, H, W]``, as the temperament does."""
        side, colour = self.temperament.side, self.temperament.colour
        if side is not None:
            small = nn.functional.interpolate(
                images, (side, side), mode="bilinear", antialias=True, align_corners=False
            )
            images = nn.functional.interpolate(small, images.shape[2:], mode="bilinear", align_corners=False)
        return colour * images + (1 - colour) * images.mean(dim=1, keepdim=True)


class ChangingModel(LocalVisionModel):
    """Answers as one model for a while and as another from then on, as when a provider replaces what a name stands for.

    Args:
        name: Name of the model on the server.
        first: Model that answers at first.
        second: Model that answers later.
        change_after: Answers that the first model gives.
    """

    def __init__(
        self,
        name: str,
        first: LocalVisionModel,
        second: LocalVisionModel,
        *,
        change_after: int = _CHANGE_AFTER,
    ) -> None:
        super().__init__(first.network, replace(first.subject, name=name))
        self.first, self.second, self._left = first, second, change_after
        self._lock = threading.Lock()

    def answer(self, image: Image.Image, question: str) -> Reply:
        """Answer one question about one picture, or each of a numbered list; counts as one answer."""
        with self._lock:
            model = self.first if self._left > 0 else self.second
            self._left -= 1
        return model.answer(image, question)


def differing_models(plain: LocalVisionModel) -> tuple[LocalVisionModel, ...]:
    """Build the stand-ins that the server offers beside the plain model of drawn scenes, with its network."""
    coarse, text_first = DifferingModel(COARSE, plain), DifferingModel(TEXT_FIRST, plain)
    return coarse, text_first, ChangingModel("sandbox-changing", plain, text_first)


def _confidence(log_probabilities: Tensor) -> float:
    return float(log_probabilities.max().exp())


def _first_listed(question: str, choices: Sequence[str]) -> int | None:
    """Return the choice that a question's text names first; ``None`` if it names none."""
    places = [re.search(rf"(?<!\w){re.escape(choice)}(?!\w)", question) for choice in choices]
    named = [(place.start(), index) for index, place in enumerate(places) if place]
    return min(named)[1] if named else None
