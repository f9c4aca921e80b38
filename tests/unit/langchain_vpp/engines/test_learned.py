"""Learned engines: nothing above the working resolution, the level reaches the network."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
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


def test_the_number_of_threads_of_torch_is_left_as_it_was():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        learned(32).protect(picture(), 0.5)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


FORKS = """
import os, signal, sys
import torch
from tests.unit.langchain_vpp.engines.made import learned, picture

torch.set_num_threads(4)
engine = learned(384)
if "elsewhere" in sys.argv:  # torch's own threads, started by other work of the process
    torch.nn.Conv2d(3, 64, 3)(torch.rand(4, 3, 200, 200))
engine.protect(picture(), 0.5)
child = os.fork()
if child == 0:
    signal.alarm(15)
    engine.protect(picture(), 0.6)
    os._exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.slow(seconds=6)
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.parametrize("where", ["here", "elsewhere"])
def test_a_process_that_forks_after_protecting_can_protect_in_both(where):
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKS, where],
        capture_output=True, text=True, check=True, env=environment, timeout=100,
    )  # fmt: skip
    assert done.stdout.split() == ["0"]
