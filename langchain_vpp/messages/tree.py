"""The walker of Python values: one registry, one depth limit and one count limit for every place that reads values.

The registry says for each type how its values are read:

- an *atom*, such as a number or a date, can hold no picture and passes;
- *text* and *bytes* are searched for pictures that are spelled out in them;
- a container has a :class:`Shape`: its parts are read and walked, and where one of them changes, a value of the same
  type is built around the walked parts;
- *media* (arrays, images, open files, iterators) hold pixels, or can't be looked into;
- everything else is *unknown*.

A :class:`TreeWalk` meets media, unknown objects and spelled-out pictures, and its ``refuse`` decides: raise, put a note
in their place, or let an unknown object pass. To support a type, add a row to ``REGISTRY``, or to ``NAMED`` if its
package may be missing.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import datetime as dt
import enum
import functools
import numbers
import uuid
from collections import ChainMap, OrderedDict, defaultdict, deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import PurePath
from types import MappingProxyType
from typing import Any, ClassVar, Final, Literal, NamedTuple

import numpy as np
from PIL import Image
from pydantic import BaseModel

from langchain_vpp.messages.dialects import OPAQUE
from langchain_vpp.messages.schemas import described
from langchain_vpp.messages.spelled import (
    SHORTEST_SPELLING,
    find_file_header,
    holds_pixels,
    numbers_spell_file,
)

MAX_DEPTH: Final = 64
"""Deepest nesting that is walked."""

MAX_CONTAINERS: Final = 500_000
"""Most containers that are walked in one value, so that a hostile one ends within seconds."""

MAX_BYTES: Final = 256
"""Longest bytes that pass without a known file header: enough for a digest or a nonce."""


class Shape(NamedTuple):
    """A pair of functions that take the values of one container type apart and build them.

    Attributes:
        read: Returns the parts of a value: a dict, whose keys are checked too, or a list.
        build: Builds a value like the first argument around other parts; ``None`` if that is impossible, so that
            the value is kept whole or not at all.
        is_faithful: Whether ``read`` returns everything that serializers see. If not, even an unchanged value is
            built anew, so that nothing but the parts that were walked travels on.
    """

    read: Callable[[Any], dict[Any, Any] | list[Any]]
    build: Callable[[Any, Any], Any] | None
    is_faithful: bool = True


Row = Shape | Literal["atom", "text", "bytes", "media", "unknown"]
Kind = Literal["text", "numbers", "bytes", "media", "key", "whole", "unknown", "deep"]

_REASONS: Final[dict[Kind, str]] = {
    "text": "a text spells a picture (base64, a data URL or similar); send it as an image block",
    "numbers": "a list of numbers spells a picture",
    "bytes": "bytes hold a picture, or are too long to tell",
    "media": "pixels, or something that can't be looked into ({}), stand outside of an image block",
    "key": "a key of a mapping spells a picture, or can't be checked",
    "whole": "a {} holds what can't be protected, and can't be rebuilt without it",
    "unknown": "there is a {}, an object that is not known to be free of pixels",
    "deep": "something is nested too deeply or too large to be searched",
}


class Finding(NamedTuple):
    """Something that a walk must not let pass.

    Attributes:
        kind: What was found. A ``whole`` value has parts that may not travel, and can't be rebuilt without them.
        type_name: Class of the value in which it was found.
    """

    kind: Kind
    type_name: str

    @property
    def reason(self) -> str:
        """A clause for an error message. It quotes no content."""
        return _REASONS[self.kind].format(self.type_name)


class TreeWalk:
    """Walks values by the registry. Subclasses say what becomes of findings.

    Values in which nothing changes are returned as they are, unless ``copies`` is set.
    """

    copies: ClassVar[bool] = False
    """True to build all containers anew, from parts that were copied before they were walked.

    Nobody who holds the original can then change the result, neither later nor during the walk.
    """

    knows_tokens: ClassVar[bool] = True
    """True to let long base64 without a file header pass where providers put opaque tokens."""

    passes_unknown = False  # whether objects of unknown classes are no findings

    def __init__(self, *, containers: int = 0) -> None:
        self.containers = containers

    def refuse(self, finding: Finding, value: Any) -> Any:
        """Return what stands for ``value``, in which a finding was made, or raise."""
        raise NotImplementedError

    def value(self, value: Any, opaque: Any = None, depth: int = 0) -> Any:
        """Walk one value.

        Args:
            value: Anything.
            opaque: Where long opaque tokens are expected: ``True`` for this value itself, or a mapping from keys
                to the same for its parts; see :data:`langchain_vpp.messages.dialects.OPAQUE`.
            depth: Depth of ``value`` in what is walked.

        Returns:
            ``value`` itself, or what stands for it.
        """
        kind = type(value)
        if kind in _ATOMS or (kind is str and len(value) < SHORTEST_SPELLING):
            return value
        if kind is str:
            return self._text(value, opaque)
        if kind is dict:
            return self.keyed(value, value, _DICT, opaque, depth)
        if kind is list:
            return self.listed(value, value, _LIST, opaque, depth)
        return self._other(value, opaque, depth)

    def keyed(self, value: Any, parts: dict[Any, Any], shape: Shape, opaque: Any, depth: int) -> Any:
        """Walk a mapping or an object by its parts."""
        self.containers += 1
        if depth > MAX_DEPTH or self.containers > MAX_CONTAINERS:
            return self._found("deep", value)
        if self.copies:
            parts = {**parts}
        kind = parts.get("type")
        inside = OPAQUE.get(kind, opaque) if isinstance(kind, str) else opaque
        expected = inside if isinstance(inside, dict) else None
        changed: dict[Any, Any] = {}
        for key, item in parts.items():
            if (type(key) is not str or len(key) >= SHORTEST_SPELLING) and not self.is_clean(key, depth):
                return self._found("key", value)
            item_type = type(item)
            if item_type in _ATOMS or (item_type is str and len(item) < SHORTEST_SPELLING):
                continue
            item_opaque = (expected.get(key) or expected.get("*")) if expected else None
            walked = self.value(item, item_opaque, depth + 1)
            if walked is not item:
                changed[key] = walked
        if not changed and shape.is_faithful and not self.copies:
            return value
        return self._rebuilt(value, {**parts, **changed}, shape, is_changed=bool(changed))

    def listed(self, value: Any, parts: list[Any], shape: Shape, opaque: Any, depth: int) -> Any:
        """Walk a sequence or a set by its parts."""
        self.containers += 1
        if depth > MAX_DEPTH or self.containers > MAX_CONTAINERS:
            return self._found("deep", value)
        if self.copies:
            parts = [*parts]
        if numbers_spell_file(parts):
            return self._found("numbers", value)
        expected = opaque if isinstance(opaque, dict) else None
        walked = [self.value(item, expected, depth + 1) for item in parts]
        is_changed = any(new is not old for new, old in zip(walked, parts, strict=True))
        if not is_changed and shape.is_faithful and not self.copies:
            return value
        return self._rebuilt(value, walked, shape, is_changed=is_changed)

    def _text(self, text: str, opaque: Any) -> Any:
        is_token = opaque is True and self.knows_tokens
        return self._found("text", text) if holds_pixels(text, opaque=is_token) else text

    def _bytes(self, value: Any, opaque: Any) -> Any:
        try:
            data = memoryview(value).tobytes()
        except ValueError:  # of a view that was released
            return self._found("media", value)
        is_token = opaque is True and self.knows_tokens
        if (
            (is_token or len(data) <= MAX_BYTES)
            and find_file_header(data) is None
            and not holds_pixels(data.decode("latin-1"), opaque=is_token)
        ):
            return value
        return self._found("bytes", value)

    def _other(self, value: Any, opaque: Any, depth: int) -> Any:
        cls: Any = type(value)
        entry = _entry_of(cls)
        row = entry.row
        if isinstance(row, Shape):
            walked = self._container(value, row, opaque, depth)
        elif row == "text":
            walked = self._text(value, opaque)
        elif row == "bytes":
            walked = self._bytes(value, opaque)
        elif row == "atom":
            walked = value
        else:
            return self._found("media" if row == "media" or _is_buffer(value) else "unknown", value)
        if (
            walked is value
            and entry.has_attributes
            and not self.is_clean(getattr(value, "__dict__", {}), depth)
        ):
            return self._found("whole", value)
        return walked

    def _container(self, value: Any, shape: Shape, opaque: Any, depth: int) -> Any:
        parts: Any = None
        # Methods of the caller's classes run here: whatever they raise may quote content.
        with contextlib.suppress(Exception):
            parts = shape.read(value)
        if isinstance(parts, dict):
            return self.keyed(value, parts, shape, opaque, depth)
        if isinstance(parts, list):
            return self.listed(value, parts, shape, opaque, depth)
        return self._found("unknown", value)

    def is_clean(self, value: Any, depth: int) -> bool:
        """Say whether nothing in ``value`` would be refused."""
        if type(value) in _ATOMS or (type(value) is str and len(value) < SHORTEST_SPELLING):
            return True
        search = _Search(passes_unknown=self.passes_unknown, containers=self.containers)
        try:
            search.value(value, None, depth + 1)
        except _FoundError:
            return False
        finally:
            self.containers = search.containers
        return True

    def _rebuilt(self, value: Any, parts: Any, shape: Shape, *, is_changed: bool) -> Any:
        if shape.build is not None:
            # Constructors of the caller's classes run here.
            with contextlib.suppress(Exception):
                return shape.build(value, parts)
        return self._found("whole", value) if is_changed or not shape.is_faithful else value

    def _found(self, kind: Kind, value: Any) -> Any:
        return self.refuse(Finding(kind, type(value).__name__), value)


def find_media(value: Any, *, unknown: Literal["refuse", "pass"] = "refuse") -> Finding | None:
    """Search a value, and return the first thing in it that must not travel.

    Args:
        value: Anything.
        unknown: Whether objects of unknown classes are findings, or are passed over.
    """
    search = _Search(passes_unknown=unknown == "pass")
    try:
        search.value(value)
    except _FoundError as found:
        return found.finding
    return None


def error_holds_media(error: BaseException) -> bool:
    """Say whether an exception holds a picture, or one does that handlers and tracers reach from it."""
    pending: list[BaseException] = [error]
    seen: set[int] = set()
    while pending:
        current = pending.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        try:
            found = find_media([str(current), current.args, vars(current)], unknown="pass")
        except Exception:  # noqa: BLE001  an error that can't be read can't be shown either
            return True
        if found is not None:
            return True
        inner = current.exceptions if isinstance(current, BaseExceptionGroup) else current.args
        linked = (current.__cause__, current.__context__, *inner)
        pending.extend(part for part in linked if isinstance(part, BaseException))
    return False


class _FoundError(Exception):
    def __init__(self, finding: Finding) -> None:
        super().__init__()
        self.finding = finding


class _Search(TreeWalk):
    def __init__(self, *, passes_unknown: bool, containers: int = 0) -> None:
        super().__init__(containers=containers)
        self.passes_unknown = passes_unknown

    def refuse(self, finding: Finding, value: Any) -> Any:
        if finding.kind != "unknown" or not self.passes_unknown:
            raise _FoundError(finding)
        self.value(described(value))
        return value

    def _container(self, value: Any, shape: Shape, opaque: Any, depth: int) -> Any:
        if isinstance(value, BaseModel) and self.passes_unknown:
            self.value(described(type(value)))
        return super()._container(value, shape, opaque, depth)

    def is_clean(self, value: Any, depth: int) -> bool:
        self.value(value, None, depth + 1)
        return True


# Readers and builders. Built-in containers are read by their own methods, not by those of a subclass.


def _read_dict(value: dict[Any, Any]) -> dict[Any, Any]:
    return dict(OrderedDict.items(value) if isinstance(value, OrderedDict) else dict.items(value))


def _build_dict(value: dict[Any, Any], parts: dict[Any, Any]) -> Any:
    if type(value) is dict:
        return parts
    if isinstance(value, defaultdict):
        return type(value)(value.default_factory, parts)
    return type(value)(parts)


def _build_list(value: list[Any], parts: list[Any]) -> Any:
    return parts if type(value) is list else type(value)(parts)


def _build_tuple(value: tuple[Any, ...], parts: list[Any]) -> Any:
    make: Any = getattr(value, "_make", type(value))  # of a named tuple
    return make(parts)


def _build_same(value: Any, parts: list[Any]) -> Any:
    return type(value)(parts)


def _build_plain(base: Callable[[Any], Any], _: Any, parts: Any) -> Any:
    return base(parts)


def _read_model(value: BaseModel) -> dict[str, Any]:
    # With cached properties and private attributes, which tracers and checkpoints read too.
    return {name: getattr(value, name) for name in ("__dict__", "__pydantic_extra__", "__pydantic_private__")}


def _build_model(value: BaseModel, parts: dict[str, Any]) -> BaseModel:
    clone = value.model_copy()
    for name, part in parts.items():
        if part is not None:
            object.__setattr__(clone, name, part)
    return clone


def _read_dataclass(value: Any) -> dict[str, Any]:
    names = dict.fromkeys(
        [field.name for field in dataclasses.fields(value)] + [*getattr(value, "__dict__", ())]
    )
    return {name: getattr(value, name) for name in names if hasattr(value, name)}


def _build_dataclass(value: Any, parts: dict[str, Any]) -> Any:
    return dataclasses.replace(
        value, **{field.name: parts[field.name] for field in dataclasses.fields(value) if field.init}
    )


def _build_send(value: Any, parts: dict[str, Any]) -> Any:
    send = copy.copy(value)
    send.arg = parts["arg"]
    return send


_DICT: Final = Shape(_read_dict, _build_dict)
_LIST: Final = Shape(lambda value: list(list.__iter__(value)), _build_list)
_DATACLASS: Final = Shape(_read_dataclass, _build_dataclass)

REGISTRY: Final[dict[type, Row]] = {
    # Atoms. Numbers of all other classes are found by their abstract base class, below.
    **dict.fromkeys((dt.date, dt.time, dt.timedelta, dt.tzinfo, uuid.UUID, range, np.generic), "atom"),
    str: "text",
    **dict.fromkeys((bytes, bytearray, memoryview), "bytes"),
    PurePath: Shape(lambda value: [str(value)], None),
    enum.Enum: Shape(lambda value: [value.value], None),
    dict: _DICT,
    list: _LIST,
    tuple: Shape(lambda value: list(tuple.__iter__(value)), _build_tuple),
    set: Shape(lambda value: list(set.__iter__(value)), _build_same),
    frozenset: Shape(lambda value: list(frozenset.__iter__(value)), _build_same),
    deque: Shape(
        lambda value: list(deque.__iter__(value)), lambda value, parts: type(value)(parts, value.maxlen)
    ),
    ChainMap: Shape(lambda value: list(value.maps), lambda value, parts: type(value)(*parts)),
    # What a proxy stands for may be of any class.
    MappingProxyType: Shape(dict, lambda _, parts: MappingProxyType(parts), is_faithful=False),
    BaseModel: Shape(_read_model, _build_model),
    # Records of raw bytes are scalars too. Arrays are known by their protocols, below.
    **dict.fromkeys((Image.Image, np.void), "media"),
}
"""The first class in a value's method resolution order that has a row decides."""

