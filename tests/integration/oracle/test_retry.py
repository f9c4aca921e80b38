"""Providers that are busy, silent or gone: what is asked again, when, and what may be charged."""

from __future__ import annotations

import time
from datetime import datetime
from email.utils import formatdate

import pytest

from langchain_vpp.errors import BudgetExhaustedError, OracleError
from tests.integration.oracle.scripted_provider import (
    PLENTY,
    SECRET,
    Interrupted,
    Provider,
    ask,
    assert_free_of_content,
    chat,
    completion,
    queries,
    refused_port,
)
from trainer.oracle.ledger import Budget, Ledger, Price
from trainer.oracle.oracle import Oracle


def test_too_many_requests_waits_as_long_as_the_provider_asks(ledger):
    busy = (429, {"error": {"message": SECRET}}, {"Retry-After": "1"})
    with Provider(lambda number, _: busy if number == 0 else (200, completion())) as provider:
        assert ask(ledger, provider.base_url, queries(1), max_retries=2)[0].text == "red"
    assert provider.times[1] - provider.times[0] >= 1


@pytest.mark.parametrize(
    "failure",
    [
        (500, {"error": {"message": SECRET}}),
        (503, b"busy"),
        (429, {}),
        (424, {}),
        (498, {}),
        (499, {}),
        ("cut", b""),
    ],
)
def test_a_passing_failure_is_tried_again(ledger, failure):
    with Provider(lambda number, _: failure if number in {0, 2} else (200, completion())) as provider:
        answers = ask(ledger, provider.base_url, queries(1, 2, 3))
    assert [answer.text for answer in answers] == ["red"] * 3
    assert ledger.spent()[0] == 3
    assert len(provider.bodies) == 5


def test_a_server_that_is_down_is_tried_again_then_reported_and_costs_nothing(ledger, caplog):
    with pytest.raises(OracleError, match=r"did not answer 2 of 2 queries .*then resume") as caught:
        ask(ledger, f"http://127.0.0.1:{refused_port()}/v1", queries(1, 2))
    assert_free_of_content(caught.value)
    assert sum("trying again" in record.getMessage() for record in caplog.records) == 2
    assert ledger.spent()[0] == 0


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_a_refusal_is_not_tried_again_and_its_text_is_not_repeated(ledger, status, caplog):
    with (
        Provider(lambda *_: (status, {"error": {"message": SECRET, "code": SECRET}})) as provider,
        pytest.raises(OracleError, match=f"HTTP status {status}") as caught,
    ):
        ask(ledger, provider.base_url, queries(1))
    assert_free_of_content(caught.value)
    assert SECRET not in caplog.text
    assert len(provider.bodies) == 1
    assert ledger.spent()[0] == 0


def test_an_interruption_while_waiting_to_try_again_leaves_nothing_lost(ledger, monkeypatch):
    def interrupt(*_):
        raise Interrupted

    monkeypatch.setattr(Oracle, "_wait", interrupt)
    with pytest.raises(Interrupted):
        ask(ledger, f"http://127.0.0.1:{refused_port()}/v1", queries(1, 2))
    assert ledger.spent()[0] == 0


def http_date(seconds):
    """A date as far from now; the server adds the present one to each answer."""
    return formatdate(time.time() + seconds, usegmt=True)


@pytest.mark.parametrize("wish", [lambda: "1", lambda: http_date(1)], ids=["seconds", "date"])
def test_our_own_retries_wait_as_long_as_the_provider_asks(ledger, wish):
    def script(number, _):
        return (
            (429, {"error": {"message": SECRET}}, {"Retry-After": wish()})
            if number == 0
            else (200, completion())
        )

    with Provider(script) as provider:
        assert ask(ledger, provider.base_url, queries(1))[0].text == "red"
    assert 1 <= provider.times[1] - provider.times[0] < 3


