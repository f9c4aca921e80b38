from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.e2e.commands import Commands
from trainer.sandbox.drawing.scenes import make_data
from trainer.sandbox.process import SandboxServer

if TYPE_CHECKING:
    from pathlib import Path

TINY = {
    "steps": 24,
    "pretraining_steps": 10,
    "batch": 4,
    "student_batch": 4,
    "student_steps": 1,
    "checkpoint_every": 5,
    "validation": 0.25,
    "max_queries": 60,
    "max_concurrency": 4,
    "protector": {"width": 8, "blocks": [1, 1, 1], "working_resolution": 64},
}


@pytest.fixture(scope="module")
def vpp(tmp_path_factory) -> Commands:
    return Commands(tmp_path_factory.mktemp("work"))


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("drawn") / "data"
    make_data(folder, train=40, val=10, test=10, seed=0)
    return folder


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with SandboxServer(record=tmp_path_factory.mktemp("sandbox") / "requests.jsonl") as running:
        yield running


@pytest.fixture
def config(tmp_path) -> Path:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(TINY))
    return path
