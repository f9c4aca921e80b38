# ruff: noqa: E501
"""References inside of plain data are refused; settings of pictures and tokens of providers stay."""

from __future__ import annotations

import base64
import random
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from langchain_vpp.errors import ProtectionError
from langchain_vpp.messages.dialects import picture_settings
from langchain_vpp.messages.plan import NOTE
from langchain_vpp.messages.tree import find_media
from langchain_vpp.messages.walk import plan_messages
from tests.carriers import b64, data_url
from tests.unit.langchain_vpp.messages.samples import DROP, FRESH, PICTURE, STRICT, protect

URL = "https://images.example/private.png"
REFERENCES: dict[str, dict[str, Any]] = {
    "OpenAI's picture": {"type": "image_url", "image_url": {"url": URL}},
    "OpenAI's picture as text": {"type": "input_image", "image_url": URL},
    "OpenAI's picture by id": {"type": "input_image", "file_id": "file-1"},
    "OpenAI's file by id": {"type": "file", "file": {"file_id": "file-1"}},
    "OpenAI's file by URL": {"type": "input_file", "file_url": URL},
    "without a type": {"image_url": {"url": URL}},
    "without a type, as text": {"image_url": URL},
    "Anthropic's picture": {"type": "image", "source": {"type": "url", "url": URL}},
    "Anthropic's file": {"type": "document", "source": {"type": "file", "file_id": "file_1"}},
    "Anthropic's upload": {"type": "container_upload", "file_id": "file_1"},
    "a source alone": {"type": "url", "url": URL},
    "Bedrock's bucket": {"image": {"format": "png", "source": {"s3Location": {"uri": "s3://b/a.png"}}}},
    "Bedrock's document": {"document": {"format": "pdf", "source": {"s3Location": {"uri": "s3://b/a.pdf"}}}},
    "Google's file": {"file_data": {"file_uri": "gs://b/a.png", "mime_type": "image/png"}},
    "Google's file in camels": {"fileData": {"fileUri": "https://g.example/files/1"}},
    "LangChain's picture": {"type": "image", "url": URL},
    "LangChain's picture by id": {"type": "image", "source_type": "id", "id": "file-1"},
    "LangChain's file": {"type": "file", "file_id": "file-1", "text": "Hi."},
    "video": {"type": "video_url", "video_url": {"url": URL}},
    "Mistral's document": {"type": "document_url", "document_url": "https://images.example/a.pdf"},
    "a picture under its type": {"type": "image", "image": URL},
    "pictures under their type": {"type": "video", "video": [URL, URL]},
    "OpenRouter's video": {"type": "video_url", "videoUrl": {"url": URL}},
    "OpenRouter's file": {"type": "file", "file": {"filename": "a.pdf", "file_data": URL}},
    "sound by URL": {"type": "input_audio", "input_audio": {"url": URL}},
    "a link of MCP": {"type": "resource_link", "uri": "file:///a.png", "name": "a", "mimeType": "image/png"},
    "an address and a type": {"uri": "gs://b/a.png", "mimeType": "image/png"},
    "Bedrock's address": {"document": {"s3Uri": "s3://b/a.pdf"}},
    "a URL under the name of a picture": {"image": URL},
    "a URL under the name of a file": {"file": URL},
    "Ollama's pictures": {"role": "user", "images": [URL]},
    "Ollama's paths": {"images": ["/tmp/private.png"]},
    "vector stores": {"type": "file_search", "vector_store_ids": ["vs_1"]},
    "Mistral's libraries": {"type": "document_library", "library_ids": ["1"]},
    "xAI's collections": {"type": "collections_search", "collection_ids": ["c_1"]},
    "Google's upload": {"file": {"name": "files/a", "uri": "https://g.example/files/a"}},
    "Google's upload by name": {"file": "files/abc-1"},
    "Google's cache": {"cachedContent": "cachedContents/1"},
    "Assistants' picture": {"type": "image_file", "image_file": {"file_id": "file-1"}},
    "Assistants' attachments": {"attachments": [{"file_id": "file-1", "tools": []}]},
    "OpenAI's mask": {"type": "image_generation", "input_image_mask": {"file_id": "file-1"}},
    "Nova's picture": {"taskType": "X", "params": {"images": ["s3://b/a.png"]}},
    "Nova's video": {"video": {"format": "mp4", "source": {"s3Location": {"uri": "s3://b/a.mp4"}}}},
    "Qwen's picture": {"image": "oss://b/a.png"},
    "Qwen's frames": {"video": ["https://a.example/1.jpg", "https://a.example/2.jpg"]},
    "a local file": {"image": "file:///tmp/a.png"},
    "Perplexity's file": {"type": "file_url", "file_url": {"url": URL}},
    "Perplexity's PDF": {"type": "pdf_url", "pdf_url": URL},
    "Reka's media": {"type": "image_url", "media_url": URL},
    "a link without a MIME type": {"type": "resource_link", "uri": "https://a.example/1", "name": "a"},
    "in camels": {"imageUris": [URL]},
    "in dashes": {"file-id": "file-1"},
    "an address under a name of a picture": {"avatar_url": URL},
    "a condition": {"params": {"conditionImage": "s3://b/a.png"}},
    "frames": {"type": "video", "frames": [URL]},
    "a source of a picture": {"img": {"src": URL}},
    "a picture by id and type": {"image": {"id": "1", "mime_type": "image/png"}},
    "an id and a type": {"type": "binary", "mimeType": "image/png", "id": "1"},
    "a picture that was cached": {"type": "image_url", "image_url": None, "uuid": "1"},
    "a data URL": {"image": "data:image/png;base64,iVBORw0KGgo="},
    "ids": {"container": {"type": "auto", "file_ids": ["file-1"]}},
}
HOLDERS: dict[str, Any] = {
    "Anthropic's search": lambda each: {
        "type": "search_result",
        "source": "x",
        "title": "t",
        "content": [each],
    },
    "Anthropic's fetch": lambda each: {"type": "web_fetch_tool_result", "tool_use_id": "t", "content": each},
    "Bedrock's result": lambda each: {"toolResult": {"toolUseId": "t", "content": [each]}},
    "Google's result": lambda each: {"function_response": {"name": "f", "response": {"parts": [each]}}},
    "text": lambda each: {"type": "text", "text": "Hi.", "extras": {"more": each}},
    "a list in non_standard": lambda each: {"type": "non_standard", "value": [each]},
    "a call's output": lambda each: {"type": "code_interpreter_call", "outputs": [each]},
    "rest of a result": lambda each: {
        "type": "tool_result",
        "tool_use_id": "t",
        "content": "Hi.",
        "extra": each,
    },
}


