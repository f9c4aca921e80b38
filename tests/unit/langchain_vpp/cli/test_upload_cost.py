"""What `vpp inspect --cost` counts is what is sent."""

from __future__ import annotations

import base64
import json

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from langchain_vpp.artifact import save_artifact
from langchain_vpp.cli.app import app
from langchain_vpp.cli.upload_cost import of_artifact, of_picture
from langchain_vpp.images.codec import encode_scaled
from langchain_vpp.network.protector import Protector, ProtectorConfig
from langchain_vpp.providers import FAMILIES, find_model, fit_size
from tests.unit.image_tokens import GOLDEN, SIZES
from tests.unit.langchain_vpp.test_artifact import MANIFEST


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "picture.png"
    Image.effect_mandelbrot((1600, 1200), (-2, -1, 1, 1), 30).convert("RGB").save(path)
    return path


@pytest.fixture
def artifact(tmp_path):
    torch.manual_seed(0)
    network = Protector(ProtectorConfig(width=8, blocks=(1, 1, 1), working_resolution=32))
    save_artifact(tmp_path / "artifact", network, MANIFEST)
    return tmp_path / "artifact"


def test_the_upload_of_a_picture_is_its_base64(picture):
    cost = of_picture(picture)
    image = Image.open(picture)
    for size, counted in zip(
        (image.size, fit_size(*image.size)), cost.rows["upload, bytes of base64"], strict=True
    ):
        assert counted == len(base64.b64encode(encode_scaled(image, size)))
    assert len(cost.rows) == 1 + len(FAMILIES)
    assert all(same >= fitted > 0 for same, fitted in cost.rows.values())


@pytest.mark.slow(seconds=0.07)
@pytest.mark.parametrize("size", SIZES)
def test_the_command_counts_what_the_providers_table_says(size, tmp_path):
    path = tmp_path / "picture.jpg"
    Image.new("RGB", size, "red").save(path)
    done = CliRunner().invoke(app, ["inspect", str(path), "--cost", "--json"])
    costs = json.loads(done.stdout)[0]["costs"]
    for model, golden in GOLDEN.items():
        counted = costs[f"tokens, {find_model(model).family.name}"]["same"]
        assert counted == golden[SIZES.index(size)]


@pytest.mark.slow(seconds=1)
def test_an_artifact_is_judged_by_pictures_of_the_usual_sizes(artifact):
    titles = [each.title for each in of_artifact(artifact)]
    assert titles == [
        "640x480 -> 640x480",
        "1024x1024 -> 768x768",
        "1920x1080 -> 1365x768",
        "4000x3000 -> 1024x768",
    ]


@pytest.mark.slow(seconds=4)
@pytest.mark.parametrize("what", ["picture", "artifact"])
def test_the_command_prints_the_same_as_json(what, request):
    path = request.getfixturevalue(what)
    done = CliRunner().invoke(app, ["inspect", str(path), "--cost", "--json"])
    assert done.exit_code == 0
    expected = of_artifact(path) if what == "artifact" else [of_picture(path)]
    assert json.loads(done.stdout) == [json.loads(json.dumps(each.as_json())) for each in expected]


def test_what_is_no_picture_is_refused_in_one_line(tmp_path):
    (tmp_path / "text").write_text("no picture")
    for name in ("text", "missing"):
        done = CliRunner().invoke(app, ["inspect", str(tmp_path / name), "--cost"])
        assert done.exit_code == 2
        assert done.stderr.count("\n") == 1
