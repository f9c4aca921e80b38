"""Agents, tools and checkpoints: no original on the wire, in the traces or in the checkpoint file."""

from __future__ import annotations

import base64
import io
import json
import warnings
from typing import TYPE_CHECKING, Any, TypedDict

import pytest
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.stores import InMemoryByteStore
from langchain_core.tools import BaseTool, tool
from langchain_openai import ChatOpenAI
from PIL import Image
from pydantic import BaseModel

from langchain_vpp import ImageProtector, ProtectionError, TraceLeakWarning, protect, protect_tool
from langchain_vpp.engines import Pixelate
from langchain_vpp.testing import assert_no_leak

from .recording import Recorder, noise_png, recording_server

pytest.importorskip("langchain")
pytest.importorskip("langgraph.checkpoint.sqlite")
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command

from langchain_vpp.middleware import VisualPrivacyMiddleware
from tests.callbacks import Everything

if TYPE_CHECKING:
    from pathlib import Path

CANARY = noise_png(11)
SHOT = noise_png(12)
CONFIG: dict[str, Any] = {"configurable": {"thread_id": "1"}}


@pytest.fixture(scope="module")
def provider():
    with recording_server() as server:
        yield server


@pytest.fixture
def model(provider: Recorder) -> ChatOpenAI:
    provider.clear()
    return ChatOpenAI(model="gpt-4o", base_url=f"{provider.url}/v1", api_key="k", max_retries=0)


@pytest.fixture
def protector() -> ImageProtector:
    return ImageProtector(Pixelate(), level=0.7, on_upstream_trace="raise", store=InMemoryByteStore())


@pytest.fixture
def lenient() -> ImageProtector:
    return ImageProtector(Pixelate(), level=0.7, on_upstream_trace="ignore")


def _block(picture: bytes) -> dict[str, str]:
    return {"type": "image", "base64": base64.b64encode(picture).decode(), "mime_type": "image/png"}


def _question(block: dict[str, str] | None = None) -> dict[str, Any]:
    return {"messages": [HumanMessage([{"type": "text", "text": "What?"}, block or _block(CANARY)])]}


@tool
def screenshot(place: str) -> list[dict[str, str]]:
    """Take a picture of a place."""
    return [{"type": "text", "text": f"At {place}:"}, _block(SHOT)]


def _leaks(picture: bytes, sink: Any) -> bool:
    try:
        assert_no_leak(picture, sink)
    except AssertionError:
        return True
    return False


def _pictures_on_the_wire(provider: Recorder) -> int:
    return sum(request.body.count(b"data:image/jpeg;base64,") for request in provider.requests)


def test_a_protected_agent_with_protected_tools_leaves_no_original_anywhere(
    model: ChatOpenAI, protector: ImageProtector, provider: Recorder, tmp_path: Path
) -> None:
    handler = Everything()
    with SqliteSaver.from_conn_string(str(tmp_path / "state.db")) as saver:
        bare = create_agent(model, [protect_tool(screenshot, protector)], checkpointer=saver)
        agent = protect(bare, protector)
        config = {**CONFIG, "callbacks": [handler]}
        results = [
            agent.invoke(_question(), config),
            list(agent.stream(_question(), config, stream_mode=["values", "messages", "updates", "debug"])),
            agent.update_state(CONFIG, _question()),
            agent.invoke(Command(update=_question()), config),
            agent.get_state(CONFIG),
            list(agent.get_state_history(CONFIG)),
        ]
    assert _pictures_on_the_wire(provider) >= 4
    for picture in (CANARY, SHOT):
        assert_no_leak(picture, provider.wire, results, handler.events, tmp_path)


async def test_the_same_holds_for_the_async_twins(
    model: ChatOpenAI, protector: ImageProtector, provider: Recorder, tmp_path: Path
) -> None:
    handler = Everything()
    async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "state.db")) as saver:
        bare = create_agent(model, [protect_tool(screenshot, protector)], checkpointer=saver)
        agent = protect(bare, protector)
        config = {**CONFIG, "callbacks": [handler]}
        results = [
            await agent.ainvoke(_question(), config),
            [part async for part in agent.astream(_question(), config, stream_mode=["values", "messages"])],
            [event async for event in agent.astream_events(_question(), config)],
            await agent.aupdate_state(CONFIG, _question()),
            await agent.aget_state(CONFIG),
        ]
    assert _pictures_on_the_wire(provider) >= 4
    for picture in (CANARY, SHOT):
        assert_no_leak(picture, provider.wire, results, handler.events, tmp_path)


