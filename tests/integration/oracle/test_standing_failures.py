"""A picture on which the provider always fails is put aside; a provider that fails is an outage that loses nothing."""

from __future__ import annotations

import logging

import pytest

from langchain_vpp.errors import BudgetExhaustedError, OracleError
from tests.integration.oracle.scripted_provider import (
    SECRET,
    Provider,
    assert_free_of_content,
    chat,
    completion,
    number_of,
    queries,
)
from trainer.oracle.ledger import Budget, Ledger, Price
from trainer.oracle.oracle import Oracle
from trainer.oracle.query import PUT_ASIDE
from trainer.oracle.scoring import kind

BAD = 5
ENOUGH = Budget(200)
FAILURES = {
    "a failure within": (500, {"error": {"message": SECRET}}),
    "no answer in time": (504, b""),
    "no choices": (200, completion() | {"choices": []}),
    "a page": (200, b"<html>busy</html>"),
    "a connection that is cut": ("cut", b""),
}


def failing(failure, *, bad=lambda number: number == BAD):
    return lambda _, body: failure if bad(number_of(body)) else (200, completion())


def oracle_for(provider, ledger, **options):
    return Oracle(chat(provider.base_url), ledger, ENOUGH, **{"attempts": 3} | options)


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
def test_a_picture_that_always_fails_is_put_aside_and_named(ledger, failure, caplog):
    with Provider(failing(failure)) as provider:
        oracle = oracle_for(provider, ledger)
        answers = oracle.ask(queries(*range(8)), purpose="train")
        tries = [number_of(body) for body in provider.bodies]
        assert oracle.ask(queries(8, 9), purpose="train")[0].text == "red"
        again = oracle_for(provider, ledger)
        assert again.ask(queries(BAD), purpose="train")[0].text == PUT_ASIDE
    assert [answer.text for answer in answers] == ["red"] * BAD + [PUT_ASIDE] + ["red"] * (7 - BAD)
    digest = queries(BAD)[0].image_digest
    assert oracle.counts.put_aside == [digest]
    assert digest[:12] in caplog.text
    assert SECRET not in caplog.text
    # Another picture is answered between its last tries.
    assert tries.count(BAD) == 5
    assert [each == BAD for each in tries[-4:]] == [False, True, False, True]
    assert again.counts.put_aside == []  # it is known
    assert len(provider.bodies) == len(tries) + 2


def test_what_was_put_aside_reads_as_a_refusal_whatever_the_choices_are():
    for choices in ((), ("red", "blue"), ("yes", "no"), ("1", "2"), ("request", "provider", "others")):
        assert kind(PUT_ASIDE, choices) == "refused"


def test_a_resumed_run_puts_aside_what_is_left_of_an_ended_one(ledger):
    broken = True

    def script(_, body):
        if broken and len(provider.bodies) > 9:
            return 503, b"busy"
        return (500, {}) if number_of(body) == BAD else (200, completion())

    with Provider(script) as provider:
        with pytest.raises(OracleError, match="did not answer 1 of 1"):
            oracle_for(provider, ledger).ask(queries(*range(8)), purpose="train")
        assert ledger.spent()[0] == 7
        broken = False
        for _ in range(2):
            answers = oracle_for(provider, ledger).ask(queries(*range(8)), purpose="train")
            assert [answer.text == PUT_ASIDE for answer in answers] == [number == BAD for number in range(8)]


def test_a_provider_that_breaks_down_loses_no_query(ledger):
    broken = True

    def script(number, _):
        return (500, {}) if broken and number >= 6 else (200, completion())

    with Provider(script) as provider:
        oracle = oracle_for(provider, ledger, max_concurrency=1)
        with pytest.raises(OracleError, match="did not answer 2 of 2") as caught:
            oracle.ask(queries(*range(8)), purpose="train")
        assert_free_of_content(caught.value)
        assert (ledger.spent()[0], oracle.counts.put_aside) == (6, [])
        broken = False
        answers = oracle_for(provider, ledger).ask(queries(*range(8)), purpose="train")
    assert [answer.text for answer in answers] == ["red"] * 8


@pytest.mark.parametrize("at_once", [16, 2])
def test_if_most_pictures_fail_it_is_an_outage(ledger, at_once):
    with Provider(failing((500, {}), bad=lambda number: number % 4 != 0)) as provider:
        oracle = oracle_for(provider, ledger, attempts=2)

        def ask() -> None:
            for start in range(0, 16, at_once):
                oracle.ask(queries(*range(start, start + at_once)), purpose="train")

        with pytest.raises(OracleError, match="then resume"):
            ask()
    assert len(oracle.counts.put_aside) < 12


def test_a_provider_that_never_answered_is_an_outage(ledger):
    with Provider(failing((500, {}), bad=lambda _: True)) as provider:
        oracle = oracle_for(provider, ledger)
        with pytest.raises(OracleError, match="did not answer 1 of 1"):
            oracle.ask(queries(1), purpose="train")
        assert len(provider.bodies) == 3


def test_a_provider_that_is_busy_is_no_reason_to_put_a_picture_aside(ledger):
    with Provider(failing((429, {}))) as provider:
        oracle = oracle_for(provider, ledger)
        with pytest.raises(OracleError, match="did not answer 1 of 1"):
            oracle.ask(queries(*range(8)), purpose="train")
    assert oracle.counts.put_aside == []
    assert ledger.spent()[0] == 7


def test_what_is_asked_in_between_counts_against_a_limit_on_cost(tmp_path):
    with (
        Ledger(tmp_path / "priced.sqlite", model="m", price=Price(1e3, 0)) as ledger,
        Provider(failing((500, {}))) as provider,
    ):
        with pytest.raises(BudgetExhaustedError):
            Oracle(chat(provider.base_url), ledger, Budget(100, 0.8), attempts=2).ask(
                queries(*range(8)), purpose="train"
            )
        assert ledger.doubtful() == 1
        Oracle(chat(provider.base_url), ledger, Budget(100, 8), attempts=2).ask(
            queries(*range(8)), purpose="train"
        )
        assert ledger.doubtful() == 3


def test_the_process_that_asks_names_what_was_put_aside_to_the_one_that_trains(ledger, caplog):
    from dataclasses import asdict

    from trainer.cli.display import answers_line

    with caplog.at_level(logging.WARNING), Provider(failing((500, {}))) as provider:
        oracle = oracle_for(provider, ledger)
        oracle.ask(queries(*range(8)), purpose="train")
    digest = queries(BAD)[0].image_digest
    assert asdict(oracle.counts)["put_aside"] == [digest]
    summary = answers_line(oracle.counts)
    assert "1 questions were put aside" in summary
    assert digest[:12] in summary
