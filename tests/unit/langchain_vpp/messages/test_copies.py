"""Copies share nothing that can be changed, and are bounded."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import pytest

from langchain_vpp.messages.copies import plain_copy
from langchain_vpp.messages.tree import MAX_DEPTH


def test_a_copy_is_equal_and_shares_no_container() -> None:
    value = {"a": [1, {"b": ({"c": []}, {1})}], ("k", 2): {"d": None}, 3: b"x", None: frozenset({"y"})}
    copied = plain_copy(value)
    assert copied == value
    value["a"][1]["b"][0]["c"].append(1)  # type: ignore[index]
    value["a"].append(2)  # type: ignore[attr-defined]
    value[("k", 2)]["e"] = 1  # type: ignore[index]
    assert copied == {
        "a": [1, {"b": ({"c": []}, {1})}],
        ("k", 2): {"d": None},
        3: b"x",
        None: frozenset({"y"}),
    }


class Text(str):
    __slots__ = ()


@pytest.mark.parametrize("part", [Text("a"), OrderedDict(), bytearray(b"a"), object(), range(3), int])
@pytest.mark.parametrize(
    "held", [lambda part: {"a": part}, lambda part: [[part]], lambda part: ({"a": (part,)},)]
)
def test_nothing_but_built_in_values_is_copied(part: Any, held: Any) -> None:
    assert plain_copy(held(part)) is None


@pytest.mark.parametrize("part", [Text("a"), (Text("a"),), frozenset({range(3)})])
def test_keys_are_looked_into(part: Any) -> None:
    assert plain_copy({part: 1}) is None


def test_what_is_shared_counts_as_often_as_it_is_written_out() -> None:
    shared: Any = ["x"] * 10
    for _ in range(12):
        shared = [shared] * 10
    assert plain_copy(shared) is None
    deep: Any = []
    for _ in range(MAX_DEPTH + 2):
        deep = [deep]
    assert plain_copy(deep) is None
    held: list[Any] = []
    held.append(held)
    assert plain_copy(held) is None