NAMED: Final[dict[str, Row]] = {
    "langgraph.types.Send": Shape(lambda value: {"node": value.node, "arg": value.arg}, _build_send),
}
"""Rows by the full name of a class, for packages that may be missing."""

ABSTRACT: Final[dict[type, Row]] = {
    numbers.Number: "atom",
    # Open files are iterators.
    **dict.fromkeys((Iterator, AsyncIterator), "media"),
    # Classes that answer for their content by methods of their own.
    Mapping: Shape(lambda value: dict(value.items()), lambda _, parts: parts, is_faithful=False),
    Sequence: Shape(list, lambda _, parts: parts, is_faithful=False),
    AbstractSet: Shape(list, lambda _, parts: set(parts), is_faithful=False),
}
"""Rows for classes that have none of their own, tried in this order."""


class _Entry(NamedTuple):
    row: Row
    has_attributes: bool


_ATOMS: Final = frozenset({type(None), bool, int, float})
_NOTHING_OPAQUE: Final[dict[str, Any]] = {}
_PIXEL_PROTOCOLS: Final = ("__array__", "__array_interface__", "__dlpack__")
_READERS: Final[dict[type, tuple[str, ...]]] = {
    dict: ("__iter__", "__len__", "__getitem__", "get", "items", "keys", "values"),
    **dict.fromkeys((list, tuple, deque), ("__iter__", "__len__", "__getitem__")),
    **dict.fromkeys((set, frozenset), ("__iter__", "__len__")),
}