@pytest.mark.slow(seconds=0.01)
@pytest.mark.parametrize("reference", REFERENCES)
@pytest.mark.parametrize("holder", HOLDERS)
def test_a_reference_in_a_data_block_is_refused(reference: str, holder: str) -> None:
    block = HOLDERS[holder](REFERENCES[reference])
    with pytest.raises(ProtectionError) as refusal:
        plan_messages([HumanMessage([block])], STRICT)
    assert "example" not in str(refusal.value)
    (dropped,) = protect([HumanMessage([block])], DROP)
    assert NOTE in repr(dropped)
    assert URL not in repr(dropped)


@pytest.mark.parametrize("reference", REFERENCES)
def test_a_reference_in_arguments_of_a_request_is_found(reference: str) -> None:
    body = {"extra_body": {"messages": [{"role": "user", "content": [REFERENCES[reference]]}]}}
    finding = find_media(body, unknown="pass", references=True)
    assert finding is not None
    assert finding.kind == "reference"


@pytest.mark.parametrize(
    "block",
    [
        {"type": "file", "source_type": "id", "id": "file-1", "text": "Hi."},
        {"type": "file", "id": "file-1", "text": "Hi."},
        {"type": "text-plain", "text": "Hi.", "id": "file-1"},
        {"type": "text-plain", "text": "Hi.", "file": "file-1"},
        {"type": "file", "text": "Hi.", "file_id": "file-1"},
        {"type": "media", "text": "Hi.", "file_uri": "gs://b/a.png"},
        {"type": "input_file", "text": "Hi.", "filename": "a.png", "attachment": "file-1"},
    ],
)
def test_a_file_is_never_taken_for_its_text(block: dict[str, Any]) -> None:
    with pytest.raises(ProtectionError):
        plan_messages([HumanMessage([block])], STRICT)


