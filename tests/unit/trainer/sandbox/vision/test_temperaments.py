"""Stand-ins that differ from the labels, each in a way that only its answers tell."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from starlette.testclient import TestClient

from trainer.oracle.comparing import refused
from trainer.oracle.query import Query
from trainer.sandbox.drawing.scenes import PRIVATE_QUESTIONS, TASKS, draw_scene
from trainer.sandbox.server import create_app
from trainer.sandbox.vision.local_model import LocalVisionModel
from trainer.sandbox.vision.temperaments import (
    COARSE,
    TEXT_FIRST,
    ChangingModel,
    DifferingModel,
    Temperament,
    differing_models,
)

PROMPTS = {name: Query(b"", task.text, task.choices).prompt for name, task in TASKS.items()}


@pytest.fixture(scope="module")
def plain():
    return LocalVisionModel.load()


@pytest.fixture(scope="module")
def scenes():
    return [draw_scene(np.random.default_rng(seed)) for seed in range(30)]


def answers(model, picture):
    return {name: model.answer(picture, prompt).text for name, prompt in PROMPTS.items()}


def test_a_model_without_habits_answers_as_its_network_does(plain, scenes):
    same = DifferingModel(Temperament("sandbox-same"), plain)
    for picture, _ in scenes[:4]:
        assert answers(same, picture) == answers(plain, picture)


def test_a_visible_face_makes_questions_about_the_person_refused_and_no_others(plain, scenes):
    cautious = DifferingModel(Temperament("sandbox-cautious", refuses_faces=0.6), plain)
    picture, labels = scenes[0]
    assert refused(cautious.answer(picture, PROMPTS["pose"]).text)
    assert refused(cautious.answer(picture, PRIVATE_QUESTIONS["hair"]).text)
    assert cautious.answer(picture, PROMPTS["sign_colour"]).text == labels["sign_colour"]


def test_text_that_can_be_read_is_taken_for_other_numbers(plain, scenes):
    hasty = DifferingModel(Temperament("sandbox-hasty", text_first=0.5), plain)
    told = [
        (hasty.answer(picture, PROMPTS["sign_digit"]).text, labels["shirt_number"])
        for picture, labels in scenes
    ]
    assert sum(told == shirt for told, shirt in told) > 25
    picture, labels = scenes[0]
    assert hasty.answer(picture, PROMPTS["sign_shape"]).text == labels["sign_shape"]


def test_where_little_can_be_seen_the_prompt_decides(plain):
    leaning = DifferingModel(Temperament("sandbox-leaning", first_listed=9.0), plain)
    grey = torch.full((1, 3, 64, 64), 0.5)
    for order in (TASKS["sign_colour"].choices, TASKS["sign_colour"].choices[::-1]):
        prompt = Query(b"", TASKS["sign_colour"].text, order).prompt
        assert leaning.reply(grey, "sign_colour", prompt).text == order[0]
    assert leaning.reply(grey, "sign_colour", "Which colour?").text in TASKS["sign_colour"].choices


@pytest.mark.parametrize("temperament", [COARSE, TEXT_FIRST], ids=lambda each: each.name)
def test_on_protected_pictures_the_stand_ins_are_wrong_where_the_plain_model_is_right(
    plain, scenes, temperament
):
    """A student of the labels can't know: its labels are those that the plain model gives."""
    model = DifferingModel(temperament, plain)
    right = differs = 0
    for picture, labels in scenes:
        faded = picture.point(lambda value: 64 + value // 2)  # as a protector at a middle level leaves it
        ours, theirs = answers(model, faded), answers(plain, faded)
        right += sum(theirs[name] == labels[name] for name in TASKS)
        differs += sum(theirs[name] == labels[name] != ours[name] for name in TASKS)
    assert right > 0.4 * len(scenes) * len(TASKS)
    assert differs > 0.15 * right


def test_a_changing_model_is_another_after_so_many_answers(plain, scenes):
    second = DifferingModel(TEXT_FIRST, plain)
    picture, _ = scenes[0]
    changing = ChangingModel("sandbox-changing", plain, second, change_after=2)
    told = [changing.answer(picture, PROMPTS["sign_digit"]).text for _ in range(4)]
    before, after = (model.answer(picture, PROMPTS["sign_digit"]).text for model in (plain, second))
    assert before != after
    assert told == [before, before, after, after]


def test_the_server_offers_them_under_their_names(plain):
    models = differing_models(plain)
    with TestClient(create_app(*models)) as client:
        listed = [entry["id"] for entry in client.get("/v1/models").json()["data"]]
    assert listed == ["sandbox-coarse", "sandbox-text-first", "sandbox-changing"]