def test_while_the_provider_wants_a_pause_no_other_query_leaves(ledger):
    busy = (429, {}, {"Retry-After": "1"})
    with Provider(lambda number, _: busy if number == 0 else (200, completion())) as provider:
        oracle = Oracle(chat(provider.base_url), ledger, PLENTY, max_concurrency=1)
        assert all(oracle.ask(queries(*range(5)), purpose="train"))
    assert provider.times[1] - provider.times[0] < 1  # was about to leave when the wish arrived
    assert provider.times[2] - provider.times[0] >= 1
    assert oracle.counts.failed == 1


@pytest.mark.parametrize("value", ["3600", "-5", "nan", "inf", "soon", "in an hour", "a minute ago"])
def test_a_strange_or_long_wish_is_bounded(ledger, monkeypatch, value):
    monkeypatch.setattr("trainer.oracle.retry._LONGEST_WAIT_S", 0.2)
    dates = {"in an hour": http_date(3600), "a minute ago": http_date(-60)}
    busy = (429, {}, {"Retry-After": dates.get(value, value)})
    with Provider(lambda number, _: busy if number == 0 else (200, completion())) as provider:
        assert ask(ledger, provider.base_url, queries(1))[0].text == "red"
    assert provider.times[1] - provider.times[0] < 1


def test_a_clock_that_goes_back_does_not_change_the_wait(ledger, monkeypatch):
    class Backwards(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime(1999, 1, 1, tzinfo=tz)

    def script(number, _):
        return (429, {}, {"Retry-After": http_date(1)}) if number == 0 else (200, completion())

    monkeypatch.setattr("trainer.oracle.retry.datetime", Backwards)
    with Provider(script) as provider:
        assert ask(ledger, provider.base_url, queries(1))[0].text == "red"
    assert 1 <= provider.times[1] - provider.times[0] < 3


def test_retries_go_on_while_there_is_progress(ledger):
    def script(number, _):
        return (200, completion()) if number % 3 == 2 else (429, {})

    with Provider(script) as provider:
        oracle = Oracle(chat(provider.base_url), ledger, PLENTY, max_concurrency=1, attempts=3)
        assert all(oracle.ask(queries(*range(8)), purpose="train"))
    assert oracle.counts.failed == len(provider.bodies) - 8 > 8


def test_an_empty_account_is_not_asked_again(ledger):
    poor = (429, {"error": {"message": SECRET, "code": "insufficient_quota"}})
    with Provider(lambda *_: poor) as provider, pytest.raises(OracleError, match="status 429"):
        ask(ledger, provider.base_url, queries(1))
    assert len(provider.bodies) == 1


def test_a_request_without_an_answer_is_noted_as_one_that_may_be_charged(ledger):
    def script(number, _):
        if number == 0:
            time.sleep(0.6)
        return ("cut", b"") if number == 1 else (200, completion())

    with Provider(script) as provider:
        oracle = Oracle(chat(provider.base_url, timeout=0.3), ledger, PLENTY)
        assert oracle.ask(queries(1), purpose="train")[0].text == "red"
    assert len(provider.bodies) == 3
    assert (oracle.counts.failed, oracle.counts.unanswered, ledger.doubtful()) == (2, 2, 2)
    assert ledger.spent()[0] == 1


def test_a_provider_that_refused_or_was_never_reached_charges_nothing(ledger):
    with Provider(lambda number, _: (503, b"") if number == 0 else (200, completion())) as provider:
        ask(ledger, provider.base_url, queries(1))
    with pytest.raises(OracleError):
        ask(ledger, f"http://127.0.0.1:{refused_port()}/v1", queries(2))
    assert ledger.doubtful() == 0


def test_a_retry_that_the_limit_on_cost_no_longer_allows_is_not_sent(tmp_path):
    with Ledger(tmp_path / "priced.sqlite", model="m", price=Price(1e4, 0)) as ledger:
        with Provider(lambda *_: (200, completion())) as provider:
            Oracle(chat(provider.base_url), ledger, PLENTY).ask(queries(1), purpose="train")
        with (
            Provider(lambda *_: ("cut", b"")) as provider,
            pytest.raises(BudgetExhaustedError, match="1 requests without an answer that may be charged"),
        ):
            Oracle(chat(provider.base_url), ledger, Budget(9, 2.0)).ask(queries(2), purpose="train")
        assert len(provider.bodies) == 1
