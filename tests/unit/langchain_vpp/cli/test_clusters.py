"""``vpp protect --ray``: a cluster of another package does the work, or the command says what is missing."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from langchain_vpp import batch
from langchain_vpp.cli import protect as command
from langchain_vpp.cli.app import app
from langchain_vpp.cli.clusters import find_cluster
from langchain_vpp.cli.options import InputError


def run(*arguments):
    return CliRunner().invoke(app, ["protect", *map(str, arguments), "--engine", "pixelate", "--json"])


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "photo.png"
    Image.effect_noise((24, 16), 60).convert("RGB").save(path)
    return path


class _Cluster:
    """This machine, reached as a cluster is; keeps how it was asked."""

    def plan(self, paths, out):
        self.paths = (paths, out)
        return batch.plan([Path(path) for path in paths], Path(out))

    def protect_files(self, jobs, out, protection, *, settings, overwrite, workers):
        protector, own = protection.build()
        assert own == settings
        self.options = (overwrite, workers)
        return batch.protect_files(jobs, Path(out), protector, settings=settings)


def test_a_cluster_gets_addresses_and_settings_as_they_were_given(picture, tmp_path, monkeypatch):
    cluster = _Cluster()
    monkeypatch.setattr(
        command, "find_cluster", lambda name, address: (name, address) == ("ray", "auto") and cluster
    )
    out = tmp_path / "out"
    done = run(picture, "--out", out, "--ray", "auto", "--level", "0.7", "--workers", "3", "--overwrite")
    assert done.exit_code == 0
    assert [each["output"] for each in json.loads(done.stdout)["protected"]] == [str(out / "photo.jpg")]
    assert cluster.paths == ([str(picture)], str(out))
    assert cluster.options == (True, 3)
    sheet = run(picture, "--out", out, "--ray", "auto", "--contact-sheet", tmp_path / "sheet.png")
    assert sheet.exit_code == 2
    assert not (tmp_path / "sheet.png").exists()


@pytest.mark.parametrize("place", ["source", "out"])
def test_a_store_needs_a_cluster(picture, tmp_path, place):
    paths = (
        ("s3://bucket/photos", "--out", tmp_path) if place == "source" else (picture, "--out", "s3://b/out")
    )
    done = run(*paths)
    assert done.exit_code == 2
    assert "lies in a store. Give --ray local" in done.stderr.replace("\n", " ")
    assert not Path("s3:").exists()


def test_a_cluster_that_nobody_offers_is_named():
    with pytest.raises(InputError, match="no installed package offers --abacus"):
        find_cluster("abacus", "auto")


def test_a_missing_ray_is_named(picture, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    done = run(picture, "--out", tmp_path / "out", "--ray", "local")
    assert done.exit_code == 2
    assert "pip install 'langchain-vpp[ray]'" in done.stderr.replace("\n", " ")
    assert not (tmp_path / "out").exists()
