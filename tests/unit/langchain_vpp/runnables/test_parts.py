"""Parts of compositions of classes from elsewhere, wherever they are kept, and prompts that make pictures."""

from __future__ import annotations

import base64
import functools
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from langchain_core.example_selectors.base import BaseExampleSelector
from langchain_core.messages import HumanMessage
from langchain_core.prompt_values import ChatPromptValue, PromptValue
from langchain_core.prompts import BasePromptTemplate, ChatPromptTemplate, FewShotChatMessagePromptTemplate
from langchain_core.runnables import Runnable, RunnableLambda, RunnableSerializable
from langchain_core.tools import tool
from pydantic import ConfigDict

from langchain_vpp import ImageProtector, ProtectionError, protect
from langchain_vpp.testing import assert_no_leak
from tests.callbacks import Everything
from tests.unit.langchain_vpp.runnables.models import BLOCK, ENCODED, PICTURE, Echo

if TYPE_CHECKING:
    from collections.abc import Callable

URL = f"data:image/png;base64,{ENCODED}"


class _Calling(Runnable[Any, Any]):
    """Calls what it holds."""

    def invoke(self, input: Any, config: Any = None, **kwargs: Any) -> Any:  # noqa: A002
        held = self.held
        for name in ("model", "ask"):
            held = getattr(held, name, held)
        if isinstance(held, dict | set | frozenset | list):
            held = held["model"] if isinstance(held, dict) else next(iter(held))
        return held.invoke(input, config) if isinstance(held, Runnable) else held(input)


class InAttribute(_Calling):
    def __init__(self, held: Any) -> None:
        self.held = held


class InSlot(_Calling):
    __slots__ = ("held", "never_set")

    def __init__(self, held: Any) -> None:
        self.held = held


class InPrivateSlot(_Calling):
    __slots__ = ("__held",)

    def __init__(self, held: Any) -> None:
        self.__held = held

    @property
    def held(self) -> Any:
        return self.__held


class InExtraField(RunnableSerializable[Any, Any]):
    model_config = ConfigDict(extra="allow")

    invoke = _Calling.invoke


