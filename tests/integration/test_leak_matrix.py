"""Every way to compose a model x every way to call it x everything that could keep the original: nothing
does.

The same harness on the bare model finds the original in every sink, so it would find it here.
"""

from __future__ import annotations

import base64
import contextlib
import copy
import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.chat_history import InMemoryChatMessageHistory
from langchain_core.globals import set_debug, set_llm_cache
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompt_values import ChatPromptValue
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import (
    ConfigurableField,
    Runnable,
    RunnableBranch,
    RunnableLambda,
    RunnableParallel,
    RunnablePassthrough,
)
from langchain_core.runnables.history import RunnableWithMessageHistory
from langchain_core.tracers import LangChainTracer
from langchain_openai import ChatOpenAI
from langsmith import Client
from pydantic import BaseModel

from langchain_vpp import ImageProtector, protect
from langchain_vpp.engines import Pixelate
from langchain_vpp.testing import assert_no_leak
from tests.callbacks import Everything

from .recording import Recorder, noise_png, recording_server

CANARY = noise_png()
Wrap = Callable[[Runnable[Any, Any]], Runnable[Any, Any]]


class Joke(BaseModel):
    """A joke."""

    setup: str
    punchline: str


def look(place: str) -> str:
    """Look at a place."""
    return f"Nothing at {place}."


