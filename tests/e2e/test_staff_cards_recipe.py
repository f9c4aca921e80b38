"""The one command that makes the artifact for staff cards, at its smallest sizes and with portraits of nobody."""

from __future__ import annotations

import logging

import pytest
import torch
from PIL import Image

from langchain_vpp import ImageProtector
from langchain_vpp.artifact import read_manifest
from tests.portraits import save_portraits
from trainer.recipes.staff_cards.__main__ import main
from trainer.recipes.staff_cards.plan import StaffCardsPlan, read_config
from trainer.sandbox.drawing.portraits import PORTRAIT_ATTRIBUTES
from trainer.sandbox.vision import weights


@pytest.fixture
def faces(tmp_path):
    return save_portraits(tmp_path / "faces")


@pytest.mark.trains
@pytest.mark.slow(seconds=30)
def test_the_command_makes_an_artifact_with_its_card_and_goes_on(faces, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(weights, "TEST_PICTURES", 4)
    monkeypatch.setattr("trainer.recipes.staff_cards.domain.MOST", 10)
    caplog.set_level(logging.INFO)
    command = [
        "--faces",
        str(faces),
        "--out",
        str(tmp_path / "out"),
        "--smoke",
        "--device",
        "cpu",
        "--workers",
        "0",
    ]
    assert main(command) == 0
    artifact = tmp_path / "out" / "artifact"
    manifest, _ = read_manifest(artifact)
    assert "FairFace" in manifest.attribution
    assert "CC BY 4.0" in manifest.attribution
    assert manifest.trained_against == "SandboxChatModel:cards"
    assert set(manifest.private_attributes) == set(PORTRAIT_ATTRIBUTES)
    assert 0 < manifest.queries <= 30
    card = (artifact / "README.md").read_text()
    assert manifest.attribution in card
    assert manifest.data_digest in card
    assert "$" not in card
    assert torch.load(tmp_path / "out" / "assessor.pt", weights_only=True)
    assert ImageProtector.from_pretrained(artifact).protect_image(Image.new("RGB", (64, 48))).size == (64, 48)
    # Again: nothing is drawn, trained or asked a second time.
    before = {path: path.read_bytes() for path in sorted(artifact.iterdir())}
    caplog.clear()
    assert main(command) == 0
    assert "drawing" not in caplog.text
    assert {path: path.read_bytes() for path in sorted(artifact.iterdir())} == before


def test_bad_portraits_end_the_command_in_one_line(tmp_path, caplog):
    assert main(["--faces", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "labels.csv can't be used" in caplog.text


def test_the_settings_are_those_of_a_run_that_can_be_shipped():
    config = read_config()
    assert config.protector.working_resolution == 384
    assert "CC BY 4.0" in config.attribution
    assert config.licence
    assert StaffCardsPlan().largest <= config.protector.working_resolution
