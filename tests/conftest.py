"""The order of the tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.order import longest_first

if TYPE_CHECKING:
    import pytest

pytest_plugins = ["tests.guards"]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    workers = getattr(config, "workerinput", {}).get("workercount", 1)
    items[:] = longest_first(items, workers)
