"""The local vision model for staff cards, and the training that both subjects share."""

from __future__ import annotations

import base64
import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from langchain_core.messages import HumanMessage
from PIL import Image
from starlette.testclient import TestClient

from langchain_vpp.errors import TrainingError
from langchain_vpp.images.codec import encode_image
from trainer.experiments.sandbox import SandboxChatModel
from trainer.sandbox.drawing.cards import PRIVATE_QUESTIONS, TASKS, draw_card
from trainer.sandbox.drawing.portraits import PRIVATE_ATTRIBUTES
from trainer.sandbox.server import create_app
from trainer.sandbox.vision import train as train_local_model
from trainer.sandbox.vision.card_model import CARDS, CHOICES, CardNetwork
from trainer.sandbox.vision.local_model import UNKNOWN, LocalVisionModel
from trainer.sandbox.vision.questions import route
from trainer.sandbox.vision.train import (
    SCENE_COURSE,
    Course,
    Picture,
    accuracies,
    card_course,
    main,
    missed_attention,
    save,
    train,
)

QUESTIONS = {name: task.text for name, task in TASKS.items()} | dict(PRIVATE_QUESTIONS)
ATTRIBUTES = {"gender": "female", "age_group": "30-39", "race": "White"}


def draw(generator, _="train") -> Picture:
    face = Image.new("RGB", (64, 64), (200, 160, 140))
    attributes = {
        name: values[int(generator.integers(len(values)))] for name, values in PRIVATE_ATTRIBUTES.items()
    }
    card = draw_card(generator, face, attributes)
    return Picture(card.image, card.labels, {name: card.bounds(name) for name in TASKS})


COURSE = Course(CARDS, draw, {"what": "a test"}, steps=2, batch=2, peak_rate=2e-3)


@pytest.fixture(scope="module")
def model() -> LocalVisionModel:
    torch.manual_seed(0)
    return LocalVisionModel(CardNetwork().eval(), CARDS)


# -- questions -------------------------------------------------------------------------------------------------------


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
        route(form.format(question=QUESTIONS[name], choices=", ".join(CHOICES[name])), CARDS.patterns) == name
    )


# -- the network -----------------------------------------------------------------------------------------------------


