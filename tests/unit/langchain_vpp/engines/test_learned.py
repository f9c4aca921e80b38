"""Learned engines: nothing above the working resolution, the level reaches the network."""

from __future__ import annotations

import numpy as np
from PIL import Image

from langchain_vpp.engines import TorchEngine
from langchain_vpp.network.protector import Protector, ProtectorConfig
from tests.unit.langchain_vpp.engines.made import learned, picture


def test_no_detail_above_the_working_resolution_reaches_the_output():
    engine = learned(32)
    stripes = np.zeros((256, 256, 3), dtype=np.uint8)
    stripes[:, ::2] = 255
    plain = np.full_like(stripes, 127)
    protected = [
        np.asarray(engine.protect(Image.fromarray(each), 0.0), dtype=float) for each in (stripes, plain)
    ]
    assert np.abs(protected[0] - protected[1]).max() <= 2


def test_the_level_reaches_the_network():
    class Recording(Protector):
        def forward(self, images, level):
            levels.append(level.tolist())
            return super().forward(images, level)

    levels = []
    engine = TorchEngine(
        Recording(ProtectorConfig(width=8, blocks=(1, 1, 1), working_resolution=32)), digest="d"
    )
    engine.protect(picture(), 0.25)
    assert levels == [[0.25]]


def test_an_engine_keeps_the_network_in_evaluation_mode():
    network = Protector(ProtectorConfig(width=8, blocks=(1, 1, 1), working_resolution=32)).train()
    TorchEngine(network, digest="d")
    assert not network.training
