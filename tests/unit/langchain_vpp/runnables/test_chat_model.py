"""protect() and protected_class() apart from any provider."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.language_models import BaseChatModel, FakeListChatModel, GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableLambda, RunnablePassthrough

from langchain_vpp import ImageProtector, ProtectionError, protect, protected_class
from langchain_vpp.engines import Pixelate
from langchain_vpp.testing import assert_no_leak
from tests.unit.langchain_vpp.runnables.models import MESSAGE, PICTURE, Echo, Native, Streaming


def test_a_protected_model_is_of_the_same_class_and_shares_its_state(protector: ImageProtector) -> None:
    bare = Echo(temperature=0.1)
    model = protect(bare, protector)
    assert isinstance(model, Echo)
    assert type(model).__name__ == "Echo"
    assert (model.temperature, model.seen) == (0.1, bare.seen)
    assert model._get_ls_params() == bare._get_ls_params()
    assert type(bare) is Echo


def test_protecting_twice(protector: ImageProtector) -> None:
    model = protect(Echo(), protector)
    assert protect(model, protector) is model
    with pytest.raises(ProtectionError, match="already"):
        protect(model, ImageProtector(Pixelate()))
    runnable = protect(RunnablePassthrough(), protector)
    assert protect(runnable, protector) is runnable


def test_the_same_pair_gives_the_same_class(protector: ImageProtector) -> None:
    cls = protected_class(Echo, protector)
    assert protected_class(Echo, protector) is cls
    assert protected_class(cls, protector) is cls
    assert protected_class(Echo, ImageProtector(Pixelate())) is not cls
    assert cls(temperature=0.3).invoke([MESSAGE]).response_metadata["vpp"]["images"]


@pytest.mark.parametrize("target", [7, "model", lambda messages: messages, Echo])
def test_only_runnables_can_be_protected(target: Any, protector: ImageProtector) -> None:
    with pytest.raises(TypeError):
        protect(target, protector)


def test_only_chat_model_classes_have_a_protected_class(protector: ImageProtector) -> None:
    for candidate in (RunnableLambda, Echo(), None):
        with pytest.raises(TypeError):
            protected_class(candidate, protector)  # type: ignore[arg-type]


@pytest.mark.parametrize("guard", [Pixelate(), "staff-cards", None])
def test_an_engine_is_no_protector_and_the_error_says_what_is(guard: Any) -> None:
    for make in (lambda: protect(Echo(), guard), lambda: protected_class(Echo, guard)):
        with pytest.raises(TypeError, match=r"nothing was protected.*Give an ImageProtector"):
            make()


@pytest.mark.parametrize("cls", [Echo, Streaming, Native])
def test_private_methods_get_protected_messages_even_if_called_directly(
    cls: type[Echo], protector: ImageProtector
) -> None:
    model = protect(cls(seen=[]), protector)
    model._generate([MESSAGE])
    if cls is not Echo:
        list(model._stream([MESSAGE]))
    if cls is Native:
        list(model._stream_chat_model_events([MESSAGE]))
        stream = model.stream_events([MESSAGE], version="v3")
        assert stream.output.response_metadata["vpp"]["images"]
    assert len(model.seen) == {Echo: 1, Streaming: 2, Native: 4}[cls]
    assert_no_leak(PICTURE, model.seen)


def test_what_a_model_cannot_do_its_protected_twin_does_not_pretend(protector: ImageProtector) -> None:
    cls = protected_class(Echo, protector)
    assert cls._stream is BaseChatModel._stream
    assert cls.bind_tools is BaseChatModel.bind_tools
    assert cls.with_structured_output is BaseChatModel.with_structured_output
    assert [chunk.text for chunk in cls().stream([MESSAGE])] == ["ok"]


def test_a_bare_models_cached_serialized_form_does_not_survive(protector: ImageProtector) -> None:
    bare = Echo()
    assert bare._serialized["type"] == "constructor"
    assert protect(bare, protector)._serialized["type"] == "not_implemented"


def test_copies_stay_protected(protector: ImageProtector) -> None:
    model = protect(Echo(), protector)
    for clone in (
        copy.copy(model),
        model.model_copy(update={"temperature": 0.1}),
        type(model)(temperature=0.1),
    ):
        clone.seen = []
        clone.invoke([MESSAGE])
        assert len(clone.seen) == 1
        assert_no_leak(PICTURE, clone.seen)


def test_text_shares_the_cache_with_the_bare_model(protector: ImageProtector) -> None:
    cache = InMemoryCache()
    bare = FakeListChatModel(responses=["one", "two", "three"], cache=cache)
    model = protect(bare, protector)
    assert bare.invoke("Hello.").text == model.invoke("Hello.").text == "one"


def test_a_cached_answer_keeps_the_receipt_of_what_was_sent(protector: ImageProtector) -> None:
    model = protect(GenericFakeChatModel(messages=iter([AIMessage("one")]), cache=InMemoryCache()), protector)
    first, second = model.invoke([MESSAGE]), model.invoke([MESSAGE])
    assert first.response_metadata["vpp"] == second.response_metadata["vpp"]


def test_fallbacks_and_alternatives_that_are_models_get_receipts_too(protector: ImageProtector) -> None:
    class Failing(Echo):
        def _generate(self, *args: Any, **kwargs: Any) -> Any:
            raise OSError

    fallback = Echo(seen=[])
    answer = (
        protect(Failing(), protector).with_fallbacks([fallback, fallback.bind(stop=["x"])]).invoke([MESSAGE])
    )
    assert answer.response_metadata["vpp"]["images"]
    assert_no_leak(PICTURE, fallback.seen)


def test_a_refusal_never_reaches_a_fallback(protector: ImageProtector) -> None:
    fallback = Echo(seen=[])
    runnable = protect(Echo(), protector).with_fallbacks([fallback])
    with pytest.raises(ProtectionError):
        runnable.invoke([HumanMessage([{"type": "hologram"}])])
    assert not fallback.seen


def test_one_refused_input_does_not_stop_the_others_of_a_batch(protector: ImageProtector) -> None:
    model = protect(Echo(), protector)
    good, bad = [MESSAGE], [HumanMessage([{"type": "hologram"}])]
    answers = model.batch([good, bad, good], return_exceptions=True)
    assert [type(answer) for answer in answers] == [AIMessage, ProtectionError, AIMessage]