def test_the_network_answers_and_says_where_it_looked(model):
    images = torch.rand(2, 3, 224, 320, generator=torch.Generator().manual_seed(0)).requires_grad_()
    logits, maps = model.network.attend(images, tuple(CHOICES))
    assert {name: values.shape for name, values in logits.items()} == {
        name: (2, len(choices)) for name, choices in CHOICES.items()
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
        before = network(images, tuple(CHOICES))
        network.fold()
        after = network(images, tuple(CHOICES))
    assert all(torch.allclose(before[name], after[name], atol=1e-3) for name in CHOICES)


@pytest.mark.parametrize("size", [(320, 224), (480, 336), (384, 272), (64, 64)])
def test_cards_of_any_size_are_answered_with_choices_and_probabilities(model, size):
    image = draw(np.random.default_rng(1)).image.resize(size)
    for name, question in QUESTIONS.items():
        reply = model.answer(image, question)
        assert reply.attribute == name
        assert tuple(reply.log_probabilities) == CHOICES[name]
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


# -- serving ---------------------------------------------------------------------------------------------------------


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
        assert reply["choices"][0]["message"]["content"] in CHOICES["gate"]
        other = ask(client, "sandbox", image, question).json()
        assert other["choices"][0]["message"]["content"] == UNKNOWN
        missing = ask(client, "gpt-4o", image, question)
        assert (missing.status_code, missing.json()["error"]["code"]) == (404, "model_not_found")
        # The same picture and question to two models are no repetition.
        assert client.get("/stats").json() == {"completions": 2, "distinct": 2, "repeated": 0}


def test_the_chat_model_in_this_process_speaks_about_cards(model):
    image, question = draw(np.random.default_rng(1)).image, QUESTIONS["expiry"]
    block = {
        "type": "image",
        "base64": base64.b64encode(encode_image(image)).decode(),
        "mime_type": "image/jpeg",
    }
    chat = SandboxChatModel(model_name="cards", vision=model)
    assert (
        chat.invoke([HumanMessage([{"type": "text", "text": question}, block])]).content in CHOICES["expiry"]
    )


# -- training --------------------------------------------------------------------------------------------------------


def test_attention_is_only_wrong_where_there_is_nothing_to_see():
    maps = torch.full((1, 2, 4, 8), 1 / 32)
    quarter = torch.tensor([[0.0, 0.0, 0.5, 0.5]])
    assert float(missed_attention(maps, quarter)) == pytest.approx(math.log(4))
    assert float(missed_attention(maps, torch.tensor([[0.0, 0.0, 1.0, 1.0]]))) == pytest.approx(0, abs=1e-6)
    # However small a place, the cell that it lies in counts.
    assert float(missed_attention(maps, torch.tensor([[0.51, 0.51, 0.52, 0.52]]))) == pytest.approx(
        math.log(32)
    )
    maps = torch.zeros(1, 1, 4, 8)
    maps[0, 0, 0, 0] = 1
    assert float(missed_attention(maps, quarter)) == pytest.approx(0)


@pytest.mark.trains
def test_the_loss_falls_on_cards_that_are_seen_again():
    course = dataclasses.replace(COURSE, steps=30, peak_rate=4e-3)
    run = train_local_model._Run(course, steps=30, seed=0, device="cpu")
    lessons = train_local_model._Lessons(train_local_model._Drawings(course, 0), course, 0, seed=0, end=2)
    batch = train_local_model._Lesson(*map(torch.stack, zip(lessons[0], lessons[1], strict=True)))
    losses = [sum(run.learn(batch, "auto").values()) for _ in range(10)]
    assert np.mean(losses[-2:]) < 0.8 * losses[0]


def test_a_round_shows_each_kept_card_once_in_an_order_of_its_own():
    course = dataclasses.replace(COURSE, different=6)
    kept = train_local_model._draw_all(train_local_model._Drawings(course, 0), workers=0)
    assert len(kept) == 6
    lessons = train_local_model._Lessons(kept, course, 0, seed=0, end=18)
    rounds = [[lessons[6 * turn + place].image for place in range(6)] for turn in range(3)]
    orders = [
        [next(i for i, first in enumerate(rounds[0]) if torch.equal(image, first)) for image in each]
        for each in rounds
    ]
    assert [sorted(order) for order in orders] == [list(range(6))] * 3
    assert len({tuple(order) for order in orders}) == 3
    later = train_local_model._Lessons(kept, course, 7, seed=0, end=18)
    assert torch.equal(later[0].image, lessons[7].image)


def quick_scenes(steps=4) -> Course:
    return dataclasses.replace(SCENE_COURSE, steps=steps, batch=4)


@pytest.mark.trains
def test_a_run_that_was_stopped_and_goes_on_equals_one_that_was_not(tmp_path, monkeypatch):
    monkeypatch.setattr(train_local_model, "_CHECK_PICTURES", 2)
    whole = train(quick_scenes(), seed=3, workers=0)
    path = tmp_path / "checkpoint.pt"
    train(quick_scenes(), seed=3, workers=0, checkpoint=path, checkpoint_every=1, stop_after=2)
    resumed = train(quick_scenes(), seed=3, workers=0, checkpoint=path, checkpoint_every=1)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name
    other = train(quick_scenes(), seed=4, workers=0)
    assert not torch.equal(whole.look.weight, other.look.weight)


@pytest.mark.trains
def test_dropout_goes_on_as_it_would_have(tmp_path, monkeypatch):
    monkeypatch.setattr(train_local_model, "_CHECK_PICTURES", 1)
    whole = train(COURSE, seed=3, workers=0, precision="float32")
    path = tmp_path / "checkpoint.pt"
    train(COURSE, seed=3, workers=0, precision="float32", checkpoint=path, stop_after=1)
    resumed = train(COURSE, seed=3, workers=0, precision="float32", checkpoint=path)
    weight = "portrait.heads.race.weight"
    assert torch.equal(whole.state_dict()[weight], resumed.state_dict()[weight])


@pytest.mark.trains
def test_a_checkpoint_of_another_run_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(train_local_model, "_CHECK_PICTURES", 1)
    path = tmp_path / "checkpoint.pt"
    train(quick_scenes(), seed=3, workers=0, checkpoint=path, stop_after=1)
    with pytest.raises(TrainingError, match="other settings"):
        train(quick_scenes(), seed=4, workers=0, checkpoint=path)


def test_saved_weights_answer_as_the_network_did(model, tmp_path, monkeypatch):
    monkeypatch.setattr(train_local_model, "TEST_PICTURES", 3)
    torch.manual_seed(2)
    network = CardNetwork().eval()
    reached = save(network, tmp_path, COURSE, seed=1)
    loaded = LocalVisionModel.load(tmp_path, subject=CARDS)
    assert reached == accuracies(loaded, COURSE, seed=1, pictures=3)
    image = draw(np.random.default_rng(1)).image
    again = LocalVisionModel(network, CARDS).answer(image, QUESTIONS["stripe"]).log_probabilities
    for choice, value in loaded.answer(image, QUESTIONS["stripe"]).log_probabilities.items():
        assert value == pytest.approx(again[choice], abs=0.02)
    assert json.loads((tmp_path / "model.json").read_text())["what"] == "a test"
    assert (tmp_path / "model.safetensors").stat().st_size < 4 * 2**20


@pytest.fixture
def faces(tmp_path):
    lines = ["file,age_group,gender,race"]
    for number in range(24):
        name = f"{'val' if number % 3 == 0 else 'train'}/{number}.png"
        (tmp_path / "faces" / name).parent.mkdir(parents=True, exist_ok=True)
        # The red channel says whose portrait it is.
        Image.new("RGB", (32, 32), (number * 10, 0, 250)).save(tmp_path / "faces" / name)
        lines.append(f"{name},20-29,male,White")
    (tmp_path / "faces" / "labels.csv").write_text("\n".join(lines))
    return tmp_path / "faces"


def test_the_course_shows_each_split_its_own_portraits_where_it_says(faces, monkeypatch):
    from trainer.sandbox.drawing import portraits

    opened = []
    monkeypatch.setattr(
        portraits.Portrait, "open", lambda self: opened.append(self.name) or Image.new("RGB", (9, 9))
    )
    course = card_course(faces)
    for split, found in portraits.read_portraits(faces).items():
        opened.clear()
        for seed in range(3):
            picture = course.draw(np.random.default_rng(seed), split)
            assert set(picture.places) == set(CHOICES)
            for left, top, right, bottom in picture.places.values():
                assert 0 <= left < right <= picture.image.width
                assert 0 <= top < bottom <= picture.image.height
        assert set(opened) <= {portrait.name for portrait in found}


def test_bad_portraits_end_the_script_in_one_line(tmp_path, caplog):
    assert main(["cards", "--faces", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "labels.csv can't be used" in caplog.text
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("arguments", [["cards"], ["scenes", "--faces", "x"]])
def test_cards_need_portraits_and_scenes_take_none(arguments):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
