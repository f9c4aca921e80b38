"""Every carrier shape through the providers' real clients, against recording servers."""

from __future__ import annotations

import contextlib
import importlib
import logging
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from langchain_vpp import ImageProtector, ProtectionError, protect
from langchain_vpp.engines import Pixelate
from langchain_vpp.testing import assert_no_leak
from tests.carriers import CARRIERS, HARMLESS, Carrier, anthropic, human, openai, png_block

from .recording import Recorder, noise_png, picture_digests, recording_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from langchain_core.language_models import BaseChatModel

CANARY = noise_png(1)

# Package, class, and the arguments that point the client at a server.
ADAPTERS: dict[str, tuple[str, str, Callable[[str], dict[str, Any]]]] = {
    "openai": (
        "langchain_openai",
        "ChatOpenAI",
        lambda url: {"model": "m", "base_url": f"{url}/v1", "api_key": "k", "max_retries": 0},
    ),
    "openai responses": (
        "langchain_openai",
        "ChatOpenAI",
        lambda url: {
            "model": "m",
            "base_url": f"{url}/v1",
            "api_key": "k",
            "max_retries": 0,
            "use_responses_api": True,
        },
    ),
    "anthropic": (
        "langchain_anthropic",
        "ChatAnthropic",
        lambda url: {"model": "claude-3-5-haiku-latest", "base_url": url, "api_key": "k", "max_retries": 0},
    ),
    "google": (
        "langchain_google_genai",
        "ChatGoogleGenerativeAI",
        lambda url: {"model": "gemini-2.0-flash", "base_url": url, "api_key": "k", "max_retries": 0},
    ),
    "ollama": ("langchain_ollama", "ChatOllama", lambda url: {"model": "m", "base_url": url}),
    "mistral": (
        "langchain_mistralai",
        "ChatMistralAI",
        lambda url: {"model": "m", "endpoint": f"{url}/v1", "api_key": "k", "max_retries": 0},
    ),
    "bedrock": (
        "langchain_aws",
        "ChatBedrockConverse",
        lambda url: {
            "model": "anthropic.claude-3-haiku-20240307-v1:0",
            "region_name": "us-east-1",
            "endpoint_url": url,
            "aws_access_key_id": "k",
            "aws_secret_access_key": "s",
        },
    ),
}

# Shapes that the provider's package itself can't send: it raises, with the protected picture at most.
NOT_TAKEN = {
    ("ChatAnthropic", "picture_in_a_chat_message"),
    ("ChatGoogleGenerativeAI", "anthropic_tool_result"),
    ("ChatGoogleGenerativeAI", "non_standard_around_tool_result"),
    ("ChatGoogleGenerativeAI", "picture_in_a_chat_message"),
    ("ChatOllama", "anthropic_tool_result"),
    ("ChatOllama", "non_standard_around_tool_result"),
    ("ChatBedrockConverse", "picture_in_a_chat_message"),
    ("ChatBedrockConverse", "picture_in_a_system_message"),
}


@pytest.fixture(scope="module")
def provider() -> Iterator[Recorder]:
    with recording_server() as server:
        yield server


@pytest.fixture(scope="module", params=ADAPTERS)
def bare(request: pytest.FixtureRequest, provider: Recorder) -> BaseChatModel:
    package, name, arguments = ADAPTERS[request.param]
    pytest.importorskip(package)
    return getattr(importlib.import_module(package), name)(**arguments(provider.url))


@pytest.fixture(scope="module")
def model(bare: BaseChatModel) -> BaseChatModel:
    return protect(bare, ImageProtector(Pixelate(), level=0.8))


def _check(carrier: Carrier, model: BaseChatModel, provider: Recorder, error: Exception | None) -> None:
    assert_no_leak(CANARY, provider.wire, error)
    if carrier.outcome == "refused":
        assert isinstance(error, ProtectionError)
        assert not provider.requests
        assert error.__cause__ is None
        assert error.__context__ is None
    elif (type(model).__name__, carrier.name) in NOT_TAKEN:
        assert error is not None
        assert not isinstance(error, ProtectionError)
    else:
        assert error is None
        assert provider.requests


@pytest.mark.parametrize("carrier", CARRIERS, ids=lambda carrier: carrier.name)
def test_a_carrier_is_protected_or_refused_and_never_sent(
    carrier: Carrier, model: BaseChatModel, provider: Recorder
) -> None:
    provider.clear()
    raised = None
    try:
        model.invoke(carrier(CANARY))
    except Exception as error:  # noqa: BLE001  judged below
        raised = error
    _check(carrier, model, provider, raised)


@pytest.mark.parametrize("carrier", CARRIERS, ids=lambda carrier: carrier.name)
async def test_the_same_holds_for_an_async_stream(
    carrier: Carrier, model: BaseChatModel, provider: Recorder
) -> None:
    if "Bedrock" in type(model).__name__:
        pytest.skip("its stream is a binary protocol that the recording server doesn't speak")
    provider.clear()
    raised = None
    try:
        async for _ in model.astream(carrier(CANARY)):
            pass
    except Exception as error:  # noqa: BLE001  judged below
        raised = error
    _check(carrier, model, provider, raised)


