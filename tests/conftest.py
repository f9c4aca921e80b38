"""The order of the tests, and their share of the processors."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tests.order import declared_seconds, longest_first

if TYPE_CHECKING:
    import pytest

pytest_plugins = ["tests.guards"]

_LONGEST = 100
"""Seconds from which a test decides how long all tests take."""
_gives_way = False


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    workers = getattr(config, "workerinput", {}).get("workercount", 1)
    items[:] = longest_first(items, workers)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Let processes give way to the one that runs the longest test, or all would wait for that one at the end."""
    global _gives_way  # noqa: PLW0603  a process can lower its priority once only
    if not _gives_way and hasattr(item.config, "workerinput") and declared_seconds(item) < _LONGEST:
        os.nice(5)
        _gives_way = True
