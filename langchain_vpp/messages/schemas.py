"""Classes and functions among the arguments of a call: providers read their schemas, descriptions and defaults."""

from __future__ import annotations

import contextlib
import types
import typing
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaWarningKind

# Classes of these packages describe nothing that a caller has written.
_NEUTRAL: Final = frozenset({"builtins", "langchain_core", "langgraph", "pydantic", "typing"})
_FIELD_SETTINGS: Final = ("default", "title", "description", "examples", "json_schema_extra", "metadata")


class _Quiet(GenerateJsonSchema):
    # A warning about a default quotes it.
    ignored_warning_kinds: set[JsonSchemaWarningKind] = {  # noqa: RUF012  as in the base class
        "skipped-choice",
        "non-serializable-default",
    }


def described(value: Any) -> dict[str, Any] | None:
    """Return what a class or a function says about itself; ``None`` for other objects.

    Args:
        value: Such as the value of ``response_format``, or a function among ``tools``.
    """
    if isinstance(value, types.FunctionType):
        return {"doc": value.__doc__, "defaults": value.__defaults__, "keywords": value.__kwdefaults__}
    if not isinstance(value, type) or value.__module__.partition(".")[0] in _NEUTRAL:
        return None
    return _model(value) if issubclass(value, BaseModel) else _plain(value)


def _model(cls: type[BaseModel]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "doc": cls.__doc__,
        "config": dict(cls.model_config),
        "private": [attribute.default for attribute in cls.__private_attributes__.values()],
        "fields": [
            {name: getattr(field, name) for name in _FIELD_SETTINGS} for field in cls.model_fields.values()
        ],
    }
    # The schemas of nested classes too. There is none with fields of arbitrary classes.
    with contextlib.suppress(Exception):
        found["schema"] = cls.model_json_schema(schema_generator=_Quiet)
    return found


def _plain(cls: type) -> dict[str, Any]:
    """Return the attributes of a class that hold values, and the notes in its annotations."""
    bases = [base for base in cls.__mro__ if base.__module__ not in ("builtins", "typing", "abc", "enum")]
    annotations = [note for base in bases for note in vars(base).get("__annotations__", {}).values()]
    # Annotations may be text. There are none to find where it names what is out of sight.
    with contextlib.suppress(Exception):
        annotations += typing.get_type_hints(cls, include_extras=True).values()
    return {
        "doc": [base.__doc__ for base in bases],
        "values": [
            value for base in bases for name, value in vars(base).items() if not name.startswith("__")
        ],
        "notes": [
            note if isinstance(note, str) else getattr(note, "__metadata__", ()) for note in annotations
        ],
    }
