"""Requests that a provider rejects for what they hold are answers; a provider that rejects everything is an outage."""

from __future__ import annotations

import sqlite3

import pytest

from langchain_vpp.errors import OracleError
from tests.integration.oracle.scripted_provider import (
    PLENTY,
    SECRET,
    Interrupted,
    Provider,
    assert_free_of_content,
    chat,
    completion,
    number_of,
    queries,
)
from trainer.oracle.ledger import Budget, Ledger, Price
from trainer.oracle.oracle import Counts, Oracle
from trainer.oracle.query import REJECTED, Answer
from trainer.oracle.scoring import kind

BAD = 5
FILTERED = {"error": {"message": SECRET, "code": "content_filter", "param": "prompt"}}
REJECTIONS = {
    "a content filter": (400, FILTERED),
    "Azure's filter": (400, {"error": {"code": "x", "innererror": {"code": "ResponsibleAIPolicyViolation"}}}),
    "a gateway's moderation": (403, {"error": {"code": 403, "metadata": {"reasons": ["violence"]}}}),
    "a gateway's moderation in a reply": (200, {"error": {"code": 403, "message": SECRET}}),
    "an unprocessable picture": (422, {"detail": [{"msg": SECRET}]}),
    "a picture of an unknown kind": (400, {"error": {"message": SECRET, "code": "invalid_image"}}),
    "no reason": (400, {}),
    "no JSON": (403, b"<html>blocked</html>"),
}


def rejecting(rejection, *, bad=lambda number: number == BAD):
    def script(_, body):
        return rejection if bad(number_of(body)) else (200, completion())

    return script


@pytest.mark.parametrize("rejection", REJECTIONS.values(), ids=REJECTIONS)
def test_a_rejected_picture_is_a_refused_answer_and_is_asked_once(ledger, rejection):
    with Provider(rejecting(rejection)) as provider:
        oracle = Oracle(chat(provider.base_url), ledger, PLENTY, attempts=2)
        for _ in range(2):
            answers = oracle.ask(queries(*range(8)), purpose="train")
    assert [answer.text for answer in answers] == ["red"] * BAD + [REJECTED] + ["red"] * (7 - BAD)
    assert oracle.counts == Counts(answered=7, refused=1, unmetered=1)
    assert len(provider.bodies) == ledger.spent()[0] == 8


def test_a_rejection_reads_as_a_refusal_whatever_the_choices_are():
    for choices in ((), ("red", "blue"), ("yes", "no"), ("1", "2"), ("request", "provider")):
        assert kind(REJECTED, choices) == "refused"


def test_a_rejection_counts_at_an_estimate_against_a_limit_on_cost(tmp_path):
    with (
        Ledger(tmp_path / "priced.sqlite", model="m", price=Price(1e3, 0)) as ledger,
        Provider(rejecting((400, FILTERED))) as provider,
    ):
        Oracle(chat(provider.base_url), ledger, PLENTY).ask(queries(*range(8)), purpose="train")
        with sqlite3.connect(ledger.path) as connection:
            costs = [cost for (cost,) in connection.execute("SELECT cost FROM queries ORDER BY cost")]
    assert costs[:-1] == pytest.approx([0.09] * 7)
    assert costs[-1] > 0.09


@pytest.mark.parametrize("rejection", [(400, FILTERED), (403, {}), (422, b"")], ids=str)
@pytest.mark.parametrize("answered", [0, 3])
def test_many_rejections_in_a_row_stop_asking_and_can_be_asked_again(ledger, rejection, answered):
    broken = True
    with Provider(
        lambda _, body: rejection if broken and number_of(body) >= answered else (200, completion())
    ) as provider:
        oracle = Oracle(chat(provider.base_url), ledger, Budget(200), max_concurrency=2)
        if answered:
            oracle.ask(queries(*range(answered)), purpose="train")
        with pytest.raises(OracleError, match=r"rejected \d+ requests in a row .*HTTP status") as caught:
            oracle.ask(queries(*range(40)), purpose="train")
        assert_free_of_content(caught.value)
        assert len(provider.bodies) <= answered + 24
        assert ledger.spent()[0] == answered
        broken = False
        answers = Oracle(chat(provider.base_url), ledger, Budget(200)).ask(
            queries(*range(40)), purpose="train"
        )
    assert [answer.text for answer in answers] == ["red"] * 40


def test_rejections_in_a_row_are_counted_over_the_steps_of_a_run(ledger):
    with Provider(rejecting((400, {}), bad=lambda number: number > 0)) as provider:
        oracle = Oracle(chat(provider.base_url), ledger, Budget(200))
        for step in range(10):
            oracle.ask(queries(2 * step, 2 * step + 1), purpose="train")
        with pytest.raises(OracleError, match="in a row"):
            oracle.ask(queries(20, 21), purpose="train")


def test_a_half_of_rejections_is_no_outage(ledger):
    with Provider(rejecting((400, FILTERED), bad=lambda number: number % 2)) as provider:
        oracle = Oracle(chat(provider.base_url), ledger, Budget(200), max_concurrency=1)
        oracle.ask(queries(*range(40)), purpose="train")
    assert (oracle.counts.answered, oracle.counts.refused) == (20, 20)


def test_an_earlier_answer_in_the_ledger_shows_that_a_rejection_is_about_the_picture(ledger):
    with Provider(rejecting((422, {}))) as provider:
        Oracle(chat(provider.base_url), ledger, PLENTY).ask(queries(1), purpose="train")
        (answer,) = Oracle(chat(provider.base_url), ledger, PLENTY).ask(queries(BAD), purpose="train")
    assert answer == Answer(REJECTED)


@pytest.mark.parametrize(
    "empty",
    [
        (400, {"error": {"message": "Your credit balance is too low to access the API."}}),
        (403, {"error": {"code": "billing_hard_limit_reached"}}),
        (403, {"error": {"code": "insufficient_quota"}}),
    ],
    ids=str,
)
def test_an_empty_account_is_no_answer_about_a_picture(ledger, empty):
    with Provider(rejecting(empty)) as provider:
        oracle = Oracle(chat(provider.base_url), ledger, PLENTY)
        with pytest.raises(OracleError, match="did not answer 1 of 8"):
            oracle.ask(queries(*range(8)), purpose="train")
    assert ledger.spent()[0] == 7


def test_an_interruption_while_rejections_are_recorded_loses_nothing(ledger):
    reports = []

    def interrupt():
        reports.append(None)
        if len(reports) == 6:
            raise Interrupted

    script = rejecting((400, FILTERED), bad=lambda number: number >= 4)
    with Provider(script) as provider:
        oracle = Oracle(chat(provider.base_url), ledger, PLENTY)
        with pytest.raises(Interrupted):
            oracle.ask(queries(*range(8)), purpose="train", on_answer=interrupt)
        assert ledger.reserve(queries(*range(8)), purpose="train", budget=PLENTY).lost == set()


@pytest.mark.parametrize("reason", ["content_filter", "SAFETY", "refusal"])
def test_an_empty_answer_that_names_a_filter_is_refused(ledger, reason):
    reply = completion("")
    reply["choices"][0]["finish_reason"] = reason
    with Provider(lambda *_: (200, reply)) as provider:
        oracle = Oracle(chat(provider.base_url), ledger, PLENTY)
        oracle.ask(queries(1), purpose="train")
    assert oracle.counts == Counts(refused=1)
