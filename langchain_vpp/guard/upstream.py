"""Detects enclosing runs that recorded an original before the protector saw it."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Literal

from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler, BaseCallbackManager

from langchain_vpp.errors import ProtectionError, TraceLeakWarning

if TYPE_CHECKING:
    from langchain_core.callbacks import Callbacks

OnUpstreamTrace = Literal["warn", "raise", "ignore"]
"""Values of ``ImageProtector(on_upstream_trace=...)``."""


def check_upstream(callbacks: Callbacks, reaction: OnUpstreamTrace) -> None:
    """Warn or raise if an enclosing run with callbacks or tracers has recorded the input.

    Args:
        callbacks: The callbacks of a request that brought an original.
        reaction: Warn, raise, or say nothing.

    Raises:
        ProtectionError: If such a run exists and ``reaction`` is "raise".
    """
    if reaction == "ignore" or not _recorded_upstream(callbacks):
        return
    msg = (
        "An enclosing run with callbacks or tracers has recorded the unprotected input. Protect the "
        "outermost runnable (protect(chain, protector)), or put sealed handles (protector.seal) into it."
    )
    if reaction == "raise":
        raise ProtectionError(msg)
    # The warning names the line that called admit().
    warnings.warn(msg, TraceLeakWarning, stacklevel=3)


def _recorded_upstream(callbacks: Callbacks) -> bool:
    """Say whether there is an enclosing run, and a handler that is told of its input."""
    if not isinstance(callbacks, BaseCallbackManager) or callbacks.parent_run_id is None:
        return False
    return any(_records_inputs(handler) for handler in (*callbacks.handlers, *callbacks.inheritable_handlers))


def _records_inputs(handler: BaseCallbackHandler) -> bool:
    """Say whether a handler does anything when a chain or a tool starts."""
    if getattr(handler, "redacts_media", False):
        return False
    listens_to_chains = not handler.ignore_chain and _does_something(handler, "on_chain_start")
    return listens_to_chains or (not handler.ignore_agent and _does_something(handler, "on_tool_start"))


def _does_something(handler: BaseCallbackHandler, event: str) -> bool:
    # Looked up on the object, not on its class: a handler may answer for events in any way.
    function = getattr(getattr(handler, event), "__func__", None)
    return function not in (getattr(BaseCallbackHandler, event), getattr(AsyncCallbackHandler, event))
