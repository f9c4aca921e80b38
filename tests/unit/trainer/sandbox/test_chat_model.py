"""The sandbox's chat model in this process."""

from __future__ import annotations

import base64

import numpy as np
from langchain_core.messages import HumanMessage

from langchain_vpp.images.codec import encode_image
from tests.unit.trainer.sandbox.vision.drawn_course import QUESTIONS, draw
from trainer.sandbox.chat_model import SandboxChatModel
from trainer.sandbox.vision.card_model import CARD_CHOICES


def test_the_chat_model_in_this_process_speaks_about_cards(model):
    image, question = draw(np.random.default_rng(1)).image, QUESTIONS["expiry"]
    block = {
        "type": "image",
        "base64": base64.b64encode(encode_image(image)).decode(),
        "mime_type": "image/jpeg",
    }
    chat = SandboxChatModel(model_name="cards", vision=model)
    assert (
        chat.invoke([HumanMessage([{"type": "text", "text": question}, block])]).content
        in CARD_CHOICES["expiry"]
    )
