"""The oracle over real HTTP, through the real OpenAI client, against servers that misbehave."""

from __future__ import annotations

import multiprocessing
import threading
import time

import pytest
from langchain_core.language_models import FakeListChatModel, FakeMessagesListChatModel
from langchain_core.messages import AIMessage
from langchain_core.rate_limiters import InMemoryRateLimiter

from langchain_vpp.errors import BudgetExhaustedError, LedgerError, OracleError
from tests.integration.oracle.scripted_provider import (
    PLENTY,
    SECRET,
    Interrupted,
    Provider,
    ask,
    assert_free_of_content,
    chat,
    completion,
    number_of,
    queries,
    ranked,
    refused_port,
)
from trainer.oracle import oracle as oracle_module
from trainer.oracle.ledger import Budget, Ledger, Price
from trainer.oracle.oracle import Counts, Oracle
from trainer.oracle.query import Answer


def test_answers_come_in_order_with_text_tokens_and_prompt(ledger):
    with Provider(lambda _, body: (200, completion(f"answer {number_of(body)}"))) as provider:
        answers = ask(ledger, provider.base_url, queries(*range(12)))
    assert [answer.text for answer in answers] == [f"answer {number}" for number in range(12)]
    assert answers[0][2:] == (90, 2)
    content = provider.bodies[0]["messages"][0]["content"]
    assert content[0]["text"] == "What colour is the sign?\nAnswer with exactly one of: red, blue."
    assert content[1]["image_url"]["url"].startswith("data:image/jpeg;base64,")
    assert "logprobs" not in provider.bodies[0]


def test_known_answers_and_repeated_queries_reach_no_server(ledger):
    with Provider(lambda *_: (200, completion())) as provider:
        ask(ledger, provider.base_url, queries(1, 2))
        answers = ask(ledger, provider.base_url, queries(2, 3, 3, 1))
    assert [answer.text for answer in answers] == ["red"] * 4
    assert sorted(map(number_of, provider.bodies)) == [1, 2, 3]


def test_every_answer_is_on_disk_when_it_is_reported(ledger, tmp_path):
    recorded = []

    def look():
        with Ledger(tmp_path / "ledger.sqlite", model="m") as other:
            recorded.append(
                len(other.reserve(queries(*range(6)), purpose="train", budget=Budget(6)).answered)
            )

    with Provider(lambda *_: (200, completion())) as provider:
        ask(ledger, provider.base_url, queries(*range(6)), on_answer=look)
    assert recorded == [1, 2, 3, 4, 5, 6]


def test_a_batch_beyond_the_budget_sends_nothing(ledger):
    with (
        Provider(lambda *_: (200, completion())) as provider,
        pytest.raises(BudgetExhaustedError),
    ):
        ask(ledger, provider.base_url, queries(1, 2, 3), budget=Budget(2))
    assert provider.bodies == []


def test_a_query_lost_by_a_dead_process_is_none_and_not_asked_again(ledger):
    ledger.reserve(queries(1), purpose="train", budget=Budget(5))
    with Provider(lambda *_: (200, completion())) as provider:
        assert [answer and answer.text for answer in ask(ledger, provider.base_url, queries(1, 2))] == [
            None,
            "red",
        ]
    assert [number_of(body) for body in provider.bodies] == [2]


def test_answers_that_arrived_before_a_failure_are_kept_and_only_the_others_are_asked_again(ledger):
    broken = True

    def script(_, body):
        return (404, {}) if broken and number_of(body) == 3 else (200, completion())

    with Provider(script) as provider:
        with pytest.raises(OracleError, match="did not answer 1 of 5"):
            ask(ledger, provider.base_url, queries(*range(5)))
        broken = False
        answers = ask(ledger, provider.base_url, queries(*range(5)))
    assert all(answers)
    assert sorted(map(number_of, provider.bodies)) == [0, 1, 2, 3, 3, 4]


