"""Ways around the protection that were tried in a review: each leads nowhere, or is told to the caller.

A picture is hidden from one reader and shown to another, put where no message is, made inside a chain, or left
in an error, a log or a copy.
"""

from __future__ import annotations

import array
import asyncio
import base64
import copy
import dataclasses
import enum
import functools
import io
import logging
import pickle
import threading
import warnings
from collections import OrderedDict, UserDict, UserList
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pytest
from langchain_core.callbacks import CallbackManager
from langchain_core.chat_history import InMemoryChatMessageHistory
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    RemoveMessage,
    ToolMessage,
)
from langchain_core.prompt_values import ChatPromptValue, ChatPromptValueConcrete
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import (
    ConfigurableField,
    Runnable,
    RunnableBranch,
    RunnableLambda,
    RunnableParallel,
    RunnablePassthrough,
)
from langchain_core.runnables.history import RunnableWithMessageHistory
from langchain_core.tools import BaseTool, StructuredTool, ToolException
from pydantic import BaseModel, PrivateAttr

from langchain_vpp import ImageProtector, ProtectionError, protect, protect_tool
from langchain_vpp.engines import Pixelate
from langchain_vpp.messages.plan import ContentPolicy
from langchain_vpp.messages.walk import plan_messages
from langchain_vpp.testing import assert_no_leak
from langchain_vpp.tracing import RedactingCallbackHandler, media_anonymizer
from tests.callbacks import Everything
from tests.integration.recording import noise_png
from tests.unit.langchain_vpp.runnables.models import Echo, Streaming

PICTURE = noise_png(61)
ENCODED = base64.b64encode(PICTURE).decode()
BLOCK = {"type": "image", "base64": ENCODED, "mime_type": "image/png"}
URL_BLOCK = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{ENCODED}"}}


@pytest.fixture
def model(protector: ImageProtector) -> Echo:
    return protect(Streaming(seen=[]), protector)


def _refusal(error: BaseException) -> None:
    assert error.__cause__ is None
    assert error.__context__ is None
    assert_no_leak(PICTURE, error.args, repr(error))


# Containers and text that show other things to the walk than to a serializer.


class ShyList(list[Any]):
    def __iter__(self) -> Any:
        return iter([])


class ShyDict(dict[Any, Any]):
    def items(self) -> Any:
        return {}.items()

    def values(self) -> Any:
        return {}.values()

    def __iter__(self) -> Any:
        return iter(())


class TwoFacedDict(dict[Any, Any]):
    def __getitem__(self, key: Any) -> Any:
        return "text" if key == "type" else super().__getitem__(key)

    def get(self, key: Any, default: Any = None) -> Any:
        return "text" if key == "type" else super().get(key, default)


class ShyStr(str):
    __slots__ = ()

    def __len__(self) -> int:
        return 0

    def __contains__(self, _: object) -> bool:
        return False

    def __getitem__(self, _: Any) -> str:
        return ""


def _messages(content: Any) -> list[BaseMessage]:
    message = HumanMessage("")
    message.content = content
    return [message]


HIDING = {
    "list": _messages(ShyList([URL_BLOCK])),
    "dict": _messages([ShyDict(URL_BLOCK)]),
    "nested dict": _messages([{"type": "image_url", "image_url": ShyDict(URL_BLOCK["image_url"])}]),
    "dict with another type": _messages([TwoFacedDict(URL_BLOCK)]),
    "ordered dict": _messages([OrderedDict(URL_BLOCK)]),
    "user dict": _messages([UserDict(URL_BLOCK)]),
    "user list": _messages(UserList([URL_BLOCK])),
    "text": _messages(ShyStr(ENCODED)),
    "text block": _messages([{"type": "text", "text": ShyStr(ENCODED)}]),
    "nested list": _messages([{"type": "tool_result", "tool_use_id": "1", "content": ShyList([BLOCK])}]),
    "generator": _messages(block for block in [URL_BLOCK]),
    "tool arguments": [AIMessage("", tool_calls=[{"name": "f", "args": {}, "id": "1"}])],
    "additional": [HumanMessage("", additional_kwargs={"a": ShyDict(b=ENCODED)})],
    "more": [HumanMessage("", additional_kwargs={"a": ShyList([ENCODED])})],
    "artifact": [ToolMessage("", tool_call_id="1", artifact=ShyDict(b=PICTURE))],
    "generator artifact": [ToolMessage("", tool_call_id="1", artifact=iter([PICTURE]))],
    "remove": [RemoveMessage(id=ENCODED)],
    "chat": [ChatMessage(role=ENCODED, content="")],
    "function": [FunctionMessage(name=ENCODED, content="")],
    "extra": [HumanMessage("", anything=ShyDict(b=ENCODED))],
}
HIDING["tool arguments"][0].tool_calls[0]["args"] = ShyDict(b=ENCODED)  # type: ignore[attr-defined]


