"""Traces without media: the anonymizer on a real LangSmith client, and the redacting handler."""

from __future__ import annotations

import base64
import contextlib
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
from langsmith import Client, traceable, tracing_context
from langsmith.schemas import Attachment
from langsmith.utils import get_env_var
from PIL import Image

from langchain_vpp.testing import assert_no_leak
from langchain_vpp.tracing import (
    REMOVED_MEDIA,
    RedactingCallbackHandler,
    media_anonymizer,
    redacting_client,
)
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


INFO = {
    "version": "1.0.0",
    "batch_ingest_config": {
        "use_multipart_endpoint": True,
        "size_limit": 100,
        "size_limit_bytes": 20_971_520,
        "scale_up_nthreads_limit": 4,
        "scale_up_qsize_trigger": 1000,
        "scale_down_nempty_trigger": 4,
    },
}
DATA_URL = f"data:image/png;base64,{ENCODED}"
WHEN = "20260101T000000000000Z"


def _look(value: Any) -> str:
    return "What is this?"


def _trace(client: Client, *, function: Any = _look, value: Any = 1, **extra: Any) -> None:
    traced = traceable(function, enabled=True)
    with tracing_context(enabled=True, client=client), contextlib.suppress(ValueError):
        traced(value, langsmith_extra={"client": client, **extra})


def _run(client: Client, config: Any, **bound: Any) -> None:
    config = {**config, "callbacks": [LangChainTracer(client=client)]}
    GenericFakeChatModel(messages=iter([AIMessage("ok")])).bind(**bound).invoke("What is this?", config)


def _record(**fields: Any) -> dict[str, Any]:
    run_id = uuid.uuid4()
    return {
        "id": run_id, "trace_id": run_id, "dotted_order": f"{WHEN}{run_id}", "name": "n", "run_type": "chain",
        "inputs": {"question": "What is this?"}, "session_name": "s", **fields,
    }  # fmt: skip


def _updated(client: Client, **fields: Any) -> None:
    record = _record()
    client.create_run(**record)
    client.update_run(record["id"], trace_id=record["id"], dotted_order=record["dotted_order"], **fields)


def _attached(picture: Any) -> Any:
    return {"shot": Attachment(mime_type="image/png", data=picture)}


# Beside the inputs, outputs, errors and metadata, which the anonymizer covers.
CHANNELS: dict[str, Any] = {
    "attachment": lambda client: _trace(client, value=Attachment(mime_type="image/png", data=PICTURE)),
    "attached": lambda client: client.create_run(**_record(attachments=_attached(PICTURE))),
    "attached pair": lambda client: client.create_run(
        **_record(attachments={"shot": ("image/png", PICTURE)})
    ),
    "attached as text": lambda client: client.create_run(
        **_record(attachments={"shot": ("text/plain", ENCODED.encode())})
    ),
    "attached later": lambda client: _updated(client, attachments=_attached(PICTURE)),
    "tags": lambda client: _trace(client, tags=[DATA_URL]),
    "tags of a chain": lambda client: _run(client, {"tags": [DATA_URL]}),
    "tags later": lambda client: _updated(client, tags=[DATA_URL]),
    "name": lambda client: _trace(client, name=DATA_URL),
    "run name": lambda client: _run(client, {"run_name": ENCODED}),
    "settings": lambda client: _run(client, {}, reference=DATA_URL),
    "events": lambda client: client.create_run(**_record(events=[{"name": "drew", "shot": ENCODED}])),
    "events later": lambda client: _updated(client, events=[{"name": "drew", "shot": ENCODED}]),
    "extra": lambda client: client.create_run(**_record(extra={"shot": ENCODED})),
    "serialized": lambda client: client.create_run(
        **_record(run_type="llm", serialized={"kwargs": {"shot": ENCODED}})
    ),
    "batch": lambda client: client.batch_ingest_runs([_record(tags=[DATA_URL])]),
    "multipart": lambda client: client.multipart_ingest(
        [_record(tags=[DATA_URL], attachments=_attached(PICTURE))]
    ),
    "batch of updates": lambda client: client.batch_ingest_runs(update=[_record(tags=[DATA_URL])]),
    "feedback": lambda client: client.create_feedback(
        run_id=uuid.uuid4(), key="k", comment=f"What is this? {ENCODED}", value={"shot": DATA_URL}
    ),
    "feedback in a batch": lambda client: client.create_feedback(
        uuid.uuid4(), "k", trace_id=uuid.uuid4(), comment="What is this?", correction={"shot": DATA_URL}
    ),
}
COVERED: dict[str, Any] = {
    "inputs": lambda client: _trace(client, value=[DATA_URL, PICTURE]),
    "outputs": lambda client: _trace(client, function=lambda value: {"shot": ENCODED}),
    "error": lambda client: _trace(client, function=_fail),
    "metadata": lambda client: _trace(client, metadata={"shot": ENCODED}),
}


def _posted(client: Client, server: Any, channel: Any) -> list[bytes]:
    channel(client)
    client.flush()
    client.close()
    return server.wire


@pytest.fixture(params=["compressed", "plain"])
def compression(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("LANGSMITH_DISABLE_RUN_COMPRESSION", str(request.param == "plain").lower())
    get_env_var.cache_clear()
    yield
    get_env_var.cache_clear()


@pytest.mark.slow(seconds=0.02)
@posts
@pytest.mark.usefixtures("compression")
@pytest.mark.parametrize("name", [*CHANNELS, *COVERED])
def test_a_redacting_client_posts_no_media(name: str) -> None:
    with recording_server() as server:
        client = redacting_client(api_url=server.url, api_key="k", info=INFO)
        wire = _posted(client, server, (CHANNELS | COVERED)[name])
        assert wire
        assert_no_leak(PICTURE, wire)
        assert any(REMOVED_MEDIA.encode() in body for body in wire)


@posts
@pytest.mark.parametrize("name", CHANNELS)
def test_the_anonymizer_alone_does_not_cover_these(name: str) -> None:
    with recording_server() as server:
        client = Client(api_url=server.url, api_key="k", info=INFO, anonymizer=media_anonymizer())
        assert _leaks(_posted(client, server, CHANNELS[name]))


@posts
def test_a_redacting_client_keeps_what_is_no_media() -> None:
    def channel(client: Client) -> None:
        client.create_run(
            **_record(
                tags=["a tag"], extra={"note": "kept"}, attachments={"notes": ("text/csv", b"a,b\n1,2\n")}
            )
        )

    with recording_server() as server:
        options: Any = {"anonymizer": lambda data: {**data, "mine": "was asked"}}
        client = redacting_client(api_url=server.url, api_key="k", info=INFO, **options)
        body = b"".join(_posted(client, server, channel))
    for kept in (b"a tag", b"kept", b"a,b\n1,2\n", b"What is this?", b"was asked", b"text/csv"):
        assert kept in body
    assert REMOVED_MEDIA.encode() not in body


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
