"""Restoring: the caller gets values in whatever comes back, and runs, traces and checkpoints hold tokens."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import BaseChatModel, FakeListChatModel, GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.output_parsers import JsonOutputParser, StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda, RunnableParallel, RunnablePassthrough
from langchain_core.runnables.history import RunnableWithMessageHistory
from pydantic import BaseModel, Field

from langchain_vpp import ProtectionError, TraceLeakWarning, protect, protected_class
from tests.callbacks import Everything
from tests.given_words import Pages, protector_of

SAID = "NAME_1 (Name_1's) wrote IBAN_1"
GIVEN = "Ada Lovelace (Ada Lovelace's) wrote DE89 3704 0044 0532 0130 00"
LINES = ("Name: Ada Lovelace", "IBAN: DE89 3704 0044 0532 0130 00")
THREAD: dict[str, Any] = {"configurable": {"thread_id": "1"}}


@pytest.fixture
def pages():
    return Pages()


@pytest.fixture
def protector(pages):
    return protector_of(pages)


@pytest.fixture
def asked(pages):
    return [HumanMessage([{"type": "text", "text": "Did ada lovelace write?"}, pages.block(*LINES)])]


class Hearing(GenericFakeChatModel):
    """Keeps what it is asked."""

    heard: list[Any] = Field(default_factory=list)

    def _generate(self, messages, *args, **kwargs):
        self.heard.append([messages, kwargs])
        return super()._generate(messages, *args, **kwargs)


def model(*said):
    return FakeListChatModel(responses=[*(said or (SAID,))] * 50)


def hearing(*said):
    return Hearing(messages=iter([*(said or (SAID,))] * 50))


@pytest.mark.slow(seconds=1)
@pytest.mark.parametrize("config", [{}, THREAD])
async def test_every_way_to_call_a_model_gives_values(protector, asked, config):
    restoring = protect(model(), protector, restore=True)
    assert restoring.invoke(asked, config).text == GIVEN
    assert (await restoring.ainvoke(asked, config)).text == GIVEN
    assert [each.text for each in restoring.batch([asked, asked], config)] == [GIVEN] * 2
    assert [each.text for each in await restoring.abatch([asked, asked], config)] == [GIVEN] * 2
    assert "".join(chunk.text for chunk in restoring.stream(asked, config)) == GIVEN
    assert "".join([chunk.text async for chunk in restoring.astream(asked, config)]) == GIVEN
    assert restoring.generate([asked, asked]).generations[1][0].text == GIVEN
    assert (await restoring.agenerate([asked])).generations[0][0].message.text == GIVEN
    assert restoring.bind(stop=["x"]).invoke(asked, config).text == GIVEN
    assert isinstance(restoring, FakeListChatModel)
    assert (
        protected_class(FakeListChatModel, protector, restore=True)(responses=[SAID]).invoke(asked).text
        == GIVEN
    )


@pytest.mark.parametrize("make", [
    lambda model: model | StrOutputParser(),
    lambda model: model | (lambda message: message.text),
    lambda model: (model | StrOutputParser()).with_retry(),
    lambda model: (model | StrOutputParser()).with_fallbacks([model | StrOutputParser()]),
    lambda model: RunnablePassthrough() | model | StrOutputParser(),
    lambda model: model | StrOutputParser() | RunnableParallel(a=RunnablePassthrough()) | (lambda found: found["a"]),
], ids=["parser", "function", "retry", "fallbacks", "after", "parallel"])  # fmt: skip
async def test_what_is_composed_with_it_gives_values_too(protector, asked, make):
    chain = protect(make(protect(model(), protector, restore=True)), protector)
    assert chain.invoke(asked) == GIVEN
    assert await chain.ainvoke(asked) == GIVEN
    assert "".join(chain.stream(asked)) == GIVEN
    assert "".join([chunk async for chunk in chain.astream(asked)]) == GIVEN


async def test_a_stream_of_a_mapping_gives_values_under_each_key(protector, asked):
    chain = protect(RunnableParallel(a=model() | StrOutputParser(), b=model()), protector, restore=True)
    first, *others = chain.stream(asked)
    whole = sum(others, first)
    assert (whole["a"], whole["b"].text) == (GIVEN, GIVEN)


async def test_events_give_values_and_what_was_held_back_before_their_end(protector, asked):
    for runnable in (
        protect(model(), protector, restore=True),
        protect(model(), protector, restore=True).bind(stop=["x"]),
        protect(model() | StrOutputParser(), protector, restore=True),
    ):
        events = [each async for each in runnable.astream_events(asked, version="v2")]
        pieces = [each["data"]["chunk"].text for each in events if each["event"] == "on_chat_model_stream"]
        assert "".join(pieces) == GIVEN
        parsed = "".join(each["data"]["chunk"] for each in events if each["event"] == "on_parser_stream")
        assert parsed in ("", GIVEN)
        (end,) = (each for each in events if each["event"] == "on_chat_model_end")
        assert end["data"]["output"].text == GIVEN
        assert max(
            map(events.index, (each for each in events if each["event"] == "on_chat_model_stream"))
        ) < (events.index(end))


class Person(BaseModel):
    name: str
    others: list[dict[str, str]] = []


class Structured(GenericFakeChatModel):
    def bind_tools(self, tools, **kwargs):
        return self.bind(tools=tools)


def test_structured_output_holds_values(protector, asked):
    call = {"name": "Person", "args": {"name": "Dr. NAME_1", "others": [{"IBAN_1": "NAME_1's"}]}, "id": "1"}
    answer = AIMessage("", tool_calls=[call])
    restoring = protect(Structured(messages=iter([answer] * 9)), protector, restore=True)
    person = restoring.with_structured_output(Person).invoke(asked)
    assert person == Person(
        name="Dr. Ada Lovelace", others=[{"DE89 3704 0044 0532 0130 00": "Ada Lovelace's"}]
    )
    found = restoring.with_structured_output(Person, include_raw=True).invoke(asked)
    assert found["parsed"] == person
    assert found["raw"].tool_calls[0]["args"] == person.model_dump()
    said = protect(model('{"name": "NAME_1"}') | JsonOutputParser(), protector, restore=True)
    assert said.invoke(asked) == {"name": "Ada Lovelace"}
    assert [*said.stream(asked)][-1] == {"name": "Ada Lovelace"}


def test_tool_calls_of_all_dialects_hold_values_and_stay_json(pages, protector):
    lines = ('Name: Ada "Byte" Lovelace',)
    arguments = '{"to": "NAME_1"}'
    said = AIMessage(
        [{"type": "tool_use", "name": "f", "input": {"to": "NAME_1"}, "id": "1"}],
        tool_calls=[{"name": "f", "args": {"to": ["NAME_1"]}, "id": "1"}],
        invalid_tool_calls=[{"name": "f", "args": arguments[:-1], "id": "2", "error": None}],
        additional_kwargs={"tool_calls": [{"function": {"name": "f", "arguments": arguments}, "id": "1"}]},
    )
    restoring = protect(GenericFakeChatModel(messages=iter([said])), protector, restore=True)
    given = restoring.invoke([HumanMessage([pages.block(*lines)])])
    value = 'Ada "Byte" Lovelace'
    escaped = '{"to": "Ada \\"Byte\\" Lovelace"}'
    assert given.tool_calls[0]["args"] == {"to": [value]}
    assert given.content[0]["input"] == {"to": value}
    assert given.invalid_tool_calls[0]["args"] == escaped[:-1]
    assert given.additional_kwargs["tool_calls"][0]["function"]["arguments"] == escaped
    assert said.tool_calls[0]["args"] == {"to": ["NAME_1"]}


async def test_runs_and_traces_hold_tokens_only(protector, asked):
    handler = Everything()
    config = {**THREAD, "callbacks": [handler]}
    restoring = protect(model(), protector, restore=True)
    chain = protect(ChatPromptTemplate.from_messages([("placeholder", "{asked}"), ("human", "{q}")]) | model()
                    | StrOutputParser(), protector, restore=True)  # fmt: skip
    assert restoring.invoke(asked, config).text == GIVEN
    for question in ("Who?", f"So: {GIVEN}?"):
        assert chain.invoke({"asked": asked, "q": question}, config) == GIVEN
        assert "".join(chain.stream({"asked": asked, "q": question}, config)) == GIVEN
    assert [each async for each in restoring.astream(asked, config)]
    assert (restoring | StrOutputParser()).invoke(asked, config) == GIVEN
    assert "".join([each async for each in (restoring | StrOutputParser()).astream(asked, config)]) == GIVEN
    seen = repr(handler.events)
    assert "NAME_1" in seen
    assert "ovelace" not in seen
    assert "DE89" not in seen


def test_a_restored_answer_leaves_as_tokens_in_the_next_turn(protector, asked):
    bare = hearing()
    restoring = protect(bare, protector, restore=True)
    history = [*asked]
    for _ in range(6):
        history += [
            restoring.invoke(history, THREAD),
            HumanMessage("And ADA LOVELACE, de89-37040044053201300-0?"),
        ]
    assert "ovelace" not in str(bare.heard).casefold()
    assert [message.text for message in bare.heard[-1][0][1:3]] == [SAID, "And NAME_1, IBAN_1?"]


def test_settings_of_a_call_leave_as_tokens(protector, asked):
    bare = hearing()
    tool = {"name": "f", "description": "Writes to Ada Lovelace", "parameters": {"enum": ["Ada Lovelace"]}}
    protect(bare, protector, restore=True).bind(tools=[{"function": tool}], stop=["Ada Lovelace"]).invoke(
        asked
    )
    assert bare.heard[0][1]["stop"] == ["NAME_1"]
    assert bare.heard[0][1]["tools"][0]["function"] == {
        "name": "f", "description": "Writes to NAME_1", "parameters": {"enum": ["NAME_1"]},
    }  # fmt: skip


@pytest.mark.slow(seconds=1)
def test_two_conversations_at_once_do_not_mix(pages, protector):
    restoring = protect(model("NAME_1 and NAME_2"), protector, restore=True)

    async def talk(number):
        block = pages.block(f"Name: Person{number}x Family{number}x")
        config = {"configurable": {"thread_id": str(number)}} if number % 2 else {}
        answers = await asyncio.gather(
            *(restoring.ainvoke([HumanMessage([block])], config) for _ in range(3))
        )
        return {answer.text for answer in answers}

    async def talks():
        return await asyncio.gather(*map(talk, range(8)))

    assert asyncio.run(talks()) == [{f"Person{each}x Family{each}x and NAME_2"} for each in range(8)]


def test_a_function_works_on_values_and_its_run_records_tokens(protector, asked):
    handler, got = Everything(), []

    def look_up(message):
        got.append(message.text)
        return f"{message.text}: born in Lovelace"

    chain = protect(model() | RunnableLambda(look_up), protector, restore=True)
    assert chain.invoke(asked, {"callbacks": [handler]}) == f"{GIVEN}: born in Lovelace"
    assert got == [GIVEN]
    assert "ovelace" not in repr(handler.events)


def test_an_unprotected_model_that_nobody_finds_gets_nothing_hidden(protector, asked):
    class Holder:
        def __init__(self):
            self.model = model()

    holder = Holder()
    chain = protect(
        model() | RunnableLambda(lambda message: holder.model.invoke(message.text)), protector, restore=True
    )
    with pytest.raises(ProtectionError, match="hidden text"):
        chain.invoke(asked)


class Recording(BaseCallbackHandler):
    def on_chain_end(self, outputs, **kwargs):
        """Record what a run returns."""


@pytest.mark.parametrize("reaction", ["raise", "warn", "ignore"])
def test_an_enclosing_run_that_would_record_values_is_told_of_before_anything_is_sent(pages, asked, reaction):
    protector = protector_of(pages, on_upstream_trace=reaction)
    bare = hearing()
    config = {"callbacks": [Recording()]}
    chain = ChatPromptTemplate.from_messages([("human", "{q}")]) | protect(bare, protector, restore=True)
    sealed = RunnableLambda(lambda _: "x") | protector.restorer("1")
    if reaction == "ignore":
        assert chain.invoke({"q": "x"}, config).text == SAID
        assert sealed.invoke("x", config) == "x"
    elif reaction == "warn":
        with pytest.warns(TraceLeakWarning, match="record what was hidden"):
            chain.invoke({"q": "x"}, config)
    else:
        with pytest.raises(ProtectionError, match="record what was hidden"):
            chain.invoke({"q": "x"}, config)
        with pytest.raises(ProtectionError, match="record what was hidden"):
            sealed.invoke("x", config)
        assert not bare.heard
        assert chain.invoke({"q": "x"}).text == SAID


async def test_a_restorer_puts_back_whatever_it_gets(protector, asked):
    answer = protect(model(), protector).invoke(asked, THREAD)
    assert answer.text == SAID
    restorer = protector.restorer()
    assert restorer.invoke({"a": [answer, {"NAME_1": "name_1"}]}, THREAD) == {
        "a": [answer.model_copy(update={"content": GIVEN}), {"Ada Lovelace": "Ada Lovelace"}]
    }
    assert await protector.restorer("1").ainvoke(SAID) == GIVEN
    pieces = [SAID[place : place + 3] for place in range(0, len(SAID), 3)]
    assert "".join(restorer.transform(iter(pieces), THREAD)) == GIVEN

    async def stream():
        for piece in pieces:
            yield piece

    assert "".join([piece async for piece in restorer.atransform(stream(), THREAD)]) == GIVEN
    with pytest.raises(ProtectionError, match="name the conversation"):
        restorer.invoke(SAID)


def test_a_restorer_at_the_end_of_a_protected_chain_stands_for_restore(protector, asked):
    handler = Everything()
    chain = protect(model(), protector) | StrOutputParser() | protector.restorer()
    assert chain.invoke(asked, {"callbacks": [handler]}) == GIVEN
    assert "".join(chain.stream(asked, {"callbacks": [handler]})) == GIVEN
    assert "ovelace" not in repr(handler.events)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_without_restore_answers_keep_their_tokens(protector, asked):
    plain = protect(model(), protector)
    assert plain.invoke(asked, THREAD).text == SAID
    assert (plain | StrOutputParser()).invoke(asked) == SAID
    assert protect(plain, protector, restore=True).invoke(asked).text == GIVEN
    assert protect(plain | StrOutputParser(), protector, restore=True).invoke(asked) == GIVEN
    assert protect(protect(model(), protector, restore=True), protector).invoke(asked).text == GIVEN


def test_a_history_inside_of_a_protected_call_holds_tokens(protector, asked):
    from langchain_core.chat_history import InMemoryChatMessageHistory

    bare, history = hearing(), InMemoryChatMessageHistory()
    chat = protect(RunnableWithMessageHistory(bare, lambda: history), protector, restore=True)
    assert chat.invoke(asked, THREAD).text == GIVEN
    assert chat.invoke([HumanMessage("Again, Ada Lovelace?")], THREAD).text == GIVEN
    assert [message.text for message in history.messages[1:3]] == [SAID, "Again, NAME_1?"]
    assert "ovelace" not in str(bare.heard).casefold()


def test_an_answer_without_tokens_stays_the_same_object(protector):
    said = AIMessage("Hello")

    class Fixed(BaseChatModel):
        @property
        def _llm_type(self):
            return "fixed"

        def _generate(self, *args, **kwargs):
            from langchain_core.outputs import ChatGeneration, ChatResult

            return ChatResult(generations=[ChatGeneration(message=said)])

    assert protect(Fixed(), protector, restore=True).invoke("x", THREAD).content == "Hello"


def test_a_conversation_goes_on_in_another_process_with_a_stored_vault(pages, asked):
    fernet = pytest.importorskip("cryptography.fernet")
    from langchain_core.stores import InMemoryByteStore

    from langchain_vpp.guard.vault import StoredVaults

    store, key = InMemoryByteStore(), fernet.Fernet.generate_key()
    bare = hearing()
    history = [*asked]
    for number in range(3):
        protector = protector_of(pages, vaults=StoredVaults(store, key))
        restoring = protect(bare, protector, restore=True)
        history.append(restoring.invoke(history[-1:] if number else history, THREAD))
        history.append(HumanMessage("And Ada Lovelace, or Lovelace?"))
    assert [answer.text for answer in history[1::2]] == [GIVEN] * 3
    assert [messages[-1].text for messages, _ in bare.heard[1:]] == ["And NAME_1, or NAME_2?"] * 2