def _held(value: Any) -> Any:
    """Everything that a container holds, whatever its class says."""
    if isinstance(value, dict):
        return [(key, _held(item)) for key, item in dict.items(value)]
    if isinstance(value, list):
        return [_held(item) for item in list.__iter__(value)]
    return str.__str__(value) if isinstance(value, str) else value


@pytest.mark.parametrize("place", HIDING)
@pytest.mark.parametrize("policy", ["raise", "drop"])
def test_a_container_that_hides_its_content_is_read_by_what_it_holds(place: str, policy: Any) -> None:
    rebuilt: list[BaseMessage] = []
    try:
        plan = plan_messages(HIDING[place], ContentPolicy(on_unsupported=policy))
        rebuilt = plan.rebuild([[b"\xff\xd8\xff"] for _ in plan.sources])
    except ProtectionError as error:
        _refusal(error)
    assert_no_leak(PICTURE, *[_held(message.__dict__) for message in rebuilt], None)


def test_harmless_containers_of_other_classes_keep_their_content(model: Echo) -> None:
    block = OrderedDict(type="text", text="Hello.")
    model.invoke(_messages(ShyList([block])))
    assert model.seen[0][0][0].content == [{"type": "text", "text": "Hello."}]


class Disguised(HumanMessage):
    @property
    def content_blocks(self) -> Any:
        return [URL_BLOCK]


class Lazy(HumanMessage):
    def __getattribute__(self, name: str) -> Any:
        return [URL_BLOCK] if name == "content" else super().__getattribute__(name)


class Dumping(HumanMessage):
    def model_dump(self, **kwargs: Any) -> Any:
        return {"content": [URL_BLOCK]}


class Named(HumanMessage):
    """A subclass as users write them."""

    source: str = "form"


@pytest.mark.parametrize("cls", [Disguised, Lazy, Dumping])
def test_a_message_class_that_reads_its_content_otherwise_is_refused(cls: Any, model: Echo) -> None:
    with pytest.raises(ProtectionError, match="class") as caught:
        model.invoke([cls("Hello.")])
    _refusal(caught.value)
    assert not model.seen


def test_an_ordinary_message_subclass_passes(model: Echo) -> None:
    model.invoke([Named([{"type": "text", "text": "Hello."}, BLOCK], source="upload")])
    (message,) = model.seen[0][0]
    assert type(message) is Named
    assert message.source == "upload"
    assert_no_leak(PICTURE, message)


class LazyPrompt(ChatPromptValueConcrete):
    """Other messages each time."""

    def to_messages(self) -> Any:
        self.messages.append(HumanMessage([BLOCK]))
        return list(self.messages)


def test_prompt_values_are_read_and_only_what_was_read_is_sent(model: Echo) -> None:
    model.invoke(ChatPromptValue(messages=[HumanMessage([BLOCK])]))
    model.invoke(LazyPrompt(messages=[]))
    assert_no_leak(PICTURE, model.seen)


# What stands in the input of a chain, outside of messages.


class PictureEnum(enum.Enum):
    BYTES = PICTURE
    TEXT = ENCODED


