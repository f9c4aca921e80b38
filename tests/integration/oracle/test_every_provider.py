"""Options take effect or are refused for every class of chat model, and each of its failures is told apart.

The classes that are installed are asked over HTTP. Others have stand-ins, one for each way to lose an option.
"""

from __future__ import annotations

import base64
import re
import threading
import time
from typing import Any

import httpx
import pytest
from langchain_core.language_models import FakeListChatModel
from langchain_openai import ChatOpenAI
from pydantic import ConfigDict, Field, model_validator

from langchain_vpp.errors import TrainingError
from tests.integration.oracle.scripted_provider import Provider, completion, queries
from trainer.oracle.connection import normal_address, own_retries
from trainer.oracle.ledger import Budget, Ledger
from trainer.oracle.model_spec import ModelSpec, model_identity
from trainer.oracle.oracle import Oracle
from trainer.oracle.query import Answer
from trainer.oracle.retry import is_rejection, is_retryable, may_be_charged

CLAUDE = "anthropic.claude-3-5-sonnet-20240620-v1:0"
INSTALLED = (
    "openai:m",
    "anthropic:claude-haiku-4-5",
    "mistralai:m",
    "ollama:llava",
    "google_genai:gemini-2.0-flash",
    f"bedrock:{CLAUDE}",
    f"bedrock_converse:{CLAUDE}",
    "azure_openai:m",
)
KEYS = ("OPENAI", "ANTHROPIC", "MISTRAL", "GOOGLE", "AZURE_OPENAI")


@pytest.fixture(autouse=True, scope="module")
def _keys():
    with pytest.MonkeyPatch.context() as environment:
        for name in KEYS:
            environment.setenv(f"{name}_API_KEY", "key")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            environment.setenv(name, "key")
        environment.setenv("AWS_DEFAULT_REGION", "us-east-1")
        environment.setenv("OPENAI_API_VERSION", "2024-06-01")
        yield


class Asked:
    """A chat model that gives requests up after a second, and its server."""

    def __init__(self, spec: str) -> None:
        self.reply: Any = None
        self.spec, self.released = spec, threading.Event()
        self.server = Provider(self._answer)
        self.model = ModelSpec.parse(spec, self.server.base_url, 1).build()

    def _answer(self, *_):
        if self.reply == "silence":
            self.released.wait(20)
        return (200, {}) if self.reply == "silence" else self.reply

    def failure(self, *reply) -> Exception:
        """Error to one request, which the client must not send again."""
        self.reply = reply or "silence"
        before = len(self.server.bodies)
        with pytest.raises(Exception) as caught:  # noqa: PT011  each client has its own
            self.model.invoke("hi")
        self.released.set()
        assert len(self.server.bodies) - before == 1
        return caught.value


@pytest.fixture(scope="module", params=INSTALLED)
def asked(request, _keys):
    made = Asked(request.param)
    with made.server:
        yield made


def test_a_slow_server_is_given_up_in_time_after_one_request(asked):
    started = time.monotonic()
    error = asked.failure()
    assert time.monotonic() - started < 15
    assert is_retryable(error)
    assert may_be_charged(error)


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_gets_one_request_from_a_client_and_may_be_asked_again(asked, status):
    error = asked.failure(status, {"error": {"message": "busy"}})
    assert is_retryable(error)
    assert not is_rejection(error)
    assert not may_be_charged(error)


@pytest.mark.parametrize("status", [400, 403, 422])
def test_a_rejection_is_known_as_one(asked, status):
    error = asked.failure(status, {"error": {"message": "filtered", "code": "content_filter"}})
    assert is_rejection(error)
    assert not is_retryable(error)


@pytest.mark.parametrize("status", [401, 404])
def test_a_wrong_key_or_name_is_neither_an_answer_nor_worth_another_request(asked, status):
    error = asked.failure(status, {"error": {"message": "no"}})
    assert not is_rejection(error)
    assert not is_retryable(error)


def test_a_reply_that_was_cut_off_may_be_charged_and_asked_again(asked):
    error = asked.failure(200, b'{"choices": [{')
    assert is_retryable(error)
    assert may_be_charged(error)


def test_one_name_on_two_servers_is_two_models(asked):
    name = f"{type(asked.model).__name__}:{asked.spec.partition(':')[2]}"
    here = model_identity(asked.model)
    assert re.fullmatch(rf"{re.escape(name)}@[0-9a-f]{{12}}", here)
    assert here != model_identity(ModelSpec.parse(asked.spec, "http://127.0.0.1:9/v1").build())


@pytest.mark.parametrize("spec", INSTALLED[:5])
def test_the_usual_server_of_a_class_is_not_named(spec):
    model = ModelSpec.parse(spec).build()
    assert model_identity(model) == f"{type(model).__name__}:{spec.partition(':')[2]}"


@pytest.mark.parametrize("base_url", [None, "http://127.0.0.1:8/v1"])
def test_a_server_that_the_environment_names_is_known(monkeypatch, base_url):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    named = model_identity(ModelSpec.parse("openai:m", base_url).build())
    monkeypatch.delenv("OPENAI_BASE_URL")
    assert named == model_identity(ChatOpenAI(model="m", base_url=base_url or "http://127.0.0.1:9/v1"))


def test_the_sandbox_is_one_model_at_every_port():
    identities = {
        model_identity(ModelSpec.parse("sandbox", f"http://127.0.0.1:{port}/v1").build()) for port in (8, 9)
    }
    assert identities == {"ChatOpenAI:sandbox"}
    assert (
        model_identity(ModelSpec.parse("openai:sandboxed", "http://127.0.0.1:9/v1").build())
        != "ChatOpenAI:sandboxed"
    )
    assert model_identity(ModelSpec.parse("sandbox", "http://gpu.example/v1").build()) not in identities


