"""Cards with a plain face, to learn from for a few steps."""

from __future__ import annotations

from PIL import Image

from trainer.sandbox.drawing.cards import CARD_TASKS, PORTRAIT_QUESTIONS, draw_card
from trainer.sandbox.drawing.portraits import PORTRAIT_ATTRIBUTES
from trainer.sandbox.vision.card_model import CARDS
from trainer.sandbox.vision.course import Course, Picture

QUESTIONS = {name: task.text for name, task in CARD_TASKS.items()} | dict(PORTRAIT_QUESTIONS)


def draw(generator, _="train") -> Picture:
    face = Image.new("RGB", (64, 64), (200, 160, 140))
    attributes = {
        name: values[int(generator.integers(len(values)))] for name, values in PORTRAIT_ATTRIBUTES.items()
    }
    card = draw_card(generator, face, attributes)
    return Picture(card.image, card.labels, {name: card.bounds(name) for name in CARD_TASKS})


COURSE = Course(CARDS, draw, {"what": "a test"}, steps=2, batch=2, peak_rate=2e-3)