@pytest.mark.parametrize(
    "garbage", [b"<html>not JSON", b"{", b"[]", b"{}", b'"text"', b'{"choices": []}', b"\xff\xfe"]
)
def test_a_garbled_reply_is_an_error_of_ours(ledger, garbage):
    with (
        Provider(lambda *_: (200, garbage)) as provider,
        pytest.raises(OracleError) as caught,
    ):
        ask(ledger, provider.base_url, queries(1))
    assert_free_of_content(caught.value)


@pytest.mark.parametrize("text", ["", None, " \n", "red " * 10_000, "\x00\ud83d"])
def test_any_text_is_an_answer(ledger, text):
    with Provider(lambda *_: (200, completion(text))) as provider:
        (answer,) = ask(ledger, provider.base_url, queries(1))
        assert answer.text == (text or "").replace("\ud83d", "?")
        assert ask(ledger, provider.base_url, queries(1)) == [answer]
    assert len(provider.bodies) == 1


def test_log_probabilities_are_asked_for_and_read(ledger):
    reply = completion(logprobs=ranked(red=-0.1, blue=-2.5, green=-9999.0))
    with Provider(lambda *_: (200, reply)) as provider:
        (answer,) = ask(ledger, provider.base_url, queries(1), access="logprobs")
    assert answer.logprobs == {"red": -0.1, "blue": -2.5, "green": -9999.0}
    assert provider.bodies[0]["logprobs"] is True
    assert provider.bodies[0]["top_logprobs"] == 20


@pytest.mark.parametrize(
    "malformed",
    [
        None,
        [],
        "red",
        {"content": None},
        {"content": []},
        {"content": [{}]},
        {"content": [{"token": "red", "logprob": -0.1}]},
        {"content": [{"token": "red", "logprob": -0.1, "top_logprobs": []}]},
        {"content": [{"token": "red", "logprob": -0.1, "top_logprobs": ["red"]}]},
        ranked(red="much"),
        ranked(red=None),
        ranked(red=1e9),
        ranked(red=float("nan")),
    ],
    ids=str,
)
def test_malformed_log_probabilities_count_as_absent_and_the_answer_is_kept(ledger, malformed):
    with Provider(lambda *_: (200, completion(logprobs=malformed))) as provider:
        (answer,) = ask(ledger, provider.base_url, queries(1), access="logprobs")
    assert (answer.text, answer.logprobs) == ("red", None)


def test_when_interrupted_answers_in_flight_are_kept_and_no_further_query_leaves(ledger):
    def script(number, _):
        time.sleep(0.05 if number == 0 else 0.4)
        return 200, completion()

    def interrupt():
        raise Interrupted

    with Provider(script) as provider:
        oracle = Oracle(chat(provider.base_url), ledger, Budget(100), max_concurrency=3)
        with pytest.raises(Interrupted):
            oracle.ask(queries(*range(20)), purpose="train", on_answer=interrupt)
        asked = {number_of(body) for body in provider.bodies}
        assert 3 <= len(asked) <= 4
        reservation = ledger.reserve(queries(*range(20)), purpose="train", budget=Budget(100))
    assert len(reservation.answered) == len(asked)
    assert len(reservation.new) == 20 - len(asked)
    assert reservation.lost == set()


def test_an_interruption_while_queries_are_handed_over_pays_nothing_twice(ledger, monkeypatch):
    class Pool(oracle_module.ContextThreadPoolExecutor):
        submitted = 0

        def submit(self, *args, **kwargs):
            future = super().submit(*args, **kwargs)
            Pool.submitted += 1
            if Pool.submitted == 3:
                time.sleep(0.3)  # long enough for the first ones to reach the provider, if anything let them
                raise Interrupted
            return future

    monkeypatch.setattr(oracle_module, "ContextThreadPoolExecutor", Pool)
    with Provider(lambda *_: (200, completion())) as provider:
        oracle = Oracle(chat(provider.base_url), ledger, PLENTY, max_concurrency=4)
        with pytest.raises(Interrupted):
            oracle.ask(queries(*range(8)), purpose="train")
        assert ledger.spent()[0] == len(provider.bodies)
        answers = oracle.ask(queries(*range(8)), purpose="train")
    assert all(answers)
    assert ledger.spent()[0] == len(provider.bodies) == 8


