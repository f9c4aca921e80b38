"""Every kind of value at every entry point: the walker judges alike wherever a value stands.

A clean value comes through equal and of the same type. One that holds a picture is refused, or dropped where the
protector is told to drop; in the input of a chain, a picture that stands alone is sealed. Media and unknown objects are
refused.
"""

from __future__ import annotations

import base64
import collections
import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import io
import pathlib
import uuid
import zoneinfo
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.runnables import RunnableLambda, RunnablePassthrough
from langchain_core.tools import StructuredTool
from PIL import Image
from pydantic import BaseModel, PrivateAttr

from langchain_vpp import ImageProtector, ProtectionError, protect, protect_tool
from langchain_vpp.engines import Pixelate
from langchain_vpp.messages import registry
from langchain_vpp.testing import assert_no_leak
from langchain_vpp.tracing import media_anonymizer
from tests.integration.recording import noise_png
from tests.unit.langchain_vpp.runnables.models import Echo

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

PICTURE = noise_png(71)
ENCODED = base64.b64encode(PICTURE).decode()


class Colour(enum.Enum):
    RED = "red"
    HIDING = ENCODED


class Name(enum.StrEnum):
    SHORT = "short"
    HIDING = ENCODED


class Text(str):  # noqa: SLOT000
    """A subclass with room for attributes."""


class Number(float):
    pass


class Row(NamedTuple):
    title: Any
    score: float = 0.5


class Item(TypedDict):
    title: Any


class Items(list[Any]):
    pass


class Bag(set[Any]):
    pass


class ViewedSet(collections.abc.Set[Any]):
    def __init__(self, items: Any) -> None:
        self._items = list(items)

    def __contains__(self, item: object) -> bool:
        return item in self._items

    def __iter__(self) -> Iterator[Any]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)


@dataclasses.dataclass
class Record:
    title: Any
    tags: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    title: Any


class Model(BaseModel):
    title: Any
    _note: Any = PrivateAttr(default=None)


def _with_private(title: Any) -> Model:
    model = Model(title="x")
    model._note = title
    return model


def _with_attribute(title: Any) -> Text:
    text = Text("short")
    text.title = title  # type: ignore[attr-defined]
    return text


# Each holds whatever it is given.
HOLDERS: dict[str, Callable[[Any], Any]] = {
    "text": str,
    "text subclass": Text,
    "attribute of text": _with_attribute,
    "numpy text": np.str_,
    "path": pathlib.PurePosixPath,
    "bytes": str.encode,
    "bytearray": lambda text: bytearray(text.encode()),
    "memoryview": lambda text: memoryview(text.encode()),
    "list": lambda title: [title, 1],
    "list subclass": lambda title: Items([title]),
    "tuple": lambda title: (title, 1),
    "named tuple": Row,
    "set": lambda title: {title},
    "set subclass": lambda title: Bag([title]),
    "frozenset": lambda title: frozenset([title]),
    "deque": lambda title: collections.deque([title], maxlen=3),
    "dict": lambda title: {"title": title},
    "typed dict": lambda title: Item(title=title),
    "key": lambda title: {title: 1},
    "key in a tuple": lambda title: {(1, title): 1},
    "ordered dict": lambda title: collections.OrderedDict(title=title),
    "default dict": lambda title: collections.defaultdict(list, title=title),
    "counter": lambda title: collections.Counter([title]),
    "mapping proxy": lambda title: MappingProxyType({"title": title}),
    "chain map": lambda title: collections.ChainMap({"a": 1}, {"title": title}),
    "dataclass": Record,
    "frozen dataclass": Frozen,
    "model": lambda title: Model(title=title),
    "private attribute": _with_private,
    "document": lambda title: Document("x", metadata={"title": title}),
}
FIXED: dict[str, Any] = {
    "none": None,
    "bool": True,
    "int": 7,
    "float": 0.5,
    "float subclass": Number(0.5),
    "complex": 1j,
    "decimal": decimal.Decimal("1.5"),
    "fraction": fractions.Fraction(1, 3),
    "numpy float": np.float32(0.5),
    "numpy int": np.int64(3),
    "numpy bool": np.True_,
    "numpy date": np.datetime64("2026-01-01"),
    "range": range(9),
    "date": dt.date(2026, 1, 1),
    "datetime": dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    "time": dt.time(12),
    "timedelta": dt.timedelta(1),
    "time zone": zoneinfo.ZoneInfo("UTC"),
    "uuid": uuid.UUID(int=7),
    "enum": Colour.RED,
    "text enum": Name.SHORT,
    "digest": bytes(range(32)),
}
CLEAN = {**FIXED, **{name: hold("a title") for name, hold in HOLDERS.items()}}
HIDING = {
    **{name: hold(ENCODED) for name, hold in HOLDERS.items()},
    "enum": Colour.HIDING,
    "text enum": Name.HIDING,
    "bytes": PICTURE,
    "numbers": list(PICTURE),
    "tuple of numbers": tuple(PICTURE),
    "nested": {"a": [Record(collections.deque([MappingProxyType({"b": (PICTURE,)})]))]},
}


