"""Weights of local vision models on disk."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from tests.unit.trainer.sandbox.vision.drawn_course import COURSE, QUESTIONS, draw
from trainer.sandbox.vision import weights
from trainer.sandbox.vision.card_model import CARDS, CardNetwork
from trainer.sandbox.vision.local_model import LocalVisionModel
from trainer.sandbox.vision.weights import accuracies, save_weights


def test_saved_weights_answer_as_the_network_did(model, tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "TEST_PICTURES", 3)
    torch.manual_seed(2)
    network = CardNetwork().eval()
    reached = save_weights(network, tmp_path, COURSE, seed=1)
    loaded = LocalVisionModel.load(tmp_path, subject=CARDS)
    assert reached == accuracies(loaded, COURSE, seed=1, pictures=3)
    image = draw(np.random.default_rng(1)).image
    again = LocalVisionModel(network, CARDS).answer(image, QUESTIONS["stripe"]).log_probabilities
    for choice, value in loaded.answer(image, QUESTIONS["stripe"]).log_probabilities.items():
        assert value == pytest.approx(again[choice], abs=0.02)
    assert json.loads((tmp_path / "model.json").read_text())["what"] == "a test"
    assert (tmp_path / "model.safetensors").stat().st_size < 4 * 2**20
