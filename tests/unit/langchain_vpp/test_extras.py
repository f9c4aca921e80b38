"""What is missing is named in one error, with the command that installs it."""

from __future__ import annotations

import sys

import pytest

from langchain_vpp import extras
from langchain_vpp.errors import MissingExtraError, ProtectionError, TrainingError


@pytest.fixture
def missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "some_package", None)
    return "some_package"


def test_all_that_is_missing_is_named_in_one_error(missing):
    with pytest.raises(MissingExtraError) as raised:
        extras.require("json", missing, "another_one.inside", extra="train", undone="nothing was trained")
    assert str(raised.value) == (
        "nothing was trained: some-package, another-one.inside must be installed: "
        "pip install 'langchain-vpp[train]'."
    )
    assert raised.value.__cause__ is raised.value.__context__ is None


def test_the_error_is_one_that_callers_already_handle():
    assert issubclass(MissingExtraError, ProtectionError)
    assert issubclass(MissingExtraError, TrainingError)


def test_what_is_installed_is_loaded():
    assert extras.load("json.decoder", extra="train").JSONDecodeError
    assert extras.find("json")
    extras.require("json", "json.decoder", extra="train")
    assert extras.is_installed("json", "sys")


def test_a_module_that_can_not_be_imported_is_named_with_what_it_lacks(tmp_path, monkeypatch):
    (tmp_path / "broken_package.py").write_text("import what_it_needs")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        MissingExtraError, match=r"what-it-needs must be installed: .*\[faces\]'\. Try again\."
    ):
        extras.load("broken_package", extra="faces", advice="Try again.")
    assert extras.find("broken_package") is None


def test_what_is_missing_is_not_found(missing):
    assert not extras.is_installed(missing)
    assert not extras.is_installed("json", "another_one.inside")
    assert extras.find(missing) is None