class TextEnum(enum.StrEnum):
    PICTURE = ENCODED


class Cached(BaseModel):
    """A model with a cache that pydantic doesn't know of, and a private attribute."""

    name: str = "x"
    _private: Any = PrivateAttr(default=None)

    @functools.cached_property
    def _thumbnail(self) -> bytes:
        return PICTURE


def _cached() -> Cached:
    value = Cached()
    assert value._thumbnail
    return value


def _private(hidden: Any) -> Cached:
    value = Cached()
    value._private = hidden
    return value


@dataclasses.dataclass
class Picky:
    picture: Any
    size: dataclasses.InitVar[int]

    def __post_init__(self, size: int) -> None:
        pass


class PickyList(list[Any]):
    def __init__(self, items: Any, name: str) -> None:
        super().__init__(items)


INPUTS = {
    "enum of bytes": PictureEnum.BYTES,
    "enum of text": PictureEnum.TEXT,
    "path": PurePosixPath(ENCODED),
    "numbers": list(PICTURE),
    "tuple of numbers": {"a": tuple(PICTURE)},
    "private file": _private(io.BytesIO(PICTURE)),
    "private dataclass": _private(Picky(PICTURE, 1)),
    "init variable": Picky([HumanMessage([BLOCK])], 1),
    "constructor": PickyList([HumanMessage([BLOCK])], "x"),
    "array": array.array("B", PICTURE),
    "numpy": np.frombuffer(PICTURE, np.uint8),
    "error": ValueError(ENCODED),
    "iterator": iter([BLOCK]),
}
SEALED = {
    "text enum": TextEnum.PICTURE,
    "cached property": _cached(),
    "serialized message": {
        "lc": 1,
        "type": "constructor",
        "id": ["langchain", "schema", "messages", "HumanMessage"],
        "kwargs": {"content": [BLOCK]},
    },
}


@pytest.mark.parametrize("place", SEALED)
def test_a_picture_that_stands_alone_in_the_input_of_a_chain_is_sealed_wherever_it_hides(
    place: str, protector: ImageProtector
) -> None:
    handler = Everything()
    result = protect(RunnablePassthrough(), protector).invoke(SEALED[place], {"callbacks": [handler]})
    assert_no_leak(PICTURE, handler.events, result, getattr(result, "__dict__", None))
    assert "vpp://" in str([result, getattr(result, "__dict__", None)])


@pytest.mark.parametrize("place", INPUTS)
def test_a_picture_in_the_input_of_a_chain_is_refused_wherever_it_hides(
    place: str, protector: ImageProtector
) -> None:
    handler, called = Everything(), []
    runnable = protect(RunnableLambda(called.append), protector)
    with pytest.raises(ProtectionError) as caught:
        runnable.invoke(INPUTS[place], {"callbacks": [handler]})
    _refusal(caught.value)
    assert not called
    assert not handler.events


def test_private_attributes_with_messages_are_protected(protector: ImageProtector) -> None:
    result = protect(RunnablePassthrough(), protector).invoke(_private([HumanMessage([BLOCK])]))
    assert_no_leak(PICTURE, result)
    assert "/9j/" in str(result._private)


def test_commands_and_sends_are_inputs(protector: ImageProtector) -> None:
    types = pytest.importorskip("langgraph.types")
    message = HumanMessage([BLOCK])
    runnable = protect(RunnablePassthrough(), protector)
    for value in (
        types.Command(update={"messages": [message]}),
        types.Command(resume={"answer": [message]}),
        types.Command(goto=[types.Send("node", {"messages": [message]})]),
        types.Send("node", message),
    ):
        result = runnable.invoke(value)
        assert type(result) is type(value)
        assert_no_leak(PICTURE, result)
        assert "/9j/" in str(result)
    for value in (
        types.Command(resume=PICTURE),
        types.Send("node", ENCODED),
        types.Command(update=[ENCODED]),
    ):
        result = runnable.invoke(value)
        assert_no_leak(PICTURE, result)
        assert "vpp://" in str(result)
    for value in (types.Command(resume=[*PICTURE]), types.Send("node", iter([PICTURE]))):
        with pytest.raises(ProtectionError):
            runnable.invoke(value)