class Mystery:
    pass


async def _chunks() -> AsyncIterator[int]:
    yield 1


# Never looked into, so that it makes no difference whether they hold a picture.
MEDIA: dict[str, Callable[[], Any]] = {
    "array": lambda: np.zeros(3),
    "numpy record": lambda: np.void(b"abc"),
    "picture": lambda: Image.new("RGB", (2, 2)),
    "open file": lambda: io.BytesIO(b"abc"),
    "iterator": lambda: iter([1]),
    "generator": lambda: (number for number in [1]),
    "async generator": _chunks,
}
UNKNOWN: dict[str, Callable[[], Any]] = {
    "object": Mystery,
    "class": lambda: Mystery,
    "function": lambda: len,
}
# They answer for their content by methods of their own, so a plain copy of it travels on.
COPIED: dict[str, Callable[[Any], tuple[Any, Any]]] = {
    "user dict": lambda title: (collections.UserDict({"title": title}), {"title": title}),
    "user list": lambda title: (collections.UserList([title]), [title]),
    "viewed set": lambda title: (ViewedSet([title]), {title}),
}


STRICT = ImageProtector(Pixelate())
LENIENT = ImageProtector(Pixelate(), on_unsupported="drop")


# Entry points. Each returns what came through in the place of the value.


def extra_field(protector: ImageProtector, value: Any) -> Any:
    return protector.protect_messages([HumanMessage("Hi.", attachment=value)])[0].attachment  # type: ignore[attr-defined]


def artifact(protector: ImageProtector, value: Any) -> Any:
    (message,) = protector.protect_messages([ToolMessage("Done.", tool_call_id="1", artifact=value)])
    return message.artifact  # type: ignore[attr-defined]


def document_in_artifact(protector: ImageProtector, value: Any) -> Any:
    document = Document("x", metadata={"score": value})
    return artifact(protector, [document])[0].metadata["score"]


def additional_kwargs(protector: ImageProtector, value: Any) -> Any:
    (message,) = protector.protect_messages([AIMessage("Hi.", additional_kwargs={"value": value})])
    return message.additional_kwargs["value"]


def response_metadata(protector: ImageProtector, value: Any) -> Any:
    (message,) = protector.protect_messages([AIMessage("Hi.", response_metadata={"value": value})])
    return message.response_metadata["value"]


def tool_call_args(protector: ImageProtector, value: Any) -> Any:
    call = {"name": "f", "args": {"value": value}, "id": "1", "type": "tool_call"}
    (message,) = protector.protect_messages([AIMessage("", tool_calls=[call])])
    return message.tool_calls[0]["args"]["value"]  # type: ignore[attr-defined]


def text_block(protector: ImageProtector, value: Any) -> Any:
    (message,) = protector.protect_messages([HumanMessage([{"type": "text", "text": "Hi.", "value": value}])])
    return message.content[0]["value"]  # type: ignore[index]


def runnable_input(protector: ImageProtector, value: Any) -> Any:
    return protect(RunnablePassthrough(), protector).invoke({"value": value})["value"]


