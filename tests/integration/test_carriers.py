"""Compositions and carriers one by one: each asks a real chat model, and no sink holds the original.

The matrix and the random compositions combine forms; these are the ways in which programs put pictures into them.
"""

from __future__ import annotations

import base64
import functools
import operator
from typing import TYPE_CHECKING, Annotated, Any, TypedDict

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import dynamic_prompt, wrap_model_call
from langchain_core.chat_history import InMemoryChatMessageHistory
from langchain_core.documents import Document
from langchain_core.messages import HumanMessage, HumanMessageChunk, SystemMessage, ToolMessage
from langchain_core.prompts import (
    ChatPromptTemplate,
    FewShotChatMessagePromptTemplate,
    HumanMessagePromptTemplate,
    MessagesPlaceholder,
    PromptTemplate,
)
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import (
    ConfigurableField,
    RouterRunnable,
    Runnable,
    RunnableBranch,
    RunnableGenerator,
    RunnableLambda,
    RunnableParallel,
    RunnablePassthrough,
    RunnablePick,
    chain,
)
from langchain_core.runnables.base import RunnableEach
from langchain_core.runnables.history import RunnableWithMessageHistory
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.config import get_stream_writer
from langgraph.graph import START, StateGraph
from langgraph.store.base import BaseStore  # noqa: TC002  langgraph reads the annotation
from langgraph.store.memory import InMemoryStore
from langgraph.types import Command
from pydantic import BaseModel

from langchain_vpp import ImageProtector, ProtectionError, protect
from langchain_vpp.engines import Pixelate
from langchain_vpp.testing import assert_no_leak
from tests.callbacks import Everything

from .recording import noise_png, picture_digests, recording_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

pytestmark = pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainDeprecationWarning")

CANARY = noise_png(77)
ENCODED = base64.b64encode(CANARY).decode()
URL = f"data:image/png;base64,{ENCODED}"
BLOCK: dict[str, Any] = {"type": "image", "base64": ENCODED, "mime_type": "image/png"}
TEMPLATE = ChatPromptTemplate(
    [("human", [{"type": "image_url", "image_url": {"url": "data:image/png;base64,{picture}"}}])]
)
VARIABLES = {"picture": ENCODED}
HELLO: dict[str, Any] = {"messages": [HumanMessage("Hello.")]}
Any_ = Runnable[Any, Any]


class Said(BaseModel):
    """What was said."""

    words: str


class State(TypedDict):
    messages: Annotated[list[Any], operator.add]


class Retriever(BaseRetriever):
    """Finds a document that is a picture."""

    def _get_relevant_documents(self, _query: str, *, run_manager: Any) -> list[Document]:
        return [Document(ENCODED)]


def question(_: Any = None) -> list[Any]:
    return [HumanMessage([{"type": "text", "text": "What is this?"}, BLOCK])]


def showing(encoded: Any) -> list[Any]:
    data = base64.b64encode(encoded).decode() if isinstance(encoded, bytes) else encoded
    return [HumanMessage([{**BLOCK, "base64": data.rpartition(",")[2]}])]


ASK = RunnableLambda(question)


@tool
def shoot(place: str) -> list[dict[str, Any]]:
    """Take a picture."""
    return [BLOCK]


@tool
def command(place: str) -> Any:
    """Take a picture."""
    return Command(update={"messages": [ToolMessage([BLOCK], tool_call_id="call_1")]})


def chunks(model: Any_) -> Any_:
    def give(_: Any) -> Iterator[Any]:
        for block in question()[0].content:
            yield HumanMessageChunk([block])

    async def agive(_: Any) -> AsyncIterator[Any]:
        for chunk in give(_):
            yield chunk

    return RunnableLambda(give, agive) | RunnableLambda(lambda message: [message]) | model


