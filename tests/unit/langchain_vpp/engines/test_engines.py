"""Engines: the same size out, nothing above the working resolution, no change of the input."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from langchain_vpp.engines import CLASSICAL_ENGINES, Blur, Downscale, Engine, Pixelate, TorchEngine
from langchain_vpp.network.protector import Protector, ProtectorConfig


def picture(width: int = 60, height: int = 40, seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def learned(resolution: int = 32) -> TorchEngine:
    torch.manual_seed(0)
    network = Protector(ProtectorConfig(width=8, blocks=(1, 1, 1), working_resolution=resolution))
    return TorchEngine(network, digest="d")


ENGINES = [Blur(), Pixelate(), Downscale(), learned()]


@pytest.mark.parametrize("engine", ENGINES, ids=lambda each: each.name)
@pytest.mark.parametrize("size", [(60, 40), (1, 1), (3, 200), (64, 64), (129, 31)], ids=str)
@pytest.mark.parametrize("level", [0.0, 0.37, 1.0])
def test_the_size_stays_and_the_input_is_not_changed(engine, size, level):
    image = picture(*size)
    before = image.tobytes()
    result = engine.protect(image, level)
    assert (result.size, result.mode) == (size, "RGB")
    assert result is not image
    assert image.tobytes() == before
    assert isinstance(engine, Engine)


@pytest.mark.parametrize("engine", ENGINES, ids=lambda each: each.name)
def test_the_same_picture_and_level_give_the_same_pixels(engine):
    assert engine.protect(picture(), 0.6).tobytes() == engine.protect(picture(), 0.6).tobytes()


@pytest.mark.parametrize("name", CLASSICAL_ENGINES)
def test_classical_engines_change_nothing_at_level_0_and_more_at_higher_levels(name):
    engine, image = CLASSICAL_ENGINES[name](), picture()
    assert engine.protect(image, 0.0).tobytes() == image.tobytes()
    # Noise averages out: what is left of its variance falls with the level.
    left = [
        np.asarray(engine.protect(image, level), dtype=float).std() for level in (0.0, 0.25, 0.5, 0.75, 1.0)
    ]
    assert left == sorted(left, reverse=True)
    assert left[-1] < left[0] / 3


def test_pixelate_leaves_four_cells_along_the_longest_side_at_level_1():
    result = np.asarray(Pixelate().protect(picture(64, 32), 1.0))
    assert result.shape == (32, 64, 3)
    assert len({tuple(pixel) for pixel in result[0]}) == 4
    assert len({tuple(pixel) for pixel in result[:, 0]}) == 2


def test_digests_tell_engines_apart():
    digests = [engine.digest for engine in ENGINES[:3]]
    assert len(set(digests)) == 3
    assert all(len(digest) == 64 for digest in digests)


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