def state_of_a_dataclass(protector: ImageProtector, value: Any) -> Any:
    return protect(RunnablePassthrough(), protector).invoke(Record(value)).title


def tool_result(protector: ImageProtector, value: Any) -> Any:
    tool = StructuredTool.from_function(lambda: {"value": value}, name="look", description="Look.")
    return protect_tool(tool, protector).invoke({})["value"]


def tool_artifact(protector: ImageProtector, value: Any) -> Any:
    tool = StructuredTool.from_function(
        lambda: ("Done.", value), name="look", description="Look.", response_format="content_and_artifact"
    )
    call = {"type": "tool_call", "name": "look", "args": {}, "id": "1"}
    return protect_tool(tool, protector).invoke(call).artifact


def tool_arguments(protector: ImageProtector, value: Any) -> Any:
    echo = protect(RunnableLambda(lambda given: given["value"]), protector)
    return echo.as_tool(name="echo", description="Echo.", arg_types={"value": Any}).invoke({"value": value})


def config_metadata(protector: ImageProtector, value: Any) -> Any:
    protect(Echo(seen=[]), protector).invoke("Hi.", {"metadata": {"value": value}})
    return value


def configurable(protector: ImageProtector, value: Any) -> Any:
    protect(Echo(seen=[]), protector).invoke("Hi.", {"configurable": {"value": value}})
    return value


def call_arguments(protector: ImageProtector, value: Any) -> Any:
    model = protect(Echo(seen=[]), protector)
    model.invoke("Hi.", value=value)
    return model.seen[0][1]["value"]


MESSAGE_ENTRIES = (
    extra_field, artifact, document_in_artifact, additional_kwargs, response_metadata, tool_call_args, text_block
)  # fmt: skip
REWRITING = (*MESSAGE_ENTRIES, runnable_input, state_of_a_dataclass, tool_result, tool_artifact)
# Pictures that stand alone are sealed: a handle takes their place.
SEALING = (runnable_input, state_of_a_dataclass)
NOT_ALONE = {
    "attribute of text",
    "path",
    "key",
    "key in a tuple",
    "counter",
    "enum",
    "numbers",
    "tuple of numbers",
}
# Settings go on as they are, or not at all.
SEARCHING = (tool_arguments, config_metadata)
# Functions, classes and clients are at home here; media are not.
OPEN = (configurable, call_arguments)
ENTRIES = (*REWRITING, *SEARCHING, *OPEN)

each_entry = pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.__name__)
each_rewriting_entry = pytest.mark.parametrize("entry", REWRITING, ids=lambda entry: entry.__name__)


def _refusal(entry: Any, value: Any) -> ProtectionError | None:
    try:
        entry(STRICT, value)
    except ProtectionError as error:
        return error
    return None


def _same(result: Any, value: Any) -> bool:
    sizes = [getattr(each, "maxlen", None) for each in (result, value)]
    return type(result) is type(value) and result == value and sizes[0] == sizes[1]


def _shown(value: Any) -> list[Any]:
    return [value, *(getattr(value, name, None) for name in ("__dict__", "__pydantic_private__"))]


@each_entry
def test_clean_values_come_through(entry: Any) -> None:
    assert [kind for kind, value in CLEAN.items() if not _same(entry(STRICT, value), value)] == []


@pytest.mark.slow(seconds=0.1)
@each_entry
def test_values_that_hold_a_picture_are_refused(entry: Any) -> None:
    hiding = {kind: value for kind, value in HIDING.items() if entry not in SEALING or kind in NOT_ALONE}
    refusals = {kind: _refusal(entry, value) for kind, value in hiding.items()}
    assert [kind for kind, error in refusals.items() if error is None] == []
    for error in refusals.values():
        assert error is not None
        assert error.__cause__ is None
        assert error.__context__ is None
        assert_no_leak(PICTURE, error.args)


