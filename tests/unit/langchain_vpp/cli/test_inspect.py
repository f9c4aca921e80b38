"""``vpp inspect`` shows the domain of an artifact."""

from __future__ import annotations

import json

from PIL import Image
from typer.testing import CliRunner

from langchain_vpp.cli.app import app
from langchain_vpp.cli.inspect import show_manifest
from tests.domains import give
from tests.untrained import save_untrained


def test_the_domain_of_an_artifact_is_shown(tmp_path, capsys):
    save_untrained(tmp_path / "a")
    give(tmp_path / "a", [Image.new("RGB", (40, 24), (grey, 90, 90)) for grey in (100, 104)])
    show_manifest(tmp_path / "a", as_json=True)
    said = capsys.readouterr()
    assert json.loads(said.out)["domain"]["told_apart"] == {"inverted": 1.0}
    shown = " ".join(said.err.split())
    assert "fitted on 2 pictures" in shown
    assert "warning" not in shown


def test_an_artifact_that_knows_no_domain_is_named(tmp_path, capsys):
    save_untrained(tmp_path / "a")
    show_manifest(tmp_path / "a", as_json=False)
    said = " ".join(capsys.readouterr().err.split())
    assert "warning: the domain of this artifact is unknown" in said


def test_a_picture_is_no_artifact_and_its_cost_is_named(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "photo.png")
    done = CliRunner().invoke(app, ["inspect", str(tmp_path / "photo.png")])
    assert done.exit_code == 2
    assert "nothing was inspected" in done.stderr
    assert "give --cost" in done.stderr


def test_a_name_that_is_nearly_right_is_corrected():
    done = CliRunner().invoke(app, ["inspect", "staff-card"])
    assert done.exit_code == 2
    assert "Nothing was loaded. Did you mean 'staff-cards'?" in done.stderr
    assert "Did you mean" not in CliRunner().invoke(app, ["inspect", "runs/mine"]).stderr