# Arguments and settings.


@dataclasses.dataclass
class Holder:
    payload: Any


ARGUMENTS = {
    "generator": {"messages": (message for message in [{"role": "user", "content": [URL_BLOCK]}])},
    "map": {"extra_body": {"input": map(str, [ENCODED])}},
    "file": {"image": io.BytesIO(PICTURE)},
    "dataclass": {"extra_body": Holder(ENCODED)},
    "numbers": {"extra_body": {"image": list(PICTURE)}},
    "array": {"extra_body": {"image": array.array("B", PICTURE)}},
    "numpy": {"image": np.frombuffer(PICTURE, np.uint8)},
    "enum": {"image": PictureEnum.BYTES},
    "path": {"image": PurePosixPath(ENCODED)},
    "pydantic": {"image": HumanMessage([BLOCK])},
    "text that hides": {"image": ShyStr(ENCODED)},
}


@pytest.mark.parametrize("place", ARGUMENTS)
def test_a_picture_in_an_argument_is_refused_wherever_it_hides(place: str, protector: ImageProtector) -> None:
    model = protect(Echo(seen=[]), protector)
    with pytest.raises(ProtectionError) as caught:
        model.invoke("Hello.", **ARGUMENTS[place])
    _refusal(caught.value)
    assert not model.seen


def test_ordinary_arguments_pass(protector: ImageProtector) -> None:
    model = protect(Echo(seen=[]), protector)
    arguments = {"temperature": np.float64(0.5), "f": len, "cls": Holder, "holder": Holder("x"), "n": [1, 2]}
    model.invoke("Hello.", **arguments)
    assert model.seen[0][1] == arguments


def test_a_picture_in_the_metadata_of_a_callback_manager_is_refused(protector: ImageProtector) -> None:
    model = protect(Echo(seen=[]), protector)
    manager = CallbackManager(handlers=[Everything()], inheritable_metadata={"picture": ENCODED})
    for call in (
        lambda: model.invoke("Hello.", {"callbacks": manager}),
        lambda: model.generate([[HumanMessage("Hello.")]], callbacks=manager),
        lambda: asyncio.run(model.agenerate([[HumanMessage("Hello.")]], callbacks=manager)),
    ):
        with pytest.raises(ProtectionError):
            call()
    assert not model.seen


def test_a_picture_in_the_metadata_of_an_enclosing_run_is_refused(model: Echo) -> None:
    with pytest.raises(ProtectionError):
        RunnableLambda(lambda _: model.invoke("Hello.")).invoke("x", {"metadata": {"picture": ENCODED}})
    assert not model.seen


# Chains that make the picture themselves.


def test_a_model_inside_a_protected_chain_gets_no_picture_that_the_chain_made(
    protector: ImageProtector,
) -> None:
    template = ChatPromptTemplate([("human", [{"type": "image_url", "image_url": {"url": "{picture}"}}])])
    prompt = template.partial(picture=URL_BLOCK["image_url"]["url"])
    make = RunnableLambda(lambda _: [HumanMessage([BLOCK])])
    which = ConfigurableField(id="which")
    for build in (
        lambda bare: prompt | bare,
        lambda bare: make | bare | (lambda message: message),
        lambda bare: make | RunnableParallel(one=bare, two=bare.bind(stop=["x"])),
        lambda bare: make | RunnableBranch((lambda _: False, bare), bare),
        lambda bare: make | bare.with_retry(),
        lambda bare: make | bare.with_fallbacks([bare]),
        lambda bare: make | bare.configurable_alternatives(which, other=bare),
        lambda bare: make | bare.configurable_fields(temperature=ConfigurableField(id="heat")),
        lambda bare: make | {"answer": bare},
    ):
        bare = Echo(seen=[])
        chain = build(bare)
        protect(chain, protector).invoke({})
        assert bare.seen
        assert_no_leak(PICTURE, bare.seen)
        bare.seen.clear()
        chain.invoke({})
        with pytest.raises(AssertionError, match="leaked"):
            assert_no_leak(PICTURE, bare.seen)


