"""Values of any shape as the input of a Runnable."""

from __future__ import annotations

import base64
import copy
import dataclasses
import io
from collections import deque
from typing import Any, NamedTuple

import pytest
from langchain_core.messages import HumanMessage
from langchain_core.prompt_values import ChatPromptValue, StringPromptValue
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda, RunnablePassthrough
from langchain_core.stores import InMemoryByteStore
from PIL import Image
from pydantic import BaseModel, PrivateAttr

from langchain_vpp import ImageProtector, ProtectionError, protect
from langchain_vpp.engines import Pixelate
from langchain_vpp.testing import assert_no_leak
from tests.callbacks import Everything
from tests.integration.recording import noise_png
from tests.unit.langchain_vpp.runnables.models import BLOCK, ENCODED, MESSAGE, PICTURE, Echo


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


SEALED: dict[str, Any] = {
    "bytes": PICTURE, "base64": ENCODED, "data URL": f"data:image/png;base64,{ENCODED}", "list": {"a": [ENCODED]},
    "variable": {"a": PICTURE}, "buffer": bytearray(PICTURE), "prompt": StringPromptValue(text=ENCODED),
    "private": _state_with_a_hidden_picture(), "PIL": {"a": Image.open(io.BytesIO(PICTURE))},
}  # fmt: skip


@pytest.mark.parametrize("place", SEALED)
async def test_a_picture_that_stands_alone_is_sealed_and_only_functions_get_it(
    place: str, protector: ImageProtector
) -> None:
    given: list[Any] = []
    runnable = protect(RunnablePassthrough() | given.append, protector)
    for _ in range(2):
        handler = Everything()
        result = protect(RunnablePassthrough(), protector).invoke(SEALED[place], {"callbacks": [handler]})
        await runnable.ainvoke(SEALED[place], {"callbacks": [handler]})
        shown = [handler.events, result, getattr(result, "__pydantic_private__", None)]
        assert_no_leak(PICTURE, *shown)
        assert "vpp://" in str(shown)
    for each in given:
        original = each._hidden if isinstance(each, State) else each
        assert _pixels(original) == _pixels(PICTURE)


def _pixels(value: Any) -> bytes:
    """The pixels of the picture that stands in a value, in whatever form."""
    while isinstance(value, dict | list):
        value = next(iter(value.values() if isinstance(value, dict) else value))
    if isinstance(value, StringPromptValue):
        value = value.text
    if isinstance(value, str):
        value = base64.b64decode(value.rpartition(",")[2])
    return (
        (value if isinstance(value, Image.Image) else Image.open(io.BytesIO(value))).convert("RGB").tobytes()
    )


REFUSED: list[Any] = [
    {ENCODED: 1}, Opaque(), [Opaque()], {Opaque(): 1}, f"A picture: {ENCODED}", {"a": f"See {ENCODED}."}, [*PICTURE],
    iter([1]), lambda: PICTURE, {"role": "user", "content": 7}, [("user", [{"type": "hologram"}])],
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


def test_a_refusal_names_the_variable(protector: ImageProtector) -> None:
    runnable = protect(RunnablePassthrough(), protector)
    with pytest.raises(ProtectionError, match=r"\(variable picture\).*seal"):
        runnable.invoke({"question": "What is this?", "picture": f"See {ENCODED}."})
    # A name that could be content is not repeated.
    for name in (ENCODED, "my secret question", 7):
        with pytest.raises(ProtectionError) as caught:
            runnable.invoke({name: iter([1])})
        assert "(variable" not in str(caught.value)


def test_a_picture_in_text_is_refused_though_a_handle_stands_for_it(protector: ImageProtector) -> None:
    model = protect(Echo(seen=[]), protector)
    for prompt in (
        ChatPromptTemplate([("human", "What is {picture}?")]),
        ChatPromptTemplate([("human", [{"type": "text", "text": "What is {picture}?"}])]),
        RunnableLambda(lambda value: value["picture"]),
    ):
        with pytest.raises(ProtectionError, match="text"):
            protect(prompt | model, protector).invoke({"picture": ENCODED})
    assert not model.seen


def test_sealed_values_are_bounded_and_what_is_forgotten_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("langchain_vpp.guard.sealing._HELD_BYTES", 3 * len(PICTURE))
    protector = ImageProtector(Pixelate())
    passing = protect(RunnablePassthrough(), protector)
    handle = passing.invoke(PICTURE)
    assert passing.invoke(handle) == handle
    assert protector.protect_messages([HumanMessage([{"type": "image", "url": handle}])])
    for seed in range(9):
        passing.invoke(noise_png(seed))
    with pytest.raises(ProtectionError, match="unknown"):
        protector.protect_messages([HumanMessage([{"type": "image", "url": handle}])])
    assert len(protector.sealing._held._entries) <= 3


def test_with_a_store_sealed_values_outlive_the_process() -> None:
    store = InMemoryByteStore()
    handle = protect(RunnablePassthrough(), ImageProtector(Pixelate(), store=store)).invoke(ENCODED)
    later = ImageProtector(Pixelate(), store=store)
    (message,) = later.protect_messages([HumanMessage([{"type": "image", "base64": handle}])])
    assert "/9j/" in str(message.content)


def test_a_sealed_document_is_drawn_or_refused() -> None:
    pdf = b"%PDF-1.4\n" + bytes(64)
    prompt = ChatPromptTemplate(
        [("human", [{"type": "file", "base64": "{pdf}", "mime_type": "application/pdf"}])]
    )
    chain = protect(prompt | Echo(), ImageProtector(Pixelate()))
    with pytest.raises(ProtectionError, match="on_document"):
        chain.invoke({"pdf": base64.b64encode(pdf).decode()})


def test_endless_nesting_is_refused(protector: ImageProtector) -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(ProtectionError, match="deep"):
        protect(RunnablePassthrough(), protector).invoke(endless)
    with pytest.raises(ProtectionError, match="deep"):
        protect(Echo(), protector).invoke("Hello.", extra=endless)
