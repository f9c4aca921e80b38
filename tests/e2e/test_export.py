"""``vpp export`` as a real process: the graphs, what is served, and the recheck with a chat model."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from langchain_vpp.artifact import EXACT_GRAPH, GRAPH, read_manifest
from tests.untrained import save_untrained
from trainer.sandbox.drawing.scenes import make_data

pytestmark = pytest.mark.slow(seconds=12)

pytest.importorskip("onnx")


@pytest.fixture
def artifact(tmp_path):
    save_untrained(tmp_path / "artifact")
    return tmp_path / "artifact"


def test_the_graph_is_written_and_serves(vpp, data, artifact, tmp_path):
    done = vpp.run("export", artifact, "--data", data, "--images", 4, "--json")
    assert done.code == 0, done.err
    result = json.loads(done.out)
    manifest, digest = read_manifest(artifact)
    assert result["digest"] == digest
    assert EXACT_GRAPH in manifest.files
    assert (GRAPH in manifest.files) == result["quantised"]
    assert result["largest_leak_gain"] is None
    assert f"within {result['psnr']:.1f} dB of torch" in done.err
    Image.new("RGB", (64, 64), (200, 40, 40)).save(tmp_path / "picture.png")
    served = vpp.run("protect", tmp_path / "picture.png", "--artifact", artifact, "--out", tmp_path / "out")
    assert served.code == 0, served.err


def test_the_front_is_measured_again_with_a_chat_model(vpp, artifact, server, tmp_path):
    make_data(tmp_path / "data", train=300, val=100, test=240, seed=1)
    settings = {
        "levels": [0.0, 1.0], "classifiers": ["small"], "cold": [], "original_images": 300, "train_images": 300,
        "queries_per_point": 10,
    }  # fmt: skip
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    done = vpp.run(
        "export", artifact, "--data", tmp_path / "data", "--images", 4, "--recheck", "--model", "sandbox",
        "--base-url", server.base_url, "--config", tmp_path / "settings.json", "--max-queries", 20, "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    result = json.loads(done.out)
    assert -0.5 < result["largest_leak_gain"] < 0.5
    assert -0.5 < result["largest_utility_loss"] < 0.5
    assert "an attacker recovers" in done.err
    assert "the chat model loses" in done.err


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--model", "sandbox"), "belong to --recheck"),
        (("--images", 4, "--least-psnr", "x"), None),
    ],
)
def test_what_does_not_fit_together_is_refused_and_nothing_is_written(vpp, data, artifact, options, reason):
    before = {path.name: path.read_bytes() for path in artifact.iterdir()}
    done = vpp.run("export", artifact, "--data", data, *options)
    assert done.code == 2
    if reason is not None:
        assert reason in done.error
    assert {path.name: path.read_bytes() for path in artifact.iterdir()} == before