def test_the_bare_agent_leaks_into_every_one_of_these(
    model: ChatOpenAI, provider: Recorder, tmp_path: Path
) -> None:
    handler = Everything()
    with SqliteSaver.from_conn_string(str(tmp_path / "state.db")) as saver:
        agent = create_agent(model, [screenshot], checkpointer=saver)
        result = agent.invoke(_question(), {**CONFIG, "callbacks": [handler]})
    for picture in (CANARY, SHOT):
        for sink in (provider.wire, result, handler.events, tmp_path):
            assert _leaks(picture, sink)


def test_a_protected_model_inside_a_bare_agent_warns_if_told_to_and_keeps_the_wire_clean(
    model: ChatOpenAI, provider: Recorder
) -> None:
    agent = create_agent(protect(model, ImageProtector(Pixelate(), on_upstream_trace="warn")), [])
    with pytest.warns(TraceLeakWarning):
        agent.invoke(_question(), {"callbacks": [Everything()]})
    assert provider.requests
    assert_no_leak(CANARY, provider.wire)


def test_without_handlers_upstream_there_is_no_warning(model: ChatOpenAI, protector: ImageProtector) -> None:
    create_agent(protect(model, protector), []).invoke(_question())


def test_on_upstream_trace_raise_sends_nothing(
    model: ChatOpenAI, protector: ImageProtector, provider: Recorder
) -> None:
    agent = create_agent(protect(model, protector), [])
    with pytest.raises(ProtectionError, match="enclosing run") as caught:
        agent.invoke(_question(), {"callbacks": [Everything()]})
    assert not provider.requests
    assert_no_leak(CANARY, caught.value.args)


def test_sealed_handles_keep_prompts_traces_and_checkpoints_free_of_pixels(
    model: ChatOpenAI, protector: ImageProtector, provider: Recorder, tmp_path: Path
) -> None:
    handler = Everything()
    sealed = protector.seal(CANARY)
    with SqliteSaver.from_conn_string(str(tmp_path / "state.db")) as saver:
        agent = create_agent(protect(model, protector), [], checkpointer=saver)
        config = {**CONFIG, "callbacks": [handler]}
        result = agent.invoke(_question(sealed), config)
        state = agent.get_state(CONFIG)
    assert _pictures_on_the_wire(provider) == 1
    assert_no_leak(CANARY, provider.wire, result, handler.events, state, tmp_path)
    assert b"vpp://" not in b"".join(provider.wire)
    assert sealed["url"].encode() in (tmp_path / "state.db").read_bytes() + b"".join(
        path.read_bytes() for path in tmp_path.glob("state.db-*")
    )


@pytest.mark.parametrize("is_async", [False, True])
async def test_the_middleware_cleans_model_calls_tool_results_and_state(
    model: ChatOpenAI, lenient: ImageProtector, provider: Recorder, *, is_async: bool
) -> None:
    handler = Everything()
    agent = create_agent(
        model, [screenshot], middleware=[VisualPrivacyMiddleware(lenient)], system_prompt="Be brief."
    )
    config = {"callbacks": [handler]}
    result = await agent.ainvoke(_question(), config) if is_async else agent.invoke(_question(), config)
    assert _pictures_on_the_wire(provider) == 3
    assert_no_leak(CANARY, provider.wire, result)
    # The tool's own run is clean too; only the agent's input was recorded before any middleware ran.
    assert_no_leak(SHOT, provider.wire, result, handler.events)
    assert any(isinstance(message, ToolMessage) for message in result["messages"])
    assert result["messages"][-1].response_metadata["vpp"]["images"]


class Falling(AgentMiddleware[Any, Any, Any]):
    """Adds a screenshot and takes another model."""

    def __init__(self, model: ChatOpenAI) -> None:
        super().__init__()
        self._model = model

    def _changed(self, request: Any) -> Any:
        return request.override(model=self._model, messages=[*request.messages, HumanMessage([_block(SHOT)])])

    def wrap_model_call(self, request: Any, handler: Any) -> Any:
        return handler(self._changed(request))

    async def awrap_model_call(self, request: Any, handler: Any) -> Any:
        return await handler(self._changed(request))


