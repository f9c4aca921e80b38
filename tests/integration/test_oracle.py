"""The oracle over real HTTP, through the real OpenAI client, against servers that misbehave."""

from __future__ import annotations

import base64
import json
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import AIMessage
from langchain_openai import ChatOpenAI

from langchain_vpp.errors import BudgetExhaustedError, LedgerError, OracleError
from trainer import oracle as oracle_module
from trainer.ledger import Answer, Budget, Ledger, Query
from trainer.oracle import Oracle

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


def test_an_interruption_while_waiting_to_try_again_leaves_nothing_lost(ledger, monkeypatch):
    def interrupt(_):
        raise Interrupted

    monkeypatch.setattr(oracle_module.time, "sleep", interrupt)
    with pytest.raises(Interrupted):
        ask(ledger, f"http://127.0.0.1:{refused_port()}/v1", queries(1, 2))
    assert ledger.spent()[0] == 0


def test_a_ledger_that_cannot_be_written_stops_the_queries(ledger, monkeypatch):
    def full(*_):
        raise LedgerError("full")

    monkeypatch.setattr(ledger, "record", full)
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


def test_a_reply_without_usage_costs_no_tokens():
    assert oracle_module._answer(AIMessage("red")) == Answer("red")