def test_a_configurable_stand_in_for_a_model_is_protected_inside_a_chain(protector: ImageProtector) -> None:
    # As init_chat_model makes it: a Runnable that binds tools, and is no chat model.
    class StandIn(RunnableLambda[Any, Any]):
        def bind_tools(self, tools: Any) -> Any:
            return self

    seen: list[Any] = []
    chain = RunnableLambda(lambda _: [HumanMessage([BLOCK])]) | StandIn(seen.append)
    protect(chain, protector).invoke("x")
    assert seen
    assert_no_leak(PICTURE, seen)


def test_a_history_that_holds_pictures_is_protected_on_its_way_to_the_model() -> None:
    history = InMemoryChatMessageHistory(messages=[HumanMessage([BLOCK]), AIMessage("A cat.")])
    # Its listeners record the input: they are how it writes the history.
    model = protect(Echo(seen=[]), ImageProtector(Pixelate(), on_upstream_trace="ignore"))
    chain = RunnableWithMessageHistory(model, lambda _: history)
    chain.invoke([HumanMessage("And now?")], {"configurable": {"session_id": "1"}})
    assert len(model.seen[0][0]) == 3
    assert_no_leak(PICTURE, model.seen)


def test_a_chain_that_makes_a_picture_keeps_it_out_of_traces(protector: ImageProtector) -> None:
    handler, model = Everything(), Echo(seen=[])
    chain = RunnableLambda(lambda _: [HumanMessage([BLOCK])]) | model
    protect(chain, protector).invoke("x", {"callbacks": [handler]})
    assert "/9j/" in str(model.seen)
    assert_no_leak(PICTURE, model.seen, handler.events)


class Made(Runnable[Any, Any]):
    """A class of its own that makes a picture in its run, where nobody can get at it."""

    def invoke(self, input: Any, config: Any = None, **kwargs: Any) -> Any:  # noqa: A002
        return self._call_with_config(lambda _: [HumanMessage([BLOCK])], input, config)


def test_a_chain_whose_runs_have_recorded_a_picture_is_told_so(protector: ImageProtector) -> None:
    model = Echo(seen=[])
    with pytest.raises(ProtectionError, match="enclosing run"):
        protect(Made() | model, protector).invoke("x", {"callbacks": [Everything()]})
    assert not model.seen
    protect(Made() | model, protector).invoke("x")
    assert_no_leak(PICTURE, model.seen)


def test_alternatives_and_fallbacks_with_an_exception_key_get_protected_input(
    protector: ImageProtector,
) -> None:
    class Failing(Echo):
        def _generate(self, *args: Any, **kwargs: Any) -> Any:
            raise OSError

    fallback: list[Any] = []
    chain = RunnableLambda(lambda state: Failing(seen=[]).invoke(state["messages"]))
    runnable = protect(chain, protector).with_fallbacks(
        [RunnableLambda(lambda state: fallback.append(state) or "fallback")],
        exceptions_to_handle=(OSError,),
        exception_key="error",
    )
    assert runnable.invoke({"messages": [HumanMessage([BLOCK])]}) == "fallback"
    assert isinstance(fallback[0]["error"], OSError)
    assert_no_leak(PICTURE, fallback)


# Copies, pickles, threads, cancellation, logs.


def test_every_kind_of_copy_stays_protected(protector: ImageProtector) -> None:
    model = protect(Echo(seen=[]), protector)
    fields = {name: getattr(model, name) for name in ("temperature", "seen")}
    for clone in (
        copy.deepcopy(model),
        type(model).model_construct(**fields),
        model.bind(a=1).bound,
        model.with_config(tags=["t"]).bound,
        copy.deepcopy(model.bind(a=1)),
        type("Derived", (type(model),), {})(seen=[]),
    ):
        clone.invoke([HumanMessage([BLOCK])])
        assert_no_leak(PICTURE, getattr(clone, "seen", []), model.seen)
    for level in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match="pickled"):
            pickle.dumps(model, level)


