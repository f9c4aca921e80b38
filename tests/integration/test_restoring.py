"""Conversations over HTTP: no hidden value is on the wire, and the caller gets all of them back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI

from langchain_vpp import protect
from tests.callbacks import Everything
from tests.given_words import Pages, protector_of

from .conversing import Sender, conversation, pictures_of, plain, texts_of
from .recording import Recorder, recording_server

CONVERSATIONS = 4
"""Conversations that are held; a large run raises it to hundreds."""


@pytest.fixture(scope="module")
def provider():
    with recording_server() as server:
        yield server


@pytest.fixture
def bare(provider: Recorder) -> ChatOpenAI:
    provider.clear()
    provider.reply = None
    return ChatOpenAI(model="gpt-4o", base_url=f"{provider.url}/v1", api_key="k", max_retries=0)


@tool
def write_to(name: str, account: str) -> str:
    """Write to somebody."""
    return f"{name}: {account}"


class Talk:
    """One conversation with a protected model, in all ways in which a model is called."""

    def __init__(self, seed: int, bare: ChatOpenAI, provider: Recorder, thread: str | None) -> None:
        self.turns, self.provider, self.pages = conversation(seed), provider, Pages()
        self.protector = protector_of(self.pages)
        self.model = protect(bare, self.protector, restore=True)
        self.config: Any = {"configurable": {"thread_id": thread}} if thread else {}
        self.history: list[Any] = []
        self.handler = Everything()
        self.config["callbacks"] = [self.handler]

    async def hold(self) -> list[tuple[Any, Any]]:
        """Ask all questions, and return pairs of what came back and what was expected."""
        pairs = []
        for turn in self.turns:
            content: list[Any] = [{"type": "text", "text": turn.question}]
            if turn.letter is not None:
                content.append(self.pages.block(*turn.letter.lines))
            self.history.append(HumanMessage(content))
            self.provider.reply = lambda _, said=turn.said: said
            answer = await getattr(self, turn.way)()
            if isinstance(answer, AIMessage):
                self.history.append(answer)
                answer = answer.text
            pairs.append((answer, turn.expected))
        return pairs

    async def invoke(self) -> Any:
        return self.model.invoke(self.history, self.config)

    async def ainvoke(self) -> Any:
        return await self.model.ainvoke(self.history, self.config)

    async def stream(self) -> Any:
        first, *others = self.model.stream(self.history, self.config)
        return AIMessage(sum(others, first).text)

    async def astream(self) -> Any:
        chain = self.model | StrOutputParser()
        return AIMessage("".join([piece async for piece in chain.astream(self.history, self.config)]))

    async def events(self) -> Any:
        events = self.model.astream_events(self.history, self.config, version="v2")
        pieces = [
            each["data"]["chunk"].text async for each in events if each["event"] == "on_chat_model_stream"
        ]
        return AIMessage("".join(pieces))

    async def call(self) -> Any:
        first, *others = self.model.bind_tools([write_to]).stream(self.history, self.config)
        message = sum(others, first)
        (call,) = message.tool_calls
        assert json.loads(message.tool_call_chunks[0]["args"]) == call["args"]
        answer = AIMessage(message.content, tool_calls=message.tool_calls)
        self.history += [answer, ToolMessage(write_to.invoke(call["args"]), tool_call_id=call["id"])]
        return call["args"]

    async def structured(self) -> Any:
        sender = await self.model.with_structured_output(Sender).ainvoke(self.history, self.config)
        self.history.append(AIMessage(sender.model_dump_json()))
        return sender.model_dump()


def leaks(talk: Talk) -> list[str]:
    """Return hidden values that are on the wire or in runs, and pictures that tell more than their twins do."""
    values = {value for turn in talk.turns if turn.letter for _, value in turn.letter.values}
    bodies = [request.json for request in talk.provider.requests]
    sent = [plain(text) for body in bodies for text in texts_of(body)]
    found = [value for value in values if any(plain(value) in text for text in sent)]
    recorded = repr(talk.handler.events)
    found += [value for value in values if value in recorded]
    twin_pages = Pages()
    # Pictures of letters that say something else, of the same extent, are the same to the byte.
    twins = [
        HumanMessage([twin_pages.block(*turn.letter.twin)]) for turn in talk.turns if turn.letter is not None
    ]
    allowed = {
        block["base64"]
        for message in protector_of(twin_pages).protect_messages(twins)
        for block in message.content
    }
    found += [picture[-40:] for body in bodies for picture in pictures_of(body) if picture not in allowed]
    assert sum(len(pictures_of(body)) for body in bodies) >= len(twins)
    return found


@pytest.mark.slow(seconds=3)
@pytest.mark.parametrize("thread", ["thread {}", ""])
async def test_conversations_hide_on_the_wire_and_restore_for_the_caller(
    bare: ChatOpenAI, provider: Recorder, thread: str
) -> None:
    wrong, leaked, asked = [], [], 0
    for seed in range(CONVERSATIONS):
        provider.clear()
        talk = Talk(seed, bare, provider, thread.format(seed))
        pairs = await talk.hold()
        asked += len(pairs)
        wrong += [(seed, got, expected) for got, expected in pairs if got != expected]
        leaked += [(seed, each) for each in leaks(talk)]
    assert (wrong, leaked) == ([], []), f"{len(wrong)} of {asked} answers, {len(leaked)} leaks"


async def test_an_agent_streams_values_and_its_tool_gets_them(bare: ChatOpenAI, provider: Recorder) -> None:
    pytest.importorskip("langchain")
    from langchain.agents import create_agent

    from langchain_vpp.middleware import VisualPrivacyMiddleware

    pages, got = Pages(), []

    @tool
    def send(name: str, account: str) -> str:
        """Send a letter."""
        got.append((name, account))
        return f"Sent to {name}."

    protector = protector_of(pages)
    agent = protect(
        create_agent(bare, [send], middleware=[VisualPrivacyMiddleware(protector, restore=True)]),
        protector,
        restore=True,
    )
    provider.reply = lambda body: (
        "Sent to Name_1."
        if body["messages"][-1]["role"] == "tool"
        else {"name": "NAME_1", "account": "IBAN_1"}
    )
    block = pages.block("Name: Ada Lovelace", "IBAN: DE89 3704 0044 0532 0130 00")
    chunks = agent.astream({"messages": [HumanMessage([block])]}, stream_mode="messages")
    said = [chunk async for chunk, _ in chunks]
    assert got == [("Ada Lovelace", "DE89 3704 0044 0532 0130 00")]
    assert "".join(each.text for each in said if isinstance(each, AIMessage)) == "Sent to Ada Lovelace."
    arguments = "".join(piece["args"] for each in said for piece in getattr(each, "tool_call_chunks", ()))
    assert json.loads(arguments) == {"name": "Ada Lovelace", "account": "DE89 3704 0044 0532 0130 00"}
    wire = b"".join(provider.wire)
    assert b"NAME_1" in wire
    assert b"ovelace" not in wire
