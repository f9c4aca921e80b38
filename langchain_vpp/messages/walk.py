"""Finds every picture in a list of messages and rebuilds the messages around protected ones.

The walk is an allow-list over the *raw* message: content in the dialect of any provider, tool calls,
metadata, artifacts, names, extra fields. A block is a *picture* or a *file* (a carrier: found here, rebuilt
fresh), a *nest* or a *document* (they hold further blocks), or *data* (text and structures, in which nothing
may spell a picture). Whatever is none of these is refused, so an unknown dialect can't slip through.

To add a dialect, put its ``type``, or the key by which it is known, into ``_ROLES`` or ``_TYPELESS_ROLES``;
for a carrier, put the key that holds its payload into ``_PAYLOAD_KEYS``.

Nothing acts on a half-walked message: :func:`plan_messages` collects, :meth:`MessagePlan.rebuild` acts. Out
comes one shape only, ``{"type": "image", "base64": ..., "mime_type": "image/jpeg"}``, which every provider
package takes.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import dataclasses
import datetime as dt
import decimal
import enum
import functools
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NoReturn
from urllib.parse import unquote_to_bytes

from langchain_core.messages import BaseMessage, HumanMessage, ToolMessage
from pydantic import BaseModel

from langchain_vpp.errors import ProtectionError
from langchain_vpp.images.codec import ENCODED_MIME_TYPE
from langchain_vpp.images.fast import fast_module
from langchain_vpp.messages.spelled import (
    SHORTEST_SPELLING,
    find_file_header,
    holds_pixels,
    numbers_spell_file,
)

NOTE: Final = "[removed: content that could not be protected]"
"""What stands for a refused block, or text, under ``on_unsupported="drop"``."""

# In characters of base64, a multiple of four; well under a millisecond's work.
_PIECE: Final = 131_072
_MAX_DEPTH: Final = 32
_MAX_CONTAINERS: Final = 100_000

# Nests: the key under which a block holds further blocks.
_NEST_KEYS: Final = {
    "non_standard": "value",
    "tool_result": "content",
    "computer_call_output": "output",
    "function_call_output": "output",
    "custom_tool_call_output": "output",
}
_Role = Literal["picture", "file", "nest", "document", "data"]
_ROLES: Final[dict[Any, _Role]] = {
    **dict.fromkeys(
        ("image", "image_url", "input_image", "image_generation_call", "computer_screenshot"), "picture"
    ),
    # A picture or a PDF among these is told by its bytes or its MIME type; the rest is refused.
    **dict.fromkeys(("file", "input_file", "media", "inline_data", "file_data", "text-plain"), "file"),
    **dict.fromkeys(_NEST_KEYS, "nest"),
    "document": "document",
    **dict.fromkeys(
        (
            # text
            "text", "input_text", "output_text", "refusal", "json", "guard_content", "search_result",
            "citation", "non_standard_annotation",
            # reasoning
            "reasoning", "reasoning_content", "thinking", "redacted_thinking", "compaction",
            # calls, and results without pictures
            "tool_call", "tool_call_chunk", "invalid_tool_call", "tool_use", "input_json_delta",
            "function_call", "function_call_signature", "custom_tool_call", "computer_call",
            "apply_patch_call", "apply_patch_call_output", "server_tool_call", "server_tool_call_chunk",
            "server_tool_result", "server_tool_use", "web_search_call", "web_search_result",
            "web_search_tool_result", "web_fetch_tool_result", "file_search_call", "code_interpreter_call",
            "code_execution_tool_result", "bash_code_execution_tool_result",
            "text_editor_code_execution_tool_result", "executable_code", "code_execution_result",
            "mcp_tool_use", "mcp_tool_result", "mcp_call", "mcp_list_tools", "mcp_approval_request",
            "mcp_approval_response", "tool_reference", "tool_search_call", "tool_search_output",
            "tool_search_tool_result", "advisor_tool_result", "tool_addition", "tool_definition",
            "additional_tools", "configuration_update",
        ),
        "data",
    ),
}  # fmt: skip
# Blocks without a `type`, by one of their keys: Bedrock Converse, Gemini, and what ImagePromptValue makes.
_TYPELESS_ROLES: Final[dict[Any, _Role]] = {
    **dict.fromkeys(("image", "image_url", "imageUrl", "url"), "picture"),
    **dict.fromkeys(
        ("inline_data", "inlineData", "file_data", "fileData", "file", "media", "source", "data"), "file"
    ),
    "document": "document",
    **dict.fromkeys(
        (
            "text", "json", "cachePoint", "cache_point", "guardContent", "toolUse", "toolResult",
            "reasoningContent", "citationsContent", "searchResult", "function_call", "functionCall",
            "function_response", "functionResponse", "executable_code", "executableCode",
            "code_execution_result", "codeExecutionResult", "thought", "thought_signature",
            "thoughtSignature",
        ),
        "data",
    ),
}  # fmt: skip

# The keys under which a carrier holds its payload, in whatever dict inside the block they are.
_PAYLOAD_KEYS: Final = frozenset(
    {
        "base64", "data", "bytes", "result", "file_data", "fileData", "url", "uri", "image_url",
        "imageUrl", "file_url", "fileUrl", "file_uri", "fileUri", "gcs_uri", "gcsUri", "file_id", "fileId",
        "s3Location", "s3_location", "video_url", "audio_url", "path",
    }
)  # fmt: skip
# Never read as the picture by any provider; not searched for payloads, and dropped with the block.
_ASIDE_KEYS: Final = frozenset({"extras", "metadata", "cache_control", "citations", "video_metadata"})
_HOSTED_KEYS: Final = frozenset(
    {"file_id", "fileId", "gcs_uri", "gcsUri", "s3Location", "s3_location", "path"}
)
_MIME_KEYS: Final = ("mime_type", "media_type", "mimeType", "mediaType", "format")

_Opaque = dict[str, Any]
_SIGNED: Final[_Opaque] = {
    "signature": True,
    "thought_signature": True,
    "encrypted_content": True,
    "extras": {"signature": True, "encrypted_content": True},
}
_BEDROCK_REASONING: Final[_Opaque] = {
    "signature": True,
    "redactedContent": True,
    "redacted_content": True,
    "reasoningText": {"signature": True},
    "reasoning_text": {"signature": True},
}
# Where providers put long opaque tokens, by the `type` of the dict that holds them: these may be long base64,
# or bytes. The header of a file is refused even there.
_OPAQUE: Final[dict[str, _Opaque]] = {
    "text": _SIGNED,
    "thinking": _SIGNED,
    "reasoning": _SIGNED,
    "redacted_thinking": {"data": True},
    "reasoning_content": {"reasoning_content": _BEDROCK_REASONING, "reasoningContent": _BEDROCK_REASONING},
    "compaction": _SIGNED,
    "tool_call": _SIGNED,
    "function_call": _SIGNED,
    "function_call_signature": _SIGNED,
    "web_search_result": _SIGNED,
    "web_search_result_location": {"encrypted_index": True},
    "citation": {"extras": {"encrypted_index": True}},
    "encrypted_code_execution_result": {"encrypted_stdout": True},
    "advisor_redacted_result": _SIGNED,
}
_OPAQUE_TYPELESS: Final[_Opaque] = {
    "reasoningContent": _BEDROCK_REASONING,
    "thought_signature": True,
    "thoughtSignature": True,
}
_OPAQUE_FIELDS: Final[_Opaque] = {
    "additional_kwargs": {"__gemini_function_call_thought_signatures__": {"*": True}},
}
# Can't be replaced by a note, because other messages or the provider refer to them.
_IDENTIFIERS: Final = frozenset({"id", "name", "type", "role", "tool_call_id", "status"})
_ATOMS: Final = frozenset({type(None), bool, int, float})
_EMPTIABLE: Final = frozenset({str, list, dict})
_DICT_READERS: Final = ("__iter__", "__len__", "__getitem__", "get", "items", "keys", "values")
_MESSAGE_READERS: Final = frozenset(
    {
        "__getattr__", "__getattribute__", "__iter__", "additional_kwargs", "content", "content_blocks",
        "dict", "json", "model_dump", "model_dump_json", "response_metadata", "text", "to_json", "tool_calls",
    }
)  # fmt: skip
_MESSAGE_PACKAGES: Final = ("langchain_core.", "pydantic.", "typing", "builtins", "abc")
_ATOM_CLASSES: Final = (
    int,
    float,
    decimal.Decimal,
    dt.date,
    dt.time,
    dt.timedelta,
    uuid.UUID,
)


@dataclass(frozen=True)
class ContentPolicy:
    """What to do with content that is not simply a picture.

    Attributes:
        on_unsupported: Refuse the whole call, or replace the block (or text) by a note. It never passes.
        on_remote_url: Refuse pictures by http(s) URL, or have them fetched and protected.
        on_document: Refuse PDFs, or have their pages drawn and protected.
    """

    on_unsupported: Literal["raise", "drop"] = "raise"
    on_remote_url: Literal["raise", "fetch"] = "raise"
    on_document: Literal["raise", "rasterize"] = "raise"


@dataclass(frozen=True)
class PixelSource:
    """One carrier that was found: the original, which must not travel on.

    Attributes:
        kind: ``image`` and ``document`` come with ``data``, ``url`` and ``sealed`` with ``reference``.
        data: The encoded picture, or the PDF.
        reference: An http(s) URL or a ``vpp://`` handle.
    """

    kind: Literal["image", "url", "sealed", "document"]
    data: bytes | None = field(default=None, repr=False)
    reference: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class _Slot:
    """Stands in a planned content list where the protected pictures of one source will be."""

    index: int


class MessagePlan:
    """Messages that were walked completely, and the pictures found in them.

    Attributes:
        sources: What has to be protected, in the order of the walk.
    """

    def __init__(
        self,
        messages: Sequence[tuple[BaseMessage, Mapping[str, Any] | None]],
        sources: Sequence[PixelSource],
        *,
        droppable: bool,
    ) -> None:
        self._messages = tuple(messages)
        self._droppable = droppable
        self.sources = tuple(sources)

    def __repr__(self) -> str:
        return f"MessagePlan({len(self._messages)} messages, {len(self.sources)} sources)"

    def rebuild(self, images: Sequence[Sequence[bytes]]) -> list[BaseMessage]:
        """Build the messages that may be sent.

        Args:
            images: For each of ``sources`` the encoded JPEGs that replace it: one for a picture, one per
                page for a document. None at all, which only ``on_unsupported="drop"`` allows, leaves a note.

        Returns:
            The same objects where nothing had to change, freshly built messages elsewhere. The messages
            that were planned are not touched.

        Raises:
            ProtectionError: If ``images`` doesn't answer to ``sources``, or holds anything but JPEGs.
        """
        if len(images) != len(self.sources):
            raise ProtectionError("Nothing was sent: not every picture was protected.")
        for source, pages in zip(self.sources, images, strict=True):
            if not pages and not self._droppable:
                raise ProtectionError("Nothing was sent: a picture was not protected.")
            if len(pages) > 1 and source.kind != "document":
                raise ProtectionError("Nothing was sent: a picture came back as several.")
            if not all(isinstance(page, bytes) and page.startswith(b"\xff\xd8\xff") for page in pages):
                raise ProtectionError("Nothing was sent: a protected picture is not an encoded JPEG.")
        return [
            message if changes is None else _fresh_message(message, changes, images)
            for message, changes in self._messages
        ]


def plan_messages(messages: Sequence[BaseMessage], policy: ContentPolicy) -> MessagePlan:
    """Walk everything in every message and list the pictures to protect.

    Raises:
        ProtectionError: If anything is neither known to be free of pixels nor a picture that the policy
            allows. The error names the message by its place and carries nothing of its content.
    """
    walk = _Walk(policy)
    planned = [(message, walk.message(place, message)) for place, message in enumerate(messages)]
    return MessagePlan(planned, walk.sources, droppable=policy.on_unsupported == "drop")


def coerce_messages(value: Any) -> list[BaseMessage]:
    """Turn any chat model input into messages: a string, a prompt value, a message or message-likes.

    Raises:
        ProtectionError: If it is none of these. LangChain's own error would quote the input.
    """
    if isinstance(value, str):
        return [HumanMessage(value)]
    if isinstance(value, BaseMessage):
        return [value]
    if isinstance(value, list | tuple) and all(isinstance(message, BaseMessage) for message in value):
        return list(value)
    # They load every class of message, which a list of messages can do without.
    from langchain_core.messages import convert_to_messages  # noqa: PLC0415
    from langchain_core.prompt_values import PromptValue  # noqa: PLC0415

    if isinstance(value, PromptValue) or (
        isinstance(value, Sequence) and not isinstance(value, bytes | bytearray)
    ):
        try:
            return value.to_messages() if isinstance(value, PromptValue) else convert_to_messages(value)
        except Exception:  # noqa: BLE001, S110 - whatever it is, it quotes the input; ours is raised below, outside
            pass
    raise ProtectionError(
        "The input was not sent: it is not a string, a prompt value, a message or a list of messages."
    )


class _Walk:
    """One walk over many messages. Each method returns its argument itself where nothing has to change."""

    def __init__(self, policy: ContentPolicy) -> None:
        self.sources: list[PixelSource] = []
        self._policy = policy
        self._dropping = policy.on_unsupported == "drop"
        self._place = 0
        self._containers = 0

    def message(self, place: int, message: BaseMessage) -> dict[str, Any] | None:
        """Return the fields of ``message`` that have to change, or ``None``."""
        self._place = place
        self._containers = 0
        if not isinstance(message, BaseMessage):
            self._refuse("there is no message")
        if _reads_otherwise(type(message)):
            self._refuse("a message is of a class that may show other content than it holds")
        changes: dict[str, Any] = {}
        for source in (message.__dict__, message.__pydantic_extra__ or {}):
            for name, value in source.items():
                if type(value) in _ATOMS or (type(value) in _EMPTIABLE and not value):
                    continue
                walked = self._content(message) if name == "content" else self._field(name, value)
                if walked is not value:
                    changes[name] = walked
        for value in (message.__pydantic_private__ or {}).values():
            if self._data(value, None, 0) is not value:
                self._refuse("a private attribute holds what could not be protected")
        return changes or None

    def _field(self, name: str, value: Any) -> Any:
        if name in _IDENTIFIERS and isinstance(value, str):
            if holds_pixels(value):
                self._refuse("a name or an id spells a picture")
            return value
        return self._data(value, _OPAQUE_FIELDS.get(name), 0)

    # Content: a list of blocks, in which a carrier is replaced by a slot.

    def _content(self, message: BaseMessage) -> Any:
        content: Any = message.content
        if isinstance(content, list):
            return self._items(content, 0)
        if isinstance(content, str):
            # With this mark, ChatOpenAI sends the string of a tool message as the URL of a screenshot.
            if (
                isinstance(message, ToolMessage)
                and message.additional_kwargs.get("type") == "computer_call_output"
            ):
                return self._items([{"type": "input_image", "image_url": content}], 0)
            return self._text(content, opaque=False)
        return self._refuse("the content is neither text nor a list of blocks")

    def _items(self, items: list[Any], depth: int) -> list[Any]:
        walked: list[Any] = []
        items = _plain(items)
        for item in items:
            if isinstance(item, dict):
                walked.extend(self._block(item, depth + 1))
            elif isinstance(item, str):
                walked.append(self._text(item, opaque=False))
            else:
                walked.append(self._drop_or_refuse("a content block is neither text nor a dict", block=True))
        unchanged = len(walked) == len(items) and all(
            new is old for new, old in zip(walked, items, strict=True)
        )
        return items if unchanged else walked

    def _block(self, block: dict[Any, Any], depth: int) -> list[Any]:
        """Return what stands for ``block``: itself, one or more items, or slots."""
        if not self._dropping:
            return self._walk_block(block, depth)
        with contextlib.suppress(ProtectionError):
            return self._walk_block(block, depth)
        return [_note()]

    def _walk_block(self, block: dict[Any, Any], depth: int) -> list[Any]:
        if depth > _MAX_DEPTH:
            self._refuse("the content is nested too deeply")
        block = _plain(block)
        role = _role(block)
        if role == "data":
            return [self._data(block, None if "type" in block else _OPAQUE_TYPELESS, depth)]
        if role == "nest":
            return self._nest(block, _NEST_KEYS[block["type"]], depth)
        if role == "document":
            return self._document(block, depth)
        if role is None:
            self._refuse("a content block is of a type that is not known to be free of pixels")
        return self._carrier(block, picture=role == "picture", depth=depth)

    def _nest(self, block: dict[Any, Any], key: str, depth: int) -> list[Any]:
        inner = block.get(key)
        kind = block["type"]
        rest = {name: value for name, value in block.items() if name != key}
        walked_rest = self._data(rest, None, depth)
        if isinstance(inner, list) and kind != "non_standard":
            walked = self._items(inner, depth)
        elif isinstance(inner, dict):
            items = self._block(inner, depth + 1)
            walked = inner if len(items) == 1 and items[0] is inner else items
        elif isinstance(inner, str) and kind == "computer_call_output":
            return self._carrier({"image_url": inner}, picture=True, depth=depth)
        else:
            walked = self._data(inner, None, depth)
        if walked is inner and walked_rest is rest:
            return [block]
        if kind == "tool_result" or not isinstance(walked, list):
            return [{**walked_rest, key: walked}]
        # Elsewhere no provider package would convert the pictures inside; they take the place of the block.
        return walked

    def _document(self, block: dict[Any, Any], depth: int) -> list[Any]:
        body = block.get("document", block)
        source = body.get("source") if isinstance(body, dict) else None
        if not isinstance(body, dict) or not isinstance(source, dict | None):
            self._refuse("a document has no readable source")
        source = source or {}
        nested = source.get("content", body.get("content"))
        outside = {key: value for key, value in body.items() if key not in ("source", "content")}
        if nested is not None:
            others = [{key: value for key, value in source.items() if key != "content"}, outside]
            if any(self._payloads(other, 0) for other in others):
                self._refuse("a document holds more than its nested content")
            walked = self._items(nested, depth) if isinstance(nested, list) else nested
            # Providers don't convert blocks inside a document, so with pictures its blocks take its place.
            return [self._data(block, None, depth)] if walked is nested else list(walked)
        is_text = source.get("type") == "text" or source.keys() == {"text"}
        if (
            is_text
            and source.keys() <= {"type", "media_type", "data", "text"}
            and not self._payloads(outside, 0)
        ):
            return [self._data(block, None, depth)]
        return self._carrier(block, picture=False, depth=depth)

    # Carriers.

    def _carrier(self, block: dict[Any, Any], *, picture: bool, depth: int) -> list[Any]:
        payloads = self._payloads(block, 0)
        if not payloads and not picture and isinstance(block.get("text"), str):
            return [self._data(block, None, depth)]
        if not payloads:
            self._refuse("a picture or file has no payload that could be read")
        if len(payloads) > 1:
            self._refuse("a picture or file has several payloads, and providers differ in which they read")
        key, payload = payloads[0]
        if key in _HOSTED_KEYS:
            self._refuse("a picture or file is stored elsewhere (an id, a bucket or a path); send its bytes")
        source = self._source(payload, picture=picture, mime_type=_declared_mime_type(block))
        self.sources.append(source)
        return [_Slot(len(self.sources) - 1)]

    def _payloads(self, block: Mapping[Any, Any], depth: int) -> list[tuple[str, Any]]:
        """List the payloads of a carrier by the name of their key, in whatever dict of it they are."""
        if depth > _MAX_DEPTH:
            self._refuse("a picture or file is nested too deeply")
        payloads: list[tuple[str, Any]] = []
        for key, value in block.items():
            if key in _ASIDE_KEYS or value is None:
                continue
            if isinstance(value, Mapping) and key not in _HOSTED_KEYS:
                payloads.extend(self._payloads(value, depth + 1))
            elif key in _PAYLOAD_KEYS and not (isinstance(value, str | bytes) and not value):
                payloads.append((key, value))
        return payloads

    def _source(self, payload: Any, *, picture: bool, mime_type: str) -> PixelSource:
        if isinstance(payload, str):
            reference = payload.strip()
            scheme = reference[:8].lower()
            if scheme.startswith(("http://", "https://")):
                return self._remote_source(reference, picture=picture or mime_type.startswith("image/"))
            if scheme.startswith("vpp://"):
                return PixelSource("sealed", reference=reference)
            data = self._decode(reference)
        elif isinstance(payload, bytes | bytearray | memoryview):
            data = bytes(payload)
        else:
            self._refuse("the payload of a picture or file is neither text nor bytes")
        if mime_type.startswith(("video/", "audio/")):
            self._refuse("video and audio can't be protected here; send single frames")
        if data.startswith(b"%PDF-"):
            if self._policy.on_document != "rasterize":
                self._refuse('a PDF can\'t be sent as it is; set on_document="rasterize" to send its pages')
            return PixelSource("document", data=data)
        if picture or mime_type.startswith("image/") or find_file_header(data) == 0:
            return PixelSource("image", data=data)
        return self._refuse(
            "a document of this kind can't be protected; send its text, or pictures of its pages"
        )

    def _remote_source(self, url: str, *, picture: bool) -> PixelSource:
        if self._policy.on_remote_url != "fetch":
            self._refuse('a picture is given by URL; send its bytes, or set on_remote_url="fetch"')
        if not picture:
            self._refuse("a document is given by URL; send its bytes")
        return PixelSource("url", reference=url)

    def _decode(self, payload: str) -> bytes:
        """Read base64 or a ``data:`` URL, strictly: junk that a lenient decoder skips is refused."""
        if payload[:5].lower() == "data:":
            header, comma, payload = payload.partition(",")
            if not comma:
                self._refuse("a data URL has no data")
            if "base64" not in header.lower().split(";"):
                return unquote_to_bytes(payload)
            if "%" in payload:
                payload = unquote_to_bytes(payload).decode("ascii", errors="replace")
        data = _strict_base64(payload)
        if not data:
            self._refuse("a picture or file is neither valid base64 nor a URL that can be read")
        return data

    # Data: anything but content, in which nothing may spell a picture.

    def _data(self, value: Any, opaque: Any, depth: int) -> Any:
        kind = type(value)
        if kind in _ATOMS or (kind is str and len(value) < SHORTEST_SPELLING):
            return value
        if isinstance(value, str):
            return self._text(value, opaque=opaque is True)
        if isinstance(value, dict):
            return self._mapping(_plain(value), opaque, depth)
        if isinstance(value, list | tuple | set | frozenset):
            return self._sequence(_plain(value), opaque, depth)
        if isinstance(value, _ATOM_CLASSES) or (
            opaque is True and isinstance(value, bytes) and find_file_header(value) is None
        ):
            return value
        return self._object(value, depth)

    def _text(self, text: str, *, opaque: bool) -> str:
        if not holds_pixels(text, opaque=opaque):
            return text
        self._drop_or_refuse(
            "a text spells a picture (base64, a data URL or similar); send it as an image block"
        )
        return NOTE

    def _mapping(self, value: dict[Any, Any], opaque: Any, depth: int) -> Any:
        self._enter(depth)
        kind = value.get("type")
        inside = _OPAQUE.get(kind, opaque) if isinstance(kind, str) else opaque
        changed: dict[Any, Any] = {}
        for key, item in value.items():
            if type(key) is not str or len(key) >= SHORTEST_SPELLING:
                if not isinstance(key, str | int | float | bool | None):
                    return self._drop_or_refuse("a key is not known to be free of pixels")
                if isinstance(key, str) and holds_pixels(key):
                    return self._drop_or_refuse("a key spells a picture")
            if type(item) in _ATOMS:
                continue
            expected = (inside.get(key) or inside.get("*")) if isinstance(inside, dict) else None
            walked = self._data(item, expected, depth + 1)
            if walked is not item:
                changed[key] = walked
        return {**value, **changed} if changed else value

    def _sequence(self, value: Any, opaque: Any, depth: int) -> Any:
        self._enter(depth)
        if numbers_spell_file(value):
            return self._drop_or_refuse("a list of numbers spells a picture")
        walked = [self._data(item, opaque if isinstance(opaque, dict) else None, depth + 1) for item in value]
        return value if all(new is old for new, old in zip(walked, value, strict=True)) else walked

    def _object(self, value: Any, depth: int) -> Any:
        """Walk the attributes of an enum, a model or a dataclass; it is kept whole or not at all."""
        self._enter(depth)
        attributes: list[Any] = []
        if isinstance(value, enum.Enum):
            attributes.append(value.value)
        elif isinstance(value, BaseModel):
            for part in (value.__dict__, value.__pydantic_extra__, value.__pydantic_private__):
                attributes.extend((part or {}).values())
        elif dataclasses.is_dataclass(value) and not isinstance(value, type):
            names = {item.name for item in dataclasses.fields(value)}.union(getattr(value, "__dict__", ()))
            attributes.extend(getattr(value, name, None) for name in sorted(names))
        else:
            return self._drop_or_refuse("there is an object that is not known to be free of pixels")
        if all(self._data(item, None, depth + 1) is item for item in attributes):
            return value
        return self._drop_or_refuse("an object holds what could not be protected")

    def _enter(self, depth: int) -> None:
        self._containers += 1
        if depth > _MAX_DEPTH or self._containers > _MAX_CONTAINERS:
            self._refuse("something is nested too deeply or too large to be searched")

    def _drop_or_refuse(self, reason: str, *, block: bool = False) -> Any:
        if not self._dropping:
            self._refuse(reason)
        return _note() if block else NOTE

    def _refuse(self, reason: str) -> NoReturn:
        raise ProtectionError(f"Nothing was sent: in message {self._place}, {reason}.")


def _plain(value: Any) -> Any:
    """Copy a container whose class iterates in its own way: some serializers read what it holds instead."""
    kind = type(value)
    if kind is dict or kind is list:
        return value
    if isinstance(value, dict):
        own = any(getattr(kind, name) is not getattr(dict, name) for name in _DICT_READERS)
        return dict(dict.items(value)) if own else value
    base: Any = next(base for base in (list, tuple, set, frozenset) if isinstance(value, base))
    return (
        base(base.__iter__(value))
        if any(getattr(kind, name) is not getattr(base, name) for name in ("__iter__", "__len__"))
        else value
    )


@functools.lru_cache(maxsize=256)
def _reads_otherwise(cls: type[BaseMessage]) -> bool:
    """Say whether a message class not of LangChain's overrides how its content is read or serialized."""
    foreign = (base for base in cls.__mro__ if not base.__module__.startswith(_MESSAGE_PACKAGES))
    return any(name in vars(base) for base in foreign for name in _MESSAGE_READERS)


