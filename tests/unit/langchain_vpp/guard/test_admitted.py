"""Each message is walked once per call, however many stations it passes; one that was changed is walked again."""

from __future__ import annotations

import base64
import copy
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import RunnableLambda
from pydantic import BaseModel

from langchain_vpp import ImageProtector, ProtectionError, protect
from langchain_vpp.engines import Pixelate
from langchain_vpp.guard import admitted
from langchain_vpp.guard.admitted import isolated, message_state
from langchain_vpp.images.pace import PIECE
from langchain_vpp.messages import walk
from langchain_vpp.testing import assert_no_leak
from tests.integration.recording import noise_png
from tests.unit.langchain_vpp.runnables.models import Echo, Streaming

if TYPE_CHECKING:
    from collections.abc import Callable

PICTURE = noise_png(81)
ENCODED = base64.b64encode(PICTURE).decode()
BLOCK = {"type": "image", "base64": ENCODED, "mime_type": "image/png"}
LEVEL = {"configurable": {"vpp_level": 0.9}}


@pytest.fixture
def walked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The content of every message that is walked."""
    seen: list[str] = []
    original = walk._Walk.message

    def message(self: Any, place: int, message: BaseMessage) -> Any:
        seen.append(repr(message))
        return original(self, place, message)

    monkeypatch.setattr(walk._Walk, "message", message)
    return seen


@pytest.fixture
def protector() -> ImageProtector:
    return ImageProtector(Pixelate(), level=0.7, on_upstream_trace="raise")


@pytest.fixture
def model(protector: ImageProtector) -> Streaming:
    return protect(Streaming(seen=[]), protector)


def _messages(name: str = "") -> list[BaseMessage]:
    return [
        SystemMessage(f"Be brief{name}."),
        HumanMessage([{"type": "text", "text": f"What is this{name}?"}, BLOCK]),
        AIMessage("", tool_calls=[{"name": "look", "args": {"place": "x"}, "id": f"1{name}"}]),
        ToolMessage([{"type": "text", "text": "Here."}, BLOCK], tool_call_id=f"1{name}"),
    ]


def _generate(model: Any) -> Any:
    return model.generate([_messages(), _messages(" two")])


def _batch(model: Any) -> Any:
    return model.batch([_messages(), _messages(" two")])


async def _astream_events(model: Any) -> Any:
    return [event async for event in model.astream_events(_messages(), version="v2")]


async def _astream(model: Any) -> Any:
    return [chunk async for chunk in model.astream(_messages())]


CALLS: dict[str, tuple[Callable[[Any], Any], int]] = {
    "invoke": (lambda model: model.invoke(_messages()), 4),
    "ainvoke": (lambda model: model.ainvoke(_messages()), 4),
    "invoke at a level": (lambda model: model.invoke(_messages(), LEVEL), 4),
    "text": (lambda model: model.invoke("Hello."), 1),
    "stream": (lambda model: list(model.stream(_messages())), 4),
    "astream": (_astream, 4),
    "stream events": (lambda model: list(model.stream_events(_messages(), version="v3")), 4),
    "astream events": (_astream_events, 4),
    "batch": (_batch, 8),
    "abatch": (lambda model: model.abatch([_messages(), _messages(" two")]), 8),
    "generate": (_generate, 8),
    "agenerate": (lambda model: model.agenerate([_messages(), _messages(" two")]), 8),
}
SHAPES: dict[str, Callable[[ImageProtector, Any], Any]] = {
    "protected model": lambda protector, model: protect(model, protector),
    "bound": lambda protector, model: protect(model, protector).bind(stop=["x"]),
    "README": lambda protector, model: protector | model | StrOutputParser(),
    "retry": lambda protector, model: (protector | model).with_retry() | StrOutputParser(),
    "protected sequence": lambda protector, model: protect(model | StrOutputParser(), protector),
}


@pytest.mark.slow(seconds=0.02)
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("shape", SHAPES)
async def test_each_message_is_walked_once_per_call(
    call: str, shape: str, walked: list[str], protector: ImageProtector
) -> None:
    bare = Streaming(seen=[])
    runnable = SHAPES[shape](protector, bare)
    run, expected = CALLS[call]
    try:
        result = run(runnable)
    except (AttributeError, NotImplementedError):
        pytest.skip("not with this Runnable")
    if hasattr(result, "__await__"):
        await result
    assert len(walked) == expected
    assert set(Counter(walked).values()) == {1}
    assert bare.seen
    assert_no_leak(PICTURE, bare.seen)


PROMPT = ChatPromptTemplate([("system", "Be brief."), MessagesPlaceholder("messages")])


@pytest.mark.parametrize(
    "build",
    [
        lambda protector, model: protect(PROMPT | model | StrOutputParser(), protector),
        lambda protector, model: protector | PROMPT | protect(model, protector) | StrOutputParser(),
        lambda protector, model: protector | (lambda value: value) | PROMPT | protect(model, protector),
    ],
)
@pytest.mark.parametrize("is_async", [False, True])
async def test_a_prompt_in_the_middle_adds_only_its_own_message(
    build: Any, walked: list[str], protector: ImageProtector, *, is_async: bool
) -> None:
    bare = Streaming(seen=[])
    chain = build(protector, bare)
    value = {"messages": _messages()[1:2]}
    await chain.ainvoke(value) if is_async else chain.invoke(value)
    assert ["Be brief." in message for message in walked] == [False, True]
    assert_no_leak(PICTURE, bare.seen)


def test_the_next_turn_of_a_conversation_walks_what_is_new(walked: list[str], model: Streaming) -> None:
    history: list[BaseMessage] = [SystemMessage("Be brief."), HumanMessage("Hello.")]
    for turn in range(3):
        walked.clear()
        model.invoke(history)
        assert len(walked) == (2 if turn == 0 else 1)
        history = [*history, HumanMessage(f"And {turn}?")]


def test_a_message_with_objects_is_walked_at_every_station(walked: list[str], model: Streaming) -> None:
    # Nothing short of another walk says whether an object was changed.
    message = ToolMessage("Done.", tool_call_id="1", artifact=[Document("x")])
    model.invoke([message])
    assert len(walked) == 3


class Hiding(HumanMessage):
    """Content like that of other messages, of another class."""


def _same_content_in_another_class(message: BaseMessage) -> BaseMessage:
    return Hiding.model_construct(**message.__dict__)


def test_a_known_message_is_known_by_all_that_it_holds(protector: ImageProtector, walked: list[str]) -> None:
    (once,) = protector.protect_messages(_messages()[1:2])
    walked.clear()
    assert protector.protect_messages([once])[0] == once
    assert protector.protect_messages([copy.deepcopy(once)])[0] == once
    assert not walked
    changed = copy.deepcopy(once)
    changed.content[0]["text"] = "And this?"  # type: ignore[index]
    for other in (
        changed,
        once.model_copy(update={"name": "Ada"}),
        once.model_copy(update={"additional_kwargs": {"vpp": True}}),
        _same_content_in_another_class(once),
    ):
        walked.clear()
        protector.protect_messages([other])
        assert len(walked) == 1


def test_another_protector_knows_nothing_of_it(protector: ImageProtector, walked: list[str]) -> None:
    once = protector.protect_messages(_messages())
    walked.clear()
    ImageProtector(Pixelate()).protect_messages(once)
    assert len(walked) == 4


@pytest.mark.parametrize(
    "message",
    [
        HumanMessage("Hi.", attachment=Document("x")),
        ToolMessage("Hi.", tool_call_id="1", artifact=[1, {2}, object()]),
        HumanMessage("Hi.", additional_kwargs={"a": type("Text", (str,), {})("x")}),
        HumanMessage("Hi.", additional_kwargs={"a": Counter("x")}),
    ],
)
def test_objects_and_subclasses_have_no_key(message: BaseMessage) -> None:
    assert message_state(message) is None


def test_values_that_are_equal_but_not_alike_have_other_keys() -> None:
    keys = {message_state(HumanMessage("Hi.", value=value)) for value in (1, True, 1.0, "1", b"1", (1,), [1])}
    assert len(keys) == 7
    assert None not in keys


LONG = "long " * PIECE


@pytest.mark.parametrize(
    "value",
    [
        {"a": LONG, "b": [LONG, {"c": (LONG, b"x" * PIECE)}], "d": "short"},
        {"a": "\ud83d" + LONG},
        {"a": {LONG}, LONG: 1},
    ],
    ids=["nested", "surrogate", "keys"],
)
def test_long_texts_are_shared_and_the_rest_is_copied(value: Any) -> None:
    message = HumanMessage("Hi.", value=value)
    copied = isolated(message, message_state(message))
    assert copied == message
    assert copied.value is not value
    assert copied.value.get("a") is value["a"] or isinstance(value["a"], set)


def test_messages_that_differ_in_a_long_text_have_other_keys() -> None:
    texts: list[Any] = [
        LONG,
        LONG + "x",
        "x" + LONG,
        LONG.encode(),
        [LONG],
        [LONG, LONG],
        "\ud83d\ude00" + LONG,
        "😀" + LONG,
    ]
    states = [message_state(HumanMessage("Hi.", value=text)) for text in texts]
    states.append(message_state(HumanMessage(LONG, value="Hi.")))
    assert len(set(states)) == len(texts) + 1
    assert len({admitted._key([state]) for state in states}) == len(texts) + 1
    assert message_state(HumanMessage("Hi.", value=str(LONG + ""))) == states[0]
    assert message_state(HumanMessage("Hi.", value=[..., LONG])) is None


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch, walked: list[str]) -> None:
    monkeypatch.setattr(admitted, "_REMEMBERED_MESSAGES", 5)
    monkeypatch.setattr(admitted, "_REMEMBERED_LISTS", 2)
    protector = ImageProtector(Pixelate())
    for number in range(20):
        protector.protect_messages([HumanMessage(f"{number}"), AIMessage(f"{number}!")])
    assert len(protector._admitted._messages) == 5
    assert len(protector._admitted._lists) == 2
    walked.clear()
    for number in (19, 0):
        protector.protect_messages([HumanMessage(f"{number}"), AIMessage(f"{number}!")])
    assert len(walked) == 2


def test_a_stronger_level_walks_pictures_again_and_text_not(
    protector: ImageProtector, walked: list[str]
) -> None:
    once = protector.protect_messages(_messages())
    walked.clear()
    again = protector.protect_messages(once, level=0.95)
    assert len(walked) == 2
    assert [new == old for new, old in zip(again, once, strict=True)] == [True, False, True, False]


# Mutations between the gate and the provider.


def _append(messages: list[BaseMessage]) -> None:
    messages[0].content.append(BLOCK)  # type: ignore[union-attr,arg-type]


def _replace(messages: list[BaseMessage]) -> None:
    messages[0].content = [BLOCK]  # type: ignore[list-item]


def _add_field(messages: list[BaseMessage]) -> None:
    messages[0].additional_kwargs["image"] = ENCODED


def _swap(messages: list[BaseMessage]) -> None:
    messages[0] = HumanMessage([BLOCK])


MUTATIONS = [_append, _replace, _add_field, _swap]


@pytest.mark.parametrize("mutate", MUTATIONS)
def test_a_message_that_a_function_in_the_middle_changes_is_walked_again(
    mutate: Any, protector: ImageProtector
) -> None:
    def change(messages: list[BaseMessage]) -> list[BaseMessage]:
        mutate(messages)
        return messages

    bare = Echo(seen=[])
    chain = protect(RunnableLambda(change) | bare, protector)
    try:
        chain.invoke([HumanMessage([{"type": "text", "text": "Hi."}])])
    except ProtectionError:
        assert mutate is _add_field
    assert bool(bare.seen) is (mutate is not _add_field)
    assert_no_leak(PICTURE, bare.seen)


class Changing(BaseCallbackHandler):
    """Changes the messages that a model is about to get."""

    raise_error = True

    def __init__(self, mutate: Any) -> None:
        self.mutate = mutate

    def on_chat_model_start(self, serialized: Any, messages: Any, **kwargs: Any) -> None:
        self.mutate(messages[0])


@pytest.mark.parametrize("mutate", MUTATIONS)
@pytest.mark.parametrize("stream", [False, True])
def test_a_message_that_a_callback_changes_is_walked_again(
    mutate: Any, model: Streaming, *, stream: bool
) -> None:
    config: Any = {"callbacks": [Changing(mutate)]}
    messages = [HumanMessage([{"type": "text", "text": "Hi."}])]
    try:
        list(model.stream(messages, config)) if stream else model.invoke(messages, config)
    except ProtectionError:
        assert not model.seen
    assert_no_leak(PICTURE, model.seen)


def test_private_methods_reached_directly_walk_what_they_get(model: Streaming, walked: list[str]) -> None:
    model._generate(_messages())
    assert len(walked) == 4
    list(model._stream(_messages(" two")))
    assert len(walked) == 8
    assert_no_leak(PICTURE, model.seen)


def test_a_message_that_changes_while_it_is_protected_leaves_as_it_was_and_is_walked_again() -> None:
    # As another thread could change it: after the walk, before the messages are built.
    message = HumanMessage([{"type": "text", "text": "Hi."}, BLOCK])

    class Changing:
        def protect(self, image: Any, level: float) -> Any:
            message.content[0]["text"] = ENCODED  # type: ignore[index]
            return Pixelate().protect(image, level)

    protector = ImageProtector(Changing())
    (protected,) = protector.protect_messages([message])
    assert protected.content[0] == {"type": "text", "text": "Hi."}
    assert_no_leak(PICTURE, protected)
    with pytest.raises(ProtectionError):
        protector.protect_messages([message])
    assert_no_leak(PICTURE, protector._admitted._messages, protector._admitted._lists)


def test_a_message_that_changes_after_its_digest_is_not_remembered(
    protector: ImageProtector, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = HumanMessage("Hi.")
    message.content = ENCODED
    original = walk._Walk.message

    def clean_for_a_moment(self: Any, place: int, message: BaseMessage) -> Any:
        message.content = "Hi."
        return original(self, place, message)

    monkeypatch.setattr(walk._Walk, "message", clean_for_a_moment)
    protector.protect_messages([message])
    monkeypatch.undo()
    message.content = ENCODED
    with pytest.raises(ProtectionError):
        protector.protect_messages([message])


def _parts_of(value: Any) -> set[int]:
    """The identities of everything in a value that can be changed."""
    if isinstance(value, dict):
        return {id(value)}.union(*map(_parts_of, value.values()))
    if isinstance(value, list | tuple):
        return ({id(value)} if isinstance(value, list) else set()).union(*map(_parts_of, value))
    if isinstance(value, BaseModel):
        return {id(value)} | _parts_of(value.__dict__) | _parts_of(value.__pydantic_extra__)
    return {id(value)} if isinstance(value, bytearray) else set()


SHARING: dict[str, BaseMessage] = {
    "text": HumanMessage("Hi."),
    "blocks": HumanMessage([{"type": "text", "text": "Hi.", "extras": {"a": [1]}}]),
    "picture": HumanMessage([BLOCK, {"type": "text", "text": "Hi."}]),
    "call": AIMessage(
        "", tool_calls=[{"name": "f", "args": {"a": [{}]}, "id": "1"}], response_metadata={"a": {}}
    ),
    "objects": ToolMessage(
        "Hi.", tool_call_id="1", artifact=[Document("x", metadata={"a": [1]}), bytearray(b"x")]
    ),
    "extra": HumanMessage("Hi.", attachment={"a": [1]}),
    "chunk": AIMessageChunk([{"type": "text", "text": "Hi."}], additional_kwargs={"a": [1]}),
}


@pytest.mark.parametrize("message", SHARING.values(), ids=SHARING)
def test_nothing_that_can_be_changed_goes_on_by_reference(
    message: BaseMessage, protector: ImageProtector
) -> None:
    given = _parts_of(message)
    for _ in range(2):  # walked, then known
        (protected,) = protector.protect_messages([message])
        assert type(protected) is type(message)
        assert not given & _parts_of(protected)
        if message is not SHARING["picture"]:
            assert protected == message
            assert protected.model_fields_set == message.model_fields_set
        message, given = protected, _parts_of(protected)


@pytest.mark.slow(seconds=2)
def test_what_is_shared_without_end_is_refused_at_once(protector: ImageProtector) -> None:
    shared: Any = ["x"]
    for _ in range(60):
        shared = [shared, shared]
    tree: dict[str, Any] = {"children": []}
    tree["children"] = [{"parent": tree, "name": str(number)} for number in range(50)]
    for artifact in (shared, tree):
        for message in (
            ToolMessage("Done.", tool_call_id="1", artifact=artifact),
            HumanMessage([{"type": "text", "text": "x", "extras": {"a": artifact}}]),
        ):
            started = time.process_time()
            with pytest.raises(ProtectionError, match="nested too deeply"):
                protector.protect_messages([message])
            assert time.process_time() - started < 2
