"""Conversations: tokens are the same within one, and nothing goes from one to another."""

from __future__ import annotations

import asyncio
import gc
import threading

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage

from langchain_vpp import ImageProtector, ProtectionError, RequestBudget
from langchain_vpp.engines import Blur, Chain, Pixelate
from langchain_vpp.engines.words import Words
from langchain_vpp.guard.conversations import conversation_of, conversing, hidden_in, restored_in
from langchain_vpp.guard.vault import MemoryVaults
from tests.given_words import Pages, protector_of

ADA = ("Name: Ada Lovelace", "Total 12")
BO = ("Name: Bo Peterson", "Name: Ada Lovelace")


@pytest.fixture
def pages():
    return Pages()


def sent(protector, *contents, **options):
    messages = [
        HumanMessage(list(content) if isinstance(content, tuple) else content) for content in contents
    ]
    return [message.content for message in protector.protect_messages(messages, **options)]


def values(protector, thread):
    vault = protector.conversations.open(f"thread/{thread}").vault
    return [(token, value) for token, _, value in vault.state()["values"]]


def test_a_value_has_the_same_token_in_all_pictures_of_a_conversation(pages):
    protector = protector_of(pages)
    sent(protector, (pages.block(*ADA),), thread_id="1")
    sent(protector, (pages.block(*BO),), thread_id="1")
    assert values(protector, 1)[:2] == [("NAME_1", "Ada Lovelace"), ("NAME_2", "Bo Peterson")]


def test_pictures_depend_on_their_own_conversation_only(pages):
    protector = protector_of(pages)
    alone = sent(protector_of(pages), (pages.block(*ADA),), thread_id="x")
    sent(protector, (pages.block(*BO),), thread_id="1")
    (later,) = sent(protector, (pages.block(*ADA),), thread_id="1")
    assert sent(protector, (pages.block(*ADA),), thread_id="2") == alone != [later]
    assert sent(protector, (pages.block(*ADA),)) == alone
    assert pages.read_pages == 4  # again where its tokens are others, and not where they are known


