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
from langchain_vpp.runnables.calls import refuse_media
from langchain_vpp.runnables.in_place import InPlaceProtection

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

    from langchain_core.callbacks import Callbacks
    from langchain_core.messages import BaseMessage
    from langchain_core.runnables import RunnableConfig

    from langchain_vpp.guard.gate import Gate

_OURS: Final = "langchain_vpp"


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
    ignore_custom_event = True

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
            _OnlyKnown(self.protector, "a model call", None, None).value(inputs)

    def on_llm_start(self, serialized: Any, prompts: list[str], **_: Any) -> None:  # noqa: ARG002  as in the base class
        """Look at the prompts of a text model."""
        refuse_media(prompts)


class _OnlyKnown(InPlaceProtection):
    """Refuses pictures that the protector has not put out."""

    def admitted(self, message: BaseMessage) -> BaseMessage:
        _refuse_originals(self._protector, [message])
        return message


def _refuse_originals(protector: Gate, messages: list[BaseMessage]) -> None:
    if not protector.has_put_out(messages):
        raise ProtectionError(
            "Nothing was sent: a chat model inside of the protected runnable, which is not protected itself, was "
            "about to send an original. Protect it too (protect(model, protector))."
        )


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
