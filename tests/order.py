"""Order of the tests in which no process waits at the end for another one's long test."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest


class _Unit(NamedTuple):
    """Tests that stay together, and the seconds that their mark ``slow`` declares."""

    seconds: float
    items: list[pytest.Item]


def longest_first(items: Sequence[pytest.Item], workers: int) -> list[pytest.Item]:
    """Order tests for xdist's ``worksteal``, which deals one run of tests to each process, all of equal length.

    The run of each process begins with its share of the long tests. The quick ones follow in the order in which they
    were collected, and whoever is done first takes some from the others' ends.

    Args:
        items: The tests, as collected.
        workers: Number of processes.
    """
    shares: list[list[_Unit]] = [[] for _ in range(workers)]
    seconds = [0.0] * workers
    for unit in sorted(_slow_units(items), key=lambda unit: unit.seconds, reverse=True):
        shortest = seconds.index(min(seconds))
        shares[shortest].append(unit)
        seconds[shortest] += unit.seconds
    long = [[item for unit in share for item in unit.items] for share in shares]
    chosen = {id(item) for share in long for item in share}
    quick = [item for item in items if id(item) not in chosen]
    ordered: list[pytest.Item] = []
    left = len(items)
    for number, share in enumerate(long):
        length = left // (workers - number)
        left -= length
        rest = max(0, length - len(share))
        ordered += [*share, *quick[:rest]]
        del quick[:rest]
    return ordered + quick


def _slow_units(items: Sequence[pytest.Item]) -> list[_Unit]:
    """Group slow tests: those of a module that is slow as a whole stay together, because they share its fixtures."""
    together: dict[object, list[pytest.Item]] = defaultdict(list)
    for item in items:
        if item.get_closest_marker("slow") is not None:
            alone = any(mark.name == "slow" for mark in item.own_markers)
            together[item.nodeid if alone else item.path].append(item)
    return [_Unit(declared_seconds(group[0]), group) for group in together.values()]


def declared_seconds(item: pytest.Item) -> float:
    """Return the seconds that a test's mark ``slow`` declares; 0 without the mark."""
    marker = item.get_closest_marker("slow")
    return 0 if marker is None else float(marker.kwargs.get("seconds", 10))
