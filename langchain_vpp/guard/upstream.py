"""Detects enclosing runs that recorded an original before the protector saw it."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Literal, NoReturn, TypeVar

from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler, BaseCallbackManager

from langchain_vpp.errors import ProtectionError, TraceLeakWarning

if TYPE_CHECKING:
    from langchain_core.callbacks import Callbacks

_T = TypeVar("_T")

_INPUTS = ("on_chain_start", "on_tool_start")
_OUTPUTS = ("on_chain_end", "on_tool_end")

OnUpstreamTrace = Literal["warn", "raise", "ignore"]
"""Values of ``ImageProtector(on_upstream_trace=...)``."""

_RESTORED = (
    "Nothing was sent: an enclosing run with callbacks or tracers would record what was hidden, once it is put back. "
    "Protect the outermost runnable (protect(prompt | model, protector, restore=True)), or put values back outside of "
    "it (protector.restorer)."
)
_WAYS_OUT = (
    "An enclosing run with callbacks or tracers has recorded the unprotected input. Protect the outermost runnable: "
    "protect(prompt | model, protector) seals pictures in the variables of the prompt by itself. Or put sealed handles "
    "(protector.seal) into the input."
)


class Upstream:
    """Reacts to enclosing runs that have recorded an original.

    Args:
        reaction: Warn, raise, or say nothing.
    """

    def __init__(self, reaction: OnUpstreamTrace) -> None:
        self._reaction = reaction

    def check(self, callbacks: Callbacks) -> None:
        """React if an enclosing run with handlers has recorded the input.

        Args:
            callbacks: The callbacks of a request that brought an original, or content that was dropped.

        Raises:
            ProtectionError: If there is such a run, and the reaction is to raise.
        """
        if self._speaks(callbacks):
            raise ProtectionError(_WAYS_OUT)

    def check_restoring(self, callbacks: Callbacks) -> None:
        """React if an enclosing run with handlers would record values that are put back.

        Args:
            callbacks: The callbacks of a request that is about to be sent.

        Raises:
            ProtectionError: If there is such a run, and the reaction is to raise.
        """
        if self._speaks(callbacks, _RESTORED, _OUTPUTS):
            raise ProtectionError(_RESTORED)

    def refuse(self, refusal: ProtectionError, callbacks: Callbacks) -> NoReturn:
        """Raise the error with which a request is refused, and react to enclosing runs that recorded its content.

        Raises:
            ProtectionError: Always. If the reaction is to raise, it names the enclosing run too.
        """
        if self._speaks(callbacks):
            raise ProtectionError(f"{refusal} {_WAYS_OUT}")
        raise refusal

    def concluded(
        self, outcome: tuple[_T | ProtectionError, bool], callbacks: Callbacks, *, exposed: bool
    ) -> _T:
        """Return what was admitted, or raise the error that refuses it, and react to enclosing runs.

        Args:
            outcome: What was admitted, or an error; and whether an enclosing run may have recorded anything.
            callbacks: The callbacks of the request.
            exposed: Whether the request brought an original beside what was admitted.

        Raises:
            ProtectionError: The error, or that of an enclosing run.
        """
        admitted, was_exposed = outcome
        if isinstance(admitted, ProtectionError):
            self.refuse(admitted, callbacks)
        if exposed or was_exposed:
            self.check(callbacks)
        return admitted

    def _speaks(
        self, callbacks: Callbacks, way_out: str = _WAYS_OUT, events: tuple[str, str] = _INPUTS
    ) -> bool:
        """Warn, or say whether to raise."""
        if self._reaction == "ignore" or not _recorded_upstream(callbacks, events):
            return False
        if self._reaction == "warn":
            # The warning names the line that called admit().
            warnings.warn(way_out, TraceLeakWarning, stacklevel=5)
        return self._reaction == "raise"


def _recorded_upstream(callbacks: Callbacks, events: tuple[str, str]) -> bool:
    """Say whether there is an enclosing run, and a handler that is told of its input or of its output."""
    if not isinstance(callbacks, BaseCallbackManager) or callbacks.parent_run_id is None:
        return False
    handlers = (*callbacks.handlers, *callbacks.inheritable_handlers)
    if any(callbacks.parent_run_id in getattr(handler, "vouched_runs", ()) for handler in handlers):
        return False
    return any(_records(handler, events) for handler in handlers)


def _records(handler: BaseCallbackHandler, events: tuple[str, str]) -> bool:
    """Say whether a handler does anything at an event of a chain or of a tool."""
    if getattr(handler, "redacts_media", False) and events == _INPUTS:
        return False
    of_chains, of_tools = events
    listens_to_chains = not handler.ignore_chain and _does_something(handler, of_chains)
    return listens_to_chains or (not handler.ignore_agent and _does_something(handler, of_tools))


def _does_something(handler: BaseCallbackHandler, event: str) -> bool:
    # Looked up on the object, not on its class: a handler may answer for events in any way.
    function = getattr(getattr(handler, event), "__func__", None)
    return function not in (getattr(BaseCallbackHandler, event), getattr(AsyncCallbackHandler, event))
