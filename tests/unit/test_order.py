"""Long tests begin first, one in each process, and every test runs once."""

from __future__ import annotations

import random
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.order import longest_first


def stub(name, seconds=None, *, module="quick.py", whole_module=False):
    marks = [] if seconds is None else [pytest.mark.slow(seconds=seconds).mark]
    return SimpleNamespace(
        nodeid=name,
        path=Path(module),
        own_markers=[] if whole_module else marks,
        get_closest_marker=lambda _: marks[0] if marks else None,
    )


def runs_of(ordered, workers):
    """Deal tests as ``worksteal`` does at its beginning."""
    runs, left = [], list(ordered)
    for number in range(workers):
        length = len(left) // (workers - number)
        runs.append([item.nodeid for item in left[:length]])
        del left[:length]
    return runs


def test_each_process_begins_with_its_share_of_the_long_tests():
    items = [stub(f"q{number}") for number in range(20)]
    items[7:7] = [stub("demo", 300), stub("site", 60), stub("kills", 90), stub("portraits", 70)]
    runs = runs_of(longest_first(items, 3), 3)
    assert [run[:2] for run in runs] == [["demo", "q0"], ["kills", "q7"], ["portraits", "site"]]
    assert sorted(name for run in runs for name in run) == sorted(item.nodeid for item in items)


def test_a_slow_module_stays_together_and_counts_once():
    items = [stub(f"install{n}", 120, module="install.py", whole_module=True) for n in range(4)]
    items += [stub("demo", 300), stub("kills", 90), *(stub(f"q{number}") for number in range(20))]
    runs = runs_of(longest_first(items, 2), 2)
    assert runs[0][:2] == ["demo", "q0"]
    assert runs[1][:5] == ["install0", "install1", "install2", "install3", "kills"]


@pytest.mark.parametrize("workers", [1, 2, 3, 7])
def test_no_test_is_lost_or_repeated(workers):
    generator = random.Random(workers)
    for count in range(30):
        items = [stub(f"t{n}", generator.choice([None, 2, 50])) for n in range(count)]
        ordered = [item.nodeid for item in longest_first(items, workers)]
        assert sorted(ordered) == sorted(item.nodeid for item in items)
