"""Answers of the photo model about invented photographs, alone and behind the server."""

from __future__ import annotations

import base64
import math
from pathlib import Path
from threading import Thread

import pytest
from PIL import Image
from starlette.testclient import TestClient

from langchain_vpp.errors import MissingExtraError
from langchain_vpp.extras import is_installed
from langchain_vpp.images.codec import encode_image
from tests.unit.trainer.sandbox.vision.photos.made import BOX, STREET, model, picture
from trainer.sandbox.server import create_app
from trainer.sandbox.vision.photo_model import CANNOT_TELL, PACKAGES, PhotoModel
from trainer.sandbox.vision.photos.objects import Seen


def said(question, **made):
    return model(**made).answer(picture(), question).text


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Is there a dog?", "yes"),
        ("Is there a cat?", "no"),
        ("Is there a cat or a puppy?", "yes"),
        ("Is there a cat and a puppy?", "no"),
        ("Are there no cats?", "yes"),
        ("Is there neither a dog nor a cat?", "no"),
        ("Are there two people?", "yes"),
        ("Are there more than two men?", "no"),
        ("Is there a red bicycle?", "yes"),
        ("Is the bike green?", "no"),
        ("How many persons are in the picture?", "2"),
        ("How many elephants do you see?", "0"),
        ("How many animals are there?", "1"),
        ("What colour is the bicycle?", "red"),
        ("What animal is this?", "dog"),
        ("Is this a dog or a cat?", "dog"),
        ("What is in the picture?", "dog, person, bicycle"),
        ("What is the person doing?", "skateboarding"),
        ("Is the man surfing?", "no"),
        ("Where is this?", "street"),
        ("Is this indoors?", "no"),
        ("What is the woman's gender?", "female"),
        ("How old is she?", "34"),
        ("What colour is the elephant?", CANNOT_TELL),
        ("What food is shown?", CANNOT_TELL),
        ("What does the sign say?", "I don't know."),
    ],
)
def test_it_answers_what_it_sees(question, answer):
    assert said(question) == answer


@pytest.mark.parametrize(
    ("question", "choices", "answer"),
    [
        ("Is there a dog?", "No, Yes", "Yes"),
        ("How many people are there?", "none, one, 2 or more", "2 or more"),
        ("How many people are there?", "0-1, 2-4", "2-4"),
        ("How many people are there?", "7, 8", CANNOT_TELL),
        ("How old is the person?", "0-19, 20-39, 40+", "20-39"),
        ("Is it a man or a woman?", "Man, Woman", "Woman"),
        ("What colour is the bicycle?", "blue, Red", "Red"),
        ("What is the person doing?", "eating, skateboarding", "skateboarding"),
        ("Where is this?", "outdoors, indoors", "outdoors"),
        ("Which of these is in the picture?", "a puppy, a cat", None),
        ("What animal is this?", "a cat, a puppy", "a puppy"),
        ("Which caption fits the picture?", "street, sea", "street"),
    ],
)
def test_an_answer_is_one_of_the_choices(question, choices, answer):
    asked = f"{question}\nAnswer with exactly one of: {choices}."
    if answer is None:
        assert said(asked) == "I don't know."
    else:
        assert said(asked) == answer


def test_nobody_does_nothing_and_has_no_age():
    assert said("What is the person doing?", objects=STREET[:1]) == CANNOT_TELL
    assert said("How old is the person?", face=None) == CANNOT_TELL


def test_probabilities_add_up_and_are_even_at_the_border():
    reply = model(objects=(Seen("dog", 0.1, BOX),)).answer(picture(), "Is there a dog?")
    assert {text: round(math.exp(each), 3) for text, each in reply.log_probabilities.items()} == {
        "yes": 0.5,
        "no": 0.5,
    }


def test_a_list_of_questions_gets_a_line_for_each():
    asked = (
        "1. Is there a dog?\n2. What does it say?\n3. Where is this? Answer with exactly one of: sea, street."
    )
    assert said(asked) == "1. yes\n2. I don't know.\n3. street"


def test_a_picture_of_any_mode_is_looked_at_once_at_a_bounded_size():
    made = model()
    seen = []
    made._detector.find = lambda image: seen.append((image.size, image.mode)) or STREET
    large = Image.new("LA", (3000, 1000))
    assert made.answer(large, "Is there a dog?").text == "yes"
    assert made.answer(large, "How many dogs are there?").text == "1"
    assert seen == [((1024, 341), "RGB")]
    assert made.answer(Image.new("1", (1, 1)), "What colour is the dog?").text == "black"


def test_answers_in_several_threads_are_those_of_one():
    made, texts = model(), []
    threads = [
        Thread(target=lambda: texts.append(made.answer(picture(), "What animal is this?").text))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert texts == ["dog"] * 4


def test_without_the_extra_one_error_names_it(monkeypatch):
    monkeypatch.setattr("langchain_vpp.extras._can_be_found", lambda module: False)
    with pytest.raises(
        MissingExtraError, match=r"the photo model was not loaded: .*'langchain-vpp\[photos\]'"
    ):
        PhotoModel()


def test_the_server_answers_with_usage_and_probabilities_and_refuses_a_broken_picture():
    made = model()

    def ask(data):
        url = "data:image/jpeg;base64," + base64.b64encode(data).decode()
        parts = [
            {"type": "text", "text": "Is there a dog?"},
            {"type": "image_url", "image_url": {"url": url}},
        ]
        body = {"model": made.name, "messages": [{"role": "user", "content": parts}], "logprobs": True}
        return client.post("/v1/chat/completions", json=body | {"top_logprobs": 2})

    with TestClient(create_app(made)) as client:
        reply = ask(encode_image(picture())).json()
        refused = ask(b"no picture")
    choice = reply["choices"][0]
    assert choice["message"]["content"] == "yes"
    assert [each["token"] for each in choice["logprobs"]["content"][0]["top_logprobs"]] == ["yes", "no"]
    assert reply["usage"]["prompt_tokens"] > 85
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "invalid_image")


@pytest.mark.slow(seconds=6)
def test_real_photographs_are_answered():
    folder = Path(__file__).parents[6] / "shared" / "data" / "photos" / "images"
    if not folder.is_dir():
        pytest.skip("the photographs of ../shared are not here")
    if not is_installed(*PACKAGES):
        pytest.skip("the extra `photos` is not installed")
    made = PhotoModel()

    def ask(name, question):
        with Image.open(folder / f"{name}.jpg") as image:
            return made.answer(image, question).text

    assert ask("000000000285", "Is there a bear?") == "yes"
    assert ask("000000000285", "Is there a person?") == "no"
    assert ask("000000000285", "What animal is this?") == "bear"
    assert ask("000000000724", "Where is this?") == "street"
    assert (
        ask("000000000632", "What room is this?\nAnswer with exactly one of: bedroom, kitchen.") == "bedroom"
    )
