"""The oracle over real HTTP, through the real OpenAI client, against servers that misbehave."""

from __future__ import annotations

import base64
import json
import multiprocessing
import socket
import threading
import time
from datetime import datetime
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from langchain_core.language_models import FakeListChatModel, FakeMessagesListChatModel
from langchain_core.messages import AIMessage
from langchain_core.rate_limiters import InMemoryRateLimiter
from langchain_openai import ChatOpenAI

from langchain_vpp.errors import BudgetExhaustedError, LedgerError, OracleError, TrainingError
from trainer.oracle import oracle as oracle_module
from trainer.oracle.ledger import Answer, Budget, Ledger, Price, Query
from trainer.oracle.oracle import Counts, Oracle

PLENTY = Budget(100)
SECRET = "the-provider-quotes-the-request"


def completion(text="red", logprobs=None):
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": logprobs}
    usage = {"prompt_tokens": 90, "completion_tokens": 2, "total_tokens": 92}
    return {
        "id": "1",
        "object": "chat.completion",
        "created": 0,
        "model": "m",
        "choices": [choice],
        "usage": usage,
    }


def ranked(**alternatives):
    top = [{"token": token, "logprob": value, "bytes": None} for token, value in alternatives.items()]
    return {"content": [top[0] | {"top_logprobs": top}], "refusal": None}


class Provider:
    """An HTTP server that answers the n-th request as ``script(n, body)`` says: status, body and headers."""

    def __init__(self, script):
        self.bodies = bodies = []
        self.times = times = []
        lock = threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with lock:
                    number = len(bodies)
                    bodies.append(body)
                    times.append(time.monotonic())
                status, reply, *headers = script(number, body)
                if status == "cut":
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                data = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
                self.send_response(status)
                for name, value in headers[0].items() if headers else ():
                    self.send_header(name, value)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.base_url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()


def chat(base_url, **options):
    return ChatOpenAI(base_url=base_url, api_key="key", model="m", **({"max_retries": 0} | options))


def queries(*numbers):
    return [
        Query(f"picture {number}".encode(), "What colour is the sign?", ("red", "blue")) for number in numbers
    ]


@pytest.fixture(autouse=True)
def _no_long_waits(monkeypatch):
    monkeypatch.setattr(oracle_module, "_FIRST_WAIT_S", 0.01)


@pytest.fixture
def ledger(tmp_path):
    with Ledger(tmp_path / "ledger.sqlite", model="m") as opened:
        yield opened


def ask(ledger, base_url, asked, *, budget=PLENTY, on_answer=None, access="labels", attempts=3, **options):
    oracle = Oracle(chat(base_url, **options), ledger, budget, access=access, attempts=attempts)
    return oracle.ask(asked, purpose="train", on_answer=on_answer)


def number_of(body):
    """Which of :func:`queries` a request body asks."""
    url = body["messages"][0]["content"][1]["image_url"]["url"]
    return int(base64.b64decode(url.partition(",")[2]).split()[1])


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


def test_too_many_requests_waits_as_long_as_the_provider_asks(ledger):
    busy = (429, {"error": {"message": SECRET}}, {"Retry-After": "1"})
    with Provider(lambda number, _: busy if number == 0 else (200, completion())) as provider:
        assert ask(ledger, provider.base_url, queries(1), max_retries=2)[0].text == "red"
    assert provider.times[1] - provider.times[0] >= 1


@pytest.mark.parametrize(
    "failure", [(500, {"error": {"message": SECRET}}), (503, b"busy"), (429, {}), ("cut", b"")]
)
def test_a_passing_failure_is_tried_again(ledger, failure):
    with Provider(lambda number, _: failure if number in {0, 2} else (200, completion())) as provider:
        answers = ask(ledger, provider.base_url, queries(1, 2, 3))
    assert [answer.text for answer in answers] == ["red"] * 3
    assert ledger.spent()[0] == 3
    assert len(provider.bodies) == 5


def refused_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def assert_free_of_content(error):
    assert SECRET not in str(error)
    assert "picture" not in str(error)
    assert error.__cause__ is None
    assert error.__context__ is None


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


def test_answers_that_arrived_before_a_failure_are_kept_and_only_the_others_are_asked_again(ledger):
    broken = True

    def script(_, body):
        return (400, {}) if broken and number_of(body) == 3 else (200, completion())

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


class Interrupted(BaseException):
    pass


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


def test_an_interruption_while_waiting_to_try_again_leaves_nothing_lost(ledger, monkeypatch):
    def interrupt(*_):
        raise Interrupted

    monkeypatch.setattr(Oracle, "_wait", interrupt)
    with pytest.raises(Interrupted):
        ask(ledger, f"http://127.0.0.1:{refused_port()}/v1", queries(1, 2))
    assert ledger.spent()[0] == 0


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
    monkeypatch.setattr(oracle_module, "_FIRST_WAIT_S", 100.0)
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


# -- waiting -------------------------------------------------------------------------------------------------------


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
    monkeypatch.setattr(oracle_module, "_LONGEST_WAIT_S", 0.2)
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

    monkeypatch.setattr(oracle_module, "datetime", Backwards)
    with Provider(script) as provider:
        assert ask(ledger, provider.base_url, queries(1))[0].text == "red"
    assert 1 <= provider.times[1] - provider.times[0] < 3


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


# -- what may be charged -------------------------------------------------------------------------------------------


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


# -- what came back ------------------------------------------------------------------------------------------------


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


# -- several questions in one call ---------------------------------------------------------------------------------


