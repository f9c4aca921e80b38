"""Public entry points of a protected chat model.

Each protects the messages before a run is opened, so callbacks, tracers and the cache key never hold an original.
"""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import Runnable

from langchain_vpp.guard.level import LEVEL_KEY
from langchain_vpp.guard.pool import in_thread
from langchain_vpp.runnables.calls import (
    CALL_CONVERSATION,
    CARRIED,
    call_conversation,
    call_level,
    check_call,
    check_callbacks,
    check_model,
    refuse_media,
    request_options,
)
from langchain_vpp.runnables.classes import move_to_class
from langchain_vpp.runnables.restoring import restoring as restoring_for

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from langchain_core.callbacks import Callbacks
    from langchain_core.language_models import LanguageModelInput
    from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
    from langchain_core.outputs import LLMResult
    from langchain_core.prompt_values import PromptValue
    from langchain_core.runnables import RunnableConfig

    from langchain_vpp.guard.gate import Gate
    from langchain_vpp.runnables.restoring import Restoring

    # Type of super() in the mixins. At run time they stand in front of the concrete class.
    _Model = BaseChatModel
else:
    _Model = object


class Entries(_Model):
    """The public entry points of a chat model."""

    vpp_protector: ClassVar[Gate]
    vpp_restores: ClassVar[bool] = False

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
        entered = self._enter(input, config, stop, kwargs)
        # Values are put back in generate(), which this calls.
        return super().invoke(entered.messages, config, stop=stop, **entered.kwargs)

    async def ainvoke(
        self,
        input: LanguageModelInput,  # noqa: A002
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AIMessage:
        """See :meth:`BaseChatModel.ainvoke`."""
        entered = await self._aenter(input, config, stop, kwargs)
        return await super().ainvoke(entered.messages, config, stop=stop, **entered.kwargs)

    def stream(
        self,
        input: LanguageModelInput,  # noqa: A002
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> Iterator[AIMessageChunk]:
        """See :meth:`BaseChatModel.stream`."""
        entered = self._enter(input, config, stop, kwargs)
        chunks = super().stream(entered.messages, config, stop=stop, **entered.kwargs)
        yield from entered.restoring.chunks(chunks)

    async def astream(
        self,
        input: LanguageModelInput,  # noqa: A002
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[AIMessageChunk]:
        """See :meth:`BaseChatModel.astream`."""
        entered = await self._aenter(input, config, stop, kwargs)
        inner = super().astream(entered.messages, config, stop=stop, **entered.kwargs)
        async with aclosing(inner) as chunks:  # type: ignore[type-var]
            async for chunk in entered.restoring.achunks(chunks):
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
        entered = self._enter(input, config, stop, kwargs)
        return super().stream_events(entered.messages, config, stop=stop, **entered.kwargs)

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
        entered = await self._aenter(model_input, config, stop, kwargs)
        return await super().astream_events(entered.messages, config, stop=stop, **entered.kwargs)

    async def _astream_events(
        self,
        model_input: LanguageModelInput,
        config: RunnableConfig | None,
        stop: list[str] | None,
        kwargs: dict[str, Any],
    ) -> AsyncIterator[Any]:
        entered = await self._aenter(model_input, config, stop, kwargs)
        inner = super().astream_events(entered.messages, config, stop=stop, **entered.kwargs)
        async with aclosing(inner) as events:
            async for event in entered.restoring.aevents(events):
                yield event

    async def astream_log(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002
        """See :meth:`Runnable.astream_log`."""
        entered = await self._aenter(input, config, None, kwargs)
        inner = super().astream_log(entered.messages, config, **entered.kwargs)
        async with aclosing(inner) as patches:  # type: ignore[type-var]
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
        check_model(self)
        refuse_media([stop, kwargs], unknown="pass")
        check_callbacks(callbacks)
        level, restoring = call_level(kwargs), self._restoring(call_conversation(kwargs), callbacks)
        kwargs, name = _named(kwargs, restoring), restoring.conversation.name
        admitted = [
            self.vpp_protector.admit(prompt, level=level, callbacks=callbacks, conversation=name).messages
            for prompt in messages
        ]
        return restoring.result(super().generate(admitted, stop, callbacks, **kwargs))

    async def agenerate(
        self,
        messages: list[list[BaseMessage]],
        stop: list[str] | None = None,
        callbacks: Callbacks = None,
        **kwargs: Any,
    ) -> LLMResult:
        """See :meth:`BaseChatModel.agenerate`."""
        check_model(self)
        refuse_media([stop, kwargs], unknown="pass")
        check_callbacks(callbacks)
        level = call_level(kwargs)
        restoring = await self._arestoring(call_conversation(kwargs), callbacks)
        kwargs, name = _named(kwargs, restoring), restoring.conversation.name
        admitted = [
            (
                await self.vpp_protector.aadmit(prompt, level=level, callbacks=callbacks, conversation=name)
            ).messages
            for prompt in messages
        ]
        result = await super().agenerate(admitted, stop, callbacks, **kwargs)
        return await in_thread(restoring.result, result) if restoring.is_due else result

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

    def __reduce__(self) -> str | tuple[Any, ...]:
        msg = "A protected chat model can't be pickled; call protect() in each process"
        raise TypeError(msg)

    def _enter(
        self,
        model_input: LanguageModelInput,
        config: RunnableConfig | None,
        stop: list[str] | None,
        kwargs: dict[str, Any],
    ) -> _Entered:
        check_model(self)
        kwargs, options = _call_arguments(config, stop, kwargs)
        restoring = self._restoring(options.pop("conversation"), options["callbacks"])
        name = restoring.conversation.name
        messages = self.vpp_protector.admit(model_input, conversation=name, **options).messages
        return _Entered(messages, _named(kwargs, restoring), restoring)

    async def _aenter(
        self,
        model_input: LanguageModelInput,
        config: RunnableConfig | None,
        stop: list[str] | None,
        kwargs: dict[str, Any],
    ) -> _Entered:
        check_model(self)
        kwargs, options = _call_arguments(config, stop, kwargs)
        restoring = await self._arestoring(options.pop("conversation"), options["callbacks"])
        name = restoring.conversation.name
        admission = await self.vpp_protector.aadmit(model_input, conversation=name, **options)
        return _Entered(admission.messages, _named(kwargs, restoring), restoring)

    def _restoring(self, conversation: str | None, callbacks: Callbacks) -> Restoring:
        gate = self.vpp_protector
        opened = gate.conversations.open(conversation)
        return restoring_for(gate, opened, callbacks, restores=self.vpp_restores)

    async def _arestoring(self, conversation: str | None, callbacks: Callbacks) -> Restoring:
        gate = self.vpp_protector
        opened = await gate.conversations.aopen(conversation)
        return restoring_for(gate, opened, callbacks, restores=self.vpp_restores)

    def _get_invocation_params(self, stop: list[str] | None = None, **kwargs: Any) -> dict[str, Any]:
        kwargs = _sent(kwargs)
        return super()._get_invocation_params(stop=stop, **kwargs)

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> Any:
        kwargs = _sent(kwargs)
        return super()._get_ls_params(stop=stop, **kwargs)

    def _get_llm_string(self, stop: list[str] | None = None, **kwargs: Any) -> str:
        # The key of the bare model, which sends the same for the same messages. A model that isn't serializable,
        # such as this one, would get a key without its address.
        kwargs = _sent(kwargs)
        bare = move_to_class(self, bare_class(type(self)))
        return bare._get_llm_string(stop=stop, **kwargs)  # noqa: SLF001


def bare_class(cls: type[BaseChatModel]) -> type[BaseChatModel]:
    """Return the class from which a protected one was derived."""
    return next(
        base for base in cls.__mro__ if issubclass(base, BaseChatModel) and not issubclass(base, Entries)
    )


class _Entered(NamedTuple):
    """Protected messages, the arguments of the call, and what puts values back in its results."""

    messages: list[BaseMessage]
    kwargs: dict[str, Any]
    restoring: Restoring


def _named(kwargs: dict[str, Any], restoring: Restoring) -> dict[str, Any]:
    """Return the arguments of a call with the name of its conversation, where the hooks need it."""
    if not restoring.gate.conversations.is_needed:
        return kwargs
    return {**kwargs, CALL_CONVERSATION: restoring.conversation.name}


def _sent(kwargs: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in kwargs.items() if name not in CARRIED}


def _call_arguments(
    config: RunnableConfig | None, stop: list[str] | None, kwargs: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Check the settings of a call, and put the level of its config into ``kwargs``, down to the receipt."""
    check_call(config, {"stop": stop, **kwargs})
    options = request_options(config)
    level = call_level(kwargs)
    if level is not None:
        options["level"] = level
    elif options["level"] is not None:
        kwargs = {**kwargs, LEVEL_KEY: options["level"]}
    options["conversation"] = kwargs.get(CALL_CONVERSATION) or options["conversation"]
    return kwargs, options
