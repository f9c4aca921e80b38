"""Compositions of protected Runnables, and the classes that keep them protected.

A protected Runnable is an :class:`Ingress`: it protects its input before any run is opened, and whatever is composed
with it, on either side, comes back as an ingress whose parts are all protected.
"""

from __future__ import annotations

import functools
import threading
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary, WeakValueDictionary

from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import Runnable, RunnableBinding, RunnableConfig, RunnablePassthrough

from langchain_vpp.errors import ProtectionError
from langchain_vpp.guard.conversations import conversation_of
from langchain_vpp.runnables.calls import refuse_media, request_options
from langchain_vpp.runnables.classes import move_to_class, subclass_of
from langchain_vpp.runnables.decisions import is_decision_model
from langchain_vpp.runnables.entries import Entries, bare_class
from langchain_vpp.runnables.functions import Stand
from langchain_vpp.runnables.graphs import is_graph
from langchain_vpp.runnables.hooks import OPTIONAL_HOOKS, Hooks
from langchain_vpp.runnables.parts import PartsWalk, is_core_composition, parts_of
from langchain_vpp.runnables.protected_tool import guarded_tool
from langchain_vpp.runnables.restoring import Restorer, restoring
from langchain_vpp.runnables.shell import Shell
from langchain_vpp.runnables.values import INPUT, aprotect_value

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from langchain_core.tools import BaseTool

    from langchain_vpp.guard.gate import Gate
    from langchain_vpp.runnables.restoring import Restoring

    # Type of super() in the mixins. At run time they stand in front of the concrete class.
    _Composed = Runnable[Any, Any]
    _AnyTool = BaseTool
else:
    _Composed = object
    _AnyTool = object

_BUILDERS: Final = frozenset({"bind_tools", "with_structured_output"})

_Derived = WeakValueDictionary[tuple[type, bool], type[BaseChatModel]]
_classes: WeakKeyDictionary[Gate, _Derived] = WeakKeyDictionary()
_classes_lock: Final = threading.Lock()


def protected(target: Runnable[Any, Any], protector: Gate, *, restores: bool = False) -> Runnable[Any, Any]:
    """Protect a Runnable and all its parts; see :func:`langchain_vpp.runnables.chat_model.protect`."""
    restores = restores or restores_anywhere(target)
    if isinstance(target, Ingress) and target.vpp_protector is protector and target.vpp_restores >= restores:
        return target
    if isinstance(target, Entries):
        model_class(type(target), protector)  # refuses a model of another protector
    return _enclosed(_walk(protector).part(target), protector, restores=restores)


def restores_anywhere(target: Runnable[Any, Any]) -> bool:
    """Say whether any part of a composition is to put values back: then the whole does, at its end."""
    return any(isinstance(part, Restorer) or _restores(part) for part in parts_of(target))


def _restores(part: Any) -> bool:
    return isinstance(part, Ingress) and part.vpp_restores


def model_class(cls: type[BaseChatModel], protector: Gate, *, restores: bool = False) -> type[BaseChatModel]:
    """Derive the protected class of a chat model class; see ``protected_class()``."""
    if issubclass(cls, Entries):
        if cls.vpp_protector is not protector:
            raise ProtectionError(
                "This model is protected by another protector already; protect the bare model."
            )
        if cls.vpp_restores >= restores:
            return cls
        cls = bare_class(cls)
    with _classes_lock:
        derived = _classes.setdefault(protector, WeakValueDictionary())
        known = derived.get((cls, restores))
        if known is None:
            mixins = [mixin for name, mixin in OPTIONAL_HOOKS.items() if _overrides(cls, name)]
            builders = {name: _enclosing(getattr(cls, name)) for name in _builder_names(cls)}
            attributes = {"vpp_protector": protector, "vpp_restores": restores, **builders}
            known = subclass_of(cls, *mixins, ProtectedModel, **attributes)
            derived[cls, restores] = known
        return known