def test_answers_of_one_server_are_not_taken_for_those_of_another(tmp_path):
    servers = [Provider(lambda *_, text=text: (200, completion(text))) for text in ("red", "blue")]
    texts = []
    with servers[0], servers[1]:
        for server in (*servers, *servers):
            model = ModelSpec.parse("openai:default", server.base_url).build()
            with Ledger(tmp_path / "shared.sqlite", model=model_identity(model)) as ledger:
                (answer,) = Oracle(model, ledger, Budget(9)).ask(queries(1), purpose="evaluate")
                texts.append(answer.text)
    assert texts == ["red", "blue"] * 2
    assert [len(server.bodies) for server in servers] == [1, 1]


def test_answers_of_an_earlier_version_are_known_again_for_the_usual_server_alone(tmp_path):
    path = tmp_path / "old.sqlite"
    with Ledger(path, model="ChatOpenAI:m") as old:
        old.reserve(queries(1), purpose="train", budget=Budget(9))
        old.record(queries(1)[0], Answer("red"))
    known = []
    for base_url in (None, "http://127.0.0.1:9/v1"):
        model = ModelSpec.parse("openai:m", base_url).build()
        with Ledger(path, model=model_identity(model)) as ledger:
            known += ledger.known(queries(1))
            assert ledger.spent()[0] == 1
    assert known == [Answer("red"), None]


def test_an_address_is_compared_in_normal_form():
    spellings = ("http://Host:80/v1/", "http://user:secret@host/v1?key=secret", "HTTP://host/v1", "host/v1")
    assert {normal_address(each) for each in spellings} == {"http://host/v1"}
    assert len({normal_address(each) for each in ("http://a", "https://a", "http://a:81", "http://a/b")}) == 4


class Loses(FakeListChatModel):
    """A class that drops what it does not declare, as most do."""

    responses: list[str] = Field(default_factory=list)


class SendsAlong(Loses):
    """A class that takes what it does not know for parameters of the model."""

    model_kwargs: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _collect(cls, values: dict[str, Any]) -> dict[str, Any]:
        unknown = {name: values.pop(name) for name in list(values) if name not in cls.model_fields}
        return values | {"model_kwargs": unknown}


class KeepsExtra(Loses):
    """A class that keeps what it does not declare, and makes no use of it."""

    model_config = ConfigDict(extra="allow")


class Forbids(Loses):
    """A class that raises an error for what it does not declare."""

    model_config = ConfigDict(extra="forbid")


class ClientOfItsOwn(Loses):
    """A class that declares the options, and whose client knows nothing of them."""

    base_url: str | None = None
    timeout: float | None = None
    client: Any = Field(default_factory=lambda: httpx.Client(base_url="https://cloud.example", timeout=30))


class TakesOne(Loses):
    """A class that takes the address alone."""

    endpoint: str | None = Field(None, alias="base_url")


class Takes(Loses):
    """A class that takes all options."""

    base_url: str | None = None
    request_timeout: float | None = Field(None, alias="timeout")
    max_retries: int = 6


class BuildsClient(Takes):
    """A class that hands them to its client."""

    client: Any = None

    @model_validator(mode="after")
    def _build(self) -> BuildsClient:
        self.client = httpx.Client(
            base_url=self.base_url or "https://cloud.example", timeout=self.request_timeout
        )
        return self


def stand_in(monkeypatch, kind: type[FakeListChatModel]) -> None:
    monkeypatch.setattr(
        "langchain.chat_models.init_chat_model",
        lambda name, *, model_provider, **options: kind(**options),
    )


@pytest.mark.parametrize("kind", [Loses, SendsAlong, KeepsExtra, Forbids, ClientOfItsOwn, TakesOne])
def test_a_class_that_loses_an_option_is_refused_and_works_without(monkeypatch, kind):
    stand_in(monkeypatch, kind)
    with pytest.raises(TrainingError, match=r"nothing was sent: .*--timeout") as caught:
        ModelSpec.parse("other:m", "http://127.0.0.1:9/v1", 2).build()
    assert ("--base-url" in str(caught.value)) == (kind is not TakesOne)
    model = ModelSpec.parse("other:m").build()
    assert not getattr(model, "model_kwargs", None)
    assert not model.model_extra


@pytest.mark.parametrize("kind", [Takes, BuildsClient])
def test_a_class_that_takes_the_options_is_built_with_them(monkeypatch, kind):
    stand_in(monkeypatch, kind)
    model = ModelSpec.parse("other:m", "http://127.0.0.1:9/v1/", 2).build()
    assert (model.base_url, model.request_timeout, model.max_retries) == ("http://127.0.0.1:9/v1/", 2, 0)
    assert own_retries(model) == 0
    assert own_retries(kind()) == 6


def test_an_option_that_is_not_valid_is_named_and_its_value_is_not(monkeypatch):
    secret = base64.b64encode(b"secret").decode()
    monkeypatch.setenv("MISTRAL_API_KEY", secret)
    with pytest.raises(TrainingError, match=r"ValidationError: timeout\)") as caught:
        ModelSpec.parse("mistralai:m", None, 2.5).build()
    assert secret not in str(caught.value)
    assert caught.value.__context__ is None


def test_a_chat_model_that_repeats_requests_by_itself_is_warned_about(ledger, caplog):
    Oracle(ChatOpenAI(model="m", api_key="key"), ledger, Budget(1))
    assert "up to 2 more times by itself" in caplog.text
    caplog.clear()
    Oracle(ChatOpenAI(model="m", api_key="key", max_retries=0), ledger, Budget(1))
    assert not caplog.records
