"""protect(), protected_class() and ProtectedRunnable apart from any provider."""

from __future__ import annotations

import base64
import copy
import dataclasses
import pickle
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.language_models import BaseChatModel, FakeListChatModel, GenericFakeChatModel
from langchain_core.load import dumps, loads
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.prompt_values import ChatPromptValue, StringPromptValue
from langchain_core.runnables import RunnableLambda, RunnablePassthrough
from pydantic import BaseModel, PrivateAttr

from langchain_vpp import ImageProtector, ProtectedRunnable, ProtectionError, protect, protected_class
from langchain_vpp.engines import Pixelate
from langchain_vpp.runnables.runnable import ProtectedBinding
from langchain_vpp.testing import assert_no_leak
from tests.integration.recording import noise_png

if TYPE_CHECKING:
    from collections.abc import Iterator

PICTURE = noise_png(31)
ENCODED = base64.b64encode(PICTURE).decode()
BLOCK = {"type": "image", "base64": ENCODED, "mime_type": "image/png"}
MESSAGE = HumanMessage([BLOCK])


class Echo(BaseChatModel):
    """Keeps what its private methods get."""

    seen: list[Any] = []  # noqa: RUF012
    temperature: float = 0.5

    @property
    def _llm_type(self) -> str:
        return "echo"

    @classmethod
    def is_lc_serializable(cls) -> bool:
        return True

    def _generate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> Any:
        self.seen.append((messages, kwargs))
        return ChatResult(generations=[ChatGeneration(message=AIMessage("ok"))])


