"""Pictures and engines for tests."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from langchain_vpp.engines import TorchEngine
from langchain_vpp.network.protector import Protector, ProtectorConfig


def picture(width: int = 60, height: int = 40, seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def learned(resolution: int = 32) -> TorchEngine:
    torch.manual_seed(0)
    network = Protector(ProtectorConfig(width=8, blocks=(1, 1, 1), working_resolution=resolution))
    return TorchEngine(network, digest="d")