@pytest.mark.slow(seconds=0.01)
@pytest.mark.parametrize("entry", SEALING, ids=lambda entry: entry.__name__)
@pytest.mark.parametrize("kind", sorted(HIDING.keys() - NOT_ALONE))
@pytest.mark.parametrize("protector", [STRICT, LENIENT])
def test_a_picture_that_stands_alone_in_an_input_is_sealed(
    protector: ImageProtector, kind: str, entry: Any
) -> None:
    result = entry(protector, HIDING[kind])
    assert_no_leak(PICTURE, *_shown(result))
    assert "vpp://" in repr(_shown(result))


@pytest.mark.slow(seconds=0.01)
@each_rewriting_entry
@pytest.mark.parametrize("kind", HIDING)
def test_a_value_that_holds_a_picture_is_dropped_if_told_to(kind: str, entry: Any) -> None:
    try:
        result = entry(LENIENT, HIDING[kind])
    except (ProtectionError, TypeError, KeyError, AttributeError):
        return  # refused, or the container around it was dropped too
    assert_no_leak(PICTURE, *_shown(result))
    assert ("[removed" in repr(_shown(result))) != (entry in SEALING and kind not in NOT_ALONE)


@each_entry
def test_media_are_refused(entry: Any) -> None:
    passed = [kind for kind, make in MEDIA.items() if _refusal(entry, make()) is None]
    assert passed == (["picture"] if entry in SEALING else [])  # sealed


@each_entry
def test_unknown_objects_are_refused_except_among_arguments(entry: Any) -> None:
    for make in UNKNOWN.values():
        value = make()
        error = _refusal(entry, value)
        if entry in OPEN:
            assert error is None
            continue
        assert "not known to be free of pixels" in str(error)
        assert type(value).__name__ in str(error)


@each_entry
def test_an_error_is_searched_in_an_input_and_refused_in_a_message(entry: Any) -> None:
    # A fallback puts the error of the first chain into the input of the next one.
    passes = entry in (runnable_input, state_of_a_dataclass, tool_result, *OPEN)
    assert (_refusal(entry, ValueError("x")) is None) == passes
    if entry not in OPEN:
        assert _refusal(entry, ValueError(ENCODED)) is not None


@each_rewriting_entry
def test_containers_of_unknown_classes_come_through_as_plain_copies(entry: Any) -> None:
    for make in COPIED.values():
        value, expected = make("a title")
        assert _same(entry(STRICT, value), expected)
        assert (_refusal(entry, make(ENCODED)[0]) is None) == (entry in SEALING)


def test_traces_keep_clean_values() -> None:
    kept = media_anonymizer()(dict(CLEAN))
    assert [kind for kind, value in CLEAN.items() if not _same(kept[kind], value)] == []


@pytest.mark.parametrize("kind", HIDING)
def test_traces_lose_pictures(kind: str) -> None:
    result = media_anonymizer()({"value": HIDING[kind]})["value"]
    assert_no_leak(PICTURE, *_shown(result))
    assert "[media removed]" in repr(_shown(result))


def _outcomes() -> list[str]:
    """The outcome for every kind of value, at one entry point of each sort."""
    values = [*CLEAN.values(), *HIDING.values(), *(make() for make in (MEDIA | UNKNOWN).values())]
    values += [make("a title")[0] for make in COPIED.values()]
    outcomes = []
    for value in values:
        for entry in (artifact, runnable_input, call_arguments):
            try:
                outcomes.append(type(entry(STRICT, value)).__name__)
            except ProtectionError as error:
                outcomes.append(str(error))
    return outcomes


# Known by their protocols too, which Pillow doesn't promise to keep.
KNOWN_TWICE = {Image.Image}
ROWS = [
    (table, row)
    for table in (registry.REGISTRY, registry.ABSTRACT)
    for row in table
    if row not in KNOWN_TWICE
]


@pytest.fixture(scope="module")
def outcomes() -> list[str]:
    return _outcomes()


@pytest.mark.slow(seconds=0.34)
@pytest.mark.parametrize(("table", "row"), ROWS, ids=lambda each: getattr(each, "__name__", ""))
def test_the_matrix_sees_a_missing_row(
    table: Any, row: type, outcomes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(table, row)
    registry.entry_of.cache_clear()
    try:
        assert _outcomes() != outcomes
    finally:
        registry.entry_of.cache_clear()
