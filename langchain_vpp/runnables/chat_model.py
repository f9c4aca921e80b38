"""Protected chat models: a model of the same concrete class whose every entry point protects first.

:func:`protected_class` puts the mixins of this module in front of the concrete class. So ``isinstance`` checks,
profiles, structured output, usage, caching and rate limits stay the model's own. The protector is an attribute of the
class: ``configurable_fields``, which rebuilds a model through its class, rebuilds a protected one.

The public entry points protect before a run is opened, so callbacks, tracers and the cache key never hold an
original. ``_generate`` and ``_stream`` pass the messages through the gate once more: a message that the gate has put
out passes at once, and one that a callback has changed, or that came by another way, is protected.

Clients that a model hands out (``client``, ``root_client``, ...) are the provider's own. Requests that are sent through
them directly are not protected.
"""

from __future__ import annotations

import functools
import threading
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar, cast, overload
from weakref import WeakKeyDictionary, WeakValueDictionary

from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import Runnable, RunnableBinding, RunnableSerializable
from langchain_core.runnables.config import ensure_config, run_in_executor
from langchain_core.tools import BaseTool

from langchain_vpp.errors import ProtectionError
from langchain_vpp.guard.level import LEVEL_KEY, checked_request_level, requested_level
from langchain_vpp.runnables.calls import check_call, check_callbacks, refuse_media
from langchain_vpp.runnables.classes import move_to_class, subclass_of
from langchain_vpp.runnables.runnable import ConfigurableIngress, Ingress, enclose

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from langchain_core.callbacks import (
        AsyncCallbackManagerForLLMRun,
        CallbackManagerForLLMRun,
        Callbacks,
    )
    from langchain_core.language_models import LanguageModelInput
    from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
    from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult, LLMResult
    from langchain_core.prompt_values import PromptValue
    from langchain_core.runnables import RunnableConfig

    from langchain_vpp.guard.gate import Admission, Gate
    from langchain_vpp.guard.receipt import Receipt

    # Type of super() in the mixins. At run time they stand in front of the concrete class.
    _Model = BaseChatModel
else:
    _Model = object

_M = TypeVar("_M", bound=BaseChatModel)

_COMPOSITIONS: Final = "langchain_core."

RECEIPT_KEY: Final = "vpp"
"""Key of ``response_metadata`` under which the receipt stands."""


