"""The guards turn red: on a network that is fitted unannounced, and on a socket that a unit test opens."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow(seconds=5)

ROOT = Path(__file__).parents[2]
TESTS = """
import socket

import pytest
import torch


def fit():
    weight = torch.nn.Parameter(torch.ones(1))
    weight.sum().backward()
    torch.optim.SGD([weight], lr=1.0).step()


@pytest.fixture(scope="module")
def fitted():
    fit()


def test_fits(): fit()
def test_fits_in_a_fixture(fitted): pass
@pytest.mark.trains
def test_fits_and_says_so(): fit()
def test_opens_a_socket(): socket.create_server(("127.0.0.1", 0)).close()
@pytest.mark.allow_hosts(["127.0.0.1"])
def test_opens_a_socket_and_says_so(): socket.create_server(("127.0.0.1", 0)).close()
@pytest.mark.allow_hosts(["127.0.0.1"])
def test_goes_farther_than_it_says(): socket.create_connection(("192.0.2.1", 9), timeout=1)
"""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory) -> dict[str, str]:
    """Outcome and reason of each of these tests, run as unit tests in a process of their own."""
    root = tmp_path_factory.mktemp("guarded")
    unit_tests = root / "tests" / "unit"
    unit_tests.mkdir(parents=True)
    (unit_tests / "test_guarded.py").write_text(TESTS)
    (root / "pytest.ini").write_text("[pytest]\nmarkers = trains: fits a network\n")
    command = [sys.executable, "-m", "pytest", "-p", "tests.guards", "--allow-unix-socket", "-rA", "--tb=no"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith(("PASSED", "FAILED", "ERROR"))]
    return {line.split("::")[1].split(" ")[0]: line for line in lines}


@pytest.mark.parametrize("name", ["test_fits", "test_fits_in_a_fixture"])
def test_a_network_that_is_fitted_unannounced_is_red(outcomes, name):
    assert outcomes[name].startswith(("FAILED", "ERROR"))
    assert "mark it with @pytest.mark.trains" in outcomes[name]


@pytest.mark.parametrize("name", ["test_opens_a_socket", "test_goes_farther_than_it_says"])
def test_a_socket_that_is_opened_unannounced_is_red(outcomes, name):
    assert outcomes[name].startswith("FAILED")
    assert "Blocked" in outcomes[name]


@pytest.mark.parametrize("name", ["test_fits_and_says_so", "test_opens_a_socket_and_says_so"])
def test_what_is_announced_is_green(outcomes, name):
    assert outcomes[name].startswith("PASSED")
