"""The walker of values: its limits, and values whose classes misbehave. Kinds of values: see test_value_matrix.py."""

from __future__ import annotations

import collections
import dataclasses
from typing import TYPE_CHECKING, Any

import pytest

from langchain_vpp.messages import failures, registry, tree
from langchain_vpp.messages.registry import plain
from langchain_vpp.messages.tree import Finding, TreeWalk, find_media
from tests.carriers import b64
from tests.unit.langchain_vpp.messages.samples import PICTURE

if TYPE_CHECKING:
    from collections.abc import Iterator

ENCODED = b64(PICTURE)


class Noting(TreeWalk):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def refuse(self, finding: Finding, value: Any) -> Any:
        self.found.append(finding.kind)
        return "[note]"


class Copying(Noting):
    copies = True


def _nested(depth: int, leaf: Any) -> Any:
    for _ in range(depth):
        leaf = [leaf]
    return leaf


def test_the_depth_limit_is_exact() -> None:
    assert find_media(_nested(tree.MAX_DEPTH, 1)) is None
    assert find_media(_nested(tree.MAX_DEPTH + 2, 1)) == Finding("deep", "list")


def test_the_count_limit_counts_containers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "MAX_CONTAINERS", 10)
    assert find_media([{} for _ in range(9)]) is None
    assert find_media([1] * 1_000) is None
    assert find_media([{} for _ in range(10)]) == Finding("deep", "dict")
    assert find_media([{(1, 2): 3} for _ in range(6)]) is not None, "keys count too"


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (ENCODED, "text"),
        (PICTURE, "bytes"),
        (ENCODED.encode(), "bytes"),
        (bytes(257), "bytes"),
        (list(PICTURE), "numbers"),
        (iter([1]), "media"),
        (object(), "unknown"),
        ({object(): 1}, "unknown"),
    ],
    ids=lambda each: each if isinstance(each, str) and len(each) < 20 else "",
)
def test_a_finding_says_what_it_is_and_quotes_nothing(value: Any, kind: str) -> None:
    finding = find_media([value])
    assert finding is not None
    assert finding.kind == kind
    assert ENCODED[:20] not in finding.reason


def test_a_note_takes_the_place_of_a_part_and_the_rest_stays() -> None:
    encoded = (b64(PICTURE) for _ in range(3))  # not the same object, which would be walked once
    value = {"a": [1, next(encoded)], "b": collections.deque([("x", next(encoded))], maxlen=2)}
    walk = Noting()
    with_key = {**value, next(encoded): 1}
    assert walk.value({"only": with_key})["only"] == "[note]", "a key can't be replaced"
    assert walk.found == ["key"]
    walk = Noting()
    assert walk.value(value) == {"a": [1, "[note]"], "b": collections.deque([("x", "[note]")], maxlen=2)}
    assert walk.found == ["text", "text"]


def test_values_in_which_nothing_changes_are_returned_or_copied() -> None:
    inner = [1, {"a": (2,)}]
    value = {"inner": inner}
    assert Noting().value(value) is value
    copied = Copying().value(value)
    assert copied == value
    assert copied["inner"] is not inner
    assert copied["inner"][1] is not inner[1]


class Changing(list[Any]):
    """Grows while others read what it holds."""

    def __init__(self, outer: dict[str, Any]) -> None:
        super().__init__([1])
        self._outer = outer

    def __iter__(self) -> Iterator[Any]:
        self._outer["late"] = ENCODED
        return super().__iter__()


def test_a_copy_holds_what_was_walked_whoever_changes_the_original() -> None:
    outer: dict[str, Any] = {"text": "x"}

    class Meddling(Copying):
        def value(self, value: Any, opaque: Any = None, depth: int = 0) -> Any:
            outer["late"] = outer["text"] = ENCODED
            return super().value(value, opaque, depth)

    assert Meddling().keyed(outer, outer, registry.REGISTRY[dict], None, 0) == {"text": "x"}  # type: ignore[arg-type]
    rows: list[Any] = ["x"]

    class Appending(Copying):
        def value(self, value: Any, opaque: Any = None, depth: int = 0) -> Any:
            rows.append(ENCODED)
            return super().value(value, opaque, depth)

    assert Appending().listed(rows, rows, registry.REGISTRY[list], None, 0) == ["x"]  # type: ignore[arg-type]


class Raising(collections.UserDict[str, Any]):
    def items(self) -> Any:
        raise RuntimeError(ENCODED)


@dataclasses.dataclass
class Stubborn:
    title: Any

    def __post_init__(self) -> None:
        if self.title == "[note]":
            raise RuntimeError(ENCODED)


@dataclasses.dataclass
class Derived:
    """With a field that no constructor takes."""

    title: str
    thumbnail: Any = dataclasses.field(init=False, default=None)


def test_an_object_that_cannot_be_read_is_unknown() -> None:
    assert find_media(Raising()) == Finding("unknown", "Raising")


def test_an_object_that_cannot_be_rebuilt_is_kept_whole_or_not_at_all() -> None:
    assert Noting().value(Stubborn("x")) == Stubborn("x")
    walk = Noting()
    assert walk.value([Stubborn(ENCODED)]) == ["[note]"]
    assert walk.found == ["text", "whole"]
    assert Copying().value(Stubborn("x")) == Stubborn("x")


def test_fields_that_no_constructor_takes_are_searched_and_not_carried_over() -> None:
    derived = Derived("x")
    derived.thumbnail = PICTURE
    assert find_media(derived) == Finding("bytes", "bytes")
    assert Noting().value(derived).thumbnail is None


def test_a_view_that_was_released_is_refused() -> None:
    view = memoryview(b"abc")
    view.release()
    assert find_media(view) == Finding("media", "memoryview")


def test_loops_end() -> None:
    loop: list[Any] = []
    loop.append(loop)

    class Looping(list[Any]):
        pass

    attribute = Looping()
    attribute.itself = attribute  # type: ignore[attr-defined]
    for value in (loop, attribute):
        finding = find_media(value)
        assert finding is not None
        assert finding.kind == "deep"


def test_lists_and_dicts_are_shown_as_they_are() -> None:
    assert plain(value := [1]) is value
    assert plain(ordered := collections.OrderedDict(a=1)) is ordered
    outer: dict[str, Any] = {}
    assert type(plain(Changing(outer))) is list
    assert not outer, "a method of the subclass was asked"


def test_errors_are_searched_with_all_that_hangs_on_them() -> None:
    clean = ValueError("x")
    clean.__cause__ = KeyError("y")
    assert not failures.error_holds_media(clean)
    clean.__cause__.__context__ = OSError(ENCODED)
    assert failures.error_holds_media(clean)