def _walk(protector: Gate) -> PartsWalk:
    stand = Stand(
        alone=lambda part: _alone(part, protector),
        inside=lambda part: _walk(protector).part(part),
        tool=lambda part: _tool(part, protector),
    )
    return PartsWalk(protector, stand, leaf=lambda part: _leaf(part, protector))


def _alone(part: Runnable[Any, Any], protector: Gate) -> Runnable[Any, Any]:
    """Protect a Runnable that a function calls. Prompts, parsers, tools and the like keep their attributes."""
    is_composed = is_core_composition(part) or is_graph(part)
    return protected(part, protector) if is_composed else _walk(protector).alone(part)


def _tool(part: BaseTool, protector: Gate) -> BaseTool:
    return part if isinstance(part, Ingress) else guarded_tool(part, protector, ConfigurableIngress)


def _leaf(part: Runnable[Any, Any], protector: Gate) -> Runnable[Any, Any] | None:
    """Return what stands for a part that is protected as a whole; ``None`` for a part that is a composition."""
    if isinstance(part, Restorer) and part.vpp_protector is protector:
        return RunnablePassthrough()  # the whole puts values back, outside of its run
    if isinstance(part, ProtectedRunnable) and part.vpp_protector is protector:
        return part.part
    if isinstance(part, Ingress):
        return part
    if isinstance(part, BaseChatModel):
        return move_to_class(part, model_class(type(part), protector))
    if hasattr(type(part), "bind_tools") or is_decision_model(part):
        return ProtectedRunnable(part, protector)  # stands for a model, such as the one of init_chat_model
    return None


def _enclosed(runnable: Runnable[Any, Any], protector: Gate, *, restores: bool) -> Runnable[Any, Any]:
    """Put a shell around a composition, unless it already is one of ``protector``'s."""
    if isinstance(runnable, ProtectedModel) and not runnable.vpp_restores >= restores:
        runnable = move_to_class(runnable, model_class(type(runnable), protector, restores=restores))
    if (
        isinstance(runnable, Ingress)
        and runnable.vpp_protector is protector
        and runnable.vpp_restores >= restores
    ):
        return runnable
    if isinstance(runnable, RunnableBinding):
        bound = runnable.bound
        if isinstance(bound, Ingress) and bound.vpp_protector is protector:
            fields = {
                name: getattr(runnable, name) for name in RunnableBinding.model_fields if name != "name"
            }
            return ProtectedBinding(**{**fields, "bound": _enclosed(bound, protector, restores=restores)})
    if isinstance(runnable, ProtectedRunnable):
        runnable = runnable.part
    return ProtectedRunnable(runnable, protector, restores=restores)


def _overrides(cls: type[BaseChatModel], name: str) -> bool:
    return getattr(cls, name, None) is not getattr(BaseChatModel, name, None)


def _builder_names(cls: type[BaseChatModel]) -> tuple[str, ...]:
    if _overrides(cls, "bind_tools"):
        return ("bind_tools", "with_structured_output")
    return ("with_structured_output",) if _overrides(cls, "with_structured_output") else ()


def _enclosing(method: Callable[..., Runnable[Any, Any]]) -> Callable[..., Runnable[Any, Any]]:
    """Protect the Runnable that a method returns, and keep its signature: langchain-tests reads ``tool_choice``."""

    @functools.wraps(method)
    def build(self: Entries, *args: Any, **kwargs: Any) -> Runnable[Any, Any]:
        return protected(method(self, *args, **kwargs), self.vpp_protector, restores=self.vpp_restores)

    return build


