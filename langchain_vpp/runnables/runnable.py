"""The outermost shell of a Runnable: it protects the input before any run is opened, and opens none itself.

Whatever opens a run of its own (a sequence, a retry, a fallback, an agent, a graph) records its input for
callbacks, tracers and checkpoints. So the shell goes around all of it, and everything that is composed from a
shell comes back inside one.
"""

from __future__ import annotations

import copy
import dataclasses
import datetime as dt
import enum
import io
import numbers
import sys
import uuid
from collections import deque
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import aclosing
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar

from langchain_core.callbacks import BaseCallbackManager
from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import BaseMessage, HumanMessage
from langchain_core.prompt_values import ChatPromptValue, PromptValue, StringPromptValue
from langchain_core.runnables import Runnable, RunnableBinding, RunnableConfig
from langchain_core.runnables.config import ensure_config, run_in_executor
from PIL import Image
from pydantic import BaseModel

from langchain_vpp.errors import ProtectionError
from langchain_vpp.guard.level import requested_level
from langchain_vpp.messages.spelled import find_file_header, holds_pixels, numbers_spell_file
from langchain_vpp.messages.walk import coerce_messages

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from langchain_core.callbacks import Callbacks
    from langchain_core.runnables.graph import Graph
    from langchain_core.runnables.utils import ConfigurableFieldSpec
    from langchain_core.tools import BaseTool

    from langchain_vpp.guard.gate import Gate

    _Visit = Callable[[BaseMessage], BaseMessage]
    # What the mixins call with super(). At run time they stand in front of the concrete class.
    _Composed = Runnable[Any, Any]
    _AnyTool = BaseTool
else:
    _Composed = object
    _AnyTool = object

_Model = TypeVar("_Model", bound=BaseModel)

_ROLES: Final = frozenset(
    {"ai", "assistant", "developer", "function", "human", "remove", "system", "tool", "user"}
)
_PLAIN: Final = (
    numbers.Number,
    dt.date,
    dt.time,
    dt.timedelta,
    uuid.UUID,
    type(None),
)
_MAX_DEPTH: Final = 64
# Settings may hold a digest or a nonce in bytes, nothing longer.
_MAX_SETTING_BYTES: Final = 256
# langgraph's own: channels and bookkeeping of the enclosing graph, which no run records.
_GRAPH_INTERNAL: Final = "__pregel_"
_SPELLED: Final = (
    "A picture is encoded in plain data of the input, so nothing was sent. Put it into a message."
)

# What may be reached through a shell. A name that isn't here doesn't exist: it could hand out the bare
# Runnable.
_READS: Final = frozenset(
    {
        "aclear_cache",
        "aget_graph",
        "aget_state",
        "aget_state_history",
        "clear_cache",
        "context_schema",
        "get_context_jsonschema",
        "get_state",
        "get_state_history",
        "name",
        "stream_mode",
    }
)
_UPDATES: Final = frozenset({"bulk_update_state", "update_state"})
_ASYNC_UPDATES: Final = frozenset({"abulk_update_state", "aupdate_state"})
_BUILDERS: Final = frozenset({"bind_tools", "with_structured_output"})