def test_when_stopped_answers_in_flight_are_kept_and_no_further_query_leaves_ever(ledger):
    arrived = threading.Event()

    def script(*_):
        arrived.set()
        time.sleep(0.3)
        return 200, completion()

    def stop():
        arrived.wait()
        oracle.stop()

    with Provider(script) as provider:
        oracle = Oracle(chat(provider.base_url), ledger, PLENTY, max_concurrency=3)
        threading.Thread(target=stop).start()
        with pytest.raises(OracleError):
            oracle.ask(queries(*range(20)), purpose="train")
        with pytest.raises(OracleError):
            oracle.ask(queries(21), purpose="train")
        asked = {number_of(body) for body in provider.bodies}
        reservation = ledger.reserve(queries(*range(22)), purpose="train", budget=PLENTY)
    assert 1 <= len(asked) <= 3
    assert len(reservation.answered) == len(asked)
    assert len(reservation.new) == 22 - len(asked)
    assert reservation.lost == set()


@pytest.mark.parametrize("waiting_for", ["the provider", "another process"])
def test_when_stopped_it_does_not_wait_to_ask_later(ledger, monkeypatch, waiting_for):
    monkeypatch.setattr("trainer.oracle.retry._FIRST_WAIT_S", 100.0)
    other = Ledger(ledger.path, model="m")
    if waiting_for == "another process":
        other.reserve(queries(1), purpose="train", budget=PLENTY)
    oracle = Oracle(chat(f"http://127.0.0.1:{refused_port()}/v1"), ledger, PLENTY)
    threading.Timer(0.5, oracle.stop).start()
    start = time.monotonic()
    with pytest.raises(OracleError, match="was stopped"):
        oracle.ask(queries(1), purpose="train")
    assert time.monotonic() - start < 10
    assert ledger.spent()[0] == (waiting_for == "another process")
    other.close()


def test_a_ledger_that_cannot_be_written_stops_the_queries(ledger, monkeypatch):
    def full(*_):
        raise LedgerError("full")

    monkeypatch.setattr(ledger, "record_all", full)
    with Provider(lambda *_: (200, completion())) as provider:
        oracle = Oracle(chat(provider.base_url), ledger, Budget(100), max_concurrency=1)
        with pytest.raises(LedgerError, match="full"):
            oracle.ask(queries(*range(20)), purpose="train")
    assert len(provider.bodies) <= 2


def test_no_more_requests_are_in_flight_than_allowed(ledger):
    flying, most, lock = 0, 0, threading.Lock()

    def script(*_):
        nonlocal flying, most
        with lock:
            flying += 1
            most = max(most, flying)
        time.sleep(0.03)
        with lock:
            flying -= 1
        return 200, completion()

    with Provider(script) as provider:
        Oracle(chat(provider.base_url), ledger, Budget(100), max_concurrency=3).ask(
            queries(*range(15)), purpose="train"
        )
    assert most == 3


def test_any_chat_model_serves(ledger):
    class Model(FakeListChatModel):
        def _call(self, messages, *args, **kwargs):
            raise ConnectionResetError(SECRET)

    working = FakeListChatModel(responses=["blue"])
    (answer,) = Oracle(working, ledger, Budget(9)).ask(queries(1), purpose="train")
    assert answer == Answer("blue")
    with pytest.raises(OracleError, match="ConnectionResetError") as caught:
        Oracle(Model(responses=[]), ledger, Budget(9), attempts=2).ask(queries(2), purpose="train")
    assert_free_of_content(caught.value)


def test_a_reply_without_usage_costs_no_tokens(ledger):
    model = FakeMessagesListChatModel(responses=[AIMessage("red")])
    assert Oracle(model, ledger, PLENTY).ask(queries(1), purpose="train") == [Answer("red")]


def test_a_rate_is_kept_where_the_model_has_none(ledger):
    with Provider(lambda *_: (200, completion())) as provider:
        oracle = Oracle(chat(provider.base_url), ledger, PLENTY, requests_per_second=10)
        oracle.ask(queries(*range(8)), purpose="train")
    assert provider.times[-1] - provider.times[0] >= 0.65