class Ingress(_Composed):
    """Compositions of a Runnable, each returned inside a shell and with all its parts protected."""

    if TYPE_CHECKING:  # pydantic would take the annotation for a field

        @property
        def vpp_protector(self) -> Gate:
            """The gate that protects the input."""

        @property
        def vpp_restores(self) -> bool:
            """Whether results hold values in the places of tokens."""

    def _composed(self, composition: Any) -> Runnable[Any, Any]:
        return protected(composition, self.vpp_protector, restores=self.vpp_restores)

    def __or__(self, other: Any) -> Runnable[Any, Any]:  # type: ignore[override]
        return self._composed(super().__or__(other))

    def __ror__(self, other: Any) -> Runnable[Any, Any]:  # type: ignore[override]
        # A function or a mapping on the left. A Runnable on the left composes by itself.
        return self._composed(super().__ror__(other))

    def pipe(self, *others: Any, name: str | None = None) -> Runnable[Any, Any]:  # type: ignore[override]
        """See :meth:`Runnable.pipe`."""
        return self._composed(super().pipe(*others, name=name))

    def pick(self, keys: str | list[str]) -> Runnable[Any, Any]:  # type: ignore[override]
        """See :meth:`Runnable.pick`."""
        return self._composed(super().pick(keys))

    def assign(self, **kwargs: Any) -> Runnable[Any, Any]:  # type: ignore[override]
        """See :meth:`Runnable.assign`."""
        return self._composed(super().assign(**kwargs))

    def map(self) -> Runnable[Any, Any]:
        """See :meth:`Runnable.map`."""
        return self._composed(super().map())

    def bind(self, **kwargs: Any) -> Runnable[Any, Any]:
        """See :meth:`Runnable.bind`."""
        return self._composed(super().bind(**kwargs))

    def with_config(self, config: RunnableConfig | None = None, **kwargs: Any) -> Runnable[Any, Any]:
        """See :meth:`Runnable.with_config`."""
        return self._composed(super().with_config(config, **kwargs))

    def with_listeners(self, **kwargs: Any) -> Runnable[Any, Any]:
        """See :meth:`Runnable.with_listeners`."""
        return self._composed(super().with_listeners(**kwargs))

    def with_alisteners(self, **kwargs: Any) -> Runnable[Any, Any]:
        """See :meth:`Runnable.with_alisteners`."""
        return self._composed(super().with_alisteners(**kwargs))

    def with_types(self, **kwargs: Any) -> Runnable[Any, Any]:
        """See :meth:`Runnable.with_types`."""
        return self._composed(super().with_types(**kwargs))

    def with_retry(self, **kwargs: Any) -> Runnable[Any, Any]:
        """See :meth:`Runnable.with_retry`."""
        return self._composed(super().with_retry(**kwargs))

    def with_fallbacks(self, fallbacks: Any, **kwargs: Any) -> Runnable[Any, Any]:  # type: ignore[override]
        """Add fallbacks, which are protected too."""
        return self._composed(super().with_fallbacks(fallbacks, **kwargs))

    def as_tool(self, *args: Any, **kwargs: Any) -> BaseTool:
        """Make a tool that refuses pictures in its arguments, because its run records them."""
        tool = super().as_tool(*args, **kwargs)
        return move_to_class(tool, subclass_of(type(tool), _GuardedTool))


class ConfigurableIngress(Ingress):
    """Compositions of a ``RunnableSerializable``, each returned inside a shell."""

    def configurable_fields(self, **kwargs: Any) -> Runnable[Any, Any]:
        """See :meth:`RunnableSerializable.configurable_fields`."""
        return self._composed(super().configurable_fields(**kwargs))  # type: ignore[misc]

    def configurable_alternatives(self, which: Any, **kwargs: Any) -> Runnable[Any, Any]:
        """Add alternatives, which are protected too, those that a function makes when it does."""
        return self._composed(super().configurable_alternatives(which, **kwargs))  # type: ignore[misc]

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """Return False: a copy that is revived from its serialized form would be unprotected."""
        return False