class AnsweringForAll(InAttribute):
    """Answers for every name, as a chat model of ``init_chat_model`` does."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.held, name)


@dataclass(frozen=True)
class Record:
    model: Any


@dataclass(frozen=True, slots=True)
class SlottedRecord:
    model: Any


class Pair(NamedTuple):
    name: str
    model: Any


PLACES: dict[str, Callable[[Any], Runnable[Any, Any]]] = {
    "slot": InSlot,
    "private slot": InPrivateSlot,
    "extra field": lambda chain: InExtraField(held=chain),  # type: ignore[call-arg]
    "answering for all": AnsweringForAll,
    "record": lambda chain: InAttribute(Record(chain)),
    "record with slots": lambda chain: InAttribute(SlottedRecord(chain)),
    "named tuple": lambda chain: InAttribute(Pair("a", chain)),
    "default dict": lambda chain: InAttribute(defaultdict(list, model=chain)),
    "frozen set": lambda chain: InAttribute(frozenset([InAttribute(chain)])),
    "closure": lambda chain: InAttribute(lambda value: [chain.invoke(value)]),
    "partial": lambda chain: InAttribute(functools.partial(lambda held, value: held.invoke(value), chain)),
    "bound entry point": lambda chain: InAttribute(chain.invoke),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_part_is_protected_wherever_a_class_from_elsewhere_keeps_it(
    place: str, protector: ImageProtector
) -> None:
    model, handler = Echo(seen=[]), Everything()
    whole = PLACES[place](RunnableLambda(lambda _: [HumanMessage([BLOCK])]) | model)
    protect(whole, protector).invoke("x", {"callbacks": [handler]})
    assert "/9j/" in str(model.seen)
    assert_no_leak(PICTURE, model.seen, handler.events)
    model.seen.clear()
    whole.invoke("x")
    assert "/9j/" not in str(model.seen), "the composition itself has changed"


async def test_a_coroutine_that_a_class_from_elsewhere_calls_is_protected(protector: ImageProtector) -> None:
    model = Echo(seen=[])

    async def ask(_: Any) -> Any:
        return await model.ainvoke([HumanMessage([BLOCK])])

    class Awaiting(InAttribute):
        async def ainvoke(self, input: Any, config: Any = None, **kwargs: Any) -> Any:  # noqa: A002
            return await self.held(input)

    await protect(Awaiting(ask), protector).ainvoke("x")
    assert "/9j/" in str(model.seen)
    assert_no_leak(PICTURE, model.seen)


def test_containers_keep_their_classes(protector: ImageProtector) -> None:
    chain = RunnableLambda(lambda value: value)
    for held in (
        Pair("a", chain),
        defaultdict(list, a=chain),
        Record(chain),
        frozenset([InAttribute(chain)]),
    ):
        shell: Any = protect(InAttribute(held), protector)
        inner = shell._inner.held
        assert type(inner) is type(held)
        assert inner is not held


def test_a_configurable_model_with_tools_is_protected(protector: ImageProtector) -> None:
    @tool
    def look(place: str) -> str:
        """Look at a place."""
        return place

    init_chat_model = pytest.importorskip("langchain.chat_models").init_chat_model
    model = init_chat_model(
        "m", model_provider="openai", api_key="k", configurable_fields=("model",)
    ).bind_tools([look])
    bound = protect(model, protector).with_config(configurable={"model": "other"})
    assert bound.bind_tools([look]) is not None  # type: ignore[attr-defined]


class Selecting(BaseExampleSelector):
    """Finds examples with pictures."""

    def add_example(self, example: dict[str, str]) -> None:
        raise NotImplementedError

    def select_examples(self, input_variables: dict[str, str]) -> list[dict[str, Any]]:
        return [{"picture": ENCODED, "answer": "A cat."}]


SHOWING = [("human", [{"type": "image_url", "image_url": {"url": "data:image/png;base64,{picture}"}}])]
SELECTED = FewShotChatMessagePromptTemplate(
    example_prompt=ChatPromptTemplate([*SHOWING, ("ai", "{answer}")]),
    example_selector=Selecting(),
    input_variables=["picture"],
)


class OwnPrompt(BasePromptTemplate[Any]):
    """Encodes a picture by itself."""

    def format(self, **kwargs: Any) -> Any:
        raise NotImplementedError

    def format_prompt(self, **kwargs: Any) -> PromptValue:
        encoded = base64.b64encode(kwargs["data"]).decode()
        return ChatPromptValue(messages=[HumanMessage([{**BLOCK, "base64": encoded}])])


PROMPTS: dict[str, tuple[Any, dict[str, Any]]] = {
    "selected examples": (SELECTED, {"picture": "none"}),
    "selected examples inside": (ChatPromptTemplate([SELECTED, *SHOWING]), {"picture": ENCODED}),
    "own class": (OwnPrompt(input_variables=["data"]), {"data": PICTURE}),
}


@pytest.mark.parametrize("kind", PROMPTS)
@pytest.mark.parametrize("call", ["invoke", "ainvoke"])
async def test_a_picture_that_a_prompt_makes_is_in_no_run(
    kind: str, call: str, protector: ImageProtector
) -> None:
    model, handler = Echo(seen=[]), Everything()
    prompt, variables = PROMPTS[kind]
    asked: Any = getattr(protect(prompt | model, protector), call)(variables, {"callbacks": [handler]})
    if call == "ainvoke":
        await asked
    assert "/9j/" in str(model.seen)
    assert_no_leak(PICTURE, model.seen, handler.events)


def test_a_fallback_gets_the_error_of_the_step_that_failed(protector: ImageProtector) -> None:
    model = Echo(seen=[])

    def fail(_: Any) -> Any:
        raise ValueError("too long")

    def again(value: dict[str, Any]) -> str:
        return f"It was {value['error']}: {value['question']}"

    protected = protect(RunnableLambda(again) | model, protector)
    chain = RunnableLambda(fail).with_fallbacks([protected], exception_key="error")
    assert chain.invoke({"question": "?"}).text == "ok"
    assert "too long" in str(model.seen)


def test_an_error_with_a_picture_is_no_input(protector: ImageProtector) -> None:
    error = ValueError(f"bad picture {URL}")
    with pytest.raises(ProtectionError, match="ValueError"):
        protect(RunnableLambda(str), protector).invoke({"error": error})


def test_an_unprotected_model_gets_no_handle(protector: ImageProtector) -> None:
    class Service:
        def __init__(self, model: Any) -> None:
            self.model = model

        def ask(self, value: Any) -> Any:
            url = value["picture"]
            return self.model.invoke([HumanMessage([{"type": "image_url", "image_url": {"url": url}}])])

    class Passing(Runnable[Any, Any]):
        def __init__(self, service: Service) -> None:
            self.service = service

        def invoke(self, input: Any, config: Any = None, **kwargs: Any) -> Any:  # noqa: A002
            return self.service.ask(input)

    model = Echo(seen=[])
    with pytest.raises(ProtectionError, match="a handle for one"):
        # In langchain-core's context of the run, where the sentinel is.
        protect(Passing(Service(model)) | RunnableLambda(lambda value: value), protector).invoke(
            {"picture": URL}
        )
    assert model.seen == []