@pytest.mark.parametrize("is_async", [False, True])
async def test_what_an_inner_middleware_adds_is_protected_on_the_wire(
    model: ChatOpenAI, lenient: ImageProtector, provider: Recorder, *, is_async: bool
) -> None:
    agent = create_agent(model, middleware=[VisualPrivacyMiddleware(lenient), Falling(model)])
    result = await agent.ainvoke(_question()) if is_async else agent.invoke(_question())
    assert _pictures_on_the_wire(provider) == 2
    for picture in (CANARY, SHOT):
        assert_no_leak(picture, provider.wire, result)


async def test_an_old_checkpoint_is_cleaned_before_anything_is_sent(
    model: ChatOpenAI, lenient: ImageProtector, provider: Recorder, tmp_path: Path
) -> None:
    async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "state.db")) as saver:
        await create_agent(model, checkpointer=saver).ainvoke(_question(), CONFIG)
        provider.clear()
        agent = create_agent(model, middleware=[VisualPrivacyMiddleware(lenient)], checkpointer=saver)
        result = await agent.ainvoke({"messages": ["And now?"]}, CONFIG)
        state = (await agent.aget_state(CONFIG)).values
    assert _pictures_on_the_wire(provider) == 1
    assert_no_leak(CANARY, provider.wire, result, state)


def test_the_middleware_changes_nothing_in_a_protected_agent(
    model: ChatOpenAI, protector: ImageProtector, provider: Recorder
) -> None:
    bare = create_agent(model, [screenshot], middleware=[VisualPrivacyMiddleware(protector)])
    handler = Everything()
    result = protect(bare, protector).invoke(_question(), {"callbacks": [handler]})
    assert_no_leak(CANARY, provider.wire, result, handler.events)
    sent = [json.loads(request.body)["messages"] for request in provider.requests]
    assert protector.protect_messages(_question()["messages"])[0].content[1]["base64"] in json.dumps(sent[0])


def test_the_level_of_a_request_reaches_the_model_through_the_agent(
    model: ChatOpenAI, lenient: ImageProtector
) -> None:
    agent = create_agent(model, [], middleware=[VisualPrivacyMiddleware(lenient)])
    result = agent.invoke(_question(), {"configurable": {"vpp_level": 0.9}})
    assert [image["level"] for image in result["messages"][-1].response_metadata["vpp"]["images"]] == [0.9]


class Weather(BaseModel):
    """The weather."""

    sky: str
    degrees: int


def test_provider_native_structured_output_stays_native(
    model: ChatOpenAI, protector: ImageProtector, provider: Recorder
) -> None:
    agent = protect(create_agent(protect(model, protector), [], response_format=Weather), protector)
    result = agent.invoke(_question())
    assert result["structured_response"] == Weather(sky="a text", degrees=3)
    assert provider.requests[-1].json["response_format"]["type"] == "json_schema"
    assert_no_leak(CANARY, provider.wire, result)


@tool
def as_picture(place: str) -> Image.Image:
    """Return a PIL image."""
    return Image.open(io.BytesIO(SHOT))


@tool
def as_bytes(place: str) -> bytes:
    """Return an encoded picture."""
    return SHOT


@tool
def as_data_url_block(place: str) -> list[Any]:
    """Return OpenAI's dialect."""
    url = f"data:image/png;base64,{base64.b64encode(SHOT).decode()}"
    return [{"type": "image_url", "image_url": {"url": url}}]


@tool
async def as_async_blocks(place: str) -> list[Any]:
    """Return blocks from a coroutine."""
    return [_block(SHOT)]


@tool
def as_message(place: str) -> ToolMessage:
    """Return a message."""
    return ToolMessage([_block(SHOT)], tool_call_id="1")


@tool
def as_command(place: str) -> Command[Any]:
    """Return a command."""
    return Command(update={"messages": [ToolMessage([_block(SHOT)], tool_call_id="1")]})


@tool
def as_text(place: str) -> str:
    """Return base64 as text."""
    return base64.b64encode(SHOT).decode()


