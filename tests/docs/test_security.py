"""Every promise of SECURITY.md names tests that exist."""

from __future__ import annotations

import re

import pytest

from tests.docs.pages import ROOT

PROMISES = [
    line
    for line in (ROOT / "SECURITY.md")
    .read_text(encoding="utf-8")
    .partition("## What is not promised")[0]
    .splitlines()
    if "test_" in line and line.startswith("|")
]


def missing_tests(promise: str) -> list[str]:
    """Names of tests in a row of the table that are not there."""
    missing = []
    for named in re.findall(r"`([\w/]+\.py(?:::\w+)?)`", promise.rpartition("| `")[2].join(["`", ""])):
        path, _, function = named.partition("::")
        file = ROOT / "tests" / path
        if not file.is_file() or f"def {function}" not in file.read_text(encoding="utf-8"):
            missing.append(named)
    return missing


@pytest.mark.parametrize("promise", PROMISES)
def test_a_promise_names_tests_that_exist(promise):
    assert promise.count("test_")
    assert missing_tests(promise) == []


def test_a_missing_test_is_found():
    assert missing_tests("| it holds | `e2e/test_protect.py::test_of_nothing`, `unit/test_nothing.py` |") == [
        "e2e/test_protect.py::test_of_nothing",
        "unit/test_nothing.py",
    ]


def test_there_are_promises():
    assert len(PROMISES) > 30