def test_callbacks_of_the_models_constructor_see_no_original(protector: ImageProtector) -> None:
    handler = Everything()
    model = protect(Streaming(seen=[], callbacks=[handler]), protector)
    model.invoke([HumanMessage([BLOCK])])
    list(model.stream([HumanMessage([BLOCK])]))
    assert {event[0] for event in handler.events} >= {"on_chat_model_start", "on_llm_end"}
    assert_no_leak(PICTURE, handler.events)


def test_a_failing_batch_returns_no_original(protector: ImageProtector) -> None:
    class Quoting(Echo):
        def _generate(self, messages: Any, *args: Any, **kwargs: Any) -> Any:
            raise ValueError(messages)

    model = protect(Quoting(seen=[]), protector)
    errors = model.batch([[HumanMessage([BLOCK])], [HumanMessage([{"type": "x", "data": ENCODED}])]],
                         return_exceptions=True)  # fmt: skip
    assert [type(error) for error in errors] == [ValueError, ProtectionError]
    assert_no_leak(PICTURE, *errors)
    assert "/9j/" in str(errors[0])


async def test_a_cancelled_call_sends_nothing(protector: ImageProtector) -> None:
    started, finish = threading.Event(), threading.Event()

    class Waiting:
        def protect(self, image: Any, level: float) -> Any:
            started.set()
            finish.wait(10)
            return Pixelate().protect(image, level)

    model = protect(Echo(seen=[]), ImageProtector(Waiting()))
    task = asyncio.ensure_future(model.ainvoke([HumanMessage([BLOCK])]))
    await asyncio.to_thread(started.wait, 10)
    task.cancel()
    finish.set()
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    assert_no_leak(PICTURE, caught.value)
    assert not model.seen


def test_a_refusal_in_a_task_group_carries_no_content(model: Echo) -> None:
    async def calls() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(model.ainvoke([HumanMessage([{"type": "hologram", "data": ENCODED}])]))

    with pytest.raises(ExceptionGroup) as caught:
        asyncio.run(calls())
    for error in caught.value.exceptions:
        assert isinstance(error, ProtectionError)
        _refusal(error)


