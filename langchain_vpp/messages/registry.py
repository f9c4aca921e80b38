"""The registry of Python values: for each type, how its values are read, and how they are built again.

To support a type, add a row to ``REGISTRY``, or to ``NAMED`` if its package may be missing.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import datetime as dt
import decimal
import enum
import functools
import numbers
import uuid
from collections import ChainMap, OrderedDict, defaultdict, deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import PurePath
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from PIL import Image
from pydantic import BaseModel


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


_MODEL_STATE: Final = ("__dict__", "__pydantic_extra__", "__pydantic_private__")


def _read_model(value: BaseModel) -> dict[str, Any]:
    # With cached properties, private attributes and computed fields, which tracers and checkpoints read too.
    parts: dict[str, Any] = {name: getattr(value, name) for name in _MODEL_STATE}
    return parts | computed_fields(value)


def computed_fields(value: BaseModel) -> dict[str, Any]:
    """Return the fields of a model that its serializers compute."""
    return {name: getattr(value, name) for name in type(value).model_computed_fields}


def _build_model(value: BaseModel, parts: dict[str, Any]) -> BaseModel:
    clone = value.model_copy()
    for name in _MODEL_STATE:
        if parts[name] is not None:
            object.__setattr__(clone, name, parts[name])
    # Of a computed field only its sources can be changed.
    if any(getattr(clone, name) != parts[name] for name in type(value).model_computed_fields):
        raise ValueError
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


DICT: Final = Shape(_read_dict, _build_dict)
LIST: Final = Shape(lambda value: list(list.__iter__(value)), _build_list)
_DATACLASS: Final = Shape(_read_dataclass, _build_dataclass)

REGISTRY: Final[dict[type, Row]] = {
    # Atoms. Numbers of all other classes are found by their abstract base class, below.
    **dict.fromkeys((dt.date, dt.time, dt.timedelta, dt.tzinfo, uuid.UUID, range, np.generic), "atom"),
    str: "text",
    **dict.fromkeys((bytes, bytearray, memoryview), "bytes"),
    PurePath: Shape(lambda value: [str(value)], None),
    enum.Enum: Shape(lambda value: [value.value], None),
    dict: DICT,
    list: LIST,
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


class Entry(NamedTuple):
    """The row of a class, and whether its values may carry attributes beside what the row reads."""

    row: Row
    has_attributes: bool


ATOMS: Final = frozenset({type(None), bool, int, float})
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
    shape = entry_of(cls).row
    if not isinstance(shape, Shape) or shape.is_faithful or shape.build is None:
        return value
    return shape.build(value, shape.read(value))


@functools.lru_cache(maxsize=1024)
def entry_of(cls: type) -> Entry:
    """Look up the row of a class: by its bases, as a dataclass, or by its protocols."""
    for base in cls.__mro__:
        row = REGISTRY.get(base) or NAMED.get(f"{base.__module__}.{base.__qualname__}")
        if row is None:
            continue
        if isinstance(row, Shape) and _reads_otherwise(cls, base):
            row = row._replace(build=functools.partial(_build_plain, base), is_faithful=False)
        return Entry(row, has_attributes=_has_attributes(cls) and base is not BaseModel)
    if dataclasses.is_dataclass(cls):
        return Entry(_DATACLASS, has_attributes=False)
    for abstract, row in ABSTRACT.items():
        if issubclass(cls, abstract):
            return Entry(row, has_attributes=_has_attributes(cls))
    is_media = any(hasattr(cls, name) for name in _PIXEL_PROTOCOLS)
    return Entry("media" if is_media else "unknown", has_attributes=False)


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


def is_buffer(value: Any) -> bool:
    """Say whether a value gives out its memory."""
    try:
        memoryview(value)
    except TypeError:
        return False
    return True


def plain_numbers(values: Iterable[Any]) -> list[Any]:
    """Return the numbers among values as numbers of built-in classes, a complex one as two."""
    plain_ones: list[Any] = []
    for value in values:
        kind = type(value)
        if kind is int or kind is float or kind is bool:
            plain_ones.append(value)
        elif kind is not str and isinstance(value, numbers.Complex | decimal.Decimal | np.number):
            with contextlib.suppress(Exception):  # methods of the caller's classes run here
                number = complex(value)
                plain_ones += [number.real] if number.imag == 0 else [number.real, number.imag]
    return plain_ones