class Ingress(_Composed):
    """Everything that a Runnable can be composed into, each returned inside a shell."""

    if TYPE_CHECKING:  # pydantic would take the annotation for a field

        @property
        def vpp_protector(self) -> Gate:
            """What protects the input."""

    def __or__(self, other: Any) -> Runnable[Any, Any]:  # type: ignore[override]
        return enclose(super().__or__(other), self.vpp_protector)

    def pipe(self, *others: Any, name: str | None = None) -> Runnable[Any, Any]:  # type: ignore[override]
        """See :meth:`Runnable.pipe`."""
        return enclose(super().pipe(*others, name=name), self.vpp_protector)

    def pick(self, keys: str | list[str]) -> Runnable[Any, Any]:  # type: ignore[override]
        """See :meth:`Runnable.pick`."""
        return enclose(super().pick(keys), self.vpp_protector)

    def assign(self, **kwargs: Any) -> Runnable[Any, Any]:  # type: ignore[override]
        """See :meth:`Runnable.assign`."""
        return enclose(super().assign(**kwargs), self.vpp_protector)

    def map(self) -> Runnable[Any, Any]:
        """See :meth:`Runnable.map`."""
        return enclose(super().map(), self.vpp_protector)

    def bind(self, **kwargs: Any) -> Runnable[Any, Any]:
        """See :meth:`Runnable.bind`."""
        return enclose(super().bind(**kwargs), self.vpp_protector)

    def with_config(self, config: RunnableConfig | None = None, **kwargs: Any) -> Runnable[Any, Any]:
        """See :meth:`Runnable.with_config`."""
        return enclose(super().with_config(config, **kwargs), self.vpp_protector)

    def with_listeners(self, **kwargs: Any) -> Runnable[Any, Any]:
        """See :meth:`Runnable.with_listeners`."""
        return enclose(super().with_listeners(**kwargs), self.vpp_protector)

    def with_alisteners(self, **kwargs: Any) -> Runnable[Any, Any]:
        """See :meth:`Runnable.with_alisteners`."""
        return enclose(super().with_alisteners(**kwargs), self.vpp_protector)

    def with_types(self, **kwargs: Any) -> Runnable[Any, Any]:
        """See :meth:`Runnable.with_types`."""
        return enclose(super().with_types(**kwargs), self.vpp_protector)

    def with_retry(self, **kwargs: Any) -> Runnable[Any, Any]:
        """See :meth:`Runnable.with_retry`."""
        return enclose(super().with_retry(**kwargs), self.vpp_protector)

    def with_fallbacks(self, fallbacks: Any, **kwargs: Any) -> Runnable[Any, Any]:  # type: ignore[override]
        """See :meth:`Runnable.with_fallbacks`. The fallbacks get the protected input."""
        return enclose(super().with_fallbacks(fallbacks, **kwargs), self.vpp_protector)

    def as_tool(self, *args: Any, **kwargs: Any) -> BaseTool:
        """See :meth:`Runnable.as_tool`. The tool refuses pictures in its arguments: its run records them."""
        tool = super().as_tool(*args, **kwargs)
        return move_to_class(tool, subclass_of(type(tool), _GuardedTool))


class ConfigurableIngress(Ingress):
    """An :class:`Ingress` over a ``RunnableSerializable``."""

    def configurable_fields(self, **kwargs: Any) -> Runnable[Any, Any]:
        """See :meth:`RunnableSerializable.configurable_fields`."""
        return enclose(super().configurable_fields(**kwargs), self.vpp_protector)  # type: ignore[misc]

    def configurable_alternatives(self, which: Any, **kwargs: Any) -> Runnable[Any, Any]:
        """See :meth:`RunnableSerializable.configurable_alternatives`. They get the protected input."""
        return enclose(super().configurable_alternatives(which, **kwargs), self.vpp_protector)  # type: ignore[misc]

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """False: a copy revived from its serialized form would be unprotected."""
        return False


