"""Models that people serve themselves, by the real clients: protected pictures arrive, and answers can be used."""

from __future__ import annotations

import base64
import hashlib
import traceback

import pytest
from langchain_core.messages import HumanMessage
from langchain_ollama import ChatOllama
from langchain_openai import ChatOpenAI

from langchain_vpp import ImageProtector, image_block, protect
from langchain_vpp.engines import Pixelate
from langchain_vpp.errors import OracleError
from tests.integration.recording import noise_png
from tests.integration.self_hosted import (
    TGI,
    THOUGHT,
    VLLM,
    LlamaCpp,
    NativeOllama,
    OlderVLLM,
    Ollama,
    SelfHosted,
)
from trainer.oracle.ledger import Budget, Ledger
from trainer.oracle.model_spec import ModelSpec
from trainer.oracle.oracle import Oracle
from trainer.oracle.query import Query

LIKE_OPENAI = (VLLM, OlderVLLM, LlamaCpp, TGI, Ollama)
EACH = (*LIKE_OPENAI, NativeOllama)
ORIGINAL = noise_png(7)
QUERY = Query(noise_png(8), "Which?", ("a", "b"))


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    monkeypatch.setattr("trainer.oracle.retry._FIRST_WAIT_S", 0.001)
    monkeypatch.setattr("trainer.oracle.retry._LONGEST_WAIT_S", 0.001)


def client(server: SelfHosted):
    if isinstance(server, NativeOllama):
        return ChatOllama(model="qwen2.5vl:7b", base_url=server.address)
    return ChatOpenAI(model="Qwen/Qwen2.5-VL-7B-Instruct", base_url=server.base_url, max_retries=0)


def ask(server, ledger, *, access="labels"):
    oracle = Oracle(client(server), ledger, Budget(10), access=access, attempts=2)
    return oracle, oracle.ask([QUERY], purpose="train")[0]


@pytest.fixture
def ledger(tmp_path):
    with Ledger(tmp_path / "ledger.sqlite", model="m") as opened:
        yield opened


@pytest.mark.parametrize("kind", EACH, ids=lambda kind: kind.name)
@pytest.mark.parametrize("mood", ["answers", "thinks"])
def test_the_server_gets_the_protected_picture_alone(kind, mood):
    with kind(mood) as server:
        model = protect(client(server), ImageProtector(Pixelate(), level=0.5))
        message = HumanMessage([{"type": "text", "text": "What is it?"}, image_block(ORIGINAL)])
        answer = model.invoke([message])
        streamed = list(model.stream([message]))
    (sent,) = answer.response_metadata["vpp"]["images"]
    for body in server.bodies:
        text = body.decode()
        assert base64.b64encode(ORIGINAL).decode() not in text
        pictures = [
            each for each in text.replace("base64,", '"').split('"') if each.startswith(("/9j/", "iVBOR"))
        ]
        digests = [hashlib.sha256(base64.b64decode(each)).hexdigest() for each in pictures]
        assert digests == [sent["sha256"]]
    assert answer.text.endswith("a street")
    assert "".join(chunk.text for chunk in streamed).endswith("a street")
    if kind is not TGI:
        assert THOUGHT not in answer.text


@pytest.mark.parametrize("kind", EACH, ids=lambda kind: kind.name)
@pytest.mark.parametrize("mood", ["answers", "thinks"])
def test_an_answer_can_be_used_with_or_without_thoughts(kind, mood, ledger):
    with kind(mood) as server:
        oracle, answer = ask(server, ledger)
    assert oracle.counts.answered == 1
    assert answer.text.endswith("a")
    # Ollama does not count a prompt that it has in its cache, so such an answer is priced by an estimate.
    assert oracle.counts.unmetered == (kind is NativeOllama)


@pytest.mark.parametrize("kind", EACH, ids=lambda kind: kind.name)
def test_thoughts_that_used_all_tokens_up_are_no_answer(kind, ledger):
    with kind("only thinks") as server:
        oracle, answer = ask(server, ledger)
    assert answer.text == ""
    assert oracle.counts.empty == 1


@pytest.mark.parametrize("kind", [VLLM, OlderVLLM, LlamaCpp], ids=lambda kind: kind.name)
def test_logprobs_are_read(kind, ledger):
    with kind() as server:
        oracle, answer = ask(server, ledger, access="logprobs")
    assert answer.logprobs["a"] == -0.1
    assert oracle.counts.malformed_logprobs == 0


def test_a_server_without_logprobs_is_used_by_its_words(ledger):
    with Ollama() as server:
        oracle, answer = ask(server, ledger, access="logprobs")
    assert (answer.text, answer.logprobs) == ("a", None)
    assert oracle.counts.malformed_logprobs == 1


def test_a_server_that_refuses_so_many_logprobs_stops_the_run_at_once(ledger):
    with TGI() as server, pytest.raises(OracleError, match="422"):
        ask(server, ledger, access="logprobs")
    assert len(server.bodies) == 1
    assert ledger.spent()[0] == 0


@pytest.mark.parametrize("kind", EACH, ids=lambda kind: kind.name)
@pytest.mark.parametrize("mood", ["can't see", "is busy"])
def test_a_refusal_stops_the_run_and_quotes_nothing(kind, mood, ledger):
    with kind(mood) as server, pytest.raises(OracleError) as raised:
        ask(server, ledger)
    told = "".join(traceback.format_exception(raised.value))
    assert base64.b64encode(QUERY.image).decode()[:60] not in told
    assert "messages =" not in str(raised.value)
    assert raised.value.__cause__ is raised.value.__context__ is None
    assert 1 <= len(server.bodies) <= 2
    assert ledger.spent()[0] == 0


def test_the_command_line_names_such_a_server(monkeypatch):
    with VLLM() as server:
        model = ModelSpec.parse("openai:Qwen/Qwen2.5-VL-7B-Instruct", server.base_url).build()
        assert model.invoke("exactly one of: a, b.").text == "a"