def plain(value: Any) -> Any:
    """Return ``value``, a list or a dict, or a copy of what it holds if its class shows something else."""
    cls: Any = type(value)
    if cls is dict or cls is list:
        return value
    shape = _entry_of(cls).row
    if not isinstance(shape, Shape) or shape.is_faithful or shape.build is None:
        return value
    return shape.build(value, shape.read(value))


@functools.lru_cache(maxsize=1024)
def _entry_of(cls: type) -> _Entry:
    for base in cls.__mro__:
        row = REGISTRY.get(base) or NAMED.get(f"{base.__module__}.{base.__qualname__}")
        if row is None:
            continue
        if isinstance(row, Shape) and _reads_otherwise(cls, base):
            row = row._replace(build=functools.partial(_build_plain, base), is_faithful=False)
        return _Entry(row, has_attributes=_has_attributes(cls) and base is not BaseModel)
    if dataclasses.is_dataclass(cls):
        return _Entry(_DATACLASS, has_attributes=False)
    for abstract, row in ABSTRACT.items():
        if issubclass(cls, abstract):
            return _Entry(row, has_attributes=_has_attributes(cls))
    is_media = any(hasattr(cls, name) for name in _PIXEL_PROTOCOLS)
    return _Entry("media" if is_media else "unknown", has_attributes=False)


def _has_attributes(cls: type) -> bool:
    """Say whether values may carry attributes beside what their row reads. Those of enums are their definition."""
    return cls.__dictoffset__ != 0 and not issubclass(cls, enum.Enum)


def _reads_otherwise(cls: type, base: type) -> bool:
    """Say whether a subclass of a built-in container shows other content than it holds."""
    # Readers of an OrderedDict are its own, and show what it holds.
    faithful = (dict, OrderedDict) if base is dict else (base,)
    return any(
        all(getattr(cls, name, None) is not getattr(each, name, None) for each in faithful)
        for name in _READERS.get(base, ())
    )


def _is_buffer(value: Any) -> bool:
    try:
        memoryview(value)
    except TypeError:
        return False
    return True
