"""Values of any shape as the input of a Runnable."""

from __future__ import annotations

import copy
import dataclasses
from collections import deque
from typing import Any, NamedTuple

import pytest
from langchain_core.prompt_values import ChatPromptValue, StringPromptValue
from langchain_core.runnables import RunnableLambda, RunnablePassthrough
from pydantic import BaseModel, PrivateAttr

from langchain_vpp import ImageProtector, ProtectionError, protect
from langchain_vpp.testing import assert_no_leak
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