@tool
def as_json(place: str) -> dict[str, Any]:
    """Return base64 inside JSON."""
    return {"rows": [{"thumbnail": base64.b64encode(SHOT).decode()}]}


@tool(response_format="content_and_artifact")
def as_artifact(place: str) -> tuple[str, bytes]:
    """Return the picture as an artifact."""
    return "Here.", SHOT


@tool
def as_error(place: str) -> str:
    """Fail with the picture in the error."""
    raise ValueError(base64.b64encode(SHOT).decode())


CALL = {"type": "tool_call", "name": "t", "args": {"place": "x"}, "id": "1"}


@pytest.mark.parametrize(
    "taker", [as_picture, as_bytes, as_data_url_block, as_async_blocks, as_message, as_command, screenshot]
)
async def test_a_tools_pictures_are_protected_before_its_run_is_recorded(
    taker: BaseTool, protector: ImageProtector
) -> None:
    handler = Everything()
    protected = protect_tool(taker, protector)
    assert isinstance(protected, type(taker))
    assert protected.tool_call_schema.model_json_schema() == taker.tool_call_schema.model_json_schema()
    results = [await protected.ainvoke(dict(CALL), {"callbacks": [handler]})]
    if taker is not as_async_blocks:
        results.append(protected.invoke(dict(CALL), {"callbacks": [handler]}))
        results.append(protected.invoke({"place": "x"}))
    assert_no_leak(SHOT, results, handler.events)
    assert "/9j/" in str(results), "no protected picture came through"


@pytest.mark.parametrize("taker", [as_text, as_json, as_artifact, as_error])
async def test_a_tool_that_hides_a_picture_is_refused(taker: BaseTool, protector: ImageProtector) -> None:
    handler = Everything()
    protected = protect_tool(taker, protector)
    with pytest.raises(ProtectionError) as caught:
        protected.invoke(dict(CALL), {"callbacks": [handler]})
    with pytest.raises(ProtectionError) as caught_async:
        await protected.ainvoke(dict(CALL), {"callbacks": [handler]})
    for error in (caught.value, caught_async.value):
        assert_no_leak(SHOT, handler.events, error.args, error.__cause__, error.__context__)


def test_a_tool_drops_what_it_hides_if_told_to() -> None:
    protector = ImageProtector(Pixelate(), on_unsupported="drop")
    message = protect_tool(as_artifact, protector).invoke(dict(CALL))
    assert message.content == "Here."
    assert_no_leak(SHOT, message)


def test_a_tool_without_pictures_is_unchanged(protector: ImageProtector) -> None:
    @tool
    def rows(place: str) -> list[dict[str, Any]]:
        """Return rows."""
        return [{"place": place, "n": 1}]

    assert protect_tool(rows, protector).invoke(dict(CALL)) == rows.invoke(dict(CALL))


def test_protecting_a_tool_twice(protector: ImageProtector, lenient: ImageProtector) -> None:
    once = protect_tool(screenshot, protector)
    assert protect_tool(once, protector) is once
    with pytest.raises(ProtectionError, match="already"):
        protect_tool(once, lenient)
    with pytest.raises(TypeError, match="BaseTool"):
        protect_tool(lambda: None, protector)  # type: ignore[type-var]
    with pytest.raises(TypeError, match="protect_tool"):
        protect(screenshot, protector)


def test_a_protected_graph_hands_out_nothing_that_is_bare(
    model: ChatOpenAI, protector: ImageProtector
) -> None:
    agent = protect(create_agent(model, []), protector)
    for name in ("nodes", "builder", "channels", "bound", "steps", "copy", "get_subgraphs", "_inner_graph"):
        with pytest.raises(AttributeError):
            getattr(agent, name)


def test_state_that_cannot_be_checked_is_refused(
    model: ChatOpenAI, protector: ImageProtector, provider: Recorder
) -> None:
    agent = protect(create_agent(model, []), protector)
    for hidden in (io.BytesIO(SHOT), [*SHOT], f"A picture: {base64.b64encode(SHOT).decode()}"):
        with pytest.raises(ProtectionError) as caught:
            agent.invoke({"messages": ["Hello."], "extra": {"deep": [hidden]}})
        assert_no_leak(SHOT, caught.value.args)
    assert not provider.requests


class _Pictured(TypedDict, total=False):
    picture: Any
    answer: str


