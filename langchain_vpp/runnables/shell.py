"""Entry points of protected Runnables: they protect the input before any run is opened, and open none themselves.

A Runnable that opens a run of its own (a sequence, a retry, a fallback, an agent, a graph) records its input for
callbacks, tracers and checkpoints. So the shell goes around all of it.
"""

from __future__ import annotations

import copy
import functools
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.config import ensure_config

from langchain_vpp.guard.conversations import conversation_of
from langchain_vpp.runnables.calls import check_call, check_settings, request_options
from langchain_vpp.runnables.parts import settings_of
from langchain_vpp.runnables.restoring import restoring as restoring_for
from langchain_vpp.runnables.sentinel import watched
from langchain_vpp.runnables.values import INPUT, aprotect_value, protect_value, release_value

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from langchain_core.runnables.graph import Graph
    from langchain_core.runnables.utils import ConfigurableFieldSpec

    from langchain_vpp.guard.conversations import Conversation
    from langchain_vpp.guard.gate import Gate
    from langchain_vpp.runnables.restoring import Restoring

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


class _Entered(NamedTuple):
    """A protected input, the config for the Runnable inside, and what its results pass on their way to the caller."""

    value: Any
    config: RunnableConfig
    release: Callable[[Any], Any]
    restoring: Restoring