def _role(block: dict[Any, Any]) -> _Role | None:
    """Look a block up by its type or, without one, by its keys: a carrier key decides, else all are data."""
    if "type" in block:
        kind = block["type"]
        return _ROLES.get(kind) if isinstance(kind, str) else None
    roles = {_TYPELESS_ROLES.get(key) for key in block}
    for role in ("picture", "document", "file"):
        if role in roles:
            return role
    return "data" if roles == {"data"} else None


def _declared_mime_type(block: Mapping[Any, Any]) -> str:
    """Return the first MIME type or format named in a carrier, in lower case; empty if there is none."""
    for key in _MIME_KEYS:
        declared = block.get(key)
        if isinstance(declared, str):
            return declared.lower()
    for value in block.values():
        if isinstance(value, Mapping) and (declared := _declared_mime_type(value)):
            return declared
    return ""


def _strict_base64(payload: str) -> bytes | None:
    """Decode base64 in either alphabet, padded or not, wrapped or not; ``None`` if it holds anything else."""
    try:
        return _decode_pieces(payload)
    except ValueError:
        plain = "".join(payload.split()).rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return _decode_pieces(plain + "=" * (-len(plain) % 4))
    except ValueError:
        return None


def _decode_pieces(payload: str) -> bytes:
    """Decode strictly and piece by piece: within one call, no other thread of the process can run.

    In one piece with pybase64 (extra ``fast``), which takes a fortieth of the time.
    """
    if pybase64 := fast_module("pybase64"):
        return bytes(pybase64.b64decode(payload, validate=True))
    if payload.find("=", 0, len(payload) - 2) >= 0:
        raise ValueError
    decoded = bytearray()
    for start in range(0, len(payload), _PIECE):
        decoded += binascii.a2b_base64(payload[start : start + _PIECE], strict_mode=True)
        time.sleep(0)
    return bytes(decoded)


