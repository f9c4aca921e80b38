"""Protection as a middleware of LangChain's agents (extra ``agents``)."""

# ruff: noqa: E402  a missing package is named before its import fails
from __future__ import annotations

import dataclasses
import inspect
import itertools
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal, NotRequired

from langchain_vpp.extras import require

require("langchain", "langgraph", extra="agents")

import langgraph.types
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware, AgentState, ModelRequest, types
from langchain_core.messages import BaseMessage
from langchain_core.runnables.config import ensure_config, merge_configs, var_child_runnable_config
from langgraph.channels import AnyValue, BinaryOperatorAggregate, EphemeralValue, LastValue, UntrackedValue
from langgraph.graph import StateGraph, add_messages
from langgraph.prebuilt.tool_node import ToolCallRequest
from langgraph.types import Command

from langchain_vpp.errors import ProtectionError
from langchain_vpp.guard.conversations import conversation_of, conversing, run_name
from langchain_vpp.guard.pool import in_thread
from langchain_vpp.runnables.calls import request_options
from langchain_vpp.runnables.chat_model import protect
from langchain_vpp.runnables.in_place import protect_in_place
from langchain_vpp.runnables.sentinel import Sentinel
from langchain_vpp.tools import protect_output, protect_tool

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

    from langchain.agents.middleware import ModelResponse
    from langchain_core.messages import ToolMessage
    from langchain_core.tools import BaseTool
    from langgraph.channels.base import BaseChannel
    from langgraph.runtime import Runtime

    from langchain_vpp.guard.gate import Gate

_Keeping = Literal["messages", "replaced", "overwritten", "added"]

_CONVERSATION: Final = "vpp_conversation"
_HOOKS_BEFORE_OURS: Final = tuple(
    prefix + name
    for name in ("before_agent", "before_model", "wrap_model_call", "wrap_tool_call")
    for prefix in ("", "a")
)
_BUILDER: Final = inspect.unwrap(create_agent).__code__
# Channels that keep what was written last, and channels that take a value past their reducer.
_REPLACED: Final = (LastValue, AnyValue, EphemeralValue, UntrackedValue)
_OVERWRITTEN: Final = ("BinaryOperatorAggregate", "DeltaChannel")
# Not in every version that the extra allows.
_TracePolicy: Final = getattr(langgraph.types, "TracePolicy", None)
_Overwrite: Final = getattr(langgraph.types, "Overwrite", None)
_ExtendedResponse: Final = getattr(types, "ExtendedModelResponse", None)