class ProtectedBinding(ConfigurableIngress, RunnableBinding[Any, Any]):  # type: ignore[misc,no-redef]
    """What ``bind``, ``bind_tools`` and ``with_config`` of a protected Runnable return.

    Calls go to the protected Runnable that is bound. Only the entry points that record the input before they
    call it are protected here.
    """

    @property
    def vpp_protector(self) -> Gate:
        """The protector of the Runnable that is bound."""
        bound: Any = self.bound
        if not isinstance(bound, Ingress):
            raise ProtectionError("A protected binding has lost its protected Runnable, so nothing was sent.")
        return bound.vpp_protector

    def astream_events(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002
        """See :meth:`Runnable.astream_events`."""
        if {"version": "v2", **self.kwargs, **kwargs}["version"] == "v3":
            return super().astream_events(input, config, **kwargs)
        return self._astream_events(input, config, kwargs)

    async def _astream_events(
        self, value: Any, config: RunnableConfig | None, kwargs: dict[str, Any]
    ) -> AsyncIterator[Any]:
        value = await aprotect_value(
            self.vpp_protector, value, **request_options(self._merge_configs(config))
        )
        async with aclosing(super().astream_events(value, config, **kwargs)) as events:
            async for event in events:
                yield event

    async def astream_log(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002
        """See :meth:`Runnable.astream_log`."""
        value = await aprotect_value(
            self.vpp_protector, input, **request_options(self._merge_configs(config))
        )
        async for patch in super().astream_log(value, config, **kwargs):
            yield patch


class ProtectedRunnable(Ingress, Runnable[Any, Any]):
    """Any Runnable, agent or graph behind a shell that protects its input.

    Messages may stand anywhere in the input: in lists, mappings, dataclasses, pydantic models, prompt values
    and langgraph's ``Command``. Everything else in the input must be plain data without encoded pictures, or
    the input is refused. ``update_state`` of a graph counts as input.

    Attributes of the inner Runnable are reachable by an allow-list only.

    Args:
        runnable: What to protect.
        protector: What protects it.
    """

    def __init__(self, runnable: Runnable[Any, Any], protector: Gate) -> None:
        self._inner = runnable
        self._protector = protector

    @property
    def vpp_protector(self) -> Gate:
        """What protects the input."""
        return self._protector

    def __repr__(self) -> str:
        return f"ProtectedRunnable({type(self._inner).__name__})"

    def __reduce__(self) -> str | tuple[Any, ...]:
        msg = "A protected Runnable can't be pickled; build it in each process"
        raise TypeError(msg)

    def __getattr__(self, name: str) -> Any:
        inner = self.__dict__.get("_inner")
        if inner is None or name not in _READS | _UPDATES | _ASYNC_UPDATES | _BUILDERS:
            msg = f"ProtectedRunnable has no attribute {name!r}: what it protects is not handed out"
            raise AttributeError(msg)
        attribute = getattr(inner, name)
        if name in _READS:
            return attribute
        if name in _BUILDERS:
            return lambda *args, **kwargs: enclose(attribute(*args, **kwargs), self.vpp_protector)
        if name in _ASYNC_UPDATES:
            return self._async_update(attribute)
        return self._update(attribute)

    def _update(self, update: Callable[..., Any]) -> Callable[..., Any]:
        def protected_update(config: RunnableConfig, *args: Any, **kwargs: Any) -> Any:
            check_call(config, {})
            args, kwargs = protect_value(self.vpp_protector, (args, kwargs), **request_options(config))
            return update(config, *args, **kwargs)

        return protected_update

    def _async_update(self, update: Callable[..., Any]) -> Callable[..., Any]:
        async def protected_update(config: RunnableConfig, *args: Any, **kwargs: Any) -> Any:
            check_call(config, {})
            args, kwargs = await aprotect_value(self.vpp_protector, (args, kwargs), **request_options(config))
            return await update(config, *args, **kwargs)

        return protected_update

    @property
    def InputType(self) -> Any:  # noqa: N802
        """See :attr:`Runnable.InputType`."""
        return self._inner.InputType

    @property
    def OutputType(self) -> Any:  # noqa: N802
        """See :attr:`Runnable.OutputType`."""
        return self._inner.OutputType

    @property
    def config_specs(self) -> list[ConfigurableFieldSpec]:
        """See :attr:`Runnable.config_specs`."""
        return self._inner.config_specs

    def get_name(self, suffix: str | None = None, *, name: str | None = None) -> str:
        """See :meth:`Runnable.get_name`."""
        return self._inner.get_name(suffix, name=name)

    def get_input_schema(self, config: RunnableConfig | None = None) -> Any:
        """See :meth:`Runnable.get_input_schema`."""
        return self._inner.get_input_schema(config)

    def get_output_schema(self, config: RunnableConfig | None = None) -> Any:
        """See :meth:`Runnable.get_output_schema`."""
        return self._inner.get_output_schema(config)

    def get_graph(self, config: RunnableConfig | None = None, **kwargs: Any) -> Graph:
        """See :meth:`Runnable.get_graph`."""
        return self._inner.get_graph(config, **kwargs)

    def get_prompts(self, config: RunnableConfig | None = None) -> Any:
        """See :meth:`Runnable.get_prompts`."""
        return self._inner.get_prompts(config)

    def configurable_fields(self, **kwargs: Any) -> Runnable[Any, Any]:
        """See :meth:`RunnableSerializable.configurable_fields`."""
        return enclose(self._inner.configurable_fields(**kwargs), self.vpp_protector)  # type: ignore[attr-defined]

    def configurable_alternatives(self, which: Any, **kwargs: Any) -> Runnable[Any, Any]:
        """See :meth:`RunnableSerializable.configurable_alternatives`."""
        alternatives = self._inner.configurable_alternatives(which, **kwargs)  # type: ignore[attr-defined]
        return enclose(alternatives, self.vpp_protector)

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002
        """See :meth:`Runnable.invoke`."""
        return self._inner.invoke(self._enter(input, config, kwargs), config, **kwargs)

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002
        """See :meth:`Runnable.ainvoke`."""
        return await self._inner.ainvoke(await self._aenter(input, config, kwargs), config, **kwargs)

    def stream(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Iterator[Any]:  # noqa: A002
        """See :meth:`Runnable.stream`."""
        yield from self._inner.stream(self._enter(input, config, kwargs), config, **kwargs)

    async def astream(
        self,
        input: Any,  # noqa: A002
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[Any]:
        """See :meth:`Runnable.astream`."""
        value = await self._aenter(input, config, kwargs)
        async for chunk in self._inner.astream(value, config, **kwargs):
            yield chunk

    def stream_events(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002
        """See :meth:`Runnable.stream_events`."""
        return self._inner.stream_events(self._enter(input, config, kwargs), config, **kwargs)

    def astream_events(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002
        """See :meth:`Runnable.astream_events`."""
        if kwargs.get("version") == "v3":
            return self._astream_events_v3(input, config, kwargs)
        return self._astream_events(input, config, kwargs)

    async def _astream_events_v3(
        self, value: Any, config: RunnableConfig | None, kwargs: dict[str, Any]
    ) -> Any:
        return await self._inner.astream_events(await self._aenter(value, config, kwargs), config, **kwargs)

    async def _astream_events(
        self, value: Any, config: RunnableConfig | None, kwargs: dict[str, Any]
    ) -> AsyncIterator[Any]:
        value = await self._aenter(value, config, kwargs)
        async for event in self._inner.astream_events(value, config, **kwargs):
            yield event

    async def astream_log(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002
        """See :meth:`Runnable.astream_log`."""
        value = await self._aenter(input, config, kwargs)
        async for patch in self._inner.astream_log(value, config, **kwargs):
            yield patch

    def _enter(self, value: Any, config: RunnableConfig | None, kwargs: dict[str, Any]) -> Any:
        check_call(config, kwargs)
        return protect_value(self.vpp_protector, value, **request_options(config))

    async def _aenter(self, value: Any, config: RunnableConfig | None, kwargs: dict[str, Any]) -> Any:
        check_call(config, kwargs)
        return await aprotect_value(self.vpp_protector, value, **request_options(config))


class _GuardedTool(_AnyTool):
    """A tool that refuses pictures in its arguments before its run records them."""

    def run(self, tool_input: Any, *args: Any, **kwargs: Any) -> Any:
        refuse_media(tool_input)
        return super().run(tool_input, *args, **kwargs)

    async def arun(self, tool_input: Any, *args: Any, **kwargs: Any) -> Any:
        refuse_media(tool_input)
        return await super().arun(tool_input, *args, **kwargs)


def enclose(runnable: Runnable[Any, Any], protector: Gate) -> Runnable[Any, Any]:
    """Put a shell around what was composed, unless it already is one of ``protector``'s."""
    if isinstance(runnable, Ingress) and runnable.vpp_protector is protector:
        return runnable
    if isinstance(runnable, RunnableBinding):
        bound = runnable.bound
        if isinstance(bound, Ingress) and bound.vpp_protector is protector:
            fields = {
                name: getattr(runnable, name) for name in RunnableBinding.model_fields if name != "name"
            }
            return ProtectedBinding(**fields)
    return ProtectedRunnable(runnable, protector)


def subclass_of(cls: type[_Model], *mixins: type, **attributes: Any) -> type[_Model]:
    """A subclass of ``cls`` with its name (LangSmith reads the provider from it) and ``mixins`` in front."""
    namespace = {
        "__module__": __name__,
        "__qualname__": f"protected {cls.__qualname__}",
        "__doc__": cls.__doc__,
        "__annotations__": dict.fromkeys(attributes, ClassVar[Any]),
        **attributes,
    }
    metaclass: Any = type(cls)
    derived: type[_Model] = metaclass(cls.__name__, (*mixins, cls), namespace)
    return derived


def move_to_class(instance: _Model, cls: type[_Model]) -> _Model:
    """A shallow copy of ``instance`` as an object of ``cls``, a subclass of its class.

    Nothing is validated or built anew: clients, private attributes and the given fields stay as they are.
    """
    clone = instance.model_copy()
    # A cached serialized form names the bare class, and would revive as one.
    clone.__dict__.pop("_serialized", None)
    object.__setattr__(clone, "__class__", cls)
    return clone


def protect_value(protector: Gate, value: Any, *, level: float | None, callbacks: Callbacks = None) -> Any:
    """Protect the messages anywhere in a value, and refuse pictures anywhere else in it.

    Args:
        protector: What protects them.
        value: The input of a Runnable, or the output of a tool.
        level: The level that the request names, or None.
        callbacks: The callbacks of the request, if an enclosing run may have recorded the value.

    Raises:
        ProtectionError: If anything can't be protected.
    """
    found = _collect(value)
    return _substitute(value, protector.admit(found, level=level, callbacks=callbacks).messages)


async def aprotect_value(
    protector: Gate, value: Any, *, level: float | None, callbacks: Callbacks = None
) -> Any:
    """As :func:`protect_value`; the work is done in threads."""
    found = await run_in_executor(None, _collect, value)
    return _substitute(value, (await protector.aadmit(found, level=level, callbacks=callbacks)).messages)


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


def _collect(value: Any) -> list[BaseMessage]:
    found: list[BaseMessage] = []

    def collect(message: BaseMessage) -> BaseMessage:
        found.append(message)
        return message

    _rewrite(value, collect, 0)
    return found


def _substitute(value: Any, messages: list[BaseMessage]) -> Any:
    replacements = iter(messages)

    def substitute(_: BaseMessage) -> BaseMessage:
        return next(replacements)

    return _rewrite(value, substitute, 0)


def _rewrite(value: Any, visit: _Visit, depth: int) -> Any:  # noqa: C901, PLR0911, PLR0912  one table of shapes
    """Copy ``value`` with every message in it replaced by what ``visit`` returns.

    Text is visited as a message of its own, so that encoded pictures in it are found.

    Raises:
        ProtectionError: If ``value`` holds anything that is neither a message nor plain data.
    """
    if depth > _MAX_DEPTH:
        raise ProtectionError("The input is nested too deeply, so nothing was sent.")
    if isinstance(value, enum.Enum):
        _rewrite(value.value, _refuse_picture, depth + 1)
        return value
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, PurePath):
        _rewrite_text(str(value), _refuse_picture)
        return value
    if isinstance(value, str):
        return _rewrite_text(value, visit)
    if isinstance(value, BaseMessage):
        return visit(value)
    if isinstance(value, StringPromptValue):
        return StringPromptValue(text=_rewrite_text(value.text, visit))
    if isinstance(value, PromptValue):
        return ChatPromptValue(messages=[visit(message) for message in value.to_messages()])
    if _is_message_like(value):
        return visit(coerce_messages([value])[0])
    if isinstance(value, Mapping):
        return {_rewrite_key(key, visit): _rewrite(item, visit, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset, deque)):
        if numbers_spell_file(value):
            raise ProtectionError(_SPELLED)
        items = [_rewrite(item, visit, depth + 1) for item in value]
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            return _rebuilt(value, lambda: type(value)(*items))
        if isinstance(value, deque):
            return deque(items, value.maxlen)
        return _rebuilt(value, lambda: type(value)(items))
    if isinstance(value, BaseModel):
        return _rewrite_model(value, visit, depth)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {
            field.name: _rewrite(getattr(value, field.name), visit, depth + 1)
            for field in dataclasses.fields(value)
            if field.init
        }
        return _rebuilt(value, lambda: dataclasses.replace(value, **fields))
    graph_types = sys.modules.get("langgraph.types")
    if graph_types is not None and isinstance(value, graph_types.Send):
        send = copy.copy(value)
        send.arg = _rewrite(value.arg, visit, depth + 1)
        return send
    raise ProtectionError(
        f"The input holds a {type(value).__name__}, which can't be checked for pictures, so nothing was "
        "sent. Put pictures into messages, or seal them (protector.seal)."
    )


def _rewrite_model(value: BaseModel, visit: _Visit, depth: int) -> BaseModel:
    # Field by field, so that cached properties and private attributes are copied no more than fields are.
    clone = value.model_copy()
    for part in ("__dict__", "__pydantic_extra__", "__pydantic_private__"):
        items = getattr(value, part)
        if items is not None:
            rewritten = {name: _rewrite(item, visit, depth + 1) for name, item in items.items()}
            object.__setattr__(clone, part, rewritten)
    return clone


def _rebuilt(value: Any, build: Callable[[], Any]) -> Any:
    """Call a constructor of the caller's. Its exception may quote the content, so ours replaces it."""
    try:
        return build()
    except Exception:  # noqa: BLE001, S110  ours is raised below, outside
        pass
    raise ProtectionError(
        f"The input holds a {type(value).__name__}, which can't be rebuilt with protected content, so "
        "nothing was sent."
    )


def _rewrite_text(text: str, visit: _Visit) -> str:
    content = visit(HumanMessage(content=text)).content
    if not isinstance(content, str):
        raise ProtectionError(_SPELLED)
    return content


def _refuse_picture(message: BaseMessage) -> BaseMessage:
    """Visit what can't be replaced, such as the value of an enum."""
    refuse_media(message)
    return message


def _rewrite_key(key: Any, visit: _Visit) -> Any:
    if isinstance(key, (str, *_PLAIN)):
        return _rewrite(key, visit, 0)
    raise ProtectionError("A mapping in the input has a key that is not plain data, so nothing was sent.")


def _is_message_like(value: Any) -> bool:
    if isinstance(value, Mapping):
        roles = (value.get("role"), value.get("type"))
        return "content" in value and any(isinstance(role, str) and role in _ROLES for role in roles)
    # A pair of texts needs no conversion: its texts are checked as they are.
    is_pair = isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], list)
    return is_pair and isinstance(value[0], str) and value[0] in _ROLES
