"""Every way known to us in which a picture can travel inside a message, and what has to become of it.

Each carrier builds messages around the bytes of a picture (any file of 100 bytes or more). ``protected``: the
walk lists the picture, and rebuilds the messages around its replacement. ``refused``: the walk raises. In
neither case may a byte of the picture be found in what comes out.
"""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import textwrap
from collections.abc import Callable  # noqa: TC003 - dataclasses keep it at run time
from dataclasses import dataclass
from typing import Any, Literal

from langchain_core.documents import Document
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.prompt_values import ImagePromptValue
from PIL import Image

Outcome = Literal["protected", "refused"]


@dataclass(frozen=True)
class Carrier:
    """A shape, its expected outcome, and how to build messages of this shape around a picture."""

    name: str
    outcome: Outcome
    build: Callable[[bytes], list[BaseMessage]]

    def __call__(self, picture: bytes) -> list[BaseMessage]:
        return self.build(picture)


@dataclasses.dataclass
class Holder:
    """A dataclass as tools return them."""

    payload: Any


def b64(picture: bytes) -> str:
    return base64.b64encode(picture).decode()


def url_safe(picture: bytes) -> str:
    return base64.urlsafe_b64encode(picture).decode().rstrip("=")


def data_url(picture: bytes, mime_type: str = "image/png") -> str:
    return f"data:{mime_type};base64,{b64(picture)}"


def human(*blocks: Any) -> list[BaseMessage]:
    return [HumanMessage([{"type": "text", "text": "What is this?"}, *blocks])]


def tool(content: Any, **fields: Any) -> list[BaseMessage]:
    """A tool message with the call that it answers."""
    call = {"name": "screenshot", "args": {}, "id": "call_1", "type": "tool_call"}
    return [
        HumanMessage("Look."),
        AIMessage("", tool_calls=[call]),
        ToolMessage(content, tool_call_id="call_1", **fields),
    ]


def call(args: dict[str, Any]) -> list[BaseMessage]:
    return [AIMessage("", tool_calls=[{"name": "look", "args": args, "id": "call_1", "type": "tool_call"}])]


def pil(picture: bytes) -> Image.Image:
    return Image.new("RGB", (8, 8), tuple(picture[-3:]))


def nested(block: Any, depth: int) -> Any:
    for _ in range(depth):
        block = {"type": "non_standard", "value": block}
    return block


def png_block(p: bytes) -> dict[str, Any]:
    return {"type": "image", "base64": b64(p), "mime_type": "image/png"}