def test_the_same_conversation_gives_the_same_bytes_whatever_happens_beside_it(pages):
    def talk(protector, thread):
        return [
            sent(protector, (pages.block(*BO), pages.block(*ADA)), "Ada Lovelace?", thread_id=thread),
            sent(protector, (pages.block(*ADA),), "bo-peterson", thread_id=thread),
        ]

    busy = protector_of(pages)
    results = {}
    threads = [
        threading.Thread(target=lambda each=each: results.update({each: talk(busy, str(each))}))
        for each in range(6)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert [results[each] for each in range(6)] == [talk(protector_of(pages), "x")] * 6


def test_text_that_came_before_its_picture_is_found(pages):
    protector = protector_of(pages)
    before, _, after = sent(protector, "Ada Lovelace?", (pages.block(*ADA),), "ADA  LOVELACE!", thread_id="1")
    assert (before, after) == ("NAME_1?", "NAME_1!")
    assert sent(protector, "of Ada Lovelace", thread_id="1") == ["of NAME_1"]
    assert (
        sent(protector, "of Ada Lovelace", thread_id="2")
        == sent(protector, "of Ada Lovelace")
        == ["of Ada Lovelace"]
    )


def test_every_text_of_every_message_is_searched(pages):
    protector = protector_of(pages)
    call = {
        "name": "lovelace",
        "args": {"who": "Ada Lovelace", "Ada Lovelace": [{"n": "ada-lovelace"}]},
        "id": "1",
    }
    given = [
        SystemMessage("For Ada Lovelace"),
        HumanMessage([{"type": "text", "text": "x"}, pages.block(*ADA)], name="Ada Lovelace"),
        AIMessage(
            [{"type": "text", "text": "Ada Lovelace"}, {"type": "reasoning", "reasoning": "ADA LOVELACE"}],
            tool_calls=[call],
            additional_kwargs={"function_call": {"name": "f", "arguments": '{"a": "Ada Lovelace"}'}},
        ),
        ToolMessage('{"name": "Ada\\u0020Lovelace"}', tool_call_id="1", artifact={"row": ["Ada Lovelace"]}),
    ]
    out = protector.protect_messages(given, thread_id="1")
    assert "ovelace" not in str(out).replace("'name': 'lovelace'", "")
    assert out[2].tool_calls[0]["args"] == {"who": "NAME_1", "NAME_1": [{"n": "NAME_1"}]}
    assert out[2].tool_calls[0]["name"] == "lovelace"
    assert out[1].name == "NAME_1"
    assert given[0].content == "For Ada Lovelace"
    assert restored_in(out, protector.conversations.open("thread/1").vault)[2].text == "Ada Lovelace"


def test_messages_that_passed_before_are_searched_again_for_what_was_hidden_since(pages):
    protector = protector_of(pages)
    assert sent(protector, "about Ada Lovelace", thread_id="1") == ["about Ada Lovelace"]
    text, _ = sent(protector, "about Ada Lovelace", (pages.block(*ADA),), thread_id="1")
    assert text == "about NAME_1"
    assert sent(protector, "about NAME_1", thread_id="1") == ["about NAME_1"]


@pytest.mark.slow(seconds=1)
def test_a_vault_of_a_call_ends_with_it_and_is_found_while_it_is_held(pages):
    conversations = protector_of(pages).conversations
    held = conversations.open(None)
    assert conversations.open(held.name).vault is held.vault
    name = held.name
    del held
    gc.collect()
    with pytest.raises(ProtectionError, match="has ended"):
        conversations.open(name)


def test_an_engine_that_names_nothing_needs_no_vault():
    protector = ImageProtector(Pixelate(), vaults=MemoryVaults(most=1))
    for number in range(3):
        assert protector.protect_messages("hello", thread_id=str(number))[0].content == "hello"


def test_a_dropped_conversation_sends_nothing(pages):
    protector = protector_of(pages, vaults=MemoryVaults(most=1))
    sent(protector, (pages.block(*ADA),), thread_id="1")
    sent(protector, "x", thread_id="2")
    with pytest.raises(ProtectionError, match="was dropped"):
        sent(protector, "Ada Lovelace", thread_id="1")


async def test_async_is_the_same(pages):
    protector = protector_of(pages)
    given = [HumanMessage([pages.block(*ADA)]), HumanMessage("Ada Lovelace")]
    several = await asyncio.gather(
        *(protector.aprotect_messages(given, thread_id=str(each)) for each in range(4))
    )
    assert [messages[1].content for messages in several] == ["NAME_1"] * 4
    assert several == [protector.protect_messages(given, thread_id="x")] * 4


def test_the_name_of_a_conversation_is_that_of_the_call_then_of_the_thread_then_what_was_said():
    assert conversation_of(None) is None
    with conversing("run/1"), conversing(None):
        assert conversation_of(None) == "run/1"
        assert conversation_of({"configurable": {"thread_id": 7}}) == "thread/7"
        both = {"thread_id": 7, "__vpp_conversation": "call/1"}
        assert conversation_of({"configurable": both}) == "call/1"
    assert conversation_of(None) is None


def test_what_can_not_be_searched_to_its_end_is_refused(pages):
    vault = protector_of(pages).conversations.open(None).vault
    vault.token("NAME", "Ada Lovelace")
    deep: list = []
    for _ in range(200):
        deep = [deep]
    with pytest.raises(ProtectionError, match="nested too deeply"):
        hidden_in(deep, vault)


@pytest.mark.parametrize("order", ["before", "after"])
def test_a_chain_names_values_too(pages, order):
    words = Words(reader=pages, recognizers=[])
    chain = Chain(words, Blur()) if order == "after" else Chain(_Same(), words)
    protector = ImageProtector(chain, level=0.5)
    sent(protector, (pages.block(*ADA),), thread_id="1")
    assert values(protector, 1) == [("NAME_1", "Ada Lovelace")]
    with pytest.raises(ValueError, match="Only one engine"):
        Chain(words, words)


class _Same:
    def protect(self, image, level):
        return image.copy()


def test_a_request_that_costs_too_much_is_refused_before_any_picture_is_read(pages):
    protector = protector_of(pages, budget=RequestBudget(pictures=6))
    blocks = tuple(pages.block(f"Name: Person{number}x") for number in range(7))
    with pytest.raises(ProtectionError, match="more than 6 pictures"):
        sent(protector, blocks, thread_id="1")
    assert pages.read_pages == 0
    sent(protector, blocks[:6], thread_id="1")
    sent(protector, blocks[:6], blocks[6:], thread_id="1")
    assert [token for token, _ in values(protector, 1)] == [f"NAME_{number}" for number in range(1, 8)]