class Streaming(Echo):
    def _stream(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        self.seen.append((messages, kwargs))
        for text in ("o", "k"):
            yield ChatGenerationChunk(message=AIMessageChunk(text))


class Native(Streaming):
    """Produces protocol events itself, by the hook that core looks for by name."""

    def _stream_chat_model_events(self, messages: list[BaseMessage], **kwargs: Any) -> Iterator[Any]:
        self.seen.append((messages, kwargs))
        yield {"event": "message-start", "id": "1", "role": "ai"}
        yield {"event": "content-block-start", "index": 0, "content": {"type": "text", "text": ""}}
        yield {"event": "content-block-delta", "index": 0, "delta": {"type": "text-delta", "text": "ok"}}
        yield {"event": "content-block-finish", "index": 0, "content": {"type": "text", "text": "ok"}}
        yield {"event": "message-finish", "reason": "stop"}


@pytest.fixture
def protector() -> ImageProtector:
    return ImageProtector(Pixelate(), level=0.7, on_upstream_trace="raise")


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


def test_or_protects_models_runnables_functions_and_mappings(protector: ImageProtector) -> None:
    assert isinstance(protector | Echo(), Echo)
    assert isinstance(protector | (lambda value: value), ProtectedRunnable)
    assert isinstance(protector | {"same": RunnablePassthrough()}, ProtectedRunnable)
    assert isinstance(protector | Echo() | (lambda message: message.text), ProtectedRunnable)
    assert (protector | Echo() | (lambda message: message.text)).invoke([MESSAGE]) == "ok"


def test_a_protector_cannot_stand_inside_a_chain(protector: ImageProtector) -> None:
    with pytest.raises(TypeError):
        RunnablePassthrough() | protector  # type: ignore[operator]
    with pytest.raises(TypeError, match="inside a chain"):
        7 | protector


def test_a_chain_in_front_of_a_protected_model_is_seen_by_the_guard(protector: ImageProtector) -> None:
    from tests.unit.langchain_vpp.test_image_protector import Recording

    chain = RunnablePassthrough() | protect(Echo(), protector)
    with pytest.raises(ProtectionError, match="enclosing run"):
        chain.invoke([MESSAGE], {"callbacks": [Recording()]})


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


def test_the_level_of_a_request_does_not_reach_the_model(protector: ImageProtector) -> None:
    model = protect(Streaming(seen=[]), protector)
    answer = model.invoke([MESSAGE], {"configurable": {"vpp_level": 0.9}}, other=1)
    list(model.stream([MESSAGE], {"configurable": {"vpp_level": 0.9}}))
    assert answer.response_metadata["vpp"]["images"][0]["level"] == 0.9
    assert [kwargs for _, kwargs in model.seen] == [{"other": 1}, {}]


@pytest.mark.parametrize("level", [2, "high", None.__class__])
def test_a_wrong_level_in_the_config_sends_nothing(level: Any, protector: ImageProtector) -> None:
    model = protect(Echo(seen=[]), protector)
    for runnable in (model, model | RunnablePassthrough()):
        with pytest.raises(ProtectionError, match="vpp_level"):
            runnable.invoke([MESSAGE], {"configurable": {"vpp_level": level}})
    assert not model.seen


HIDING_PLACES: dict[str, dict[str, Any]] = {
    "argument": {
        "extra_body": {"messages": [{"content": [{"image_url": f"data:image/png;base64,{ENCODED}"}]}]}
    },
    "bytes": {"image": PICTURE},
    "stop": {"stop": [ENCODED]},
    "metadata": {"config": {"metadata": {"picture": ENCODED}}},
    "tag": {"config": {"tags": [ENCODED]}},
    "run name": {"config": {"run_name": ENCODED}},
    "configurable": {"config": {"configurable": {"picture": ENCODED}}},
}


@pytest.mark.parametrize("place", HIDING_PLACES)
def test_a_picture_in_the_arguments_of_a_call_is_refused(place: str, protector: ImageProtector) -> None:
    model = protect(Echo(seen=[]), protector)
    for runnable in (model, model | RunnablePassthrough(), model.bind()):
        with pytest.raises(ProtectionError) as caught:
            runnable.invoke("Hello.", **HIDING_PLACES[place])
        assert_no_leak(PICTURE, caught.value.args)
    assert not model.seen


def test_a_picture_in_text_whose_tokens_are_counted_is_refused(protector: ImageProtector) -> None:
    model = protect(Echo(custom_get_token_ids=lambda text: [len(text)]), protector)
    assert model.get_num_tokens("Hello.") == 1
    for call in (model.get_num_tokens, model.get_token_ids):
        with pytest.raises(ProtectionError):
            call(ENCODED)


def test_protected_things_are_not_serializable_and_cannot_be_pickled(protector: ImageProtector) -> None:
    model = protect(Echo(), protector)
    model._serialized  # noqa: B018  cached by core on first use
    for thing in (
        model,
        copy.copy(model),
        model.bind(stop=["x"]),
        model | RunnablePassthrough(),
        model.with_retry(),
    ):
        with pytest.raises(NotImplementedError):
            loads(dumps(thing), allowed_objects="all")
        with pytest.raises(TypeError, match="pickled"):
            pickle.dumps(thing)


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


def test_bindings_of_every_kind_stay_protected_bindings(protector: ImageProtector) -> None:
    binding = protect(Echo(), protector).bind(a=1)
    for derived in (
        binding,
        binding.bind(b=2),
        binding.with_config(tags=["t"]),
        binding.with_listeners(on_start=lambda run: None),
        binding.with_types(output_type=AIMessage),
        protect(Echo().bind(a=1), protector),
    ):
        assert isinstance(derived, ProtectedBinding)
        assert derived.vpp_protector is protector
        assert derived.kwargs["a"] == 1


def test_a_tool_made_of_a_protected_runnable_refuses_pictures_in_its_arguments(
    protector: ImageProtector,
) -> None:
    runnable = protect(
        RunnableLambda(lambda text: text.upper()).with_types(input_type=str, output_type=str), protector
    )
    tool = runnable.as_tool(name="upper", description="Upper case.")
    assert tool.invoke("hello") == "HELLO"
    with pytest.raises(ProtectionError):
        tool.invoke(ENCODED)


class Pair(NamedTuple):
    first: Any
    second: Any


@dataclasses.dataclass(frozen=True)
class Record:
    messages: list[Any]
    note: str = "note"


class State(BaseModel):
    messages: list[Any]
    _hidden: Any = PrivateAttr(default=None)


INPUTS: dict[str, Any] = {
    "message": MESSAGE,
    "messages": [MESSAGE, MESSAGE],
    "tuple": ("user", [BLOCK]),
    "role": {"role": "user", "content": [BLOCK]},
    "type": {"type": "human", "content": [BLOCK]},
    "prompt value": ChatPromptValue(messages=[MESSAGE]),
    "mapping": {"a": {"b": [MESSAGE]}, "n": 1},
    "deque": deque([MESSAGE], maxlen=3),
    "named tuple": Pair(MESSAGE, None),
    "dataclass": Record([MESSAGE]),
    "pydantic": State(messages=[MESSAGE]),
}


@pytest.mark.parametrize("shape", INPUTS)
def test_messages_are_protected_wherever_they_stand_in_the_input(
    shape: str, protector: ImageProtector
) -> None:
    value = INPUTS[shape]
    before = copy.deepcopy(value)
    result = protect(RunnablePassthrough(), protector).invoke(value)
    assert value == before
    assert_no_leak(PICTURE, result)
    assert "/9j/" in str(result), "the protected picture is missing"
    if shape not in ("tuple", "role", "type"):
        assert type(result) is type(value)


PLAIN: list[Any] = [
    "text", 1, 2.5, True, None, {"a": [1, "b", None]}, ("user", "Hello."), ("a", "b"), {"x", "y"}, {1: {2:
    "z"}}, StringPromptValue(text="text"), {"type": "invoice", "content": "paid"}, [["human", "x"], ("ai",
    "y")],
]  # fmt: skip


@pytest.mark.parametrize("value", PLAIN)
def test_plain_data_pass_unchanged(value: Any, protector: ImageProtector) -> None:
    assert protect(RunnablePassthrough(), protector).invoke(value) == value


class Opaque:
    pass


def _state_with_a_hidden_picture() -> State:
    state = State(messages=[])
    state._hidden = PICTURE
    return state


REFUSED: list[Any] = [
    PICTURE, ENCODED, {"a": [ENCODED]}, {ENCODED: 1}, {"a": PICTURE}, Opaque(), [Opaque()], {Opaque(): 1},
    iter([1]), bytearray(PICTURE), lambda: PICTURE, StringPromptValue(text=ENCODED),
    _state_with_a_hidden_picture(), {"role": "user", "content": 7}, [("user", [{"type": "hologram"}])],
]  # fmt: skip


@pytest.mark.parametrize("value", REFUSED, ids=lambda value: type(value).__name__)
def test_what_cannot_be_checked_is_refused_before_anything_is_called(
    value: Any, protector: ImageProtector
) -> None:
    called: list[Any] = []
    runnable = protect(RunnableLambda(called.append), protector)
    with pytest.raises(ProtectionError) as caught:
        runnable.invoke(value)
    assert not called
    assert_no_leak(PICTURE, caught.value.args, caught.value.__cause__, caught.value.__context__)


def test_endless_nesting_is_refused(protector: ImageProtector) -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(ProtectionError, match="deep"):
        protect(RunnablePassthrough(), protector).invoke(endless)
    with pytest.raises(ProtectionError, match="deep"):
        protect(Echo(), protector).invoke("Hello.", extra=endless)