class ProtectedModel(ConfigurableIngress, Entries, Hooks):  # type: ignore[misc,override]
    """The mixin of a protected chat model; see :func:`model_class`."""


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

    @property
    def vpp_restores(self) -> bool:
        """Whether the Runnable that is bound puts values back."""
        return isinstance(self.bound, Ingress) and self.bound.vpp_restores

    def astream_events(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002
        """See :meth:`Runnable.astream_events`."""
        if {"version": "v2", **self.kwargs, **kwargs}["version"] == "v3":
            return super().astream_events(input, config, **kwargs)
        return self._astream_events(input, config, kwargs)

    async def _astream_events(
        self, value: Any, config: RunnableConfig | None, kwargs: dict[str, Any]
    ) -> AsyncIterator[Any]:
        value, inside, put_back = await self._aenter(value, config)
        async with aclosing(super().astream_events(value, inside, **kwargs)) as events:
            async for event in put_back.aevents(events):
                yield event

    async def astream_log(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002
        """See :meth:`Runnable.astream_log`."""
        # The conversation is open for as long as what restores it is held.
        value, inside, _restoring = await self._aenter(input, config)
        async for patch in super().astream_log(value, inside, **kwargs):
            yield patch

    async def _aenter(
        self, value: Any, config: RunnableConfig | None
    ) -> tuple[Any, RunnableConfig | None, Restoring]:
        gate, merged = self.vpp_protector, self._merge_configs(config)
        conversation = await gate.conversations.aopen(conversation_of(merged))
        options = {**request_options(merged), "conversation": conversation.name}
        value = await aprotect_value(gate, value, **options, reading=INPUT)
        put_back = restoring(gate, conversation, options["callbacks"], restores=self.vpp_restores)
        return value, gate.conversations.inside(config, conversation), put_back


class ProtectedRunnable(Ingress, Shell):
    """Any Runnable, agent or graph behind a shell that protects its input.

    Messages may stand anywhere in the input: in lists, mappings, dataclasses, pydantic models, prompt values and
    langgraph's ``Command``. A picture outside of a message, such as base64 in a variable of a prompt, is sealed: a
    handle stands for it until a chat model gets the protected picture, or a function inside the original. Everything
    else in the input must be plain data, or the input is refused. ``update_state`` of a graph counts as input.

    Only attributes on an allow-list of the inner Runnable can be reached.

    Args:
        runnable: The Runnable to protect.
        protector: Protects its input, and its parts.
        restores: Whether results hold values in the places of tokens.
    """

    def __init__(self, runnable: Runnable[Any, Any], protector: Gate, *, restores: bool = False) -> None:
        restores = restores or restores_anywhere(runnable)
        super().__init__(_walk(protector).inside(runnable), protector, restores=restores)

    @property
    def part(self) -> Runnable[Any, Any]:
        """The Runnable that stands for this one in a composition that is protected as a whole.

        LangChain's own compositions need no shell inside of another one: their parts are protected.
        """
        return self._inner if is_core_composition(self._inner) else self

    def __getattr__(self, name: str) -> Any:
        if name not in _BUILDERS:
            return super().__getattr__(name)
        build = getattr(self._inner, name)
        return lambda *args, **kwargs: self._composed(build(*args, **kwargs))

    def configurable_fields(self, **kwargs: Any) -> Runnable[Any, Any]:
        """See :meth:`RunnableSerializable.configurable_fields`."""
        return self._composed(self._inner.configurable_fields(**kwargs))  # type: ignore[attr-defined]

    def configurable_alternatives(self, which: Any, **kwargs: Any) -> Runnable[Any, Any]:
        """See :meth:`RunnableSerializable.configurable_alternatives`."""
        return self._composed(self._inner.configurable_alternatives(which, **kwargs))  # type: ignore[attr-defined]


class _GuardedTool(_AnyTool):
    """Mixin of a tool that refuses pictures in its arguments before its run records them."""

    def run(self, tool_input: Any, *args: Any, **kwargs: Any) -> Any:
        refuse_media(tool_input)
        return super().run(tool_input, *args, **kwargs)

    async def arun(self, tool_input: Any, *args: Any, **kwargs: Any) -> Any:
        refuse_media(tool_input)
        return await super().arun(tool_input, *args, **kwargs)