@pytest.mark.parametrize(
    ("name", "messages"), HARMLESS, ids=lambda value: value if isinstance(value, str) else ""
)
def test_harmless_messages_reach_the_provider_as_from_the_bare_model(
    name: str, messages: list[Any], bare: BaseChatModel, model: BaseChatModel, provider: Recorder
) -> None:
    def sent(candidate: BaseChatModel) -> Any:
        provider.clear()
        try:
            candidate.invoke(messages)
        except Exception as error:  # noqa: BLE001  what the adapter doesn't take, it must refuse in both cases
            return type(error)
        return [request.body for request in provider.requests]

    assert sent(model) == sent(bare)


@pytest.mark.parametrize(
    ("shape", "settings"),
    [
        ("openai", {"detail": "low"}),
        ("openai", {"cache_control": {"type": "ephemeral"}}),
        ("anthropic", {"cache_control": {"type": "ephemeral"}}),
        ("langchain", {"cache_control": {"type": "ephemeral"}}),
        ("langchain", {"media_resolution": "MEDIA_RESOLUTION_LOW"}),
    ],
)
def test_no_setting_of_a_picture_is_lost(
    shape: str, settings: dict[str, Any], bare: BaseChatModel, model: BaseChatModel, provider: Recorder
) -> None:
    if shape == "anthropic" and "Anthropic" not in type(model).__name__:
        pytest.skip("it passes the shape on, which its provider doesn't read")
    block: dict[str, Any] = {"openai": openai, "anthropic": anthropic, "langchain": png_block}[shape](CANARY)
    if shape == "openai" and "detail" in settings:
        block["image_url"].update(settings)
    else:
        block.update(settings)

    def sent(candidate: BaseChatModel) -> set[bytes]:
        provider.clear()
        if "Google" in type(candidate).__name__:  # which looks at the name for what the model takes
            candidate = candidate.model_copy(update={"model": "gemini-3-pro"})
        with contextlib.suppress(Exception):  # not every adapter takes every shape
            candidate.invoke(human(block))
        body = b"".join(request.body.lower() for request in provider.requests)
        return {word for word in (b'"detail"', b"ephemeral", b"media_resolution_low") if word in body}

    wanted = sent(bare)
    assert sent(model) >= wanted
    if "media_resolution" in settings and "Google" in type(model).__name__:
        assert wanted == {b"media_resolution_low"}


def test_the_bare_model_sends_the_original(bare: BaseChatModel, provider: Recorder) -> None:
    provider.clear()
    bare.invoke(human(png_block(CANARY)))
    with pytest.raises(AssertionError, match="leaked"):
        assert_no_leak(CANARY, provider.wire)


def test_the_receipt_names_what_the_provider_got(model: BaseChatModel, provider: Recorder) -> None:
    provider.clear()
    answer = model.invoke(human(png_block(CANARY)))
    receipt = answer.response_metadata["vpp"]
    assert [image["sha256"] for image in receipt["images"]] == picture_digests(provider.requests[0].json)
    assert answer.text.split()[1:] == [image["sha256"] for image in receipt["images"]]


def test_a_stream_has_one_receipt_and_adds_up(model: BaseChatModel, provider: Recorder) -> None:
    if "Bedrock" in type(model).__name__:
        pytest.skip("its stream is a binary protocol that the recording server doesn't speak")
    provider.clear()
    chunks = list(model.stream(human(png_block(CANARY))))
    assert sum("vpp" in chunk.response_metadata for chunk in chunks) == 1
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    receipt = whole.response_metadata["vpp"]
    assert [image["sha256"] for image in receipt["images"]] == picture_digests(provider.requests[0].json)


def test_an_answer_can_be_sent_back_with_its_receipt(model: BaseChatModel, provider: Recorder) -> None:
    first = model.invoke(human(png_block(CANARY)))
    assert isinstance(first, AIMessage)
    provider.clear()
    model.invoke([*human(png_block(CANARY)), first, HumanMessage("And now?")])
    assert len(provider.requests) == 1
    assert_no_leak(CANARY, provider.wire)


@pytest.mark.parametrize("adapter", ["anthropic", "google"])
def test_counting_tokens_over_the_network_sends_the_protected_picture(
    adapter: str, provider: Recorder
) -> None:
    package, name, arguments = ADAPTERS[adapter]
    pytest.importorskip(package)
    bare = getattr(importlib.import_module(package), name)(**arguments(provider.url))
    provider.clear()
    protect(bare, ImageProtector(Pixelate())).get_num_tokens_from_messages(human(png_block(CANARY)))
    assert provider.requests
    assert_no_leak(CANARY, provider.wire)


def test_debug_logs_of_the_client_hold_no_original(
    model: BaseChatModel, provider: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    # Some versions of some clients log whole request bodies at this level.
    provider.clear()
    with caplog.at_level(logging.DEBUG):
        model.invoke(human(png_block(CANARY)))
    assert_no_leak(CANARY, caplog.text, [record.args for record in caplog.records])
    assert provider.requests
