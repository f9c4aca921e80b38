"""The examples in docstrings run."""

from __future__ import annotations

import doctest
from importlib import import_module
from types import ModuleType

import pytest

from tests.docs.pages import ROOT

PACKAGES = ("langchain_vpp", "trainer")
MODULES = [
    ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for package in PACKAGES
    for file in sorted((ROOT / package).rglob("*.py"))
    if ">>> " in file.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_a_module_run(name):
    module = import_module(name)
    result = doctest.testmod(module)
    assert result.attempted or _skips(module)
    assert result.failed == 0


def _skips(module: ModuleType) -> bool:
    return all(
        doctest.SKIP in example.options
        for found in doctest.DocTestFinder().find(module)
        for example in found.examples
    )


def test_an_example_that_fails_is_found():
    module = ModuleType("invented", "An example.\n\n>>> 1 + 1\n3\n")
    assert doctest.testmod(module).failed == 1
