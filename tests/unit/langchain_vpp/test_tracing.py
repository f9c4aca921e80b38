"""Traces without media: the anonymizer on a real LangSmith client, and the redacting handler."""

from __future__ import annotations

import base64
import io
import json
import uuid
from typing import Any

import pytest
from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.language_models import FakeListChatModel, FakeListLLM, GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.tracers import LangChainTracer
from langsmith import Client
from PIL import Image

from langchain_vpp.testing import assert_no_leak
from langchain_vpp.tracing import REMOVED_MEDIA, RedactingCallbackHandler, media_anonymizer
from tests.callbacks import Everything
from tests.integration.recording import noise_png, recording_server

PICTURE = noise_png(41)
ENCODED = base64.b64encode(PICTURE).decode()
MESSAGE = HumanMessage(
    [
        {"type": "text", "text": "What is this?"},
        {"type": "image", "base64": ENCODED, "mime_type": "image/png"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{ENCODED}"}},
    ]
)

# A LangSmith client has no seam below its connection, so these tests look at what arrives.
posts = pytest.mark.allow_hosts(["127.0.0.1"])


def _leaks(sink: Any) -> bool:
    try:
        assert_no_leak(PICTURE, sink)
    except AssertionError:
        return True
    return False


def _fail(_: Any) -> Any:
    raise ValueError(ENCODED)


@posts
@pytest.mark.parametrize("redacting", [True, False])
@pytest.mark.parametrize("batching", [True, False])
def test_what_a_langsmith_client_posts(*, redacting: bool, batching: bool) -> None:
    with recording_server() as server:
        options = {"anonymizer": media_anonymizer()} if redacting else {}
        client = Client(api_url=server.url, api_key="k", auto_batch_tracing=batching, **options)
        config = {"callbacks": [LangChainTracer(client=client)]}
        _chain().invoke([MESSAGE], config)
        with pytest.raises(ValueError, match="iVBOR"):
            RunnableLambda(_fail).invoke({"deep": {"er": [[[[[[[[[[[[{"image": ENCODED}]]]]]]]]]]]]}}, config)
        if batching:
            client.flush()
        client.close()
        assert sum(b"What is this?" in body for body in server.wire) >= 1
        assert _leaks(server.wire) is not redacting
        assert any(REMOVED_MEDIA.encode() in body for body in server.wire) is redacting


def test_the_anonymizer_keeps_what_is_no_media() -> None:
    data = {
        "messages": [{"role": "user", "content": "Why does PNG base64 begin with iVBORw0KGgo?"}],
        "data": "plain text, longer than forty characters, under a key that could hold a payload",
        "url": "https://example.com/a.png",
        "sha256": "ab" * 32,
        "n": [1, 2.5, None, True],
        "nested": {"vpp": "vpp://" + "0" * 64},
    }
    assert media_anonymizer()(data) == data


@pytest.mark.parametrize(
    "value",
    [
        ENCODED,
        f"data:image/png;base64,{ENCODED}",
        PICTURE,
        {"type": "image", "base64": ENCODED},
        {"inline_data": {"data": base64.urlsafe_b64encode(PICTURE).decode()}},
        json.dumps({"screenshot": ENCODED}),
        PICTURE.hex(),
        [[{"deep": [ENCODED]}]],
        {ENCODED: 1},
        Image.open(io.BytesIO(PICTURE)),
        io.BytesIO(PICTURE),
        HumanMessage(ENCODED),
        Document("x", metadata={"picture": ENCODED}),
        # No known file, but under the key of a payload.
        {"type": "image", "base64": base64.b64encode(b"raw pixels " * 20).decode()},
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_anonymizer_removes_media(value: Any) -> None:
    result = media_anonymizer()({"value": value})
    assert_no_leak(PICTURE, result)
    assert base64.b64encode(b"raw pixels " * 20).decode() not in str(result)


def test_the_anonymizer_does_not_change_its_input() -> None:
    data = {"messages": [{"content": [{"type": "image", "base64": ENCODED}]}]}
    media_anonymizer()(data)
    assert data["messages"][0]["content"][0]["base64"] == ENCODED


class Listener(Everything):
    raise_error = True


class AsyncListener(AsyncCallbackHandler):
    raise_error = True

    def __init__(self) -> None:
        self.events: list[Any] = []

    async def on_chat_model_start(self, serialized: Any, messages: Any, **kwargs: Any) -> None:
        self.events.append(("on_chat_model_start", messages, kwargs))

    async def on_chain_start(self, serialized: Any, inputs: Any, **kwargs: Any) -> None:
        self.events.append(("on_chain_start", inputs, kwargs))

    async def on_llm_end(self, response: Any, **kwargs: Any) -> None:
        self.events.append(("on_llm_end", response, kwargs))


def _chain() -> Any:
    answers = iter([AIMessage(f"I see {ENCODED}.")])
    return RunnableLambda(lambda messages: messages) | GenericFakeChatModel(messages=answers)


def test_the_redacting_handler_forwards_events_without_media() -> None:
    inner, bare = Listener(), Listener()
    _chain().invoke([MESSAGE], {"callbacks": [RedactingCallbackHandler(inner), bare]})
    assert [event[0] for event in inner.events] == [event[0] for event in bare.events]
    assert_no_leak(PICTURE, inner.events)
    assert _leaks(bare.events)
    assert "What is this?" in str(inner.events)
    assert REMOVED_MEDIA in str(inner.events)


async def test_the_redacting_handler_shields_async_handlers_on_both_paths() -> None:
    inner, sync_inner = AsyncListener(), Listener()
    handlers = [RedactingCallbackHandler(inner), RedactingCallbackHandler(sync_inner)]
    await _chain().ainvoke([MESSAGE], {"callbacks": handlers})
    assert {event[0] for event in inner.events} == {"on_chain_start", "on_chat_model_start", "on_llm_end"}
    assert len(sync_inner.events) >= len(inner.events)
    assert_no_leak(PICTURE, inner.events, sync_inner.events)


@posts
def test_the_redacting_handler_shields_a_langsmith_tracer() -> None:
    with recording_server() as server:
        client = Client(api_url=server.url, api_key="k", auto_batch_tracing=False)
        _chain().invoke([MESSAGE], {"callbacks": [RedactingCallbackHandler(LangChainTracer(client=client))]})
        client.close()
        assert server.wire
        assert_no_leak(PICTURE, server.wire)


def test_errors_with_media_are_replaced_and_others_kept() -> None:
    inner = Listener()
    handler = RedactingCallbackHandler(inner)
    clean, dirty = ValueError("clean"), ValueError(ENCODED)
    chained = KeyError("outer")
    chained.__cause__ = dirty
    for error in (clean, dirty, chained):
        handler.on_chain_error(error, run_id=uuid.uuid4())
    assert inner.events[0][1] == (clean,)
    assert_no_leak(PICTURE, inner.events)
    assert "ValueError" in str(inner.events[1][1][0])


def test_the_wrapped_handler_decides_what_it_ignores() -> None:
    class Picky(Listener):
        run_inline = True
        ignore_llm = True

    handler = RedactingCallbackHandler(Picky())
    assert handler.ignore_llm
    assert not handler.ignore_chain
    assert handler.run_inline
    assert handler.raise_error


def test_a_handler_without_chat_events_gets_the_text_as_usual() -> None:
    class OnlyText(BaseCallbackHandler):
        def __init__(self) -> None:
            self.prompts: list[str] = []

        def on_llm_start(self, serialized: Any, prompts: list[str], **kwargs: Any) -> None:
            self.prompts += prompts

    inner = OnlyText()
    FakeListChatModel(responses=["ok"]).invoke("Hello.", {"callbacks": [RedactingCallbackHandler(inner)]})
    FakeListLLM(responses=["ok"]).invoke(f"See {ENCODED}", {"callbacks": [RedactingCallbackHandler(inner)]})
    assert inner.prompts == ["Human: Hello.", REMOVED_MEDIA]


def test_results_keep_their_types() -> None:
    inner = Listener()
    FakeListChatModel(responses=[f"I see {ENCODED}."]).invoke(
        "Hi.", {"callbacks": [RedactingCallbackHandler(inner)]}
    )
    name, args, _ = inner.events[-1]
    assert name == "on_llm_end"
    message = args[0].generations[0][0].message
    assert isinstance(message, AIMessage)
    assert message.content == REMOVED_MEDIA
