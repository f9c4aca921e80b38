"""A chat model is asked about the protected picture alone, and its errors say nothing of the request."""

from __future__ import annotations

import base64

import httpx
import pytest
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage

from langchain_vpp.engines import Pixelate
from langchain_vpp.image_protector import ImageProtector
from tests.unit.trainer.studio.conftest import encoded
from trainer.oracle.model_spec import ModelSpec


@pytest.fixture
def asked(monkeypatch) -> list:
    """Messages that a chat model got; it answers, or fails if the question says so."""
    got = []

    class Model(GenericFakeChatModel):
        def _generate(self, messages, *args, **kwargs):
            got.append(messages)
            if "fail" in str(messages[0].content):
                raise RuntimeError(f"SECRET {messages[0].content}")
            return super()._generate(messages, *args, **kwargs)

    monkeypatch.setattr(ModelSpec, "build", lambda _: Model(messages=iter([AIMessage("It is red.")])))
    return got


def ask(browser, name, question, **changes):
    wish = {
        "protector": "pixelate",
        "level": 0.8,
        "size": "fit",
        "model": "openai:some",
        "question": question,
    }
    return browser.do(f"pictures/{name}/send", json=wish | changes)


def test_the_protected_picture_is_all_that_is_sent(open_studio, asked):
    browser = open_studio(models=("openai:some",))
    data = encoded()
    answer = ask(browser, browser.bring(data), "What is red?").json()
    assert (answer["answer"], answer["restored"], answer["asked"]) == (
        "It is red.",
        "It is red.",
        "What is red?",
    )
    ((message,),) = asked
    text, picture = message.content
    assert text["text"] == "What is red?"
    sent = base64.b64decode(picture["base64"])
    assert sent == ImageProtector(Pixelate(), level=0.8, output_size="fit").protect_encoded(data)
    assert base64.b64encode(data).decode()[:60] not in str(asked)
    assert answer["receipt"]["engine"] == "pixelate"


def test_the_floor_holds_for_what_is_sent(open_studio, asked):
    browser = open_studio(models=("openai:some",), min_level=0.9)
    data = encoded()
    answer = ask(browser, browser.bring(data), "What is red?", level=0).json()
    assert answer["receipt"]["images"][0]["level"] == 0.9
    sent = base64.b64decode(asked[0][0].content[1]["base64"])
    assert sent == ImageProtector(Pixelate(), level=0.9, output_size="fit").protect_encoded(data)


def test_an_error_of_the_model_quotes_nothing(open_studio, asked):
    browser = open_studio(models=("openai:some",))
    answer = ask(browser, browser.bring(encoded()), "fail, please")
    assert answer.status_code == 400
    assert "RuntimeError" in answer.json()["error"]
    assert "SECRET" not in answer.text


@pytest.mark.parametrize("model", ["openai:other", "http://127.0.0.1", ""])
def test_only_models_of_the_owner_are_asked(open_studio, asked, model):
    browser = open_studio(models=("openai:some",))
    assert ask(browser, browser.bring(encoded()), "What?", model=model).status_code == 400
    assert asked == []


@pytest.mark.parametrize("question", ["", "  \n"])
def test_without_a_question_nothing_is_sent(open_studio, asked, question):
    browser = open_studio(models=("openai:some",))
    assert ask(browser, browser.bring(encoded()), question).status_code == 400
    assert asked == []


def test_models_of_the_sandbox_can_be_asked_once_they_are_known(open_studio, asked, monkeypatch):
    served = httpx.Response(200, json={"data": [{"id": "sandbox"}, {"id": "cards"}]})
    monkeypatch.setattr("trainer.studio.asking.httpx.get", lambda *_, **__: served)
    browser = open_studio(models=("sandbox",), base_url="http://127.0.0.1:9/v1")
    name = browser.bring(encoded())
    assert ask(browser, name, "What is red?", model="cards").status_code == 400
    assert browser.do("models").json() == {"models": ["sandbox", "cards"]}
    assert ask(browser, name, "What is red?", model="cards").json()["answer"] == "It is red."