def _messages() -> list[BaseMessage]:
    encoded = base64.b64encode(CANARY).decode()
    return [
        HumanMessage("Hello."),
        AIMessage("Hello."),
        HumanMessage(
            [
                {"type": "text", "text": "What is this?"},
                {"type": "image", "base64": encoded, "mime_type": "image/png"},
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{encoded}"}},
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


# How to call. Each returns everything that the caller gets to see.


def invoke(runnable: Any, value: Any, config: Any) -> Any:
    return runnable.invoke(value, config)


async def ainvoke(runnable: Any, value: Any, config: Any) -> Any:
    return await runnable.ainvoke(value, config)


def batch(runnable: Any, value: Any, config: Any) -> Any:
    return runnable.batch([value, value], config)


async def abatch(runnable: Any, value: Any, config: Any) -> Any:
    return await runnable.abatch([value, value], config)


def batch_as_completed(runnable: Any, value: Any, config: Any) -> Any:
    return list(runnable.batch_as_completed([value, value], config))


async def abatch_as_completed(runnable: Any, value: Any, config: Any) -> Any:
    return [item async for item in runnable.abatch_as_completed([value, value], config)]


def stream(runnable: Any, value: Any, config: Any) -> Any:
    return list(runnable.stream(value, config))


async def astream(runnable: Any, value: Any, config: Any) -> Any:
    return [chunk async for chunk in runnable.astream(value, config)]


def transform(runnable: Any, value: Any, config: Any) -> Any:
    return list(runnable.transform(iter([value]), config))


async def atransform(runnable: Any, value: Any, config: Any) -> Any:
    async def values() -> Any:
        yield value

    return [chunk async for chunk in runnable.atransform(values(), config)]


def stream_events_v3(runnable: Any, value: Any, config: Any) -> Any:
    stream = runnable.stream_events(value, config, version="v3")
    return [list(stream), stream.output]


async def astream_events_v1(runnable: Any, value: Any, config: Any) -> Any:
    return [event async for event in runnable.astream_events(value, config, version="v1")]


async def astream_events_v2(runnable: Any, value: Any, config: Any) -> Any:
    return [event async for event in runnable.astream_events(value, config, version="v2")]


async def astream_events_v3(runnable: Any, value: Any, config: Any) -> Any:
    stream = await runnable.astream_events(value, config, version="v3")
    return [event async for event in stream]


async def astream_log(runnable: Any, value: Any, config: Any) -> Any:
    return [patch async for patch in runnable.astream_log(value, config)]


async def astream_log_state(runnable: Any, value: Any, config: Any) -> Any:
    return [patch async for patch in runnable.astream_log(value, config, diff=False)]


def with_listeners(runnable: Any, value: Any, config: Any) -> Any:
    heard: list[Any] = []
    listening = runnable.with_listeners(on_start=heard.append, on_end=heard.append, on_error=heard.append)
    return [listening.invoke(value, config), heard]


async def with_alisteners(runnable: Any, value: Any, config: Any) -> Any:
    heard: list[Any] = []

    async def listen(run: Any) -> None:
        heard.append(run)

    listening = runnable.with_alisteners(on_start=listen, on_end=listen, on_error=listen)
    return [await listening.ainvoke(value, config), heard]


def generate(model: Any, value: Any, config: Any) -> Any:
    return model.generate([value, value], callbacks=config["callbacks"])


async def agenerate(model: Any, value: Any, config: Any) -> Any:
    return await model.agenerate([value, value], callbacks=config["callbacks"])


def generate_prompt(model: Any, value: Any, config: Any) -> Any:
    return model.generate_prompt([ChatPromptValue(messages=value)], callbacks=config["callbacks"])


async def agenerate_prompt(model: Any, value: Any, config: Any) -> Any:
    return await model.agenerate_prompt([ChatPromptValue(messages=value)], callbacks=config["callbacks"])


def call_private_generate(model: Any, value: Any, config: Any) -> Any:
    return model._generate(value)


async def call_private_agenerate(model: Any, value: Any, config: Any) -> Any:
    return await model._agenerate(value)


def call_private_stream(model: Any, value: Any, config: Any) -> Any:
    return list(model._stream(value))


async def call_private_astream(model: Any, value: Any, config: Any) -> Any:
    return [chunk async for chunk in model._astream(value)]


ENTRIES = (
    invoke,
    ainvoke,
    batch,
    abatch,
    batch_as_completed,
    abatch_as_completed,
    stream,
    astream,
    transform,
    atransform,
    stream_events_v3,
    astream_events_v1,
    astream_events_v2,
    astream_events_v3,
    astream_log,
    astream_log_state,
    with_listeners,
    with_alisteners,
)
MODEL_ENTRIES = (
    generate,
    agenerate,
    generate_prompt,
    agenerate_prompt,
    call_private_generate,
    call_private_agenerate,
    call_private_stream,
    call_private_astream,
)


class KeepingCache(InMemoryCache):
    """Keeps the keys too."""

    def __init__(self) -> None:
        super().__init__()
        self.keys: list[str] = []

    def lookup(self, prompt: str, llm_string: str) -> Any:
        self.keys += [prompt, llm_string]
        return super().lookup(prompt, llm_string)


@dataclass
class Sinks:
    """Everything that could keep an original, after one call."""

    wire: list[bytes]
    langsmith: list[bytes]
    callbacks: list[Any]
    cache: list[Any]
    stdout: str
    yielded: Any


async def call(shape: Shape, runnable: Any, entry: Any, provider: Recorder, langsmith: Recorder) -> Sinks:
    """Call ``runnable`` once with all sinks attached."""
    provider.clear()
    langsmith.clear()
    handler = Everything()
    cache = KeepingCache()
    client = Client(api_url=langsmith.url, api_key="k", auto_batch_tracing=False)
    config = {**shape.config, "callbacks": [handler, LangChainTracer(client=client)]}
    printed = io.StringIO()
    set_llm_cache(cache)
    set_debug(True)
    try:
        with contextlib.redirect_stdout(printed), warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.filterwarnings("ignore", message=".*(beta|deprecated)")
            yielded = entry(runnable, shape.feed(_messages()), config)
            if hasattr(yielded, "__await__"):
                yielded = await yielded
    finally:
        set_debug(False)
        set_llm_cache(None)
        client.close()
    seen = [cache.keys, cache._cache]
    return Sinks(provider.wire, langsmith.wire, handler.events, seen, printed.getvalue(), yielded)


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
    return ImageProtector(Pixelate(), level=0.7, on_upstream_trace="raise")


def _wrap_with(protector: ImageProtector) -> Wrap:
    return lambda runnable: protect(runnable, protector)


def _leaks(sink: Any) -> bool:
    try:
        assert_no_leak(CANARY, sink)
    except AssertionError:
        return True
    return False


def test_the_matrix_is_as_large_as_promised() -> None:
    assert len(SHAPES) >= 27
    assert len(ENTRIES) + len(MODEL_ENTRIES) >= 19


@pytest.mark.parametrize("name", SHAPES)
async def test_no_sink_holds_the_original(name: str, provider: Recorder, langsmith: Recorder) -> None:
    shape = SHAPES[name]
    model = _model(provider)
    runnable = shape.build(_wrap_with(_protector()), model)
    entries = ENTRIES + (
        MODEL_ENTRIES if isinstance(runnable, ChatOpenAI) and name == "protect(model)" else ()
    )
    called = 0
    for entry in entries:
        try:
            sinks = await call(shape, runnable, entry, provider, langsmith)
        except NotImplementedError:
            with pytest.raises(NotImplementedError):
                await call(shape, shape.build(lambda bare: bare, model), entry, provider, langsmith)
            continue
        assert sinks.wire, entry.__name__
        called += 1
        for sink in ("wire", "langsmith", "callbacks", "cache", "stdout", "yielded"):
            assert not _leaks(getattr(sinks, sink)), f"{entry.__name__}: the original is in {sink}"
    assert called >= 14


@pytest.mark.parametrize("name", SHAPES)
async def test_the_same_harness_finds_the_original_of_the_bare_runnable(
    name: str, provider: Recorder, langsmith: Recorder
) -> None:
    shape = SHAPES[name]
    runnable = shape.build(lambda bare: bare, _model(provider))
    sinks = await call(shape, runnable, ainvoke, provider, langsmith)
    for sink in ("wire", "langsmith", "callbacks", "cache"):
        assert _leaks(getattr(sinks, sink)), f"the harness does not see {sink}"


@pytest.mark.parametrize("entry", [astream_events_v1, astream_events_v2, with_listeners, with_alisteners])
async def test_the_same_harness_finds_the_original_in_what_a_bare_chain_yields(
    entry: Any, provider: Recorder, langsmith: Recorder
) -> None:
    bare = _model(provider) | StrOutputParser()
    sinks = await call(SHAPES["model | parser"], bare, entry, provider, langsmith)
    assert _leaks(sinks.yielded)


async def test_the_same_harness_finds_the_original_in_what_a_bare_chain_prints(
    provider: Recorder, langsmith: Recorder
) -> None:
    # Debug output shows plain JSON, and leaves message objects out.
    bare = _model(provider) | StrOutputParser()
    sinks = await call(SHAPES["dicts | parser"], bare, ainvoke, provider, langsmith)
    assert _leaks(sinks.stdout)
