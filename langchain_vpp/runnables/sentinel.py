"""The last look at models inside of a protected runnable that are not protected themselves.

A function, a tool or the node of a graph may hold a chat model where nobody finds it. What such a model is asked comes
by here before it is sent, and is refused if it holds a picture that the gate has not put out.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

from langchain_core.callbacks import BaseCallbackHandler, BaseCallbackManager
from langchain_core.runnables.config import ensure_config

from langchain_vpp.errors import ProtectionError
from langchain_vpp.guard.conversations import hidden_in
from langchain_vpp.messages.plan import NOTE
from langchain_vpp.runnables.calls import refuse_media
from langchain_vpp.runnables.in_place import InPlaceProtection

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

    from langchain_core.callbacks import Callbacks
    from langchain_core.messages import BaseMessage
    from langchain_core.runnables import RunnableConfig

    from langchain_vpp.guard.gate import Gate
    from langchain_vpp.messages.tree import Finding

_OURS: Final = "langchain_vpp"
_IN_CALL: Final = (
    "Nothing was sent: a chat model inside of the protected runnable, which is not protected itself, was "
    "about to send an original, a handle for one, or hidden text. Protect it too (protect(model, protector))."
)
_IN_EVENT: Final = "An event was not dispatched: it holds an original. The output of a function is protected."


class Sentinel(BaseCallbackHandler):
    """Refuses originals in what unprotected models are asked.

    Args:
        protector: Knows the pictures that it has put out.
    """

    raise_error = True
    run_inline = True
    redacts_media = True
    ignore_agent = True
    ignore_retriever = True
    ignore_retry = True

    def __init__(self, protector: Gate) -> None:
        self.protector = protector
        # Runs of guarded functions: what the function asks a model was made in it, and is in no run yet.
        self.vouched_runs: set[UUID] = set()

    def on_chat_model_start(
        self, serialized: dict[str, Any] | None, messages: list[list[BaseMessage]], **_: Any
    ) -> None:
        """Look at the messages of a chat model. A protected one looks itself."""
        if (serialized or {}).get("id", [""])[0] == _OURS:
            return
        for each in messages:
            _refuse_originals(self.protector, each)

    def on_chain_start(self, serialized: Any, inputs: Any, **kwargs: Any) -> None:  # noqa: ARG002  as in the base class
        """Look at the request of a decision model, which runs as a chain of this kind."""
        if kwargs.get("run_type") == "llm":
            _OnlyKnown(self.protector, "a model call", _IN_CALL).value(inputs)

    def on_custom_event(self, name: str, data: Any, run_id: UUID, **_: Any) -> None:  # noqa: ARG002
        """Look at an event that a function dispatches: handlers and streams get it as it is."""
        _OnlyKnown(self.protector, "an event", _IN_EVENT).value(data)

    def on_llm_start(self, serialized: Any, prompts: list[str], **_: Any) -> None:  # noqa: ARG002  as in the base class
        """Look at the prompts of a text model."""
        refuse_media(prompts)
        _refuse_hidden(self.protector, prompts, _IN_CALL)


class _OnlyKnown(InPlaceProtection):
    """Refuses pictures that the protector has not put out."""

    def __init__(self, protector: Gate, place: str, refusal: str) -> None:
        super().__init__(protector, place, None, None)
        self._refusal = refusal

    def admitted(self, message: BaseMessage) -> BaseMessage:
        _refuse_originals(self._protector, [message], self._refusal)
        return message

    def refuse(self, finding: Finding, value: Any) -> Any:
        refused = super().refuse(finding, value)
        if isinstance(refused, str) and refused == NOTE:
            raise ProtectionError(self._refusal)  # nobody puts the note in its place
        return refused


def _refuse_originals(protector: Gate, messages: list[BaseMessage], refusal: str = _IN_CALL) -> None:
    if not protector.has_put_out(messages):
        raise ProtectionError(refusal)
    _refuse_hidden(protector, messages, refusal)


def _refuse_hidden(protector: Gate, value: list[Any], refusal: str) -> None:
    """Refuse text that the conversation hides: a function gets it, but an unprotected model must not."""
    hidden = hidden_in(value, protector.conversations.current().vault)
    if any(new is not old for new, old in zip(hidden, value, strict=True)):
        raise ProtectionError(refusal)


@contextlib.contextmanager
def vouching(protector: Gate) -> Iterator[None]:
    """Say, while a guarded function runs, that its own run has recorded nothing of what it makes."""
    callbacks = ensure_config().get("callbacks")
    run_id = callbacks.parent_run_id if isinstance(callbacks, BaseCallbackManager) else None
    sentinel = _sentinel(callbacks, protector)
    if sentinel is None or run_id is None:
        yield
        return
    sentinel.vouched_runs.add(run_id)
    try:
        yield
    finally:
        sentinel.vouched_runs.discard(run_id)


def holds_no_original(protector: Gate, value: Any) -> bool:
    """Say whether every picture in what a run has recorded is one that the protector has put out."""
    try:
        _OnlyKnown(protector, "a run", _IN_CALL).value(value)
    except ProtectionError:
        return False
    return True


def watched(config: RunnableConfig | None, protector: Gate) -> tuple[RunnableConfig, bool]:
    """Put a sentinel in front of the handlers of a call.

    Returns:
        The config of the call inside, and whether a sentinel of this protector was there already: the call stands
        inside of another one of a protected runnable.
    """
    callbacks = ensure_config(config).get("callbacks")
    if _sentinel(callbacks, protector) is not None:
        return {**(config or {})}, True
    return {**(config or {}), "callbacks": _with_first(callbacks, Sentinel(protector))}, False


def is_watched(callbacks: Callbacks, protector: Gate) -> bool:
    """Say whether a call stands inside of another one of a protected runnable of the same protector."""
    return _sentinel(callbacks, protector) is not None


def _sentinel(callbacks: Callbacks, protector: Gate) -> Sentinel | None:
    handlers = callbacks.handlers if isinstance(callbacks, BaseCallbackManager) else callbacks or []
    found = (
        handler for handler in handlers if isinstance(handler, Sentinel) and handler.protector is protector
    )
    return next(found, None)


def _with_first(callbacks: Callbacks, sentinel: Sentinel) -> Callbacks:
    if not isinstance(callbacks, BaseCallbackManager):
        return [sentinel, *(callbacks or [])]
    manager = callbacks.copy()
    manager.handlers = [sentinel, *callbacks.handlers]
    manager.inheritable_handlers = [sentinel, *callbacks.inheritable_handlers]
    return manager