class _Entries(ConfigurableIngress, _Model):  # type: ignore[misc]
    """The public entry points of a chat model."""

    vpp_protector: ClassVar[Gate]

    # The versions of Runnable call invoke, stream and their async twins. A provider's own might not.
    batch = Runnable.batch
    abatch = Runnable.abatch
    batch_as_completed = Runnable.batch_as_completed
    abatch_as_completed = Runnable.abatch_as_completed
    transform = Runnable.transform
    atransform = Runnable.atransform

    def invoke(
        self,
        input: LanguageModelInput,  # noqa: A002
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AIMessage:
        """See :meth:`BaseChatModel.invoke`."""
        messages, kwargs = self._enter(input, config, stop, kwargs)
        return super().invoke(messages, config, stop=stop, **kwargs)

    async def ainvoke(
        self,
        input: LanguageModelInput,  # noqa: A002
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AIMessage:
        """See :meth:`BaseChatModel.ainvoke`."""
        messages, kwargs = await self._aenter(input, config, stop, kwargs)
        return await super().ainvoke(messages, config, stop=stop, **kwargs)

    def stream(
        self,
        input: LanguageModelInput,  # noqa: A002
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> Iterator[AIMessageChunk]:
        """See :meth:`BaseChatModel.stream`."""
        messages, kwargs = self._enter(input, config, stop, kwargs)
        yield from super().stream(messages, config, stop=stop, **kwargs)

    async def astream(
        self,
        input: LanguageModelInput,  # noqa: A002
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[AIMessageChunk]:
        """See :meth:`BaseChatModel.astream`."""
        messages, kwargs = await self._aenter(input, config, stop, kwargs)
        async with aclosing(super().astream(messages, config, stop=stop, **kwargs)) as chunks:  # type: ignore[type-var]
            async for chunk in chunks:
                yield chunk

    def stream_events(
        self,
        input: LanguageModelInput,  # noqa: A002
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> Any:
        """See :meth:`BaseChatModel.stream_events`."""
        messages, kwargs = self._enter(input, config, stop, kwargs)
        return super().stream_events(messages, config, stop=stop, **kwargs)

    def astream_events(
        self,
        input: LanguageModelInput,  # noqa: A002
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> Any:
        """See :meth:`BaseChatModel.astream_events`."""
        if kwargs.get("version") == "v3":
            return self._astream_events_v3(input, config, stop, kwargs)
        return self._astream_events(input, config, stop, kwargs)

    async def _astream_events_v3(
        self,
        model_input: LanguageModelInput,
        config: RunnableConfig | None,
        stop: list[str] | None,
        kwargs: dict[str, Any],
    ) -> Any:
        messages, kwargs = await self._aenter(model_input, config, stop, kwargs)
        return await super().astream_events(messages, config, stop=stop, **kwargs)

    async def _astream_events(
        self,
        model_input: LanguageModelInput,
        config: RunnableConfig | None,
        stop: list[str] | None,
        kwargs: dict[str, Any],
    ) -> AsyncIterator[Any]:
        messages, kwargs = await self._aenter(model_input, config, stop, kwargs)
        async with aclosing(super().astream_events(messages, config, stop=stop, **kwargs)) as events:
            async for event in events:
                yield event

    async def astream_log(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002
        """See :meth:`Runnable.astream_log`."""
        messages, kwargs = await self._aenter(input, config, None, kwargs)
        async with aclosing(super().astream_log(messages, config, **kwargs)) as patches:  # type: ignore[type-var]
            async for patch in patches:
                yield patch

    def generate(
        self,
        messages: list[list[BaseMessage]],
        stop: list[str] | None = None,
        callbacks: Callbacks = None,
        **kwargs: Any,
    ) -> LLMResult:
        """See :meth:`BaseChatModel.generate`."""
        refuse_media([stop, kwargs], unknown="pass")
        check_callbacks(callbacks)
        level = _call_level(kwargs)
        admitted = [
            self.vpp_protector.admit(prompt, level=level, callbacks=callbacks).messages for prompt in messages
        ]
        return super().generate(admitted, stop, callbacks, **kwargs)

    async def agenerate(
        self,
        messages: list[list[BaseMessage]],
        stop: list[str] | None = None,
        callbacks: Callbacks = None,
        **kwargs: Any,
    ) -> LLMResult:
        """See :meth:`BaseChatModel.agenerate`."""
        refuse_media([stop, kwargs], unknown="pass")
        check_callbacks(callbacks)
        level = _call_level(kwargs)
        admitted = [
            (await self.vpp_protector.aadmit(prompt, level=level, callbacks=callbacks)).messages
            for prompt in messages
        ]
        return await super().agenerate(admitted, stop, callbacks, **kwargs)

    def generate_prompt(
        self,
        prompts: list[PromptValue],
        stop: list[str] | None = None,
        callbacks: Callbacks = None,
        **kwargs: Any,
    ) -> LLMResult:
        """See :meth:`BaseChatModel.generate_prompt`."""
        return self.generate([prompt.to_messages() for prompt in prompts], stop, callbacks, **kwargs)

    async def agenerate_prompt(
        self,
        prompts: list[PromptValue],
        stop: list[str] | None = None,
        callbacks: Callbacks = None,
        **kwargs: Any,
    ) -> LLMResult:
        """See :meth:`BaseChatModel.agenerate_prompt`."""
        return await self.agenerate([prompt.to_messages() for prompt in prompts], stop, callbacks, **kwargs)

    def get_num_tokens_from_messages(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> int:
        """Count the tokens of protected messages: some providers count over the network."""
        refuse_media([args, kwargs], unknown="pass")
        admitted = self.vpp_protector.protect_messages(messages)
        return super().get_num_tokens_from_messages(admitted, *args, **kwargs)

    def get_num_tokens(self, text: str) -> int:
        """Count the tokens of text without pictures: some providers count over the network."""
        refuse_media(text)
        return super().get_num_tokens(text)

    def get_token_ids(self, text: str) -> list[int]:
        """Tokenize text without pictures: some providers tokenize over the network."""
        refuse_media(text)
        return super().get_token_ids(text)

    def with_fallbacks(self, fallbacks: Sequence[Runnable[Any, Any]], **kwargs: Any) -> Runnable[Any, Any]:  # type: ignore[override]
        """See :meth:`Runnable.with_fallbacks`. Chat models among the fallbacks are protected too."""
        return super().with_fallbacks(
            [_protected_if_model(fallback, self.vpp_protector) for fallback in fallbacks], **kwargs
        )

    def configurable_alternatives(self, which: Any, **kwargs: Any) -> Runnable[Any, Any]:  # type: ignore[override]
        """See :meth:`RunnableSerializable.configurable_alternatives`. Models among them are protected too."""
        alternatives = {
            name: _protected_if_model(value, self.vpp_protector) for name, value in kwargs.items()
        }
        return super().configurable_alternatives(which, **alternatives)

    def __reduce__(self) -> str | tuple[Any, ...]:
        msg = "A protected chat model can't be pickled; call protect() in each process"
        raise TypeError(msg)

    def _enter(
        self,
        model_input: LanguageModelInput,
        config: RunnableConfig | None,
        stop: list[str] | None,
        kwargs: dict[str, Any],
    ) -> tuple[list[BaseMessage], dict[str, Any]]:
        kwargs, level, callbacks = _call_arguments(config, stop, kwargs)
        return self.vpp_protector.admit(model_input, level=level, callbacks=callbacks).messages, kwargs

    async def _aenter(
        self,
        model_input: LanguageModelInput,
        config: RunnableConfig | None,
        stop: list[str] | None,
        kwargs: dict[str, Any],
    ) -> tuple[list[BaseMessage], dict[str, Any]]:
        kwargs, level, callbacks = _call_arguments(config, stop, kwargs)
        admission = await self.vpp_protector.aadmit(model_input, level=level, callbacks=callbacks)
        return admission.messages, kwargs

    def _get_invocation_params(self, stop: list[str] | None = None, **kwargs: Any) -> dict[str, Any]:
        kwargs.pop(LEVEL_KEY, None)
        return super()._get_invocation_params(stop=stop, **kwargs)

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> Any:
        kwargs.pop(LEVEL_KEY, None)
        return super()._get_ls_params(stop=stop, **kwargs)

    def _get_llm_string(self, stop: list[str] | None = None, **kwargs: Any) -> str:
        # The key of the bare model, which sends the same for the same messages. A model that isn't serializable,
        # such as this one, would get a key without its address.
        kwargs.pop(LEVEL_KEY, None)
        bare = move_to_class(self, _bare_class(type(self)))
        return bare._get_llm_string(stop=stop, **kwargs)  # noqa: SLF001

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        admission = self._admit_last(messages, kwargs)
        # The concrete class stands behind this one, so the method is not the abstract one.
        result = super()._generate(  # type: ignore[safe-super]
            admission.messages, stop=stop, run_manager=run_manager, **kwargs
        )
        return _with_receipt(result, admission.receipt)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        admission = await self._aadmit_last(messages, kwargs)
        result = await super()._agenerate(admission.messages, stop=stop, run_manager=run_manager, **kwargs)
        return _with_receipt(result, admission.receipt)

    def _admit_last(self, messages: list[BaseMessage], kwargs: dict[str, Any]) -> Admission:
        """Protect below the entry points, and take the level out of ``kwargs``."""
        level = _call_level(kwargs)
        kwargs.pop(LEVEL_KEY, None)
        return self.vpp_protector.admit(messages, level=level)

    async def _aadmit_last(self, messages: list[BaseMessage], kwargs: dict[str, Any]) -> Admission:
        return await run_in_executor(None, self._admit_last, messages, kwargs)


class _Stream(_Model):
    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        admission = cast("_Entries", self)._admit_last(messages, kwargs)  # noqa: SLF001
        receipt: Receipt | None = admission.receipt
        for chunk in super()._stream(admission.messages, stop=stop, run_manager=run_manager, **kwargs):
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
        admission = await cast("_Entries", self)._aadmit_last(messages, kwargs)  # noqa: SLF001
        receipt: Receipt | None = admission.receipt
        inner = super()._astream(admission.messages, stop=stop, run_manager=run_manager, **kwargs)
        async with aclosing(inner) as chunks:  # type: ignore[type-var]
            async for chunk in chunks:
                if receipt is not None:
                    _add_receipt(chunk, receipt)
                    receipt = None
                yield chunk


class _NativeEvents(_Model):
    """Optional hook of a model that produces protocol events itself."""

    def _stream_chat_model_events(self, messages: list[BaseMessage], **kwargs: Any) -> Iterator[Any]:
        admission = cast("_Entries", self)._admit_last(messages, kwargs)  # noqa: SLF001
        for event in super()._stream_chat_model_events(admission.messages, **kwargs):  # type: ignore[misc]
            yield _event_with_receipt(event, admission.receipt)


class _ANativeEvents(_Model):
    async def _astream_chat_model_events(
        self, messages: list[BaseMessage], **kwargs: Any
    ) -> AsyncIterator[Any]:
        admission = await cast("_Entries", self)._aadmit_last(messages, kwargs)  # noqa: SLF001
        async for event in super()._astream_chat_model_events(admission.messages, **kwargs):  # type: ignore[misc]
            yield _event_with_receipt(event, admission.receipt)


# Mixins for methods whose mere presence tells core, or langchain-tests, that the model can do something.
_OPTIONAL: Final = {
    "_stream": _Stream,
    "_astream": _AStream,
    "_stream_chat_model_events": _NativeEvents,
    "_astream_chat_model_events": _ANativeEvents,
}

_classes: WeakKeyDictionary[Gate, WeakValueDictionary[type, type[BaseChatModel]]] = WeakKeyDictionary()
_classes_lock: Final = threading.Lock()


def protected_class(cls: type[BaseChatModel], protector: Gate) -> type[BaseChatModel]:
    """Derive the protected class of a chat model class.

    The class takes the same arguments as ``cls`` and has its name. Its models are not serializable and can't be
    pickled. The same pair gives the same class for as long as that is in use.

    Args:
        cls: A concrete chat model class.
        protector: Protects the input of its models.

    Raises:
        TypeError: If ``cls`` is no chat model class.
        ProtectionError: If it is protected by another protector already.
    """
    if not (isinstance(cls, type) and issubclass(cls, BaseChatModel)):
        msg = "protected_class() takes a subclass of BaseChatModel"
        raise TypeError(msg)
    if issubclass(cls, _Entries):
        if cls.vpp_protector is protector:
            return cls
        raise ProtectionError("This model is protected by another protector already; protect the bare model.")
    with _classes_lock:
        derived = _classes.setdefault(protector, WeakValueDictionary())
        known = derived.get(cls)
        if known is None:
            mixins = [mixin for name, mixin in _OPTIONAL.items() if _overrides(cls, name)]
            builders = {name: _enclosing(getattr(cls, name)) for name in _builder_names(cls)}
            known = derived[cls] = subclass_of(cls, *mixins, _Entries, vpp_protector=protector, **builders)
        return known


@overload
def protect(target: _M, protector: Gate) -> _M: ...
@overload
def protect(target: Runnable[Any, Any], protector: Gate) -> Runnable[Any, Any]: ...
def protect(target: Any, protector: Gate) -> Any:
    """Protect a chat model, or any other Runnable, agent or graph.

    Args:
        target: A chat model comes back as a model of the same class that shares the original's clients, a
            binding of one (``bind``, ``bind_tools``) as a binding of the protected one, and anything else as
            a :class:`~langchain_vpp.runnables.runnable.ProtectedRunnable`. The chat models inside of LangChain's
            compositions (sequences, fallbacks, branches, ...) are protected too, because a step may make a
            picture that was not in the input. ``target`` itself is not changed.
        protector: Protects the input.

    Raises:
        TypeError: If ``target`` is no Runnable, or a tool (see ``protect_tool``).
        ProtectionError: If it is protected by another protector already.

    Example:
        >>> from langchain_core.language_models import FakeListChatModel
        >>> from langchain_vpp import ImageProtector
        >>> from langchain_vpp.engines import Pixelate
        >>> model = protect(FakeListChatModel(responses=["A cat."]), ImageProtector(Pixelate()))
        >>> isinstance(model, FakeListChatModel)
        True
        >>> model.invoke("What is this?").text
        'A cat.'
    """
    if isinstance(target, BaseChatModel):
        cls = protected_class(type(target), protector)
        return target if isinstance(target, cls) else move_to_class(target, cls)
    if isinstance(target, BaseTool):
        msg = "Use protect_tool(tool, protector) for a tool"
        raise TypeError(msg)
    if not isinstance(target, Runnable):
        msg = f"protect() takes a Runnable, not a {type(target).__name__}"
        raise TypeError(msg)
    if isinstance(target, RunnableBinding) and isinstance(target.bound, BaseChatModel):
        return enclose(target.model_copy(update={"bound": protect(target.bound, protector)}), protector)
    return enclose(_protect_parts(target, protector), protector)


def _protect_parts(part: Any, protector: Gate) -> Any:  # noqa: PLR0911  one table of shapes
    """Protect the chat models in a composed Runnable; functions and graphs keep theirs to themselves."""
    if isinstance(part, Ingress):
        return part
    if (protected := _protected_if_model(part, protector)) is not part:
        return protected
    if isinstance(part, Runnable) and hasattr(type(part), "bind_tools"):
        return enclose(part, protector)  # stands for a model, such as the configurable one of init_chat_model
    if isinstance(part, dict):
        items = {name: _protect_parts(item, protector) for name, item in part.items()}
        return part if all(items[name] is item for name, item in part.items()) else items
    if isinstance(part, (list, tuple)):
        parts = [_protect_parts(item, protector) for item in part]
        unchanged = all(new is old for new, old in zip(parts, part, strict=True))
        return part if unchanged else type(part)(parts)
    if not isinstance(part, RunnableSerializable) or not type(part).__module__.startswith(_COMPOSITIONS):
        return part
    fields = {name: getattr(part, name) for name in type(part).model_fields}
    changed = {
        name: new for name, old in fields.items() if (new := _protect_parts(old, protector)) is not old
    }
    return part.model_copy(update=changed) if changed else part


def _protected_if_model(candidate: Any, protector: Gate) -> Any:
    bound = candidate.bound if isinstance(candidate, RunnableBinding) else candidate
    return protect(candidate, protector) if isinstance(bound, BaseChatModel) else candidate


def _overrides(cls: type[BaseChatModel], name: str) -> bool:
    return getattr(cls, name, None) is not getattr(BaseChatModel, name, None)


def _builder_names(cls: type[BaseChatModel]) -> tuple[str, ...]:
    if _overrides(cls, "bind_tools"):
        return ("bind_tools", "with_structured_output")
    return ("with_structured_output",) if _overrides(cls, "with_structured_output") else ()


def _enclosing(method: Callable[..., Runnable[Any, Any]]) -> Callable[..., Runnable[Any, Any]]:
    """Enclose the Runnable that a method returns, and keep its signature: langchain-tests reads ``tool_choice``."""

    @functools.wraps(method)
    def build(self: _Entries, *args: Any, **kwargs: Any) -> Runnable[Any, Any]:
        return enclose(method(self, *args, **kwargs), self.vpp_protector)

    return build


def _bare_class(cls: type[BaseChatModel]) -> type[BaseChatModel]:
    return next(
        base for base in cls.__mro__ if issubclass(base, BaseChatModel) and not issubclass(base, _Entries)
    )


def _call_arguments(
    config: RunnableConfig | None, stop: list[str] | None, kwargs: dict[str, Any]
) -> tuple[dict[str, Any], float | None, Callbacks]:
    """Check the settings of a call, and put the level of its config into ``kwargs``, down to the receipt."""
    check_call(config, {"stop": stop, **kwargs})
    level = _call_level(kwargs)
    if level is None:
        level = requested_level(config)
    if level is not None:
        kwargs = {**kwargs, LEVEL_KEY: level}
    return kwargs, level, ensure_config(config).get("callbacks")


def _call_level(kwargs: dict[str, Any]) -> float | None:
    level = kwargs.get(LEVEL_KEY)
    return None if level is None else checked_request_level(level)


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
