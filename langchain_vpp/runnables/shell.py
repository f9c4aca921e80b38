"""Shells around Runnables: they protect the input before any run is opened, and open none themselves.

A Runnable that opens a run of its own (a sequence, a retry, a fallback, an agent, a graph) records its input for
callbacks, tracers and checkpoints. So the shell goes around all of it, and everything that is composed from a shell
comes back inside one.
"""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

from langchain_core.runnables import Runnable, RunnableBinding, RunnableConfig

from langchain_vpp.errors import ProtectionError
from langchain_vpp.runnables.calls import check_call, refuse_media, request_options
from langchain_vpp.runnables.classes import move_to_class, subclass_of
from langchain_vpp.runnables.values import aprotect_value, protect_value

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from langchain_core.runnables.graph import Graph
    from langchain_core.runnables.utils import ConfigurableFieldSpec
    from langchain_core.tools import BaseTool

    from langchain_vpp.guard.gate import Gate

    # Type of super() in the mixins. At run time they stand in front of the concrete class.
    _Composed = Runnable[Any, Any]
    _AnyTool = BaseTool
else:
    _Composed = object
    _AnyTool = object

# Attributes that may be reached through a shell. All other names don't exist: they could hand out the bare Runnable.
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
    """Compositions of a Runnable, each returned inside a shell."""

    if TYPE_CHECKING:  # pydantic would take the annotation for a field

        @property
        def vpp_protector(self) -> Gate:
            """The gate that protects the input."""

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
        """Add fallbacks, which get the protected input."""
        return enclose(super().with_fallbacks(fallbacks, **kwargs), self.vpp_protector)

    def as_tool(self, *args: Any, **kwargs: Any) -> BaseTool:
        """Make a tool that refuses pictures in its arguments, because its run records them."""
        tool = super().as_tool(*args, **kwargs)
        return move_to_class(tool, subclass_of(type(tool), _GuardedTool))


class ConfigurableIngress(Ingress):
    """Compositions of a ``RunnableSerializable``, each returned inside a shell."""

    def configurable_fields(self, **kwargs: Any) -> Runnable[Any, Any]:
        """See :meth:`RunnableSerializable.configurable_fields`."""
        return enclose(super().configurable_fields(**kwargs), self.vpp_protector)  # type: ignore[misc]

    def configurable_alternatives(self, which: Any, **kwargs: Any) -> Runnable[Any, Any]:
        """Add alternatives, which get the protected input."""
        return enclose(super().configurable_alternatives(which, **kwargs), self.vpp_protector)  # type: ignore[misc]

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """Return False: a copy that is revived from its serialized form would be unprotected."""
        return False


class ProtectedBinding(ConfigurableIngress, RunnableBinding[Any, Any]):  # type: ignore[misc,no-redef]
    """A protected Runnable with bound arguments: the result of ``bind``, ``bind_tools`` and ``with_config``.

    Calls go to the protected Runnable that is bound. This class protects only the entry points that record the input
    before they call it.
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

    Messages may stand anywhere in the input: in lists, mappings, dataclasses, pydantic models, prompt values and
    langgraph's ``Command``. Everything else in the input must be plain data without encoded pictures, or the input is
    refused. ``update_state`` of a graph counts as input.

    Only attributes on an allow-list of the inner Runnable can be reached.

    Args:
        runnable: The Runnable to protect.
        protector: Protects its input.
    """

    def __init__(self, runnable: Runnable[Any, Any], protector: Gate) -> None:
        self._inner = runnable
        self._protector = protector

    @property
    def vpp_protector(self) -> Gate:
        """The gate that protects the input."""
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
    """Mixin of a tool that refuses pictures in its arguments before its run records them."""

    def run(self, tool_input: Any, *args: Any, **kwargs: Any) -> Any:
        refuse_media(tool_input)
        return super().run(tool_input, *args, **kwargs)

    async def arun(self, tool_input: Any, *args: Any, **kwargs: Any) -> Any:
        refuse_media(tool_input)
        return await super().arun(tool_input, *args, **kwargs)


def enclose(runnable: Runnable[Any, Any], protector: Gate) -> Runnable[Any, Any]:
    """Put a shell around a composition, unless it already is one of ``protector``'s."""
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
