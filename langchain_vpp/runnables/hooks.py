"""Hooks of a protected chat model, below its entry points: the last defence, and the receipt.

The messages pass the gate once more before they are sent. A message that the gate has put out passes at once; one that
a callback has changed, or that came by another way, is protected.
"""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final, cast

from langchain_vpp.guard.conversations import hidden_in
from langchain_vpp.runnables.calls import CARRIED, call_conversation, call_level, check_model

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import BaseMessage
    from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

    from langchain_vpp.guard.gate import Admission, Gate
    from langchain_vpp.guard.receipt import Receipt

    # Type of super() in the mixins. At run time they stand in front of the concrete class.
    _Model = BaseChatModel
else:
    _Model = object

RECEIPT_KEY: Final = "vpp"
"""Key of ``response_metadata`` under which the receipt stands."""


class Hooks(_Model):
    """Hooks that every chat model has."""

    if TYPE_CHECKING:
        vpp_protector: Gate

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        settings = {"stop": stop, **kwargs}
        admission = self._admit_last(messages, settings)
        # The concrete class stands behind this one, so the method is not the abstract one.
        result = super()._generate(  # type: ignore[safe-super]
            admission.messages, run_manager=run_manager, **settings
        )
        return _with_receipt(result, admission.receipt)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        settings = {"stop": stop, **kwargs}
        admission = await self._aadmit_last(messages, settings)
        result = await super()._agenerate(admission.messages, run_manager=run_manager, **settings)
        return _with_receipt(result, admission.receipt)

    def _admit_last(self, messages: list[BaseMessage], kwargs: dict[str, Any]) -> Admission:
        """Protect below the entry points, and take what travels in ``kwargs`` out of them."""
        check_model(self)
        options = _taken(kwargs)
        admission = self.vpp_protector.admit(messages, **options)
        _hide(kwargs, self.vpp_protector, options["conversation"])
        return admission

    async def _aadmit_last(self, messages: list[BaseMessage], kwargs: dict[str, Any]) -> Admission:
        check_model(self)
        options = _taken(kwargs)
        admission = await self.vpp_protector.aadmit(messages, **options)
        _hide(kwargs, self.vpp_protector, options["conversation"])
        return admission


def _taken(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Take what travels in the arguments of a call out of them."""
    options = {"level": call_level(kwargs), "conversation": call_conversation(kwargs)}
    for key in CARRIED:
        kwargs.pop(key, None)
    return options


def _hide(kwargs: dict[str, Any], gate: Gate, conversation: str | None) -> None:
    """Put tokens into the arguments of a call, such as the descriptions of tools."""
    if kwargs and conversation is not None and gate.conversations.is_needed:
        kwargs.update(hidden_in(kwargs, gate.conversations.open(conversation).vault))


class _Stream(_Model):
    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        settings = {"stop": stop, **kwargs}
        admission = cast("Hooks", self)._admit_last(messages, settings)  # noqa: SLF001
        receipt: Receipt | None = admission.receipt
        for chunk in super()._stream(admission.messages, run_manager=run_manager, **settings):
            if receipt is not None:
                _add_receipt(chunk, receipt)
                receipt = None
            yield chunk


class _AStream(_Model):
    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        settings = {"stop": stop, **kwargs}
        admission = await cast("Hooks", self)._aadmit_last(messages, settings)  # noqa: SLF001
        receipt: Receipt | None = admission.receipt
        inner = super()._astream(admission.messages, run_manager=run_manager, **settings)
        async with aclosing(inner) as chunks:  # type: ignore[type-var]
            async for chunk in chunks:
                if receipt is not None:
                    _add_receipt(chunk, receipt)
                    receipt = None
                yield chunk


class _NativeEvents(_Model):
    """Optional hook of a model that produces protocol events itself."""

    def _stream_chat_model_events(self, messages: list[BaseMessage], **kwargs: Any) -> Iterator[Any]:
        admission = cast("Hooks", self)._admit_last(messages, kwargs)  # noqa: SLF001
        for event in super()._stream_chat_model_events(admission.messages, **kwargs):  # type: ignore[misc]
            yield _event_with_receipt(event, admission.receipt)


class _ANativeEvents(_Model):
    async def _astream_chat_model_events(
        self, messages: list[BaseMessage], **kwargs: Any
    ) -> AsyncIterator[Any]:
        admission = await cast("Hooks", self)._aadmit_last(messages, kwargs)  # noqa: SLF001
        async for event in super()._astream_chat_model_events(admission.messages, **kwargs):  # type: ignore[misc]
            yield _event_with_receipt(event, admission.receipt)


# Mixins for methods whose mere presence tells core, or langchain-tests, that the model can do something.
OPTIONAL_HOOKS: Final = {
    "_stream": _Stream,
    "_astream": _AStream,
    "_stream_chat_model_events": _NativeEvents,
    "_astream_chat_model_events": _ANativeEvents,
}


def _with_receipt(result: ChatResult, receipt: Receipt) -> ChatResult:
    for generation in result.generations:
        _add_receipt(generation, receipt)
    return result


def _add_receipt(generation: ChatGeneration, receipt: Receipt) -> None:
    message = generation.message
    message.response_metadata = {**message.response_metadata, RECEIPT_KEY: receipt.as_metadata()}


def _event_with_receipt(event: Any, receipt: Receipt) -> Any:
    if not isinstance(event, dict) or event.get("event") != "message-finish":
        return event
    return {**event, "metadata": {**(event.get("metadata") or {}), RECEIPT_KEY: receipt.as_metadata()}}
