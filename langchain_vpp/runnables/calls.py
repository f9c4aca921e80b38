"""The arguments of a call: what a request says to the protector, and what may not stand in it."""

from __future__ import annotations

import dataclasses
import enum
import io
from collections import deque
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final

from langchain_core.callbacks import BaseCallbackManager
from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.runnables.config import ensure_config
from PIL import Image
from pydantic import BaseModel

from langchain_vpp.errors import ProtectionError
from langchain_vpp.guard.level import requested_level
from langchain_vpp.messages.spelled import find_file_header, holds_pixels, numbers_spell_file

if TYPE_CHECKING:
    from langchain_core.callbacks import Callbacks
    from langchain_core.runnables import RunnableConfig

_MAX_DEPTH: Final = 64
# Settings may hold a digest or a nonce in bytes, nothing longer.
_MAX_SETTING_BYTES: Final = 256
# langgraph's own: channels and bookkeeping of the enclosing graph, which no run records.
_GRAPH_INTERNAL: Final = "__pregel_"


def request_options(config: RunnableConfig | None) -> dict[str, Any]:
    """What a request's config says to the protector: the level, and the callbacks.

    Raises:
        ProtectionError: If the level is not a number in [0, 1].
    """
    return {"level": requested_level(config), "callbacks": ensure_config(config).get("callbacks")}


def check_call(config: RunnableConfig | None, kwargs: Mapping[str, Any]) -> None:
    """Refuse pictures in the arguments of a call: they go to the provider or into traces as they are.

    Raises:
        ProtectionError: If there is one.
    """
    # With what comes from the enclosing run: its metadata are recorded with every run inside.
    merged = ensure_config(config)
    settings = {key: merged.get(key) for key in ("tags", "metadata", "run_name")}
    configurable = {
        key: item
        for key, item in merged.get("configurable", {}).items()
        if not (isinstance(key, str) and key.startswith(_GRAPH_INTERNAL))
        # RunnableWithMessageHistory passes the store itself; what it holds comes as messages.
        and not isinstance(item, BaseChatMessageHistory)
    }
    refuse_media([dict(kwargs), settings, configurable])
    check_callbacks(merged.get("callbacks"))


def check_callbacks(callbacks: Callbacks) -> None:
    """Refuse pictures in the tags and metadata that a callback manager hands on to every run.

    Raises:
        ProtectionError: If there is one.
    """
    if isinstance(callbacks, BaseCallbackManager):
        refuse_media(
            [callbacks.tags, callbacks.inheritable_tags, callbacks.metadata, callbacks.inheritable_metadata]
        )


def refuse_media(value: Any, depth: int = 0) -> None:
    """Raise if plain data (text, bytes, lists, mappings, pydantic objects, dataclasses) hold an encoded picture.

    Pictures, arrays, open files and iterators are refused. Other objects are passed over: functions, classes
    and clients are no content.

    Raises:
        ProtectionError: If they do, or are nested too deeply to tell.
    """
    if depth > _MAX_DEPTH:
        raise ProtectionError("An argument is nested too deeply, so nothing was sent.")
    if isinstance(value, enum.Enum):
        value = value.value
    if _is_media(value):
        raise ProtectionError(
            "A picture stands where settings and text belong, so nothing was sent. Put it into a message."
        )
    if isinstance(value, (Mapping, BaseModel)):
        for key, item in dict(value).items():
            refuse_media(key, depth + 1)
            refuse_media(item, depth + 1)
    elif isinstance(value, (list, tuple, AbstractSet, deque)):
        for item in value:
            refuse_media(item, depth + 1)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            refuse_media(getattr(value, field.name, None), depth + 1)


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
            refuse_media([str(current), current.args, vars(current)])
        except Exception:  # noqa: BLE001  an error that can't be read, can't be shown either
            return True
        inner = current.exceptions if isinstance(current, BaseExceptionGroup) else current.args
        linked = (current.__cause__, current.__context__, *inner)
        pending.extend(part for part in linked if isinstance(part, BaseException))
    return False


def _is_media(value: Any) -> bool:
    """Say whether one value, apart from what it contains, is or spells a picture, or can't be looked into."""
    if isinstance(value, (str, PurePath)):
        return holds_pixels(value if isinstance(value, str) else str(value))
    if isinstance(value, (list, tuple, AbstractSet, deque)):
        return numbers_spell_file(value)
    if isinstance(value, (Image.Image, Iterator, io.IOBase)):
        return True
    try:
        view = memoryview(value)
    except TypeError:
        return hasattr(type(value), "__array__")
    return view.nbytes > _MAX_SETTING_BYTES or find_file_header(view.tobytes()) is not None