def _encode_pieces(data: bytes) -> str:
    if pybase64 := fast_module("pybase64"):
        return str(pybase64.b64encode_as_string(data))
    encoded = []
    for start in range(0, len(data), _PIECE // 4 * 3):
        encoded.append(base64.b64encode(data[start : start + _PIECE // 4 * 3]).decode("ascii"))
        time.sleep(0)
    return "".join(encoded)


def _fresh_message(
    message: BaseMessage, changes: Mapping[str, Any], images: Sequence[Sequence[bytes]]
) -> BaseMessage:
    """Build a message of the same class from walked fields only; caches and private state stay behind."""
    fields = {name: value for name, value in message.__dict__.items() if name in type(message).model_fields}
    values = {**fields, **(message.__pydantic_extra__ or {}), **changes}
    return type(message).model_construct(
        _fields_set=set(message.model_fields_set),
        **{name: _fill(value, images) for name, value in values.items()},
    )


def _fill(value: Any, images: Sequence[Sequence[bytes]]) -> Any:
    """Copy lists and dicts, with fresh image blocks in place of the slots."""
    if isinstance(value, dict):
        return {key: _fill(item, images) for key, item in value.items()}
    if not isinstance(value, list):
        return value
    filled: list[Any] = []
    for item in value:
        if not isinstance(item, _Slot):
            filled.append(_fill(item, images))
        elif images[item.index]:
            filled.extend(_image_block(image) for image in images[item.index])
        else:
            filled.append(_note())
    return filled


def _image_block(image: bytes) -> dict[str, str]:
    return {"type": "image", "base64": _encode_pieces(image), "mime_type": ENCODED_MIME_TYPE}


def _note() -> dict[str, str]:
    return {"type": "text", "text": NOTE}
