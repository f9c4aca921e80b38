"""The order of the tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long tests first: several processes share the tests, and all would wait for a long one that began last."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