def about(picture, *questions):
    return [Query(f"picture {picture}".encode(), question, ("red", "blue")) for question in questions]


NAMES = ("First?", "Second?", "Third?")


def ask_together(ledger, reply, *, structured=False, asked=None):
    """Ask three questions about a picture in one call; what was sent and what came of it."""
    before, reported = ledger.spent()[0], []
    with Provider(lambda *_: (200, completion(reply))) as provider:
        model = chat(provider.base_url, profile={"structured_output": structured})
        oracle = Oracle(model, ledger, PLENTY, questions_per_call=3)
        answers = oracle.ask(
            asked or about(1, *NAMES), purpose="train", on_answer=lambda: reported.append(ledger.spent()[0])
        )
    assert len(reported) == ledger.spent()[0] - before
    return provider.bodies, [answer.text for answer in answers], oracle.counts, answers


def test_questions_about_a_picture_share_a_request_and_its_tokens_and_have_rows_of_their_own(ledger):
    bodies, texts, counts, answers = ask_together(ledger, "1. red\n2. blue\n3. red")
    assert texts == ["red", "blue", "red"]
    assert len(bodies) == 1
    text, image = bodies[0]["messages"][0]["content"]
    assert [line for line in text["text"].splitlines() if line[0].isdigit()] == [
        f"{number}. {name} Answer with exactly one of: red, blue."
        for number, name in enumerate(NAMES, start=1)
    ]
    assert base64.b64decode(image["image_url"]["url"].partition(",")[2]) == b"picture 1"
    assert [answer.input_tokens for answer in answers] == [30, 30, 30]
    assert [answer.output_tokens for answer in answers] == [1, 1, 0]  # 2 in all
    assert ledger.spent()[0] == counts.answered == 3
    assert ask_together(ledger, "never sent")[0] == []


def test_each_request_holds_one_picture_and_no_more_questions_than_allowed(ledger):
    asked = [*about(1, *NAMES), *about(2, "Alone?"), *about(1, "Fourth?", "Fifth?")]
    bodies, texts, *_ = ask_together(ledger, "1. red\n2. blue\n3. red", asked=asked)
    sizes = sorted(
        sum(line[0].isdigit() for line in body["messages"][0]["content"][0]["text"].splitlines())
        for body in bodies
    )
    assert sizes == [0, 2, 3]  # the one alone is asked as ever
    assert len(texts) == 6
    assert texts[:3] == ["red", "blue", "red"]


def test_models_that_are_known_to_support_it_are_asked_for_structured_output(ledger):
    reply = json.dumps({"answer_2": "blue", "answer_1": "red", "answer_3": "red"})
    bodies, texts, counts, answers = ask_together(ledger, reply, structured=True)
    assert texts == ["red", "blue", "red"]
    assert bodies[0]["response_format"]["type"] == "json_schema"
    assert sum(answer.input_tokens for answer in answers) == 90
    assert counts.answered == 3


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("1. red\n3. blue", ["red", "", "blue"]),
        ("Here you are:\n 2) blue\n\n1: red", ["red", "blue", ""]),
        ("1. red\n1. blue\n2. red\n3. red", ["", "", ""]),
        ("0. red\n1. blue\n2. red", ["", "", ""]),
        ("1. red\n2. blue\n3. red\n4. blue", ["", "", ""]),
        ("red\nblue\nred", ["", "", ""]),
        ("1. red, 2. blue, 3. red", ["red, 2. blue, 3. red", "", ""]),
        ("1.\n2. blue\n3.", ["", "blue", ""]),
        ("", ["", "", ""]),
        ("I can't help with people.", ["I can't help with people."] * 3),
    ],
)
def test_a_missing_or_garbled_line_is_never_the_answer_to_another_question(ledger, reply, expected):
    _, texts, counts, _ = ask_together(ledger, reply)
    assert texts == expected
    assert counts.empty == expected.count("")
    assert ledger.spent()[0] == 3  # paid all the same, and not asked again
    assert ask_together(ledger, "1. red\n2. red\n3. red")[1] == expected


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ('{"answer_1": "red", "answer_3": "blue"}', ["red", "", "blue"]),
        ('{"answer_1": "red", "answer_2": null, "answer_3": 3}', ["red", "", "3"]),
        ('{"answer_1": "red", "answer_2": "bl', ["", "", ""]),
        ('["red", "blue", "red"]', ["", "", ""]),
        ("red", ["", "", ""]),
        ("I can't help with people.", ["I can't help with people."] * 3),
    ],
)
def test_a_structure_with_holes_gives_unusable_answers_and_loses_none(ledger, reply, expected):
    _, texts, _, answers = ask_together(ledger, reply, structured=True)
    assert texts == expected
    assert sum(answer.input_tokens for answer in answers) == 90


def test_a_request_for_several_that_fails_leaves_none_of_them_paid(ledger):
    with Provider(lambda *_: (400, {})) as provider, pytest.raises(OracleError, match="3 of 3"):
        Oracle(chat(provider.base_url), ledger, PLENTY, questions_per_call=3).ask(
            about(1, *NAMES), purpose="train"
        )
    assert ledger.spent()[0] == 0


def test_log_probabilities_of_several_questions_at_once_are_refused(ledger):
    with pytest.raises(TrainingError, match="no log-probabilities of their own; nothing was sent"):
        Oracle(chat("http://127.0.0.1:9/v1"), ledger, PLENTY, access="logprobs", questions_per_call=2)


# -- two processes -------------------------------------------------------------------------------------------------


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