def anthropic(p: bytes) -> dict[str, Any]:
    return {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": b64(p)}}


def openai(p: bytes) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": data_url(p)}}


def bedrock(p: bytes) -> dict[str, Any]:
    return {"image": {"format": "png", "source": {"bytes": p}}}


def _protected(name: str, build: Callable[[bytes], list[BaseMessage]]) -> Carrier:
    return Carrier(name, "protected", build)


def _refused(name: str, build: Callable[[bytes], list[BaseMessage]]) -> Carrier:
    return Carrier(name, "refused", build)


URL = "https://images.example/private-{}.png"


def link(p: bytes) -> str:
    """A URL that is as secret as the picture: its path is the picture's own first bytes."""
    return URL.format(p[16:32].hex())


CARRIERS: tuple[Carrier, ...] = (
    # LangChain v1 and v0
    _protected("v1_image_base64", lambda p: human(png_block(p))),
    _protected(
        "v1_image_base64_wrapped_lines",
        lambda p: human({**png_block(p), "base64": base64.encodebytes(p).decode()}),
    ),
    _protected("v1_image_base64_url_safe", lambda p: human({**png_block(p), "base64": url_safe(p)})),
    _protected("v1_image_data_url", lambda p: human({"type": "image", "url": data_url(p)})),
    _protected(
        "v1_image_with_id_index_extras",
        lambda p: human({**png_block(p), "id": "i1", "index": 0, "extras": {"copy": b64(p)}}),
    ),
    _protected(
        "v1_file_with_image_mime_type",
        lambda p: human({"type": "file", "base64": b64(p), "mime_type": "image/png"}),
    ),
    _protected(
        "v1_file_that_lies_about_its_mime_type",
        lambda p: human({"type": "file", "base64": b64(p), "mime_type": "text/plain"}),
    ),
    _protected(
        "v0_image_base64",
        lambda p: human({"type": "image", "source_type": "base64", "data": b64(p), "mime_type": "image/png"}),
    ),
    _protected(
        "v0_image_data_url", lambda p: human({"type": "image", "source_type": "url", "url": data_url(p)})
    ),
    _protected(
        "v0_file_base64",
        lambda p: human({"type": "file", "source_type": "base64", "data": b64(p), "mime_type": "image/png"}),
    ),
    _refused("v1_image_url", lambda p: human({"type": "image", "url": link(p)})),
    _refused("v1_image_file_id", lambda p: human({"type": "image", "file_id": f"file-{p[16:32].hex()}"})),
    _refused("v1_file_url", lambda p: human({"type": "file", "url": link(p), "mime_type": "image/png"})),
    _refused(
        "v1_video_base64", lambda p: human({"type": "video", "base64": b64(p), "mime_type": "video/mp4"})
    ),
    _refused(
        "v1_audio_base64", lambda p: human({"type": "audio", "base64": b64(p), "mime_type": "audio/wav"})
    ),
    _refused(
        "v1_plain_text_block_with_base64",
        lambda p: human({"type": "text-plain", "base64": b64(b"word " * 9), "url": data_url(p)}),
    ),
    _refused("v0_image_url", lambda p: human({"type": "image", "source_type": "url", "url": link(p)})),
    _refused(
        "v0_image_id", lambda p: human({"type": "image", "source_type": "id", "id": f"file-{p[16:32].hex()}"})
    ),
    # OpenAI chat completions
    _protected("openai_image_url_dict", lambda p: human(openai(p))),
    _protected(
        "openai_image_url_bare_string", lambda p: human({"type": "image_url", "image_url": data_url(p)})
    ),
    _protected(
        "openai_image_url_raw_base64", lambda p: human({"type": "image_url", "image_url": {"url": b64(p)}})
    ),
    _protected(
        "openai_image_url_bare_raw_base64", lambda p: human({"type": "image_url", "image_url": b64(p)})
    ),
    _protected(
        "openai_image_url_extra_keys",
        lambda p: human(
            {
                "type": "image_url",
                "image_url": {"url": data_url(p), "detail": "high", "note": b64(p)},
                "copy": b64(p),
            }
        ),
    ),
    _protected(
        "openai_image_url_parameters",
        lambda p: human(
            {
                "type": "image_url",
                "image_url": {"url": f"data:image/png;charset=utf-8;name=a.png;base64,{b64(p)}"},
            }
        ),
    ),
    _protected(
        "openai_image_url_upper_case_scheme",
        lambda p: human({"type": "image_url", "image_url": {"url": f" DATA:image/png;BASE64,{b64(p)}"}}),
    ),
    _protected(
        "openai_image_url_percent_encoded",
        lambda p: human(
            {
                "type": "image_url",
                "image_url": {"url": "data:image/png," + "".join(f"%{byte:02X}" for byte in p)},
            }
        ),
    ),
    _protected(
        "openai_image_url_percent_encoded_base64",
        lambda p: human(
            {"type": "image_url", "image_url": {"url": data_url(p).replace("+", "%2B").replace("=", "%3D")}}
        ),
    ),
    _protected("openai_image_url_without_type", lambda p: human({"image_url": {"url": data_url(p)}})),
    _protected(
        "openai_file_data_image",
        lambda p: human({"type": "file", "file": {"file_data": data_url(p), "filename": "a.png"}}),
    ),
    _refused(
        "openai_image_url_remote", lambda p: human({"type": "image_url", "image_url": {"url": link(p)}})
    ),
    _refused(
        "openai_image_url_remote_upper_case",
        lambda p: human({"type": "image_url", "image_url": {"url": link(p).replace("https", "HTTPS")}}),
    ),
    _refused(
        "openai_image_url_protocol_relative",
        lambda p: human({"type": "image_url", "image_url": {"url": link(p)[6:]}}),
    ),
    _refused(
        "openai_file_id", lambda p: human({"type": "file", "file": {"file_id": f"file-{p[16:32].hex()}"}})
    ),
    _refused(
        "openai_video_url",
        lambda p: human({"type": "video_url", "video_url": {"url": data_url(p, "video/mp4")}}),
    ),
    _refused(
        "openai_input_audio",
        lambda p: human({"type": "input_audio", "input_audio": {"data": b64(p), "format": "wav"}}),
    ),
    # OpenAI Responses
    _protected(
        "responses_input_image",
        lambda p: human({"type": "input_image", "image_url": data_url(p), "detail": "auto"}),
    ),
    _protected(
        "responses_input_file_image",
        lambda p: human({"type": "input_file", "file_data": data_url(p), "filename": "a.png"}),
    ),
    _protected(
        "responses_image_generation_call",
        lambda p: [
            AIMessage(
                [{"type": "image_generation_call", "id": "ig_1", "result": b64(p), "status": "completed"}]
            )
        ],
    ),
    _protected(
        "responses_computer_call_output_string",
        lambda p: tool(data_url(p), additional_kwargs={"type": "computer_call_output"}),
    ),
    _protected(
        "responses_computer_call_output_blocks",
        lambda p: tool(
            [{"type": "input_image", "image_url": data_url(p)}],
            additional_kwargs={"type": "computer_call_output"},
        ),
    ),
    _protected(
        "responses_computer_call_output_non_standard",
        lambda p: tool(
            [
                nested(
                    {
                        "type": "computer_call_output",
                        "call_id": "call_1",
                        "output": {"type": "computer_screenshot", "image_url": data_url(p)},
                    },
                    1,
                )
            ]
        ),
    ),
    _refused(
        "responses_input_image_file_id",
        lambda p: human({"type": "input_image", "file_id": f"file-{p[16:32].hex()}"}),
    ),
    _refused("responses_input_file_url", lambda p: human({"type": "input_file", "file_url": link(p)})),
    _refused(
        "responses_image_generation_call_by_id",
        lambda p: [AIMessage([{"type": "image_generation_call", "id": f"ig_{p[16:32].hex()}"}])],
    ),
    # Anthropic
    _protected("anthropic_image_base64", lambda p: human(anthropic(p))),
    _protected(
        "anthropic_image_cache_control",
        lambda p: human({**anthropic(p), "cache_control": {"type": "ephemeral"}}),
    ),
    _protected(
        "anthropic_image_data_url",
        lambda p: human({"type": "image", "source": {"type": "url", "url": data_url(p)}}),
    ),
    _protected(
        "anthropic_tool_result",
        lambda p: human(
            {
                "type": "tool_result",
                "tool_use_id": "t1",
                "content": [{"type": "text", "text": "Done."}, anthropic(p)],
            }
        ),
    ),
    _protected(
        "anthropic_document_with_nested_image",
        lambda p: human(
            {
                "type": "document",
                "title": "A",
                "source": {"type": "content", "content": [{"type": "text", "text": "Page 1"}, anthropic(p)]},
            }
        ),
    ),
    _protected(
        "anthropic_document_with_content", lambda p: human({"type": "document", "content": [anthropic(p)]})
    ),
    _refused(
        "anthropic_image_url", lambda p: human({"type": "image", "source": {"type": "url", "url": link(p)}})
    ),
    _refused(
        "anthropic_image_file",
        lambda p: human({"type": "image", "source": {"type": "file", "file_id": f"file_{p[16:32].hex()}"}}),
    ),
    _refused(
        "anthropic_document_url",
        lambda p: human({"type": "document", "source": {"type": "url", "url": link(p)}}),
    ),
    _refused(
        "anthropic_document_file",
        lambda p: human(
            {"type": "document", "source": {"type": "file", "file_id": f"file_{p[16:32].hex()}"}}
        ),
    ),
    _refused(
        "anthropic_container_upload",
        lambda p: human({"type": "container_upload", "file_id": f"file_{p[16:32].hex()}"}),
    ),
    _refused(
        "anthropic_text_document_with_a_picture",
        lambda p: human(
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": b64(p)}}
        ),
    ),
    _refused(
        "anthropic_server_tool_result",
        lambda p: [
            AIMessage(
                [
                    {
                        "type": "web_fetch_tool_result",
                        "tool_use_id": "t1",
                        "content": {
                            "type": "web_fetch_result",
                            "url": "https://example.com",
                            "content": {"type": "document", "source": {"type": "base64", "data": b64(p)}},
                        },
                    }
                ]
            )
        ],
    ),
    # Google
    _protected(
        "google_media_string", lambda p: human({"type": "media", "mime_type": "image/png", "data": b64(p)})
    ),
    _protected("google_media_bytes", lambda p: human({"type": "media", "mime_type": "image/png", "data": p})),
    _protected(
        "google_inline_data_without_type",
        lambda p: human({"inline_data": {"mime_type": "image/png", "data": b64(p)}}),
    ),
    _protected(
        "google_inline_data_bytes", lambda p: human({"inlineData": {"mimeType": "image/png", "data": p}})
    ),
    _refused(
        "google_media_file_uri",
        lambda p: human(
            {"type": "media", "mime_type": "image/png", "file_uri": f"gs://bucket/{p[16:32].hex()}"}
        ),
    ),
    _refused(
        "google_media_https_file_uri",
        lambda p: human({"type": "media", "mime_type": "image/png", "file_uri": link(p)}),
    ),
    _refused(
        "google_file_data",
        lambda p: human(
            {"file_data": {"file_uri": f"gs://bucket/{p[16:32].hex()}", "mime_type": "image/png"}}
        ),
    ),
    _refused(
        "google_gs_image_url",
        lambda p: human({"type": "image_url", "image_url": {"url": f"gs://bucket/{p[16:32].hex()}"}}),
    ),
    _refused(
        "google_media_video", lambda p: human({"type": "media", "mime_type": "video/mp4", "data": b64(p)})
    ),
    # Bedrock Converse
    _protected("bedrock_image", lambda p: human(bedrock(p))),
    _protected("bedrock_image_with_type", lambda p: human({"type": "image", **bedrock(p)})),
    _protected(
        "bedrock_image_base64_string",
        lambda p: human({"image": {"format": "png", "source": {"bytes": b64(p)}}}),
    ),
    _protected(
        "bedrock_image_url_camel_case",
        lambda p: human({"type": "image_url", "imageUrl": {"url": data_url(p)}}),
    ),
    _refused(
        "bedrock_image_s3",
        lambda p: human(
            {"image": {"format": "png", "source": {"s3Location": {"uri": f"s3://bucket/{p[16:32].hex()}"}}}}
        ),
    ),
    _refused(
        "bedrock_document",
        lambda p: human(
            {"document": {"format": "docx", "name": "a", "source": {"bytes": b"PK\x03\x04" + p[8:]}}}
        ),
    ),
    _refused("bedrock_video", lambda p: human({"video": {"format": "mp4", "source": {"bytes": p}}})),
    _refused(
        "bedrock_video_with_type",
        lambda p: human({"type": "video", "video": {"format": "mp4", "source": {"bytes": p}}}),
    ),
    _refused(
        "bedrock_tool_result_without_type",
        lambda p: human({"toolResult": {"toolUseId": "t1", "content": [bedrock(p)]}}),
    ),
    # Wrappers, and several carriers in one block
    _protected("non_standard", lambda p: human(nested(openai(p), 1))),
    _protected("non_standard_nested", lambda p: human(nested(anthropic(p), 3))),
    _protected(
        "non_standard_around_tool_result",
        lambda p: human(
            nested({"type": "tool_result", "tool_use_id": "t", "content": [nested(bedrock(p), 2)]}, 1)
        ),
    ),
    _protected(
        "image_prompt_value",
        lambda p: ImagePromptValue(image_url={"url": data_url(p), "detail": "low"}).to_messages(),
    ),
    _protected(
        "picture_in_a_tool_message", lambda p: tool([{"type": "text", "text": "Done."}, png_block(p)])
    ),
    _protected("picture_in_a_system_message", lambda p: [SystemMessage([png_block(p)]), HumanMessage("Go.")]),
    _protected("picture_in_an_ai_message", lambda p: [AIMessage([openai(p)])]),
    _protected("picture_in_a_chat_message", lambda p: [ChatMessage([openai(p)], role="user")]),
    _refused("two_carriers_base64_and_url", lambda p: human({**png_block(p), "url": link(p)})),
    _refused("two_carriers_base64_and_data_url", lambda p: human({**png_block(p), "url": data_url(p)})),
    _refused("two_carriers_base64_and_source", lambda p: human({**png_block(p), **anthropic(p)})),
    _refused("two_carriers_base64_and_file_id", lambda p: human({**png_block(p), "file_id": "file-1"})),
    _refused(
        "two_carriers_image_url_and_image", lambda p: human({**openai(p), **bedrock(p), "type": "image_url"})
    ),
    _refused("unknown_type", lambda p: human({"type": "hologram", "base64": b64(p)})),
    _refused("unknown_type_wrapped", lambda p: human(nested({"type": "hologram", "base64": b64(p)}, 2))),
    _refused("unknown_keys_without_type", lambda p: human({"picture": b64(p)})),
    _refused("type_that_is_no_string", lambda p: human({"type": p, "base64": b64(p)})),
    _refused("image_without_payload", lambda p: human({"type": "image", "pixels": b64(p)})),
    _refused(
        "image_with_junk_in_base64",
        lambda p: human({**png_block(p), "base64": b64(p)[:80] + "!" + b64(p)[80:]}),
    ),
    _refused(
        "image_with_a_local_path", lambda p: human({"type": "image", "path": f"/tmp/{p[16:32].hex()}.png"})
    ),
    _refused(
        "image_with_a_file_url",
        lambda p: human({"type": "image", "url": f"file:///tmp/{p[16:32].hex()}.png"}),
    ),
    # Text
    _refused("text_data_url", lambda p: [HumanMessage(f"See {data_url(p)}")]),
    _refused("text_raw_base64", lambda p: [HumanMessage(b64(p))]),
    _refused("text_raw_base64_url_safe", lambda p: [HumanMessage(f"See {url_safe(p)} there")]),
    _refused("text_base64_shifted_1", lambda p: [HumanMessage(b64(b"a" + p))]),
    _refused("text_base64_shifted_2", lambda p: [HumanMessage(b64(b"ab" + p))]),
    _refused("text_base64_mime_lines", lambda p: [HumanMessage(base64.encodebytes(p).decode())]),
    _refused(
        "text_base64_quoted_lines",
        lambda p: [HumanMessage(textwrap.indent(base64.encodebytes(p).decode(), "> "))],
    ),
    _refused("text_base64_of_base64", lambda p: [HumanMessage(b64(json.dumps({"image": b64(p)}).encode()))]),
    _refused("text_markdown", lambda p: [HumanMessage(f"Look: ![photo]({data_url(p)}) nice")]),
    _refused("text_html", lambda p: [HumanMessage(f'<img alt="x" src="{data_url(p)}">')]),
    _refused(
        "text_percent_encoded",
        lambda p: [HumanMessage("https://x.example/?i=" + b64(p).replace("/", "%2F").replace("+", "%2B"))],
    ),
    _refused("text_hex", lambda p: [HumanMessage(p.hex())]),
    _refused("text_hex_dump", lambda p: [HumanMessage(p.hex(" "))]),
    _refused("text_repr_of_bytes", lambda p: [HumanMessage(str(p))]),
    _refused("text_list_of_numbers", lambda p: [HumanMessage(str(list(p)))]),
    _refused("text_latin_1", lambda p: [HumanMessage(p.decode("latin-1"))]),
    _refused("text_surrogates", lambda p: [HumanMessage(p.decode("utf-8", "surrogateescape"))]),
    _refused("text_block", lambda p: human({"type": "text", "text": f"See {data_url(p)}"})),
    _refused("text_item", lambda p: human(f"See {data_url(p)}")),
    _refused(
        "text_block_annotation",
        lambda p: human(
            {"type": "text", "text": "x", "annotations": [{"type": "citation", "cited_text": b64(p)}]}
        ),
    ),
    _refused(
        "text_block_extras", lambda p: human({"type": "text", "text": "x", "extras": {"image": b64(p)}})
    ),
    _refused("text_block_extra_key_bytes", lambda p: human({"type": "text", "text": "x", "raw": p})),
    _refused("text_block_key", lambda p: human({"type": "text", "text": "x", b64(p): 1})),
    _refused(
        "thinking_text",
        lambda p: [AIMessage([{"type": "thinking", "thinking": data_url(p), "signature": "s"}])],
    ),
    _refused(
        "thinking_signature_that_is_a_picture",
        lambda p: [AIMessage([{"type": "thinking", "thinking": "x", "signature": b64(p)}])],
    ),
    # Tools
    _refused("tool_message_json", lambda p: tool(json.dumps({"screenshot": b64(p)}))),
    _refused(
        "tool_message_json_of_php",
        lambda p: tool(json.dumps({"screenshot": data_url(p)}).replace("/", "\\/")),
    ),
    _refused("tool_message_json_of_latin_1", lambda p: tool(json.dumps({"screenshot": p.decode("latin-1")}))),
    _refused("tool_call_args", lambda p: call({"image": b64(p)})),
    _refused("tool_call_args_nested", lambda p: call({"a": [{"b": {"c": data_url(p)}}]})),
    _refused("tool_call_args_bytes", lambda p: call({"image": p})),
    _refused(
        "tool_use_block",
        lambda p: [AIMessage([{"type": "tool_use", "id": "t1", "name": "look", "input": {"image": b64(p)}}])],
    ),
    _refused(
        "invalid_tool_call",
        lambda p: [
            AIMessage(
                "",
                invalid_tool_calls=[
                    {
                        "name": "look",
                        "args": '{"image": "' + b64(p),
                        "id": "c",
                        "error": "cut off",
                        "type": "invalid_tool_call",
                    }
                ],
            )
        ],
    ),
    _refused(
        "tool_call_chunk",
        lambda p: [
            AIMessageChunk(
                "",
                tool_call_chunks=[
                    {
                        "name": "look",
                        "args": json.dumps({"image": b64(p)}),
                        "id": "c",
                        "index": 0,
                        "type": "tool_call_chunk",
                    }
                ],
            )
        ],
    ),
    _refused("artifact_bytes", lambda p: tool("Done.", artifact=p)),
    _refused("artifact_bytearray", lambda p: tool("Done.", artifact=bytearray(p))),
    _refused("artifact_memoryview", lambda p: tool("Done.", artifact={"view": memoryview(p)})),
    _refused("artifact_file", lambda p: tool("Done.", artifact=io.BytesIO(p))),
    _refused("artifact_pil", lambda p: tool("Done.", artifact=[pil(p)])),
    _refused("artifact_dict", lambda p: tool("Done.", artifact={"image": data_url(p)})),
    _refused(
        "artifact_document", lambda p: tool("Done.", artifact=[Document("x", metadata={"thumbnail": b64(p)})])
    ),
    _refused("artifact_dataclass", lambda p: tool("Done.", artifact=Holder(p))),
    _refused("artifact_message", lambda p: tool("Done.", artifact=HumanMessage([openai(p)]))),
    _refused("artifact_numbers", lambda p: tool("Done.", artifact={"type": "Buffer", "data": list(p)})),
    # The rest of a message
    _refused(
        "additional_kwargs",
        lambda p: [AIMessage("", additional_kwargs={"reasoning_content": f"I see {data_url(p)}"})],
    ),
    _refused(
        "additional_kwargs_tool_calls",
        lambda p: [
            AIMessage(
                "",
                additional_kwargs={
                    "tool_calls": [
                        {
                            "id": "c",
                            "type": "function",
                            "function": {"name": "f", "arguments": json.dumps({"i": b64(p)})},
                        }
                    ]
                },
            )
        ],
    ),
    _refused(
        "additional_kwargs_audio",
        lambda p: [AIMessage("", additional_kwargs={"audio": {"id": "a", "data": b64(p)}})],
    ),
    _refused(
        "response_metadata",
        lambda p: [AIMessage("", response_metadata={"logprobs": {"content": [{"token": b64(p)}]}})],
    ),
    _refused("response_metadata_bytes", lambda p: [AIMessage("", response_metadata={"raw": [p]})]),
    _refused("message_name", lambda p: [HumanMessage("Hi.", name=b64(p))]),
    _refused("message_id", lambda p: [HumanMessage("Hi.", id=b64(p))]),
    _refused("tool_call_id", lambda p: [*tool("Done.")[:2], ToolMessage("Done.", tool_call_id=b64(p))]),
    _refused("extra_field", lambda p: [HumanMessage("Hi.", attachment=b64(p))]),
    _refused("extra_field_bytes", lambda p: [HumanMessage("Hi.", attachment=p)]),
    _refused("extra_field_pil", lambda p: [HumanMessage("Hi.", attachment=pil(p))]),
)
"""Every shape; the names are unique."""


HARMLESS: tuple[tuple[str, list[BaseMessage]], ...] = (
    ("text", [HumanMessage("What is 2 + 2?"), AIMessage("4"), SystemMessage("Be brief.")]),
    ("empty", [HumanMessage(""), AIMessage([]), HumanMessage([])]),
    (
        "markdown_with_a_remote_picture",
        [HumanMessage("![x](https://example.com/a.png) and <img src='http://x/y.jpg'>")],
    ),
    (
        "question_about_formats",
        [HumanMessage("Why does PNG base64 begin with iVBORw0KGgo and a data:image/png;base64,... URL?")],
    ),
    (
        "thinking_with_signature",
        [
            AIMessage(
                [
                    {"type": "thinking", "thinking": "Hm.", "signature": b64(bytes(range(256)) * 40)},
                    {"type": "redacted_thinking", "data": b64(bytes(range(256)) * 40)},
                    {
                        "type": "text",
                        "text": "4",
                        "citations": [{"type": "char_location", "cited_text": "four", "document_index": 0}],
                    },
                ]
            )
        ],
    ),
    (
        "reasoning",
        [
            AIMessage(
                [
                    {
                        "type": "reasoning",
                        "id": "rs_1",
                        "summary": [{"type": "summary_text", "text": "Hm."}],
                        "encrypted_content": b64(bytes(range(256)) * 40),
                    },
                    {
                        "type": "reasoning",
                        "reasoning": "Hm.",
                        "extras": {"signature": b64(bytes(range(256)) * 40)},
                    },
                ]
            )
        ],
    ),
    (
        "bedrock_reasoning",
        [
            AIMessage(
                [
                    {
                        "type": "reasoning_content",
                        "reasoning_content": {"text": "Hm.", "signature": b64(bytes(range(256)) * 40)},
                    },
                    {
                        "type": "reasoning_content",
                        "reasoning_content": {"redacted_content": bytes(range(256)) * 4},
                    },
                    {
                        "reasoningContent": {
                            "reasoningText": {"text": "Hm.", "signature": b64(bytes(range(256)) * 40)}
                        }
                    },
                ]
            )
        ],
    ),
    (
        "gemini_signatures",
        [
            AIMessage(
                "",
                additional_kwargs={
                    "__gemini_function_call_thought_signatures__": {"call_1": b64(bytes(range(256)) * 40)}
                },
            )
        ],
    ),
    (
        "tool_use_and_results",
        [
            AIMessage(
                [
                    {"type": "text", "text": "Let me look."},
                    {
                        "type": "tool_use",
                        "id": "t1",
                        "name": "search",
                        "input": {"type": "image", "query": "cats"},
                    },
                ],
                tool_calls=[
                    {
                        "name": "search",
                        "args": {"type": "image", "query": "cats"},
                        "id": "t1",
                        "type": "tool_call",
                    }
                ],
            ),
            ToolMessage(
                '{"hits": [{"title": "A cat", "thumbnail": "https://example.com/cat.png", "sha256": "'
                + "ab" * 32
                + '"}]}',
                tool_call_id="t1",
            ),
            HumanMessage(
                [
                    {
                        "type": "tool_result",
                        "tool_use_id": "t1",
                        "content": [{"type": "text", "text": "Done."}],
                        "is_error": False,
                    }
                ]
            ),
        ],
    ),
    (
        "server_tools",
        [
            AIMessage(
                [
                    {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "cats"}},
                    {
                        "type": "web_search_tool_result",
                        "tool_use_id": "s1",
                        "content": [
                            {
                                "type": "web_search_result",
                                "url": "https://example.com",
                                "title": "Cats",
                                "encrypted_content": b64(bytes(range(256)) * 40),
                            }
                        ],
                    },
                    {
                        "type": "server_tool_call",
                        "id": "s2",
                        "name": "code_interpreter",
                        "args": {"code": "1 + 1"},
                    },
                    {"type": "server_tool_result", "tool_call_id": "s2", "status": "success", "output": "2"},
                ]
            )
        ],
    ),
    (
        "openai_output",
        [
            AIMessage(
                [
                    {
                        "type": "text",
                        "text": "See.",
                        "annotations": [{"type": "url_citation", "url": "https://example.com", "title": "A"}],
                    },
                    {"type": "refusal", "refusal": "No."},
                    {"type": "function_call", "name": "f", "arguments": "{}", "call_id": "c"},
                ],
                additional_kwargs={"refusal": None, "parsed": Document("x")},
                response_metadata={"model_name": "m", "logprobs": None, "created": 1.5},
                usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3},
            )
        ],
    ),
    (
        "cache_control",
        [
            SystemMessage(
                [
                    {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}},
                    {"cachePoint": {"type": "default"}},
                ]
            )
        ],
    ),
    (
        "documents_of_text",
        [
            HumanMessage(
                [
                    {
                        "type": "document",
                        "source": {
                            "type": "text",
                            "media_type": "text/plain",
                            "data": "A plain text, long enough to be no accident at all.",
                        },
                        "citations": {"enabled": True},
                    },
                    {
                        "type": "document",
                        "source": {"type": "content", "content": [{"type": "text", "text": "A page."}]},
                    },
                    {"type": "text-plain", "mime_type": "text/plain", "text": "A file."},
                    {
                        "type": "file",
                        "source_type": "text",
                        "mime_type": "text/plain",
                        "text": "An old file.",
                    },
                    {"document": {"format": "txt", "name": "a", "source": {"text": "Text."}}},
                ]
            )
        ],
    ),
    (
        "artifacts",
        tool(
            "Done.",
            artifact={
                "rows": [[1, 2.5, None, True]],
                "documents": [Document("x", metadata={"page": 1})],
                "holder": Holder("fine"),
            },
        ),
    ),
    ("typeless_text", [HumanMessage([{"text": "Hi."}, "there"])]),
)
"""What has to pass untouched: the very same message objects come out."""
