"""The local vision model for staff cards."""

from __future__ import annotations

import base64
import math

import numpy as np
import pytest
import torch
from starlette.testclient import TestClient

from langchain_vpp.images.codec import encode_image
from tests.unit.trainer.sandbox.vision.drawn_course import QUESTIONS, draw
from trainer.sandbox.server import create_app
from trainer.sandbox.vision.card_model import CARD_CHOICES, CARDS, CardNetwork
from trainer.sandbox.vision.local_model import UNKNOWN, LocalVisionModel
from trainer.sandbox.vision.questions import route


@pytest.mark.parametrize(
    ("name", "question"),
    [
        ("department", "What team does the woman work in?"),
        ("department", "Read the Dept. of the man."),
        ("gate", "Through which entrance may this man go?"),
        ("expiry", "Until when is the card valid?"),
        ("expiry", "What is the expiration date?"),
        ("stripe", "What color is the band?"),
        ("stripe", "Name the hue of the stripe next to the department."),
        ("age_group", "How old is this woman?"),
        ("race", "What ethnicity is the man?"),
        ("gender", "Is it a man or a woman?"),
        ("gender", "What sex is the employee?"),
        (None, "What is the name on the card?"),
        (None, "What is the capital of France?"),
        (None, "Which colour is the hair?"),
    ],
)
def test_a_question_about_cards_reaches_its_attribute(name, question):
    assert route(question, CARDS.patterns) == name


@pytest.mark.parametrize("name", list(QUESTIONS))
@pytest.mark.parametrize(
    "form",
    ["{question}", "{question} Answer with one of: {choices}.", "Options: {choices}. {question} One word!"],
)
def test_a_canonical_question_is_understood_in_any_prompt(form, name):
    assert (
        route(form.format(question=QUESTIONS[name], choices=", ".join(CARD_CHOICES[name])), CARDS.patterns)
        == name
    )


def test_the_network_answers_and_says_where_it_looked(model):
    images = torch.rand(2, 3, 224, 320, generator=torch.Generator().manual_seed(0)).requires_grad_()
    logits, maps = model.network.attend(images, tuple(CARD_CHOICES))
    assert {name: values.shape for name, values in logits.items()} == {
        name: (2, len(choices)) for name, choices in CARD_CHOICES.items()
    }
    for values in maps.values():
        assert torch.allclose(values.sum(dim=(2, 3)), torch.ones(2, 4), atol=1e-5)
    sum(values.logsumexp(1).sum() for values in logits.values()).backward()
    assert float(images.grad.abs().max()) > 0
    assert set(model.network(images, ("gate",))) == {"gate"}


def test_folding_the_norms_changes_no_answer():
    torch.manual_seed(1)
    network = CardNetwork()
    images = torch.rand(2, 3, 224, 320)
    network.train()
    network(images, ("gate",))  # norms that are not the identity
    network.eval()
    with torch.no_grad():
        before = network(images, tuple(CARD_CHOICES))
        network.fold()
        after = network(images, tuple(CARD_CHOICES))
    assert all(torch.allclose(before[name], after[name], atol=1e-3) for name in CARD_CHOICES)


@pytest.mark.slow(seconds=0.19)
@pytest.mark.parametrize("size", [(320, 224), (480, 336), (384, 272), (64, 64)])
def test_cards_of_any_size_are_answered_with_choices_and_probabilities(model, size):
    image = draw(np.random.default_rng(1)).image.resize(size)
    for name, question in QUESTIONS.items():
        reply = model.answer(image, question)
        assert reply.attribute == name
        assert tuple(reply.log_probabilities) == CARD_CHOICES[name]
        assert sum(map(math.exp, reply.log_probabilities.values())) == pytest.approx(1, abs=1e-4)
    assert model.answer(image, "What is the name on the card?").text == UNKNOWN


def test_a_numbered_list_gets_a_line_for_each_question(model):
    image = draw(np.random.default_rng(1)).image
    listed = "\n".join(f"{number}. {question}" for number, question in enumerate(QUESTIONS.values(), 1))
    lines = model.answer(image, listed).text.splitlines()
    assert lines == [
        f"{number}. {model.answer(image, question).text}"
        for number, question in enumerate(QUESTIONS.values(), 1)
    ]


def ask(client, model, image, question):
    url = "data:image/jpeg;base64," + base64.b64encode(encode_image(image)).decode()
    parts = [{"type": "text", "text": question}, {"type": "image_url", "image_url": {"url": url}}]
    return client.post(
        "/v1/chat/completions", json={"model": model, "messages": [{"role": "user", "content": parts}]}
    )


def test_the_server_offers_both_models_each_with_its_own_answers(model):
    image, question = draw(np.random.default_rng(1)).image, QUESTIONS["gate"]
    with TestClient(create_app(LocalVisionModel.load(), model)) as client:
        assert [each["id"] for each in client.get("/v1/models").json()["data"]] == ["sandbox", "cards"]
        reply = ask(client, "cards", image, question).json()
        assert reply["model"] == "cards"
        assert reply["choices"][0]["message"]["content"] in CARD_CHOICES["gate"]
        other = ask(client, "sandbox", image, question).json()
        assert other["choices"][0]["message"]["content"] == UNKNOWN
        missing = ask(client, "gpt-4o", image, question)
        assert (missing.status_code, missing.json()["error"]["code"]) == (404, "model_not_found")
        # The same picture and question to two models are no repetition.
        assert client.get("/stats").json() == {"completions": 2, "distinct": 2, "repeated": 0}
