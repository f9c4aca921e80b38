"""Every way to compose a model x every way to call it x everything that could keep the original: nothing
does.

The same harness on the bare model finds the original in every sink, so it would find it here.
"""

from __future__ import annotations

import base64
import copy
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

import pytest
from langchain_core.chat_history import InMemoryChatMessageHistory
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompt_values import ChatPromptValue
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import (
    ConfigurableField,
    Runnable,
    RunnableBranch,
    RunnableGenerator,
    RunnableLambda,
    RunnableParallel,
    RunnablePassthrough,
    RunnableSequence,
)
from langchain_core.runnables.history import RunnableWithMessageHistory
from langchain_openai import ChatOpenAI
from pydantic import BaseModel

from langchain_vpp import ImageProtector, ProtectedRunnable, protect
from langchain_vpp.engines import Pixelate
from langchain_vpp.testing import assert_no_leak

from .calling import (
    ENTRIES,
    MODEL_ENTRIES,
    Servers,
    Sinks,
    ainvoke,
    astream_events_v1,
    astream_events_v2,
    call,
    leaks,
    with_alisteners,
    with_listeners,
)
from .recording import Recorder, noise_png, recording_server

pytestmark = pytest.mark.slow(seconds=80)

CANARY = noise_png()
ENCODED = base64.b64encode(CANARY).decode()
Wrap = Callable[[Runnable[Any, Any]], Runnable[Any, Any]]


class Joke(BaseModel):
    """A joke."""

    setup: str
    punchline: str


def look(place: str) -> str:
    """Look at a place."""
    return f"Nothing at {place}."


def _messages() -> list[BaseMessage]:
    return [
        HumanMessage("Hello."),
        AIMessage("Hello."),
        HumanMessage(
            [
                {"type": "text", "text": "What is this?"},
                {"type": "image", "base64": ENCODED, "mime_type": "image/png"},
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{ENCODED}"}},
            ]
        ),
    ]


def _as_dict(message: AIMessage) -> dict[str, Any]:
    return {"text": message.text, "size": len(message.text)}


def _graph(model: Runnable[Any, Any]) -> Runnable[Any, Any]:
    graph = pytest.importorskip("langgraph.graph")
    builder = graph.StateGraph(graph.MessagesState)
    builder.add_node("model", lambda state: {"messages": [model.invoke(state["messages"])]})
    builder.add_edge(graph.START, "model")
    return builder.compile()


def _agent(model: Runnable[Any, Any]) -> Runnable[Any, Any]:
    return pytest.importorskip("langchain.agents").create_agent(model, [look])