def test_nothing_is_logged_or_warned_with_content(
    model: Echo, protector: ImageProtector, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.invoke([HumanMessage([BLOCK])])
        with pytest.raises(ProtectionError):
            model.invoke([HumanMessage([{"type": "hologram", "data": ENCODED}])])
        lenient = protect(
            Echo(seen=[]), ImageProtector(Pixelate(), on_unsupported="drop", on_upstream_trace="warn")
        )
        lenient.invoke([HumanMessage([{"type": "hologram", "data": ENCODED}])])
        chain = RunnablePassthrough() | lenient
        chain.invoke([HumanMessage([BLOCK])], {"callbacks": [Everything()]})
    assert any("enclosing run" in str(warning.message) for warning in caught)
    assert_no_leak(PICTURE, caplog.text, [str(warning.message) for warning in caught])


# Tools.


def _fail(error: BaseException) -> Any:
    def run(place: str) -> str:
        """Fail."""
        raise error

    return run


class QuietError(Exception):
    def __str__(self) -> str:
        return "quiet"


def _noted() -> Exception:
    error = ValueError("x")
    error.add_note(ENCODED)
    return error


def _chained() -> Exception:
    error = ValueError("x")
    error.__cause__ = ValueError(ENCODED)
    return error


def _attributed() -> Exception:
    error = ValueError("x")
    error.body = {"image": ENCODED}  # type: ignore[attr-defined]
    return error


ERRORS = {
    "group": ExceptionGroup("several", [ValueError("x"), ExceptionGroup("inner", [ValueError(ENCODED)])]),
    "quiet": QuietError(PICTURE),
    "note": _noted(),
    "cause": _chained(),
    "attribute": _attributed(),
    "argument": ValueError(ValueError(ENCODED)),
    "tool exception": ToolException([BLOCK]),
}


@pytest.mark.parametrize("kind", ERRORS)
async def test_a_tools_error_with_a_picture_is_withheld_wherever_it_hides(
    kind: str, protector: ImageProtector
) -> None:
    handler = Everything()
    tool = protect_tool(StructuredTool.from_function(_fail(ERRORS[kind]), handle_tool_error=True), protector)
    with pytest.raises(ProtectionError):
        tool.invoke({"place": "x"}, {"callbacks": [handler]})
    with pytest.raises(ProtectionError):
        await tool.ainvoke({"place": "x"}, {"callbacks": [handler]})
    assert_no_leak(PICTURE, handler.events)


def test_a_tools_ordinary_error_is_its_own(protector: ImageProtector) -> None:
    error = ExceptionGroup("several", [KeyError("x")])
    tool = protect_tool(StructuredTool.from_function(_fail(error)), protector)
    with pytest.raises(ExceptionGroup) as caught:
        tool.invoke({"place": "x"})
    assert caught.value is error


def test_what_a_tools_error_handlers_return_is_protected(protector: ImageProtector) -> None:
    handler = Everything()
    bare = StructuredTool.from_function(
        _fail(ToolException("failed")),
        handle_tool_error=lambda _: [BLOCK],
        handle_validation_error=lambda _: [BLOCK],
    )
    call = {"type": "tool_call", "name": "run", "id": "1"}
    for args in ({"place": "x"}, {"nothing": "x"}):
        message = protect_tool(bare, protector).invoke({**call, "args": args}, {"callbacks": [handler]})
        assert message.status == "error"
        assert message.content[0]["mime_type"] == "image/jpeg"
        assert_no_leak(PICTURE, message, handler.events)
    assert "base64" in str(bare.handle_tool_error(None))  # the bare tool is as it was


class OwnRun(BaseTool):
    """A tool that doesn't go through core's run."""

    name: str = "own"
    description: str = "Own."

    def _run(self) -> Any:
        raise NotImplementedError

    def invoke(self, input: Any, config: Any = None, **kwargs: Any) -> Any:  # noqa: A002
        return ToolMessage([BLOCK], tool_call_id="1")

    async def arun(self, *args: Any, **kwargs: Any) -> Any:
        return [BLOCK]


async def test_a_tool_with_a_run_of_its_own_is_protected(protector: ImageProtector) -> None:
    tool = protect_tool(OwnRun(), protector)
    results = [tool.invoke({}), await tool.arun({}), await tool.ainvoke({})]
    assert_no_leak(PICTURE, results)
    assert "/9j/" in str(results)


# Traces.


TRACED = {
    "numbers": list(PICTURE),
    "enum": PictureEnum.BYTES,
    "text enum": TextEnum.PICTURE,
    "path": PurePosixPath(ENCODED),
    "private": _private(PICTURE),
    "cached": _cached(),
    "dataclass": Picky(PICTURE, 1),
    "group": ERRORS["group"],
    "quiet error": ERRORS["quiet"],
}


@pytest.mark.parametrize("place", TRACED)
def test_traces_show_no_picture_wherever_it_hides(place: str, caplog: pytest.LogCaptureFixture) -> None:
    inner = Everything()
    handler = RedactingCallbackHandler(inner)
    handler.on_chain_start({}, {"value": TRACED[place]}, run_id=None)
    assert len(inner.events) == 1
    values = [event[1][1]["value"] for event in inner.events]
    values += [media_anonymizer()({"value": TRACED[place]})["value"]]
    shown = [value.value if isinstance(value, enum.Enum) else value for value in values]
    assert_no_leak(PICTURE, shown, [getattr(value, "__dict__", None) for value in shown], caplog.text)
