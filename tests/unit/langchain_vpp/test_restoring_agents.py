"""Agents and tools: what runs here works on values; models, runs, states and checkpoints hold tokens."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.tools import InjectedToolArg, ToolException, tool
from pydantic import BaseModel, Field

from langchain_vpp import ProtectionError, protect, protect_tool
from tests.callbacks import Everything
from tests.given_words import Pages, protector_of

pytest.importorskip("langchain")
from langchain.agents import create_agent
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command, interrupt

from langchain_vpp.middleware import VisualPrivacyMiddleware

LINES = ("Name: Ada Lovelace", "IBAN: DE89 3704 0044 0532 0130 00")
THREAD: dict[str, Any] = {"configurable": {"thread_id": "1"}}
ARGUMENTS = {"name": "NAME_1", "more": {"IBAN_1": ["Dr. NAME_1's"]}}
VALUES = ("Ada Lovelace", {"DE89 3704 0044 0532 0130 00": ["Dr. Ada Lovelace's"]})


class Scripted(GenericFakeChatModel):
    """Calls a tool, and then answers."""

    heard: list[Any] = Field(default_factory=list)

    def bind_tools(self, tools, **kwargs):
        return self

    def _generate(self, messages, *args, **kwargs):
        self.heard.append(messages)
        return super()._generate(messages, *args, **kwargs)


def scripted(name="look_up", arguments=ARGUMENTS):
    call = {"name": name, "args": arguments, "id": "c1"}
    return Scripted(messages=iter([AIMessage("", tool_calls=[call]), AIMessage("NAME_1 it is, NAME_2.")] * 4))


@pytest.fixture
def pages():
    return Pages()


@pytest.fixture
def protector(pages):
    return protector_of(pages)


@pytest.fixture
def question(pages):
    return {"messages": [HumanMessage([{"type": "text", "text": "Who?"}, pages.block(*LINES)])]}


@pytest.fixture
def calls():
    return []


@pytest.fixture
def look_up(calls):
    @tool
    def look_up(name: str, more: dict[str, list[str]]) -> dict[str, str]:
        """Look somebody up."""
        calls.append((name, more))
        return {"text": f"{name} or LOVELACE has DE89370400440532013000"}

    return look_up


@pytest.fixture
def parts(protector, question, look_up, calls):
    """A protector, a question to an agent, a tool, and what the tool was called with."""
    return protector, question, look_up, calls


def agents(how, tool_, model, protector, **options):
    if how == "middleware":
        return create_agent(
            model, [tool_], middleware=[VisualPrivacyMiddleware(protector, restore=True)], **options
        )
    if how == "both":
        inner = create_agent(
            model, [tool_], middleware=[VisualPrivacyMiddleware(protector, restore=True)], **options
        )
        return protect(inner, protector, restore=True)
    guarded = protect_tool(tool_, protector, restore=True)
    model = protect(model, protector, restore=True) if how == "parts" else model
    agent = create_agent(model, [guarded], **options)
    return protect(agent, protector, restore=True)


@pytest.mark.slow(seconds=0.13)
@pytest.mark.parametrize("how", ["middleware", "both", "agent", "parts"])
@pytest.mark.parametrize("config", [{}, THREAD], ids=["call", "thread"])
@pytest.mark.parametrize("is_async", [False, True])
async def test_a_tool_gets_values_and_a_model_tokens(how, config, is_async, parts):
    protector, question, look_up, calls = parts
    model, handler = scripted(), Everything()
    saver = InMemorySaver() if config else None
    agent = agents(how, look_up, model, protector, checkpointer=saver)
    run = {**config, "callbacks": [handler]} if how != "middleware" else config
    result = (await agent.ainvoke(question, run)) if is_async else agent.invoke(question, run)
    assert calls == [VALUES]
    assert result["messages"][-1].text == (
        "NAME_1 it is, NAME_2." if how == "middleware" else "Ada Lovelace it is, Lovelace."
    )
    assert "ovelace" not in str(model.heard).casefold()
    assert "NAME_1 or NAME_2 has IBAN_1" in str(model.heard)
    assert "ovelace" not in repr(handler.events).casefold()
    if saver is not None:
        assert b"ovelace" not in b"".join(value for _, value in saver.blobs.values())
        assert "ovelace" not in str(saver.storage).casefold()


def test_the_same_agent_run_twice_gives_the_same_bytes(protector, question, look_up):
    heard = []
    for thread in "ab":
        model = scripted()
        agents("both", look_up, model, protector).invoke(question, {"configurable": {"thread_id": thread}})
        heard.append([[(each.type, each.content) for each in messages] for messages in model.heard])
    assert heard[0] == heard[1]


@pytest.mark.slow(seconds=0.16)
@pytest.mark.parametrize("mode", ["updates", "values", "messages", ["messages", "updates"]])
def test_streams_of_an_agent_hold_values(protector, question, look_up, mode):
    model = scripted().model_copy(update={"disable_streaming": True})
    chunks = [*agents("both", look_up, model, protector).stream(question, stream_mode=mode)]
    assert "Ada Lovelace it is" in str(chunks)
    assert "NAME_" not in str(chunks)


def test_a_bare_graph_keeps_tokens_and_a_restorer_puts_values_back(protector, question, look_up):
    agent = create_agent(
        protect(scripted(), protector, restore=True), [look_up], checkpointer=InMemorySaver()
    )
    result = agent.invoke(question, THREAD)
    assert result["messages"][-1].text == "NAME_1 it is, NAME_2."
    assert protector.restorer().invoke(result, THREAD)["messages"][-1].text.startswith("Ada Lovelace it is")


def test_without_restore_a_tool_gets_tokens(protector, question, look_up, calls):
    agent = create_agent(scripted(), [look_up], middleware=[VisualPrivacyMiddleware(protector)])
    protect(agent, protector, restore=True).invoke(question)
    assert calls[0][0] == "NAME_1"


def test_an_interrupt_shows_values_and_what_comes_back_becomes_tokens(protector, question):
    @tool
    def ask(name: str) -> str:
        """Ask a person."""
        return interrupt({"write to": name})

    model = scripted("ask", {"name": "NAME_1"})
    agent = agents("both", ask, model, protector, checkpointer=InMemorySaver())
    result = agent.invoke(question, THREAD)
    assert result["__interrupt__"][0].value == {"write to": "Ada Lovelace"}
    result = agent.invoke(Command(resume="No: Ada Lovelace is away"), THREAD)
    assert "ovelace" not in str(model.heard).casefold()
    assert "Ada Lovelace is away" in str(result)


# Tools by themselves.


@pytest.fixture
def thread(protector, question):
    protector.protect_messages(question["messages"], thread_id="1")
    return THREAD


def test_arguments_are_validated_with_values_and_recorded_with_tokens(protector, thread):
    got, handler = [], Everything()

    class Arguments(BaseModel):
        account: str = Field(pattern=r"^DE\d\d [\d ]+$")

    @tool(args_schema=Arguments)
    def pay(account: str, owner: Annotated[str, InjectedToolArg] = "NAME_1") -> str:
        """Pay."""
        got.append((account, owner))
        return f"Paid {account}"

    guarded = protect_tool(protect_tool(pay, protector), protector, restore=True)
    assert guarded.invoke({"account": "IBAN_1"}, {**thread, "callbacks": [handler]}) == "Paid IBAN_1"
    assert got == [("DE89 3704 0044 0532 0130 00", "NAME_1")]
    assert "DE89" not in repr(handler.events)
    assert protect_tool(guarded, protector) is guarded
    with pytest.raises(Exception, match="pattern"):
        protect_tool(pay, protector).invoke({"account": "IBAN_1"}, thread)


@pytest.mark.parametrize("is_async", [False, True])
async def test_errors_never_show_values(protector, thread, is_async):
    handler, config = Everything(), None

    async def run(guarded, arguments):
        return await guarded.ainvoke(arguments, config) if is_async else guarded.invoke(arguments, config)

    config = {**thread, "callbacks": [handler]}

    class Arguments(BaseModel):
        name: str = Field(max_length=7)

    @tool(args_schema=Arguments)
    def short(name: str) -> str:
        """Take a short name."""
        return name

    @tool
    def failing(name: str) -> str:
        """Fail."""
        raise (ToolException if name.startswith("Ada") else ValueError)(f"No {name}")

    with pytest.raises(ToolException, match="does not fit") as refusal:
        await run(protect_tool(short, protector, restore=True), {"name": "NAME_1"})
    assert refusal.value.__cause__ is None
    guarded = protect_tool(failing, protector, restore=True)
    with pytest.raises(ToolException, match="No NAME_1"):
        await run(guarded, {"name": "NAME_1"})
    with pytest.raises(ProtectionError, match="something hidden in its error"):
        await run(guarded, {"name": "x IBAN_1"})
    with pytest.raises(ValueError, match="No one"):
        await run(guarded, {"name": "one"})
    lenient = failing.model_copy(update={"handle_tool_error": True})
    assert await run(protect_tool(lenient, protector, restore=True), {"name": "NAME_1"}) == "No NAME_1"
    assert "ovelace" not in repr(handler.events)
    assert "DE89" not in repr(handler.events)