SCHEMA = {"type": "object", "properties": {"image_url": {"type": "string"}, "file_id": {"type": "string"}}}


@pytest.mark.parametrize(
    "message",
    [
        AIMessage([{"type": "text", "text": "x", "annotations": [
            {"type": "file_citation", "file_id": "file-1", "filename": "a.txt", "index": 3},
            {"type": "container_file_citation", "container_id": "c", "file_id": "file-1"},
            {"type": "url_citation", "url": URL, "title": "A"},
            {"type": "citation", "url": URL, "extras": {"file_id": None}},
        ]}]),
        AIMessage([{"type": "tool_use", "id": "1", "name": "look", "input": {"image_url": URL, "file_id": "1"}}]),
        AIMessage("", tool_calls=[{"name": "look", "args": {"image": {"url": URL}}, "id": "1"}]),
        AIMessage([{"toolUse": {"toolUseId": "1", "name": "look", "input": {"image_url": URL}}}]),
        AIMessage([{"type": "web_search_tool_result", "content": [{"type": "web_search_result", "url": URL}]}]),
        HumanMessage([{"type": "text-plain", "text": "Hi.", "id": "lc_1", "mime_type": "text/plain"}]),
        HumanMessage([{"type": "tool_definition", "name": "look", "input_schema": SCHEMA}]),
        HumanMessage([{"type": "search_result", "source": URL, "title": "t", "content": []}]),
        HumanMessage([{"type": "text", "text": "Hi.", "extras": {"hits": [
            {"file": "main.py", "line": 3}, {"files": ["a.py", "b.py"], "document_id": "d-1"},
            {"image": "nginx:1.25"}, {"image": "registry.example/app:1"}, {"document": "Contract of May"},
            {"media": "print", "video": True, "picture": None, "audio": {"format": "wav", "voice": "alloy"}},
            {"url": URL, "title": "A page"}, {"image_caption": "A cat: black", "frame": 3, "mask": "255.255.0.0"},
            {"id": "1", "mimeType": "image/png", "name": "a.png"}, {"file_path": "/src/a.py"}, {"photo": "a picture of a cat"},
        ]}}]),
        ToolMessage("x", tool_call_id="1", artifact={"image": {"url": URL}, "file_id": "1"}),
        AIMessage("x", response_metadata={"file_id": "1"}),
    ],
)  # fmt: skip
def test_what_no_provider_loads_passes(message: BaseMessage) -> None:
    assert plan_messages([message], STRICT).rebuild([]) == [message]
    assert (
        find_media(
            {"tools": [{"type": "function", "function": {"name": "f", "parameters": SCHEMA}}]},
            references=True,
        )
        is None
    )


