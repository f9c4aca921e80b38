"""The second local vision model: reads what the first reads, and is another network."""

from __future__ import annotations

import base64

import numpy as np
import pytest
import torch
from starlette.testclient import TestClient

from langchain_vpp.images.codec import encode_image
from trainer.sandbox.drawing.scenes import TASKS, draw_scene
from trainer.sandbox.server import create_app
from trainer.sandbox.vision.course import SECOND_SCENE_COURSE
from trainer.sandbox.vision.local_model import SCENES, LocalVisionModel, to_tensor
from trainer.sandbox.vision.patch_model import SCENES_B, PatchNetwork
from trainer.sandbox.vision.weights import accuracies


@pytest.fixture(scope="module")
def model() -> LocalVisionModel:
    return LocalVisionModel.load(subject=SCENES_B)


@pytest.mark.slow(seconds=1)
def test_every_attribute_is_legible_on_fresh_compressed_scenes(model):
    # No seed of the training script, and another than that of its own test.
    reached = accuracies(model, SECOND_SCENE_COURSE, seed=4711, pictures=300)
    assert set(reached) == set(SCENES.choices)
    assert reached.pop("count") > 0.7, reached  # its weak side; a guess is right for a quarter
    assert min(reached.values()) > 0.95, reached


def test_it_differs_from_the_first_model_where_pictures_are_hard_to_read(model):
    first = LocalVisionModel.load()
    generator = torch.Generator().manual_seed(0)
    images = torch.stack(
        [to_tensor(draw_scene(np.random.default_rng((21, index)))[0]) for index in range(60)]
    )
    hard = (images + 0.25 * torch.randn(images.shape, generator=generator)).clamp(0, 1)
    seen = [
        torch.stack([each.argmax(1) for each in reader.log_probabilities(hard, tuple(TASKS)).values()])
        for reader in (first, model)
    ]
    assert float((seen[0] != seen[1]).float().mean()) > 0.1


def test_gradients_reach_the_picture_and_only_what_is_asked_for_is_answered():
    torch.manual_seed(0)
    images = torch.rand(2, 3, 64, 64, requires_grad=True)
    logits = PatchNetwork()(images, ("hair", "count"))
    assert {name: tuple(values.shape) for name, values in logits.items()} == {
        name: (2, len(SCENES.choices[name])) for name in ("hair", "count")
    }
    torch.stack([values.logsumexp(1).sum() for values in logits.values()]).sum().backward()
    assert float(images.grad.abs().max()) > 0


def test_folding_the_norms_changes_no_answer():
    torch.manual_seed(1)
    network = PatchNetwork()
    images = torch.rand(2, 3, 64, 64)
    network.train()
    network(images, ("hair",))  # norms that are not the identity
    network.eval()
    with torch.inference_mode():
        before = network(images, ("hair",))["hair"]
        network.fold()
        assert torch.allclose(network(images, ("hair",))["hair"], before, atol=1e-4)


def test_the_server_tells_the_two_models_apart_by_name(model):
    image, labels = draw_scene(np.random.default_rng(3))
    url = f"data:image/jpeg;base64,{base64.b64encode(encode_image(image)).decode()}"
    content = [
        {"type": "text", "text": TASKS["sign_colour"].text},
        {"type": "image_url", "image_url": {"url": url}},
    ]
    with TestClient(create_app(LocalVisionModel.load(), model)) as client:
        listed = [each["id"] for each in client.get("/v1/models").json()["data"]]
        assert listed == ["sandbox", "sandbox-b"]
        replies = []
        for name in listed:
            body = {"model": name, "messages": [{"role": "user", "content": content}], "logprobs": True}
            replies.append(client.post("/v1/chat/completions", json=body).json()["choices"][0])
    assert [each["message"]["content"] for each in replies] == [labels["sign_colour"]] * 2
    assert replies[0]["logprobs"] != replies[1]["logprobs"]