def test_the_rate_limiter_of_the_model_is_the_one_that_counts(ledger):
    class Counting(InMemoryRateLimiter):
        taken = 0

        def acquire(self, *, blocking=True):
            self.taken += 1
            return True

    limiter = Counting()
    with Provider(lambda *_: (200, completion())) as provider:
        model = chat(provider.base_url, rate_limiter=limiter)
        started = time.monotonic()
        Oracle(model, ledger, PLENTY, requests_per_second=0.1).ask(queries(1, 2, 3), purpose="train")
    assert time.monotonic() - started < 5
    assert limiter.taken == 3


def test_an_interruption_ends_a_wait_for_the_rate(ledger):
    def interrupt():
        raise Interrupted

    with Provider(lambda *_: (200, completion())) as provider:
        oracle = Oracle(chat(provider.base_url), ledger, PLENTY, requests_per_second=1)
        with pytest.raises(Interrupted):
            oracle.ask(queries(*range(8)), purpose="train", on_answer=interrupt)
    assert len(provider.bodies) == 1
    assert ledger.spent()[0] == 1


def test_under_a_limit_on_cost_a_large_batch_stops_when_a_sample_shows_that_it_is_too_dear(tmp_path):
    with (
        Ledger(tmp_path / "priced.sqlite", model="m", price=Price(1e4, 0)) as ledger,
        Provider(lambda *_: (200, completion())) as provider,
        pytest.raises(BudgetExhaustedError, match=r"84 more queries would exceed the budget of \$50"),
    ):
        Oracle(chat(provider.base_url), ledger, Budget(1000, 50.0)).ask(
            queries(*range(100)), purpose="evaluate"
        )
    assert len(provider.bodies) == 16


def test_answers_are_counted_by_what_they_are_worth(ledger):
    texts = ["red", "I can't help with people.", "", "mauve", "It is blue."]
    with Provider(lambda _, body: (200, completion(texts[number_of(body)]))) as provider:
        oracle = Oracle(chat(provider.base_url), ledger, PLENTY, access="logprobs")
        oracle.ask(queries(*range(5)), purpose="train")
        oracle.ask(queries(*range(5)), purpose="train")  # known ones came back earlier
    assert oracle.counts == Counts(answered=2, refused=1, empty=1, unfit=1, malformed_logprobs=5)


def test_a_refusal_in_a_field_of_its_own_is_a_refusal(ledger):
    reply = completion(None)
    reply["choices"][0]["message"]["refusal"] = "I'm sorry, I can't identify people."
    with Provider(lambda *_: (200, reply)) as provider:
        oracle = Oracle(chat(provider.base_url), ledger, PLENTY)
        assert oracle.ask(queries(1), purpose="train")[0].text == "I'm sorry, I can't identify people."
    assert oracle.counts == Counts(refused=1)


def ask_from_a_process(path, base_url, start, results):
    with Ledger(path, model="m") as ledger:
        start.wait()
        answers = Oracle(chat(base_url), ledger, PLENTY, max_concurrency=2).ask(
            queries(*range(20)), purpose="train"
        )
        results.put([answer and answer.text for answer in answers])


def test_two_processes_ask_each_query_once_and_both_get_all_answers(tmp_path):
    def script(_, body):
        time.sleep(0.02)
        return 200, completion(f"answer {number_of(body)}")

    context = multiprocessing.get_context("spawn")
    start, results = context.Barrier(2), context.Queue()
    with Provider(script) as provider:
        arguments = (tmp_path / "shared.sqlite", provider.base_url, start, results)
        processes = [context.Process(target=ask_from_a_process, args=arguments) for _ in range(2)]
        for process in processes:
            process.start()
        texts = [results.get(timeout=120) for _ in processes]
        for process in processes:
            process.join()
    assert texts == [[f"answer {number}" for number in range(20)]] * 2
    assert sorted(map(number_of, provider.bodies)) == list(range(20))
