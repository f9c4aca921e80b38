"""Protection as a middleware of LangChain's agents (extra ``agents``)."""

# ruff: noqa: E402  a missing package is named before its import fails
from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_vpp.extras import require

require("langchain", "langgraph", extra="agents")

from langchain.agents.middleware import AgentMiddleware

from langchain_vpp.guard.pool import in_thread
from langchain_vpp.runnables.calls import request_options
from langchain_vpp.runnables.chat_model import protect
from langchain_vpp.tools import protect_output, protect_tool

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from langchain.agents.middleware import AgentState, ModelRequest, ModelResponse
    from langchain_core.messages import BaseMessage, ToolMessage
    from langgraph.prebuilt.tool_node import ToolCallRequest
    from langgraph.runtime import Runtime
    from langgraph.types import Command

    from langchain_vpp.guard.gate import Gate


class VisualPrivacyMiddleware(AgentMiddleware[Any, Any, Any]):
    """Protects every model call and every tool result of an agent, and the messages in its state.

    Put it first: the first middleware is the outermost one, and the others see the state that it has cleaned. The
    agent itself records its input before any middleware runs, in traces and in the first checkpoint. To keep
    originals out of those, protect the agent (``protect(create_agent(...), protector)``), or put sealed handles
    into the input; this middleware then changes nothing that is already protected.

    Args:
        protector: Protects the pictures.
    """

    def __init__(self, protector: Gate) -> None:
        super().__init__()
        self._protector = protector

    def before_agent(self, state: AgentState[Any], runtime: Runtime[Any]) -> dict[str, Any] | None:  # noqa: ARG002
        """Replace originals in the state, so that neither later checkpoints nor other middlewares see them."""
        before: list[BaseMessage] = [*state["messages"]]
        return _changes(before, self._admit(before))

    async def abefore_agent(
        self,
        state: AgentState[Any],
        runtime: Runtime[Any],  # noqa: ARG002
    ) -> dict[str, Any] | None:
        """Run :meth:`before_agent` with the work in a thread."""
        before: list[BaseMessage] = [*state["messages"]]
        return _changes(before, await self._aadmit(before))

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        """Protect the messages of a model call, and the model."""
        return handler(self._protected_request(request, self._admit(_prompt(request))))

    async def awrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    ) -> ModelResponse[Any]:
        """Protect the messages of an async model call, and the model."""
        return await handler(self._protected_request(request, await self._aadmit(_prompt(request))))

    def wrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], ToolMessage | Command[Any]]
    ) -> ToolMessage | Command[Any]:
        """Protect the output of a tool before its run records it, and once more when it comes back."""
        result: ToolMessage | Command[Any] = protect_output(
            self._protector, handler(self._protected_call(request))
        )
        return result

    async def awrap_tool_call(
        self,
        request: ToolCallRequest,
        handler: Callable[[ToolCallRequest], Awaitable[ToolMessage | Command[Any]]],
    ) -> ToolMessage | Command[Any]:
        """Protect the output of an async tool call; see :meth:`wrap_tool_call`."""
        output = await handler(self._protected_call(request))
        result: ToolMessage | Command[Any] = await in_thread(protect_output, self._protector, output)
        return result

    def _admit(self, messages: list[BaseMessage]) -> list[BaseMessage]:
        return self._protector.admit(messages, **request_options(None)).messages

    async def _aadmit(self, messages: list[BaseMessage]) -> list[BaseMessage]:
        return (await self._protector.aadmit(messages, **request_options(None))).messages

    def _protected_request(
        self, request: ModelRequest[Any], messages: list[BaseMessage]
    ) -> ModelRequest[Any]:
        overrides: dict[str, Any] = {"model": protect(request.model, self._protector), "messages": messages}
        if request.system_message is not None:
            overrides["system_message"], *overrides["messages"] = messages
        return request.override(**overrides)

    def _protected_call(self, request: ToolCallRequest) -> ToolCallRequest:
        if request.tool is None:
            return request
        return request.override(tool=protect_tool(request.tool, self._protector))


def _prompt(request: ModelRequest[Any]) -> list[BaseMessage]:
    system = request.system_message
    return [*request.messages] if system is None else [system, *request.messages]


def _changes(before: list[BaseMessage], after: list[BaseMessage]) -> dict[str, Any] | None:
    """Return the messages that were changed, as a state update: they replace those with the same id."""
    changed = [new for old, new in zip(before, after, strict=True) if new is not old]
    return {"messages": changed} if changed else None