def test_a_picture_in_the_state_of_a_graph_is_sealed(protector: ImageProtector, provider: Recorder) -> None:
    def ask(state: dict[str, Any]) -> dict[str, Any]:
        url = f"data:image/png;base64,{state['picture']}"
        question = HumanMessage([{"type": "image_url", "image_url": {"url": url}}])
        return {"answer": model.invoke([question]).text}

    model = protect(ChatOpenAI(model="m", base_url=f"{provider.url}/v1", api_key="k"), protector)
    builder = StateGraph(_Pictured)
    builder.add_node("ask", ask)
    builder.add_edge(START, "ask")
    handler, saver = Everything(), InMemorySaver()
    agent = protect(builder.compile(checkpointer=saver), protector)
    config: Any = {"callbacks": [handler], "configurable": {"thread_id": "1"}}
    for picture in (SHOT, Image.open(io.BytesIO(SHOT)), base64.b64encode(SHOT).decode()):
        assert agent.invoke({"picture": picture}, config)["answer"].startswith("saw")
    assert len(provider.requests) == 3
    assert_no_leak(SHOT, provider.wire, handler.events, list(saver.list(config)))


def test_warnings_of_the_guard_are_not_raised_for_handlers_that_record_no_input(
    model: ChatOpenAI, provider: Recorder
) -> None:
    from langchain_core.callbacks import UsageMetadataCallbackHandler

    from langchain_vpp.tracing import RedactingCallbackHandler

    agent = create_agent(protect(model, ImageProtector(Pixelate())), [])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        inner = Everything()
        handlers = [UsageMetadataCallbackHandler(), RedactingCallbackHandler(inner)]
        agent.invoke(_question(), {"callbacks": handlers})
    assert inner.events
    assert_no_leak(CANARY, provider.wire, inner.events)


@pytest.mark.parametrize("inner_is_protected", [True, False])
def test_what_resumes_an_interrupted_graph_is_input_too(
    model: ChatOpenAI, lenient: ImageProtector, provider: Recorder, *, inner_is_protected: bool
) -> None:
    from langgraph.types import interrupt

    inner = protect(model, lenient) if inner_is_protected else model

    def node(state: MessagesState) -> dict[str, Any]:
        return {"messages": [inner.invoke([*state["messages"], *interrupt("Which?")])]}

    builder = StateGraph(MessagesState)
    builder.add_node("node", node)
    builder.add_edge(START, "node")
    bare = builder.compile(checkpointer=InMemorySaver())
    graph = bare if inner_is_protected else protect(bare, lenient)
    graph.invoke(_question(), CONFIG)
    assert not provider.requests
    result = graph.invoke(Command(resume=_question(_block(SHOT))["messages"]), CONFIG)
    assert _pictures_on_the_wire(provider) == 2
    for picture in (CANARY, SHOT):
        assert_no_leak(picture, provider.wire, result["messages"][-1])


def test_state_may_be_overwritten_and_a_functional_graph_called(
    model: ChatOpenAI, protector: ImageProtector, provider: Recorder
) -> None:
    from langgraph.func import entrypoint
    from langgraph.types import Overwrite

    @entrypoint()
    def flow(state: dict[str, Any]) -> str:
        return model.invoke(state["messages"]).text

    messages = _question()["messages"]
    handler = Everything()
    protect(flow, protector).invoke(_question(), {"callbacks": [handler]})
    agent = protect(create_agent(model, []), protector)
    agent.invoke({"messages": Overwrite(messages)}, {"callbacks": [handler]})
    assert _pictures_on_the_wire(provider) == 2
    assert_no_leak(CANARY, provider.wire, handler.events)


def test_a_picture_in_the_metadata_of_a_state_update_is_refused(
    model: ChatOpenAI, protector: ImageProtector, tmp_path: Path
) -> None:
    with SqliteSaver.from_conn_string(str(tmp_path / "state.db")) as saver:
        agent = protect(create_agent(model, [], checkpointer=saver), protector)
        metadata = {"picture": base64.b64encode(SHOT).decode()}
        with pytest.raises(ProtectionError):
            agent.update_state({**CONFIG, "metadata": metadata}, {"messages": []})
    assert_no_leak(SHOT, tmp_path)
