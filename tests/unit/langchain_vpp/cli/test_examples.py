"""Every command has examples in its help, and they can be given as they stand."""

from __future__ import annotations

import shlex

import pytest
import typer
from typer.testing import CliRunner

from langchain_vpp.cli.app import app
from langchain_vpp.cli.examples import EXAMPLES
from tests.docs.test_pages import _leaves


def test_every_command_has_examples_in_its_help():
    paths = [path for path, _ in _leaves(typer.main.get_command(app))]
    assert [path for path in paths if path not in EXAMPLES] == []
    for path in paths:
        shown = CliRunner().invoke(app, [*path.split(), "--help"], env={"COLUMNS": "200"}).stdout
        assert EXAMPLES[path][0] in shown


@pytest.mark.parametrize("line", [line for lines in EXAMPLES.values() for line in lines])
def test_an_example_can_be_given(line, monkeypatch):
    monkeypatch.setattr(typer.core.TyperCommand, "invoke", lambda *_: None)
    typer.main.get_command(app).main(shlex.split(line)[1:], prog_name="vpp", standalone_mode=False)