class VisualPrivacyMiddleware(AgentMiddleware[Any, Any, Any]):
    """Protects every model call and every tool call of an agent, and all pictures in its state.

    It must stand first in the list: the first middleware is the outermost one, and the others see what it has cleaned.
    Where another one with hooks that run earlier stands before it, ``create_agent`` raises. Models and tools that
    inner middlewares put into a call are protected too, and a picture that they add is protected or refused.

    The agent itself records its input before any middleware runs, in traces and in the first checkpoint. To keep
    originals out of those, protect the agent (``protect(create_agent(...), protector)``), or put sealed handles
    into the input; this middleware then changes nothing that is already protected. The middleware's own spans record
    no input.

    What an engine names (``NAME_1``) keeps its tokens in the state and in checkpoints; ``protect(agent, protector,
    restore=True)`` puts values back for the caller. An agent without a thread (``thread_id``) or a protected call
    around it begins a conversation of its own in each run; its state holds the name of that.

    Args:
        protector: Protects the pictures.
        restore: Whether tools, which run on your side, get values in the places of tokens among their arguments.
    """

    if _TracePolicy is not None:
        trace_policy = _TracePolicy(process_inputs=langgraph.types.omit_payload)

    def __init__(self, protector: Gate, *, restore: bool = False) -> None:
        super().__init__()
        self._protector = protector
        if protector.conversations.is_needed:
            self.state_schema = _ConversationState
        self._channels: dict[str, set[_Keeping]] = {}
        guard = {"vpp_protector": protector, "vpp_gets_values": restore}
        self._request_class: type[_GuardedRequest] = type("ModelRequest", (_GuardedRequest,), guard)
        self._call_class: type[_GuardedCall] = type("ToolCallRequest", (_GuardedCall,), guard)
        self._sentinel = Sentinel(protector)

    @property
    def tools(self) -> Sequence[BaseTool]:  # type: ignore[override]
        """No tools.

        ``create_agent`` asks for them while it builds an agent. There the order of its middlewares can be seen, and
        the channels of its state.

        Raises:
            ProtectionError: If a middleware whose hooks run earlier stands before this one.
        """
        arguments = _arguments_of_builder()
        if arguments is not None:
            self._check_order(arguments["middleware"])
            self._learn_channels(arguments["middleware"], arguments.get("state_schema") or AgentState)
        return ()

    def before_agent(self, state: AgentState[Any], runtime: Runtime[Any]) -> dict[str, Any] | None:  # noqa: ARG002
        """Replace originals in the state, so that neither later checkpoints nor other middlewares see them."""
        return self._cleaned(state)

    async def abefore_agent(
        self,
        state: AgentState[Any],
        runtime: Runtime[Any],  # noqa: ARG002
    ) -> dict[str, Any] | None:
        """Run :meth:`before_agent` with the work in a thread."""
        return await in_thread(self._cleaned, state)

    # Other middlewares may put pictures into the state at every step.
    before_model = after_model = after_agent = before_agent
    abefore_model = aafter_model = aafter_agent = abefore_agent

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> Any:
        """Protect the messages of a model call, and the model."""
        with _conversation(request.state), self._checked_calls():
            protected, updates = self._protected_request(request)
            response = handler(protected)
        return self._with_updates(response, updates)

    async def awrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    ) -> Any:
        """Protect the messages of an async model call, and the model."""
        with _conversation(request.state), self._checked_calls():
            protected, updates = await in_thread(self._protected_request, request)
            response = await handler(protected)
        return self._with_updates(response, updates)

    def wrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], ToolMessage | Command[Any]]
    ) -> ToolMessage | Command[Any]:
        """Protect the arguments and the output of a tool before its run records them."""
        with _conversation(request.state):
            result: ToolMessage | Command[Any] = protect_output(
                self._protector, handler(self._protected_call(request))
            )
        return result

    async def awrap_tool_call(
        self,
        request: ToolCallRequest,
        handler: Callable[[ToolCallRequest], Awaitable[ToolMessage | Command[Any]]],
    ) -> ToolMessage | Command[Any]:
        """Protect the arguments and the output of an async tool call; see :meth:`wrap_tool_call`."""
        with _conversation(request.state):
            output = await handler(self._protected_call(request))
            result: ToolMessage | Command[Any] = await in_thread(protect_output, self._protector, output)
        return result

    def _check_order(self, middlewares: Sequence[AgentMiddleware[Any, Any, Any]]) -> None:
        for other in itertools.takewhile(lambda each: each is not self, middlewares):
            cls = type(other)
            if any(getattr(cls, name) is not getattr(AgentMiddleware, name) for name in _HOOKS_BEFORE_OURS):
                raise ProtectionError(
                    f"The agent was not built: {cls.__name__} stands before {type(self).__name__}, and would see "
                    f"pictures that are not protected yet. Put {type(self).__name__} first."
                )

    def _learn_channels(
        self, middlewares: Sequence[AgentMiddleware[Any, Any, Any]], state_schema: type
    ) -> None:
        kept: dict[str, BaseChannel[Any, Any, Any]] = {}
        for schema in (*(each.state_schema for each in middlewares), state_schema):
            kept.update(StateGraph(schema).channels)
        for key, channel in kept.items():
            self._channels.setdefault(key, set()).add(_keeping(channel))

    def _cleaned(self, state: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the update that replaces all originals in a state; ``None`` if there are none."""
        updates: dict[str, Any] = {}
        name = state.get(_CONVERSATION)
        if self._protector.conversations.is_needed and name is None and conversation_of(None) is None:
            updates[_CONVERSATION] = name = run_name()
        with conversing(name):
            updates |= self._cleaned_values(state)
        return updates or None

    def _cleaned_values(self, state: Mapping[str, Any]) -> dict[str, Any]:
        options = request_options(None)
        updates: dict[str, Any] = {}
        for key, value in state.items():
            if isinstance(value, list) and all(isinstance(each, BaseMessage) for each in value):
                cleaned = self._protector.admit(value, **options).messages
                is_changed = cleaned != value
            else:
                place = f"the state of the agent under {key!r}"
                cleaned = protect_in_place(self._protector, value, place=place, **options)
                is_changed = cleaned is not value
            if is_changed:
                updates[key] = self._update(key, value, cleaned)
        return updates

    def _update(self, key: str, before: Any, after: Any) -> Any:
        """Return what must be written to a key of the state, so that it holds ``after`` instead of ``before``.

        Raises:
            ProtectionError: If the key keeps what was written before.
        """
        kinds = self._channels.get(key) or {"messages" if key == "messages" else "replaced"}
        if kinds == {"messages"}:
            # They replace those with the same ids.
            return [new for old, new in zip(before, after, strict=True) if new != old]
        if kinds == {"replaced"}:
            return after
        if kinds == {"overwritten"} and _Overwrite is not None:
            return _Overwrite(after)
        raise ProtectionError(
            f"Nothing was sent: the state of the agent holds a picture under {key!r}, and its reducer would keep it. "
            "Put pictures into messages, or protect the agent: protect(create_agent(...), protector)."
        )

    def _protected_request(self, request: ModelRequest[Any]) -> tuple[ModelRequest[Any], dict[str, Any]]:
        """Return the request that may go on, and the update that cleans the state behind it."""
        system = request.system_message
        prompt = [*request.messages] if system is None else [system, *request.messages]
        changes: dict[str, Any] = {
            "messages": self._protector.admit(prompt, **request_options(None)).messages
        }
        if system is not None:
            changes["system_message"], *changes["messages"] = changes["messages"]
        updates = self._cleaned(request.state) or {}
        # The model writes these keys in the same step. Messages are replaced by their ids.
        updates = {
            key: update
            for key, update in updates.items()
            if key != "structured_response" and (key != "messages" or isinstance(update, list))
        }
        return self._request_class(**{**_fields_of(request), **changes}), updates

    def _with_updates(self, response: ModelResponse[Any], updates: dict[str, Any]) -> Any:
        if not updates or _ExtendedResponse is None:
            return response
        return _ExtendedResponse(response, Command(update=updates))

    def _protected_call(self, request: ToolCallRequest) -> ToolCallRequest:
        return self._call_class(**_fields_of(request))

    @contextmanager
    def _checked_calls(self) -> Iterator[None]:
        """Check every model call inside, whoever makes it."""
        config = merge_configs(ensure_config(), {"callbacks": [self._sentinel]})
        token = var_child_runnable_config.set(config)
        try:
            yield
        finally:
            var_child_runnable_config.reset(token)


class _ConversationState(AgentState[Any]):
    """The state of an agent, and the name of its conversation, if nothing else names it."""

    vpp_conversation: NotRequired[Annotated[str, types.PrivateStateAttr]]


class _GuardedRequest(ModelRequest[Any]):
    """A model request that protects whichever model is put into it, and so do those that are derived from it."""

    vpp_protector: ClassVar[Gate]

    def __init__(self, *, model: Any, **fields: Any) -> None:
        super().__init__(model=protect(model, self.vpp_protector), **fields)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, protect(value, self.vpp_protector) if name == "model" else value)


class _GuardedCall(ToolCallRequest):
    """A tool call that protects whichever tool is put into it, and so do those that are derived from it."""

    vpp_protector: ClassVar[Gate]
    vpp_gets_values: ClassVar[bool]

    def __setattr__(self, name: str, value: Any) -> None:
        is_tool = name == "tool" and value is not None
        if is_tool:
            value = protect_tool(value, self.vpp_protector, restore=self.vpp_gets_values)
        super().__setattr__(name, value)


def _conversation(state: Any) -> AbstractContextManager[None]:
    return conversing(state.get(_CONVERSATION) if isinstance(state, dict) else None)


def _fields_of(request: Any) -> dict[str, Any]:
    return {each.name: getattr(request, each.name) for each in dataclasses.fields(request)}


def _arguments_of_builder() -> dict[str, Any] | None:
    """Return the arguments of ``create_agent`` if that is running; nothing tells a middleware about the others."""
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_code is _BUILDER:
            return frame.f_locals
        frame = frame.f_back
    return None


def _keeping(channel: BaseChannel[Any, Any, Any]) -> _Keeping:
    """Say how a channel takes new values beside those that it has."""
    if isinstance(channel, BinaryOperatorAggregate) and channel.operator is add_messages:
        return "messages"
    if isinstance(channel, _REPLACED):
        return "replaced"
    return "overwritten" if type(channel).__name__ in _OVERWRITTEN else "added"