class Shell(Runnable[Any, Any]):
    """The entry points of a protected Runnable.

    Args:
        runnable: A Runnable whose parts are protected.
        protector: Protects its input.
        restores: Whether results hold values in the places of tokens.
    """

    def __init__(self, runnable: Runnable[Any, Any], protector: Gate, *, restores: bool = False) -> None:
        self._inner = runnable
        self._protector = protector
        self._restores = restores
        self._settings = settings_of(runnable)

    @property
    def vpp_protector(self) -> Gate:
        """The gate that protects the input."""
        return self._protector

    @property
    def vpp_restores(self) -> bool:
        """Whether results hold values in the places of tokens."""
        return self._restores

    def __repr__(self) -> str:
        return f"{type(self).__name__}({type(self._inner).__name__})"

    def __copy__(self) -> Runnable[Any, Any]:
        return type(self)(copy.copy(self._inner), self._protector, restores=self._restores)

    def __deepcopy__(self, memo: dict[int, Any]) -> Runnable[Any, Any]:
        return type(self)(copy.deepcopy(self._inner, memo), self._protector, restores=self._restores)

    def __reduce__(self) -> str | tuple[Any, ...]:
        msg = "A protected Runnable can't be pickled; build it in each process"
        raise TypeError(msg)

    def __getattr__(self, name: str) -> Any:
        inner = self.__dict__.get("_inner")
        if inner is None or name not in _READS | _UPDATES | _ASYNC_UPDATES:
            msg = f"{type(self).__name__} has no attribute {name!r}: what it protects is not handed out"
            raise AttributeError(msg)
        attribute = getattr(inner, name)
        if name in _READS:
            return attribute
        if name in _ASYNC_UPDATES:
            return self._async_update(attribute)
        return self._update(attribute)

    def _update(self, update: Callable[..., Any]) -> Callable[..., Any]:
        def protected_update(config: RunnableConfig, *args: Any, **kwargs: Any) -> Any:
            check_call(config, {})
            args, kwargs = protect_value(
                self.vpp_protector, (args, kwargs), **request_options(config), reading=INPUT
            )
            return update(config, *args, **kwargs)

        return protected_update

    def _async_update(self, update: Callable[..., Any]) -> Callable[..., Any]:
        async def protected_update(config: RunnableConfig, *args: Any, **kwargs: Any) -> Any:
            check_call(config, {})
            args, kwargs = await aprotect_value(
                self.vpp_protector, (args, kwargs), **request_options(config), reading=INPUT
            )
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

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002
        """See :meth:`Runnable.invoke`."""
        value, inside, release, restoring = self._enter(input, config, kwargs)
        return restoring.value(release(self._inner.invoke(value, inside, **kwargs)))

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002
        """See :meth:`Runnable.ainvoke`."""
        value, inside, release, restoring = await self._aenter(input, config, kwargs)
        return await restoring.avalue(release(await self._inner.ainvoke(value, inside, **kwargs)))

    def stream(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Iterator[Any]:  # noqa: A002
        """See :meth:`Runnable.stream`."""
        value, inside, release, restoring = self._enter(input, config, kwargs)
        yield from restoring.chunks(release(chunk) for chunk in self._inner.stream(value, inside, **kwargs))

    async def astream(
        self,
        input: Any,  # noqa: A002
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[Any]:
        """See :meth:`Runnable.astream`."""
        value, inside, release, restoring = await self._aenter(input, config, kwargs)
        chunks = (release(chunk) async for chunk in self._inner.astream(value, inside, **kwargs))
        async for chunk in restoring.achunks(chunks):
            yield chunk

    def stream_events(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002
        """See :meth:`Runnable.stream_events`."""
        value, inside, *_ = self._enter(input, config, kwargs)
        return self._inner.stream_events(value, inside, **kwargs)

    def astream_events(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002
        """See :meth:`Runnable.astream_events`."""
        if kwargs.get("version") == "v3":
            return self._astream_events_v3(input, config, kwargs)
        return self._astream_events(input, config, kwargs)

    async def _astream_events_v3(
        self, value: Any, config: RunnableConfig | None, kwargs: dict[str, Any]
    ) -> Any:
        value, inside, *_ = await self._aenter(value, config, kwargs)
        return await self._inner.astream_events(value, inside, **kwargs)

    async def _astream_events(
        self, value: Any, config: RunnableConfig | None, kwargs: dict[str, Any]
    ) -> AsyncIterator[Any]:
        value, inside, _, restoring = await self._aenter(value, config, kwargs)
        async for event in restoring.aevents(self._inner.astream_events(value, inside, **kwargs)):
            yield event

    async def astream_log(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002
        """See :meth:`Runnable.astream_log`."""
        # The conversation is open for as long as what restores it is held.
        value, inside, _, _restoring = await self._aenter(input, config, kwargs)
        async for patch in self._inner.astream_log(value, inside, **kwargs):
            yield patch

    def _enter(self, value: Any, config: RunnableConfig | None, kwargs: dict[str, Any]) -> _Entered:
        self._check(config, kwargs)
        conversation = self.vpp_protector.conversations.open(conversation_of(config))
        options = {**request_options(config), "conversation": conversation.name}
        value = protect_value(self.vpp_protector, value, **options, reading=INPUT)
        return self._entered(value, config, conversation)

    async def _aenter(self, value: Any, config: RunnableConfig | None, kwargs: dict[str, Any]) -> _Entered:
        self._check(config, kwargs)
        conversation = await self.vpp_protector.conversations.aopen(conversation_of(config))
        options = {**request_options(config), "conversation": conversation.name}
        value = await aprotect_value(self.vpp_protector, value, **options, reading=INPUT)
        return self._entered(value, config, conversation)

    def _check(self, config: RunnableConfig | None, kwargs: dict[str, Any]) -> None:
        check_call(config, kwargs)
        for bound, settings in self._settings:
            check_settings(settings, bound)

    def _entered(self, value: Any, config: RunnableConfig | None, conversation: Conversation) -> _Entered:
        gate = self.vpp_protector
        callbacks = ensure_config(config).get("callbacks")
        put_back = restoring_for(gate, conversation, callbacks, restores=self.vpp_restores)
        inside, is_nested = watched(config, gate)
        inside = gate.conversations.inside(inside, conversation)
        return _Entered(value, inside, functools.partial(_released, gate, is_nested), put_back)


def _released(protector: Gate, is_nested: bool, result: Any) -> Any:  # noqa: FBT001  bound in one place
    # Inside of another run the result is recorded once more.
    return result if is_nested else release_value(protector, result)
