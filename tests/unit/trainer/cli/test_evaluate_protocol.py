"""``vpp evaluate --protocol`` prints the paper's row below the report."""

from __future__ import annotations

import pytest
from PIL import Image
from typer.testing import CliRunner

import trainer.evaluation
from langchain_vpp.cli.app import app
from tests.made_reports import report
from tests.unit.trainer.data.data_folder import lines, write


@pytest.fixture
def data(tmp_path):
    for number in range(1, 5):
        Image.new("RGB", (16, 8), (number, 0, 0)).save(tmp_path / f"{number}.png")
    write(tmp_path, lines())
    return tmp_path


def run(data, *arguments):
    out = str(data / "report.json")
    command = ["evaluate", "staff-cards", "--data", str(data), "--out", out, *arguments]
    return CliRunner().invoke(app, command, env={"COLUMNS": "160"})


def test_the_row_of_the_paper_is_printed(data, monkeypatch):
    monkeypatch.setattr(trainer.evaluation, "evaluate", lambda *_, **__: report(), raising=False)
    done = run(data, "--protocol", "okvqa")
    assert done.exit_code == 0, done.output
    assert "Protocol okvqa" in done.stderr
    assert "57.6 and 59.2" in done.stderr
    assert "Protocol" not in run(data).stderr


def test_an_unknown_protocol_is_refused_before_anything_is_measured(data, monkeypatch):
    monkeypatch.setattr(
        trainer.evaluation, "evaluate", lambda *_, **__: pytest.fail("it was measured"), raising=False
    )
    done = run(data, "--protocol", "imagenet")
    assert done.exit_code == 2
    assert "there is no protocol 'imagenet'" in done.stderr