def _as_dicts(messages: list[BaseMessage]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": messages[-1].content}]


def _as_state(messages: list[BaseMessage]) -> dict[str, Any]:
    return {"messages": messages}


def _as_batch(messages: list[BaseMessage]) -> list[list[BaseMessage]]:
    return [messages, messages]


def _as_question(messages: list[BaseMessage]) -> dict[str, Any]:
    return {"question": messages}


def _failing(model: ChatOpenAI) -> ChatOpenAI:
    """A model that fails after it has sent its request."""
    return ChatOpenAI(model="m", base_url=f"{model.openai_api_base}/nowhere", api_key="k", max_retries=0)


# A picture in the variables of a prompt, in the forms that LangChain documents.
ASKING = {"type": "text", "text": "{question}"}
TEMPLATE = ChatPromptTemplate(
    [("human", [ASKING, {"type": "image_url", "image_url": {"url": "data:image/png;base64,{picture}"}}])]
)
URL_TEMPLATE = ChatPromptTemplate(
    [("human", [ASKING, {"type": "image_url", "image_url": {"url": "{picture}"}}])]
)
V1_TEMPLATE = ChatPromptTemplate(
    [("human", [ASKING, {"type": "image", "base64": "{picture}", "mime_type": "image/png"}])]
)


def _as_variables(_: list[BaseMessage]) -> dict[str, Any]:
    return {"question": "What is this?", "picture": ENCODED}


def _as_url_variables(_: list[BaseMessage]) -> dict[str, Any]:
    return {"question": "What is this?", "picture": f"data:image/png;base64,{ENCODED}"}


def _as_bytes_variables(_: list[BaseMessage]) -> dict[str, Any]:
    return {"question": "What is this?", "picture": CANARY}


def _as_text(_: list[BaseMessage]) -> str:
    return "What is this?"


def _encoding(variables: dict[str, Any]) -> dict[str, Any]:
    return {**variables, "picture": base64.b64encode(variables["picture"]).decode()}


def _making(_: Any) -> list[BaseMessage]:
    """Make a picture that was in no input."""
    return _messages()


def _making_chunks(_: Iterator[Any]) -> Iterator[list[BaseMessage]]:
    yield _messages()


async def _amaking_chunks(_: AsyncIterator[Any]) -> AsyncIterator[list[BaseMessage]]:
    yield _messages()


def _failing_function(_: Any) -> Any:
    raise OSError


NOTHING = RunnablePassthrough[Any]()
MAKING = RunnableLambda(_making)


class OwnSequence(RunnableSequence[Any, Any]):
    """A sequence from elsewhere."""


@dataclass(frozen=True)
class Shape:
    """A runnable built from a model. ``wrap`` protects it, or leaves it as it is for the counter-check."""

    build: Callable[[Wrap, ChatOpenAI], Runnable[Any, Any]]
    feed: Callable[[list[BaseMessage]], Any] = lambda messages: messages
    config: dict[str, Any] = field(default_factory=dict)


ALTERNATIVE = ConfigurableField(id="which")

SHAPES = {
    "protect(model)": Shape(lambda wrap, model: wrap(model)),
    "prompt value": Shape(
        lambda wrap, model: wrap(model), lambda messages: ChatPromptValue(messages=messages)
    ),
    "dicts": Shape(lambda wrap, model: wrap(model), _as_dicts),
    "dicts | parser": Shape(lambda wrap, model: wrap(model) | StrOutputParser(), _as_dicts),
    "tuples": Shape(lambda wrap, model: wrap(model), lambda messages: [("user", messages[-1].content)]),
    "level": Shape(lambda wrap, model: wrap(model), config={"configurable": {"vpp_level": 0.9}}),
    "copy": Shape(lambda wrap, model: copy.copy(wrap(model))),
    "model_copy": Shape(lambda wrap, model: wrap(model).model_copy(update={"temperature": 0.5})),
    "bind": Shape(lambda wrap, model: wrap(model).bind(stop=["x"])),
    "bind_tools": Shape(lambda wrap, model: wrap(model).bind_tools([look])),
    "bind twice": Shape(lambda wrap, model: wrap(model).bind_tools([look]).bind(stop=["x"])),
    "protect(binding)": Shape(lambda wrap, model: wrap(model.bind(stop=["x"]))),
    "with_config": Shape(
        lambda wrap, model: wrap(model).with_config(tags=["t"], configurable={"vpp_level": 0.9})
    ),
    "bind.with_config": Shape(lambda wrap, model: wrap(model).bind(stop=["x"]).with_config(run_name="r")),
    "with_retry": Shape(lambda wrap, model: wrap(model).with_retry(stop_after_attempt=2)),
    "bind.with_retry": Shape(
        lambda wrap, model: wrap(model).bind(stop=["x"]).with_retry(stop_after_attempt=2)
    ),
    "with_fallbacks": Shape(lambda wrap, model: wrap(_failing(model)).with_fallbacks([model])),
    "bind_tools.with_fallbacks": Shape(
        lambda wrap, model: (
            wrap(_failing(model)).bind_tools([look]).with_fallbacks([model.bind_tools([look])])
        )
    ),
    "with_structured_output": Shape(lambda wrap, model: wrap(model).with_structured_output(Joke)),
    "with_structured_output(function_calling)": Shape(
        lambda wrap, model: wrap(model).with_structured_output(Joke, method="function_calling")
    ),
    "with_structured_output(include_raw)": Shape(
        lambda wrap, model: wrap(model).with_structured_output(Joke, include_raw=True)
    ),
    "with_structured_output.with_retry": Shape(
        lambda wrap, model: wrap(model).with_structured_output(Joke).with_retry(stop_after_attempt=2)
    ),
    "with_types": Shape(lambda wrap, model: wrap(model).with_types(output_type=AIMessage)),
    "model | parser": Shape(lambda wrap, model: wrap(model) | StrOutputParser()),
    "model | lambda | parser": Shape(
        lambda wrap, model: wrap(model) | (lambda message: message) | StrOutputParser()
    ),
    "model | dict": Shape(
        lambda wrap, model: wrap(model) | {"text": StrOutputParser(), "raw": RunnablePassthrough()}
    ),
    "bind | parser": Shape(lambda wrap, model: wrap(model).bind(stop=["x"]) | StrOutputParser()),
    "pipe": Shape(lambda wrap, model: wrap(model).pipe(StrOutputParser(), name="piped")),
    "map": Shape(lambda wrap, model: wrap(model).map(), _as_batch),
    "pick": Shape(lambda wrap, model: (wrap(model) | _as_dict).pick("text")),
    "assign": Shape(lambda wrap, model: (wrap(model) | _as_dict).assign(double=lambda d: d["size"] * 2)),
    "configurable_fields": Shape(
        lambda wrap, model: wrap(model).configurable_fields(temperature=ConfigurableField(id="heat")),
        config={"configurable": {"heat": 0.5}},
    ),
    "configurable_fields.bind_tools": Shape(
        lambda wrap, model: (
            wrap(model).configurable_fields(temperature=ConfigurableField(id="heat")).bind_tools([look])
        ),
        config={"configurable": {"heat": 0.5}},
    ),
    "configurable_alternatives": Shape(
        lambda wrap, model: wrap(model).configurable_alternatives(ALTERNATIVE, other=model),
        config={"configurable": {"which": "other"}},
    ),
    "configurable_alternatives(factory)": Shape(
        lambda wrap, model: wrap(model).configurable_alternatives(ALTERNATIVE, other=lambda: model),
        config={"configurable": {"which": "other"}},
    ),
    "protect(sequence)": Shape(lambda wrap, model: wrap(model | StrOutputParser())),
    "protect(prompt | model)": Shape(
        lambda wrap, model: wrap(
            ChatPromptTemplate([("system", "Be brief."), MessagesPlaceholder("question")]) | model
        ),
        _as_question,
    ),
    "protect(parallel)": Shape(lambda wrap, model: wrap(RunnableParallel(one=model, other=model))),
    "protect(lambda)": Shape(lambda wrap, model: wrap(RunnableLambda(model.invoke))),
    "protect(branch)": Shape(lambda wrap, model: wrap(RunnableBranch((lambda _: False, model), model))),
    "protect(retry)": Shape(lambda wrap, model: wrap(model.with_retry())),
    "protect(fallbacks)": Shape(lambda wrap, model: wrap(_failing(model).with_fallbacks([model]))),
    "protect(history)": Shape(
        lambda wrap, model: wrap(RunnableWithMessageHistory(model, lambda _: InMemoryChatMessageHistory())),
        config={"configurable": {"session_id": "1"}},
    ),
    "protect(graph)": Shape(lambda wrap, model: wrap(_graph(model)), _as_state),
    "protect(agent)": Shape(lambda wrap, model: wrap(_agent(model)), _as_state),
    "protect(agent | lambda)": Shape(
        lambda wrap, model: wrap(_agent(model)) | RunnableLambda(len), _as_state
    ),
}

# Pictures outside of messages, and pictures that the composition makes itself.
COMPOSITIONS = {
    "template": Shape(lambda wrap, model: wrap(TEMPLATE | model), _as_variables),
    "template(data URL)": Shape(lambda wrap, model: wrap(URL_TEMPLATE | model), _as_url_variables),
    "template(v1)": Shape(lambda wrap, model: wrap(V1_TEMPLATE | model), _as_variables),
    "dict | template": Shape(
        lambda wrap, model: (
            {"question": itemgetter("question"), "picture": lambda variables: variables["picture"]}
            | wrap(TEMPLATE | model)
        ),
        _as_variables,
    ),
    "encoding | template": Shape(lambda wrap, model: _encoding | wrap(TEMPLATE | model), _as_bytes_variables),
    "assign(template)": Shape(
        lambda wrap, model: wrap(RunnablePassthrough.assign(answer=TEMPLATE | model)) | itemgetter("answer"),
        _as_variables,
    ),
    "template.partial": Shape(
        lambda wrap, model: (
            wrap(RunnableLambda(lambda text: {"question": text})) | TEMPLATE.partial(picture=ENCODED) | model
        ),
        _as_text,
    ),
    "template.partial(function)": Shape(
        lambda wrap, model: (
            wrap(RunnableLambda(lambda text: {"question": text}))
            | TEMPLATE.partial(picture=lambda: ENCODED)
            | model
        ),
        _as_text,
    ),
    "static template": Shape(lambda wrap, model: wrap(ChatPromptTemplate(_messages()) | model), lambda _: {}),
    "f | model": Shape(lambda wrap, model: wrap(NOTHING) | MAKING | model, _as_text),
    "pipe(f, model)": Shape(lambda wrap, model: wrap(NOTHING).pipe(MAKING, model), _as_text),
    "model | f | model": Shape(lambda wrap, model: wrap(model) | _making | model, _as_text),
    "bind.pipe(f, model)": Shape(
        lambda wrap, model: wrap(model).bind(stop=["x"]).pipe(_making, model), _as_text
    ),
    "with_fallbacks(f | model)": Shape(
        lambda wrap, model: wrap(RunnableLambda(_failing_function)).with_fallbacks([MAKING | model]), _as_text
    ),
    "alternatives(f | model)": Shape(
        lambda wrap, model: wrap(model).configurable_alternatives(ALTERNATIVE, other=lambda: MAKING | model),
        _as_text,
        config={"configurable": {"which": "other"}},
    ),
    "left function": Shape(lambda wrap, model: _making | wrap(model), _as_text),
    "left function(identity)": Shape(lambda wrap, model: (lambda value: value) | wrap(model)),
    "left dict": Shape(
        lambda wrap, model: {"messages": _making} | wrap(RunnableLambda(itemgetter("messages")) | model),
        _as_text,
    ),
    "subclass of a sequence": Shape(lambda wrap, model: wrap(OwnSequence(MAKING, model)), _as_text),
    "closure": Shape(
        lambda wrap, model: wrap(RunnableLambda(lambda value: model.invoke(_making(value)))), _as_text
    ),
    "closure(chain)": Shape(
        lambda wrap, model: wrap(RunnableLambda(lambda value, chain=MAKING | model: chain.invoke(value))),
        _as_text,
    ),
    "returned": Shape(lambda wrap, model: wrap(RunnableLambda(lambda _: MAKING | model)), _as_text),
    "generator": Shape(
        lambda wrap, model: wrap(RunnableGenerator(_making_chunks, _amaking_chunks) | model), _as_text
    ),
    "branch(f | model)": Shape(
        lambda wrap, model: wrap(RunnableBranch((lambda _: True, MAKING | model), model)), _as_text
    ),
    "map(f | model)": Shape(lambda wrap, model: wrap(MAKING | model).map(), lambda _: ["one", "two"]),
    "parallel(f | model)": Shape(
        lambda wrap, model: (wrap(RunnableParallel(one=MAKING | model, other=NOTHING))).pick("one"), _as_text
    ),
    "nested": Shape(
        lambda wrap, model: (
            wrap(NOTHING)
            | RunnableParallel(
                one=RunnableBranch(
                    (lambda _: False, model), (MAKING | model.with_retry()).with_fallbacks([model])
                )
            )
            | itemgetter("one")
        ),
        _as_text,
    ),
}
SHAPES |= COMPOSITIONS
# Each composition is called in a few ways, all of them together in all ways. The whole matrix: len(ENTRIES).
ENTRIES_PER_COMPOSITION = 3


@pytest.fixture(scope="module")
def provider():
    with recording_server() as server:
        yield server


@pytest.fixture(scope="module")
def langsmith():
    with recording_server() as server:
        yield server


def _model(provider: Recorder) -> ChatOpenAI:
    return ChatOpenAI(model="m", base_url=f"{provider.url}/v1", api_key="k", max_retries=0)


def _protector() -> ImageProtector:
    return ImageProtector(Pixelate(), level=0.7)


def _wrap_with(protector: ImageProtector) -> Wrap:
    return lambda runnable: protect(runnable, protector)


async def _call(shape: Shape, runnable: Any, entry: Any, provider: Recorder, langsmith: Recorder) -> Sinks:
    servers = Servers(provider, langsmith)
    return await call(entry, runnable, shape.feed(_messages()), servers, shape.config)


def test_the_matrix_is_as_large_as_promised() -> None:
    assert len(SHAPES) - len(COMPOSITIONS) >= 27
    assert len(COMPOSITIONS) >= 27
    assert len(ENTRIES) + len(MODEL_ENTRIES) >= 19


def _entries(name: str) -> tuple[Any, ...]:
    if name == "protect(model)":
        return ENTRIES + MODEL_ENTRIES
    if name not in COMPOSITIONS:
        return ENTRIES
    first = [*COMPOSITIONS].index(name) * ENTRIES_PER_COMPOSITION
    return tuple(ENTRIES[(first + step) % len(ENTRIES)] for step in range(ENTRIES_PER_COMPOSITION))


@pytest.mark.parametrize("name", SHAPES)
async def test_no_sink_holds_the_original(name: str, provider: Recorder, langsmith: Recorder) -> None:
    shape = SHAPES[name]
    model = _model(provider)
    runnable = shape.build(_wrap_with(_protector()), model)
    entries = _entries(name)
    found: dict[str, Sinks] = {}
    for entry in entries:
        try:
            sinks = await _call(shape, runnable, entry, provider, langsmith)
        except NotImplementedError:
            with pytest.raises(NotImplementedError):
                await _call(shape, shape.build(lambda bare: bare, model), entry, provider, langsmith)
            continue
        assert sinks.wire, entry.__name__
        found[entry.__name__] = sinks
    assert len(found) >= len(entries) - 4
    assert_no_leak(CANARY, found)  # at once, because the same texts come again and again


@pytest.mark.parametrize("name", SHAPES)
async def test_the_same_harness_finds_the_original_of_the_bare_runnable(
    name: str, provider: Recorder, langsmith: Recorder
) -> None:
    shape = SHAPES[name]
    runnable = shape.build(lambda bare: bare, _model(provider))
    assert not isinstance(runnable, ProtectedRunnable)
    sinks = await _call(shape, runnable, ainvoke, provider, langsmith)
    for sink in ("wire", "langsmith", "callbacks", "cache"):
        assert leaks(CANARY, getattr(sinks, sink)), f"the harness does not see {sink}"


@pytest.mark.parametrize("entry", [astream_events_v1, astream_events_v2, with_listeners, with_alisteners])
async def test_the_same_harness_finds_the_original_in_what_a_bare_chain_yields(
    entry: Any, provider: Recorder, langsmith: Recorder
) -> None:
    bare = _model(provider) | StrOutputParser()
    sinks = await _call(SHAPES["model | parser"], bare, entry, provider, langsmith)
    assert leaks(CANARY, sinks.yielded)


async def test_the_same_harness_finds_the_original_in_what_a_bare_chain_prints(
    provider: Recorder, langsmith: Recorder
) -> None:
    # Debug output shows plain JSON, and leaves message objects out.
    bare = _model(provider) | StrOutputParser()
    sinks = await _call(SHAPES["dicts | parser"], bare, ainvoke, provider, langsmith)
    assert leaks(CANARY, sinks.stdout)