def generator(model: Any_) -> Any_:
    def make(given: Iterator[Any]) -> Iterator[Any]:
        list(given)
        yield question()

    async def amake(given: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async for _ in given:
            pass
        yield question()

    return RunnableGenerator(make, amake) | model


def failing_once(model: Any_) -> Any_:
    tries: list[int] = []

    def make(_: Any) -> Any:
        tries.append(1)
        if len(tries) < 2:
            raise ValueError(ENCODED)
        return question()

    return RunnableLambda(make).with_retry(stop_after_attempt=3, wait_exponential_jitter=False) | model


def fallen_back(model: Any_) -> Any_:
    def fail(_: Any) -> Any:
        raise ValueError(URL)

    return RunnableLambda(fail).with_fallbacks([ASK | model])


def with_config(model: Any_) -> Any_:
    def ask(_: Any, config: Any) -> Any:
        return model.invoke(question(), config)

    return RunnableLambda(ask)


def decorated(model: Any_) -> Any_:
    @chain
    def ask(_: Any) -> Any:
        yield from model.stream(question())

    return ask


def default_argument(model: Any_) -> Any_:
    def ask(_: Any, *, asked: Any = model) -> Any:
        return asked.invoke(question())

    return RunnableLambda(ask)


def loop_of_tools(model: Any) -> Any_:
    def ask(_: Any) -> Any:
        call = model.bind_tools([shoot]).invoke("take 'one'")
        return model.invoke([HumanMessage("Go on."), call, shoot.invoke(call.tool_calls[0])])

    return RunnableLambda(ask)


def history(model: Any_) -> Any_:
    kept = InMemoryChatMessageHistory(messages=question())
    prompt = ChatPromptTemplate([MessagesPlaceholder("kept"), ("human", "{words}")])
    return RunnableWithMessageHistory(
        prompt | model, lambda _: kept, input_messages_key="words", history_messages_key="kept"
    ).with_config(configurable={"session_id": "1"})


def graph_of(node: Any, **options: Any) -> Any_:
    builder = StateGraph(State)
    builder.add_node("node", node)
    builder.add_edge(START, "node")
    return builder.compile(**options)


def graph_with_store(model: Any_) -> Any_:
    store = InMemoryStore()
    store.put(("pictures",), "one", {"picture": ENCODED})

    def node(_: State, *, store: BaseStore) -> Any:
        return {"messages": [model.invoke(showing(store.get(("pictures",), "one").value["picture"]))]}

    return graph_of(node, store=store)


def graph_with_events(model: Any_) -> Any_:
    def node(_: State) -> Any:
        get_stream_writer()({"progress": 1})
        return {"messages": [model.invoke(question())]}

    return graph_of(node)


def agent_of(model: Any, *tools: Any, **options: Any) -> Any_:
    return create_agent(model, list(tools), **options)


def agent_with_added(model: Any) -> Any_:
    @wrap_model_call
    async def add(request: Any, handler: Any) -> Any:
        return await handler(request.override(messages=[*request.messages, *question()]))

    return agent_of(model, middleware=[add])


def agent_with_prompt(model: Any) -> Any_:
    @dynamic_prompt
    def prompt(request: Any) -> str:
        return f"There are {len(request.messages)} messages."

    return agent_of(model, middleware=[prompt])


def agent_in_a_tool(model: Any) -> Any_:
    inner = agent_of(model)

    @tool
    def ask(words: str) -> str:
        """Ask another agent."""
        return str(inner.invoke({"messages": question()})["messages"][-1].text)

    return agent_of(model, ask)


CASES: dict[str, tuple[Callable[[Any], Any_], Any]] = {
    "function with config": (with_config, "x"),
    "function that returns a chain": (lambda m: RunnableLambda(lambda _: ASK | m), "x"),
    "function of functions": (lambda m: RunnableLambda(lambda _: RunnableLambda(question)) | m, "x"),
    "partial function": (
        lambda m: RunnableLambda(functools.partial(lambda asked, _: asked.invoke(question()), m)),
        "x",
    ),
    "default argument": (default_argument, "x"),
    "decorated generator": (decorated, "x"),
    "generator of messages": (generator, "x"),
    "chunks of a message": (chunks, "x"),
    "each": (lambda m: RunnableEach(bound=ASK | m), ["a", "b"]),
    "map": (lambda m: (ASK | m).map() | len, ["a", "b"]),
    "list of variables": (lambda m: RunnableEach(bound=TEMPLATE | m) | len, [VARIABLES] * 2),
    "assign": (
        lambda m: RunnablePassthrough.assign(made=lambda _: CANARY) | (lambda d: showing(d["made"])) | m,
        {"q": "x"},
    ),
    "assign in assign": (
        lambda m: (
            RunnablePassthrough.assign(a=RunnablePassthrough.assign(b=lambda _: URL) | RunnablePick("b"))
            | (lambda d: showing(d["a"]))
            | m
        ),
        {"q": "x"},
    ),
    "pick several": (
        lambda m: RunnableLambda(lambda _: {**VARIABLES, "y": 2}) | RunnablePick(["picture"]) | TEMPLATE | m,
        "x",
    ),
    "retry": (failing_once, "x"),
    "fallbacks after an error with the picture": (fallen_back, "x"),
    "branch": (lambda m: ASK | RunnableBranch((lambda _: True, m), m), "x"),
    "chain as condition": (
        lambda m: RunnableBranch((ASK | m | (lambda _: True), ASK | m), RunnableLambda(len)),
        "x",
    ),
    "router": (lambda m: RouterRunnable({"a": ASK | m}), {"key": "a", "input": "x"}),
    "router behind a dict": (
        lambda m: RunnableParallel(key=lambda _: "b", input=ASK) | RouterRunnable({"b": m}),
        "x",
    ),
    "nested parallels": (
        lambda m: RunnableParallel(a={"b": ASK | m, "c": RunnableLambda(lambda _: CANARY)}, d=lambda _: URL),
        "x",
    ),
    "alternatives of a prompt": (
        lambda m: (
            TEMPLATE.configurable_alternatives(ConfigurableField(id="which"), other=ASK) | m
        ).with_config(configurable={"which": "other"}),
        VARIABLES,
    ),
    "alternatives of a model": (
        lambda m: m.configurable_alternatives(
            ConfigurableField(id="which"), default_key="a", c=lambda: ASK | m
        ).with_config(configurable={"which": "c"}),
        "x",
    ),
    "configurable prompt": (
        lambda m: TEMPLATE.configurable_fields(messages=ConfigurableField(id="messages")) | m,
        VARIABLES,
    ),
    "types": (lambda m: (ASK | m).with_types(input_type=str), "x"),
    "structured output": (lambda m: ASK | m.with_structured_output(Said), "x"),
    "raw structured output": (
        lambda m: ASK | m.with_structured_output(Said, include_raw=True, method="function_calling"),
        "x",
    ),
    "documents": (
        lambda m: (
            RunnableLambda(lambda _: [Document("a", metadata={"image": ENCODED})])
            | (lambda found: showing(found[0].metadata["image"]))
            | m
        ),
        "x",
    ),
    "retriever": (lambda m: Retriever() | (lambda found: showing(found[0].page_content)) | m, "x"),
    "few shots": (
        lambda m: FewShotChatMessagePromptTemplate(examples=[VARIABLES], example_prompt=TEMPLATE) | m,
        {},
    ),
    "partial placeholder": (
        lambda m: (
            ChatPromptTemplate([MessagesPlaceholder("kept"), ("human", "?")]).partial(kept=question()) | m
        ),
        {},
    ),
    "picture in a template": (
        lambda m: (
            ChatPromptTemplate([HumanMessagePromptTemplate.from_template([{"image_url": {"url": URL}}])]) | m
        ),
        {},
    ),
    "mustache": (
        lambda m: (
            ChatPromptTemplate(
                [
                    (
                        "human",
                        [{"type": "image_url", "image_url": {"url": "data:image/png;base64,{{picture}}"}}],
                    )
                ],
                template_format="mustache",
            )
            | m
        ),
        VARIABLES,
    ),
    "template of text": (
        lambda m: PromptTemplate.from_template("See {picture}") | (lambda v: showing(v.text[4:])) | m,
        VARIABLES,
    ),
    "history": (history, {"words": "x"}),
    "loop of tools": (loop_of_tools, "x"),
    "node with a picture": (
        lambda m: graph_of(lambda _: {"messages": [m.invoke(question())]}),
        {"messages": []},
    ),
    "chain as node": (
        lambda m: graph_of(
            RunnableLambda(lambda state: state["messages"]) | m | (lambda answer: {"messages": [answer]})
        ),
        {"messages": question()},
    ),
    "graph in a graph": (
        lambda m: graph_of(graph_of(lambda _: {"messages": [m.invoke(question())]})),
        {"messages": []},
    ),
    "store of a graph": (graph_with_store, {"messages": []}),
    "events of a graph": (graph_with_events, {"messages": []}),
    "agent with a bare tool": (lambda m: agent_of(m, shoot), {"messages": [HumanMessage("take 'one'")]}),
    "tool with a command": (lambda m: agent_of(m, command), {"messages": [HumanMessage("take 'one'")]}),
    "agent in a tool": (agent_in_a_tool, {"messages": [HumanMessage("take 'one'")]}),
    "middleware that adds a picture": (agent_with_added, HELLO),
    "middleware with a prompt": (agent_with_prompt, {"messages": question()}),
    "picture for the system": (lambda m: agent_of(m, system_prompt=SystemMessage([BLOCK])), HELLO),
    "agent with a schema": (lambda m: agent_of(m, response_format=Said), {"messages": question()}),
}
"""Builders of compositions around a model, with their input."""


async def _batch_as_completed(runnable: Any_, given: Any, config: Any) -> list[Any]:
    return [each async for each in runnable.abatch_as_completed([given, given], config)]


async def _events(runnable: Any_, given: Any, config: Any) -> list[Any]:
    return [each async for each in runnable.astream_events(given, config, version="v2")]


async def _log(runnable: Any_, given: Any, config: Any) -> list[Any]:
    return [each async for each in runnable.astream_log(given, config)]


async def _invoked(runnable: Any_, given: Any, config: Any) -> list[Any]:
    await runnable.ainvoke(given, config)
    return []


ENTRIES = (_invoked, _batch_as_completed, _events, _log)


@pytest.mark.slow(seconds=5)
@pytest.mark.parametrize("name", CASES)
async def test_no_sink_holds_the_original_and_the_model_gets_a_protected_picture(name: str) -> None:
    build, given = CASES[name]
    # A stream is not tried again.
    entry = _invoked if name == "retry" else ENTRIES[[*CASES].index(name) % len(ENTRIES)]
    protector = ImageProtector(Pixelate(), level=0.9)
    with recording_server() as provider:
        model = ChatOpenAI(model="m", base_url=f"{provider.url}/v1", api_key="k", max_retries=0)  # type: ignore[arg-type]
        handler = Everything()
        seen = await entry(protect(build(model), protector), given, {"callbacks": [handler]})
        digests = [
            each for request in provider.requests for each in picture_digests(request.json["messages"])
        ]
        assert_no_leak(CANARY, provider.wire)
        assert digests
    assert handler.events
    assert_no_leak(CANARY, _plain(handler.events), _plain(seen))


def _plain(value: Any) -> Any:
    """Leave out what nobody can look into: iterators, which events of streams hold."""
    return [each for each in value if "iterator" not in repr(each) and "<generator" not in repr(each)]


def test_a_picture_that_a_node_has_put_into_the_recorded_state_is_reported_and_not_sent() -> None:
    builder = StateGraph(State)
    with recording_server() as provider:
        model = ChatOpenAI(model="m", base_url=f"{provider.url}/v1", api_key="k", max_retries=0)  # type: ignore[arg-type]
        builder.add_node("make", lambda _: {"messages": question()})
        builder.add_node("ask", lambda state: {"messages": [model.invoke(state["messages"])]})
        builder.add_edge(START, "make")
        builder.add_edge("make", "ask")
        graph = protect(builder.compile(), ImageProtector(Pixelate(), level=0.9))
        with pytest.raises(ProtectionError, match="enclosing run"):
            graph.invoke({"messages": []}, {"callbacks": [Everything()]})
        assert not provider.requests
        graph.invoke({"messages": []})  # which nobody records
        assert_no_leak(CANARY, provider.wire)
        assert provider.requests
