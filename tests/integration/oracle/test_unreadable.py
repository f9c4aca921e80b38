"""Replies that no client can read, and answers that name no tokens."""

from __future__ import annotations

import json

import pytest
from langchain_core.language_models import FakeMessagesListChatModel
from langchain_core.messages import AIMessage
from PIL import Image

from langchain_vpp.errors import BudgetExhaustedError, OracleError
from langchain_vpp.images.codec import encode_image
from tests.integration.oracle.scripted_provider import (
    PLENTY,
    SECRET,
    Provider,
    assert_free_of_content,
    chat,
    completion,
    queries,
)
from trainer.oracle.gate import GateClosedError
from trainer.oracle.ledger import Budget, Ledger, Price
from trainer.oracle.oracle import Oracle
from trainer.oracle.query import Answer, Query
from trainer.oracle.retry import is_retryable, may_be_charged

UNREADABLE = {
    "no choices": completion() | {"choices": []},
    "choices of null": completion() | {"choices": None},
    "choices of a number": completion() | {"choices": 3},
    "no message": completion() | {"choices": [{"index": 0, "finish_reason": "stop"}]},
    "a gateway's error": {"error": {"message": SECRET, "code": 502}},
    "an error without a code": {"error": {"message": SECRET}},
    "JSON that was cut off": json.dumps(completion()).encode()[:-9],
    "a page": b"<html>busy</html>",
    "nothing": b"",
    "a list": b"[]",
}


@pytest.mark.parametrize("reply", UNREADABLE.values(), ids=UNREADABLE)
def test_an_unreadable_reply_is_asked_again_and_may_be_charged(ledger, reply):
    with Provider(lambda number, _: (200, reply if number == 2 else completion())) as provider:
        oracle = Oracle(chat(provider.base_url), ledger, PLENTY)
        answers = oracle.ask(queries(*range(6)), purpose="train")
    assert [answer.text for answer in answers] == ["red"] * 6
    assert len(provider.bodies) == 7
    assert (oracle.counts.unanswered, ledger.doubtful()) == (1, 1)


@pytest.mark.parametrize("reply", UNREADABLE.values(), ids=UNREADABLE)
def test_replies_that_stay_unreadable_are_an_error_that_carries_nothing(ledger, reply):
    with Provider(lambda *_: (200, reply)) as provider:
        oracle = Oracle(chat(provider.base_url), ledger, PLENTY, attempts=2)
        with pytest.raises(OracleError, match="did not answer 1 of 1") as caught:
            oracle.ask(queries(1), purpose="train")
    assert_free_of_content(caught.value)
    assert len(provider.bodies) == ledger.doubtful() == 2


@pytest.mark.parametrize("code", [401, 402, 404])
def test_a_lasting_error_in_a_readable_reply_is_not_asked_again(ledger, code):
    with (
        Provider(lambda *_: (200, {"error": {"message": SECRET, "code": code}})) as provider,
        pytest.raises(OracleError, match=f"HTTP status {code}"),
    ):
        Oracle(chat(provider.base_url), ledger, PLENTY).ask(queries(1), purpose="train")
    assert (len(provider.bodies), ledger.doubtful()) == (1, 0)


def test_a_message_that_a_client_made_of_nothing_is_unreadable(ledger):
    model = FakeMessagesListChatModel(responses=[AIMessage(""), AIMessage("red")])
    oracle = Oracle(model, ledger, PLENTY)
    assert oracle.ask(queries(1), purpose="train")[0].text == "red"
    assert ledger.doubtful() == 1


@pytest.mark.parametrize("error", [GateClosedError(), ImportError("x"), NotImplementedError()], ids=repr)
def test_what_never_left_is_neither_asked_again_nor_charged(error):
    assert not is_retryable(error)
    assert not may_be_charged(error)


@pytest.mark.parametrize(
    "usage",
    [None, {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}],
    ids=["no usage", "zeros"],
)
def test_answers_without_usage_reach_the_limit_on_cost(tmp_path, usage, caplog):
    reply = completion() | {"usage": usage}
    with (
        Ledger(
            tmp_path / "priced.sqlite", model="ChatOpenAI:gpt-4o|labels", price=Price(1000, 1000)
        ) as ledger,
        Provider(lambda *_: (200, reply)) as provider,
    ):
        oracle = Oracle(chat(provider.base_url), ledger, Budget(1000, 30))
        with pytest.raises(BudgetExhaustedError, match=r"budget of \$30"):
            oracle.ask(queries(*range(200)), purpose="train")
        count, cost = ledger.spent()
    assert len(provider.bodies) == count == oracle.counts.unmetered < 60
    assert cost / count == pytest.approx(0.8, abs=0.2)  # 765 tokens for the picture
    assert sum("names no tokens" in record.getMessage() for record in caplog.records) == 1


def test_the_estimate_takes_the_size_of_the_picture_and_the_model(tmp_path):
    small, large = (encode_image(Image.new("RGB", size)) for size in ((64, 64), (2000, 2000)))
    costs = {}
    names = ("ChatOpenAI:gpt-4o@0123456789ab|logprobs", "ChatAnthropic:claude-haiku-4-5|labels")
    for name in names:
        with Ledger(tmp_path / "priced.sqlite", model=name, price=Price(1, 1)) as ledger:
            for picture in (small, large):
                asked, before = Query(picture, "What colour is the sign?"), ledger.spent()[1]
                ledger.reserve([asked], purpose="train", budget=PLENTY)
                ledger.record(asked, Answer("red"))
                costs[name, picture] = ledger.spent()[1] - before
    assert len(set(costs.values())) == 4
    assert all(costs[name, small] < costs[name, large] for name in names)