CACHE = {"type": "ephemeral", "ttl": "1h"}


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ({"type": "image_url", "image_url": {"url": data_url(PICTURE), "detail": "low"}}, {"detail": "low"}),
        ({"type": "input_image", "image_url": data_url(PICTURE), "detail": "high"}, {"detail": "high"}),
        ({"type": "image", "base64": b64(PICTURE), "cache_control": CACHE}, {"cache_control": CACHE}),
        (
            {"type": "image", "base64": b64(PICTURE), "extras": {"cache_control": CACHE}},
            {"cache_control": CACHE},
        ),
        (
            {
                "type": "media",
                "data": PICTURE,
                "mime_type": "image/png",
                "media_resolution": "MEDIA_RESOLUTION_LOW",
            },
            {"media_resolution": "MEDIA_RESOLUTION_LOW"},
        ),
        ({"type": "image_url", "image_url": {"url": data_url(PICTURE), "detail": b64(PICTURE)}}, {}),
        ({"type": "image_url", "image_url": {"url": data_url(PICTURE), "detail": ["low"]}}, {}),
        (
            {
                "type": "image",
                "base64": b64(PICTURE),
                "cache_control": {"type": "ephemeral", "x": b64(PICTURE)},
            },
            {},
        ),
        ({"type": "image", "base64": b64(PICTURE), "media_resolution": {"level": "x"}}, {}),
    ],
)
def test_known_settings_of_a_picture_stay_and_others_go(
    block: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert picture_settings(block) == expected
    (message,) = protect([HumanMessage([block])])
    url = {"url": f"data:image/jpeg;base64,{FRESH['base64']}", **expected}
    assert message.content == [
        {"type": "image_url", "image_url": url} if "detail" in expected else {**FRESH, **expected}
    ]


TOKEN = base64.b64encode(random.Random(9).randbytes(6_000)).decode()
TOKENS: dict[str, BaseMessage] = {
    "OpenRouter": AIMessage("a", additional_kwargs={"reasoning_details": [
        {"type": "reasoning.encrypted", "data": TOKEN, "format": "google-gemini-v1", "index": 0},
        {"type": "reasoning.text", "text": "Hm.", "signature": TOKEN},
    ]}),
    "a new provider": AIMessage([{"type": "reasoning", "encrypted_thoughts": TOKEN}]),
    "thought signature": AIMessage([{"type": "text", "text": "a", "extras": {"thoughtSignature": TOKEN}}]),
    "in a call": AIMessage("", additional_kwargs={"tool_calls": [{"id": "1", "extra_content": {"google": {"thought_signature": TOKEN}}}]}),
}  # fmt: skip


@pytest.mark.parametrize("message", TOKENS.values(), ids=TOKENS)
def test_a_conversation_goes_on_with_tokens_that_its_provider_wants_back(message: BaseMessage) -> None:
    assert plan_messages([message], STRICT).rebuild([]) == [message]
    picture = repr(message).replace(TOKEN, b64(PICTURE))
    assert picture != repr(message)
    with pytest.raises(ProtectionError):
        plan_messages([_replaced(message, b64(PICTURE))], STRICT)
    with pytest.raises(ProtectionError):
        plan_messages([HumanMessage("a", additional_kwargs={"note": TOKEN})], STRICT)


def _replaced(message: BaseMessage, text: str) -> BaseMessage:
    def replaced(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: replaced(item) for key, item in value.items()}
        return (
            [replaced(item) for item in value]
            if isinstance(value, list)
            else text
            if value == TOKEN
            else value
        )

    return message.model_copy(
        update={
            "content": replaced(message.content),
            "additional_kwargs": replaced(message.additional_kwargs),
        }
    )


def logprobs(tokens: int, spelled: str = "") -> AIMessage:
    each = [{"token": f" w{n}", "bytes": list(f" w{n}".encode()), "logprob": -0.5} for n in range(20)]
    content = [{**each[n % 20], "top_logprobs": each} for n in range(tokens)]
    content += [
        {"token": piece, "bytes": None, "logprob": -1.0, "top_logprobs": []} for piece in spelled.split()
    ]
    return AIMessage("a", response_metadata={"logprobs": {"content": content}})


def test_logarithmic_probabilities_pass_by_their_shape() -> None:
    message = logprobs(2_400)
    assert plan_messages([message], STRICT).rebuild([]) == [message]
    pieces = " ".join(b64(PICTURE)[start : start + 30] for start in range(0, len(b64(PICTURE)), 30))
    with pytest.raises(ProtectionError):
        plan_messages([logprobs(3, pieces)], STRICT)
    for shaped in (
        {"token": "a", "bytes": list(PICTURE), "logprob": -0.1},
        {
            "token": "a",
            "bytes": [97],
            "logprob": -0.1,
            "top_logprobs": [{"token": b64(PICTURE), "logprob": -0.1}],
        },
        {"token": "a", "logprob": int.from_bytes(PICTURE, "big")},
        {"token": "a", "logprob": -0.1, "thumbnail": b64(PICTURE)},
    ):
        with pytest.raises(ProtectionError):
            plan_messages([AIMessage("a", response_metadata={"logprobs": [shaped]})], STRICT)
