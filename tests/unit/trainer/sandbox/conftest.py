"""The network for cards, untrained."""

from __future__ import annotations

import pytest
import torch

from trainer.sandbox.vision.card_model import CARDS, CardNetwork
from trainer.sandbox.vision.local_model import LocalVisionModel


@pytest.fixture(scope="module")
def model() -> LocalVisionModel:
    torch.manual_seed(0)
    return LocalVisionModel(CardNetwork().eval(), CARDS)
