"""Finds enclosing runs that have recorded an original."""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler, BaseCallbackManager

if TYPE_CHECKING:
    from langchain_core.callbacks import Callbacks


def recorded_upstream(callbacks: Callbacks) -> bool:
    """Whether an enclosing run exists, and a handler that is told of its input."""
    if not isinstance(callbacks, BaseCallbackManager) or callbacks.parent_run_id is None:
        return False
    return any(_records_inputs(handler) for handler in (*callbacks.handlers, *callbacks.inheritable_handlers))


def _records_inputs(handler: BaseCallbackHandler) -> bool:
    """Whether a handler does anything when a chain or a tool starts."""
    if getattr(handler, "redacts_media", False):
        return False
    listens_to_chains = not handler.ignore_chain and _does_something(handler, "on_chain_start")
    return listens_to_chains or (not handler.ignore_agent and _does_something(handler, "on_tool_start"))


def _does_something(handler: BaseCallbackHandler, event: str) -> bool:
    # Of the object, not of its class: a handler may answer for events in any way.
    function = getattr(getattr(handler, event), "__func__", None)
    return function not in (getattr(BaseCallbackHandler, event), getattr(AsyncCallbackHandler, event))
