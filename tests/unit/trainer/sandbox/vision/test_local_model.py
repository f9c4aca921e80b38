"""The local vision model: right about originals, honest about what it does not understand."""

from __future__ import annotations

import io
import math
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from langchain_vpp.errors import ArtifactError
from trainer.sandbox.drawing.scenes import PRIVATE_QUESTIONS, SCENE_SIZE, TASKS, draw_scene
from trainer.sandbox.vision.course import SCENE_COURSE
from trainer.sandbox.vision.local_model import SCENE_CHOICES, UNKNOWN, WEIGHTS, LocalVisionModel, to_tensor
from trainer.sandbox.vision.weights import accuracies

QUESTIONS = dict(PRIVATE_QUESTIONS) | {name: task.text for name, task in TASKS.items()}


@pytest.fixture(scope="module")
def model() -> LocalVisionModel:
    return LocalVisionModel.load()


@pytest.mark.slow(seconds=1)
def test_every_attribute_is_legible_on_fresh_compressed_scenes(model):
    # No seed of the training script, and another than that of its own test.
    reached = accuracies(model, SCENE_COURSE, seed=4711, pictures=300)
    assert set(reached) == set(SCENE_CHOICES)
    assert min(reached.values()) > 0.95, reached


def test_grey_scenes_keep_the_skin_tone_but_lose_the_sign_colour(model):
    right = dict.fromkeys(("skin", "sign_colour"), 0)
    for index in range(100):
        image, labels = draw_scene(np.random.default_rng((12, index)))
        grey = to_tensor(image.convert("L").convert("RGB"))[None]
        for name, believed in model.log_probabilities(grey, tuple(right)).items():
            right[name] += SCENE_CHOICES[name][int(believed.argmax())] == labels[name]
    assert right["sign_colour"] < 60
    assert right["skin"] > right["sign_colour"]


@pytest.mark.parametrize("name", list(QUESTIONS))
def test_answer_is_the_likeliest_choice_and_probabilities_sum_to_one(model, name):
    image, _ = draw_scene(np.random.default_rng(3))
    reply = model.answer(image, QUESTIONS[name])
    assert reply.attribute == name
    assert tuple(reply.log_probabilities) == SCENE_CHOICES[name]
    assert reply.text == max(reply.log_probabilities, key=reply.log_probabilities.get)
    assert sum(map(math.exp, reply.log_probabilities.values())) == pytest.approx(1, abs=1e-5)


def test_a_numbered_list_gets_a_line_for_each_question(model):
    image, _ = draw_scene(np.random.default_rng(3))
    asked = [QUESTIONS["count"], "What is the capital of France?", QUESTIONS["hair"]]
    reply = model.answer(
        image, "Answer each question.\n" + "\n".join(f"{i}. {q}" for i, q in enumerate(asked, 1))
    )
    lines = [
        f"{number}. {model.answer(image, question).text}" for number, question in enumerate(asked, start=1)
    ]
    assert reply == ("\n".join(lines), None, {})
    assert lines[1] == f"2. {UNKNOWN}"


def test_a_question_about_something_else_gets_no_guess(model):
    image, _ = draw_scene(np.random.default_rng(3))
    assert model.answer(image, "What is the capital of France?") == (UNKNOWN, None, {})


@pytest.mark.parametrize("side", [32, 200])
@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "RGB"])
def test_other_sizes_and_modes_are_seen_as_scenes(mode, side):
    seen = to_tensor(Image.new("RGB", (side, side), (255, 255, 255)).convert(mode))
    assert seen.shape == (3, SCENE_SIZE, SCENE_SIZE)
    assert torch.equal(seen, torch.ones_like(seen))


def test_an_enlarged_scene_is_answered_as_the_scene(model):
    right = 0
    for index in range(30):
        image, labels = draw_scene(np.random.default_rng((13, index)))
        buffer = io.BytesIO()
        image.resize((256, 256)).save(buffer, "JPEG", quality=85)
        large = Image.open(buffer)
        right += model.answer(large, QUESTIONS["sign_colour"]).text == labels["sign_colour"]
    assert right >= 28


def test_changed_weights_are_refused(tmp_path):
    folder = shutil.copytree(WEIGHTS, tmp_path / "weights")
    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (folder / "model.safetensors").write_bytes(weights)
    with pytest.raises(ArtifactError, match="differ") as caught:
        LocalVisionModel.load(folder)
    assert caught.value.__context__ is None


@pytest.mark.parametrize("name", ["model.safetensors", "model.json"])
def test_missing_files_are_refused(tmp_path, name):
    folder = shutil.copytree(WEIGHTS, tmp_path / "weights")
    (folder / name).unlink()
    with pytest.raises(ArtifactError, match="can't be read") as caught:
        LocalVisionModel.load(folder)
    assert caught.value.__context__ is None
