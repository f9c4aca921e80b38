"""The local model of films looks at all pictures of a message, in their order."""

from __future__ import annotations

import base64

import numpy as np
import pytest
from langchain_core.messages import HumanMessage
from PIL import Image
from starlette.testclient import TestClient

from langchain_vpp.images.codec import encode_image
from trainer.oracle.clips import pack
from trainer.oracle.message import picture_message
from trainer.sandbox.chat_model import SandboxChatModel
from trainer.sandbox.drawing.films import ACTION, FILM_QUESTIONS, draw_film
from trainer.sandbox.server import create_app
from trainer.sandbox.vision.film_model import FILMS
from trainer.sandbox.vision.local_model import LocalVisionModel, strip

REVERSED = {"sitting down": "standing up", "standing up": "sitting down", "throwing": "catching"}


@pytest.fixture(scope="module")
def chat():
    return SandboxChatModel(model_name=FILMS.name, vision=LocalVisionModel.load(subject=FILMS))


def asked(chat, frames, question: str) -> str:
    message = picture_message(pack([encode_image(frame) for frame in frames]), question)
    return chat.invoke([message]).content


def films():
    return (draw_film(np.random.default_rng((9, number)), rate=1) for number in range(100))


def test_what_a_person_does_is_told_from_all_frames(chat):
    right = [asked(chat, frames, ACTION.text) == labels["action"] for frames, labels in list(films())[:40]]
    assert sum(right) >= 38


@pytest.mark.parametrize("action", REVERSED)
def test_the_order_of_frames_tells_the_action(chat, action):
    frames = next(frames for frames, labels in films() if labels["action"] == action)
    assert asked(chat, frames, ACTION.text) == action
    assert asked(chat, frames[::-1], ACTION.text) == REVERSED[action]


def test_private_questions_are_answered_and_others_are_not(chat):
    frames, labels = next(films())
    for name, question in FILM_QUESTIONS.items():
        assert asked(chat, frames, question) == labels[name]
    assert asked(chat, frames, "How many balloons are there?") == "I don't know."


def test_one_picture_shows_nobody_who_moves(chat):
    frames = next(frames for frames, labels in films() if labels["action"] == "walking")
    message = picture_message(encode_image(frames[3]), ACTION.text)
    assert isinstance(message, HumanMessage)
    assert chat.invoke([message]).content == "standing still"


@pytest.mark.parametrize(
    ("count", "expected"), [(8, range(8)), (16, range(0, 16, 2)), (3, [0, 1, 2, 2, 2, 2, 2, 2])]
)
def test_a_strip_has_as_many_frames_as_the_model_looks_at(count, expected):
    frames = [Image.new("RGB", (20, 10), (number, 0, 0)) for number in range(count)]
    shown = np.asarray(strip(frames, FILMS))
    assert shown.shape == (512, 64, 3)
    assert shown[32::64, 0, 0].tolist() == list(expected)


def test_the_server_takes_the_pictures_of_a_message_together(chat):
    frames = next(frames for frames, labels in films() if labels["action"] == "standing up")

    def sent(shown) -> str:
        urls = [f"data:image/jpeg;base64,{base64.b64encode(encode_image(frame)).decode()}" for frame in shown]
        parts = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
        body = {
            "model": FILMS.name,
            "messages": [{"role": "user", "content": [{"type": "text", "text": ACTION.text}, *parts]}],
        }
        answer = client.post("/v1/chat/completions", json=body).json()
        return answer["choices"][0]["message"]["content"]

    with TestClient(create_app(chat.vision)) as client:
        assert sent(frames) == "standing up"
        assert sent(frames[::-1]) == "sitting down"
