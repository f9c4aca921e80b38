"""The order of the tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

pytest_plugins = ["tests.guards"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest tests first: several processes share them, and all would wait for a long one that began last."""

    def seconds(item: pytest.Item) -> int:
        marker = item.get_closest_marker("slow")
        return 0 if marker is None else int(marker.kwargs.get("seconds", 10))

    items.sort(key=seconds, reverse=True)
