"""The table of block formats, of LangChain and of all providers: the file to edit when a new one appears.

A content block is a dict. Its ``type`` or, without one, its keys decide its role:

- a *picture*, a *video* or a *file* carries a payload: bytes, base64, a URL or an id;
- a *nest* or a *document* holds further blocks;
- *data* are text and structures, in which nothing may spell a picture.

A block of any other type is refused. To add a format, put its ``type`` into ``ROLES``, or the key by which it is known
into ``TYPELESS_ROLES``; for a carrier, put the key of its payload into ``INLINE_PAYLOAD_KEYS`` or ``PAYLOAD_KEYS``; and
add its shapes, with the expected outcome, to ``tests/carriers.py``.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, Final, Literal

Role = Literal["picture", "video", "file", "nest", "document", "data"]

NEST_KEYS: Final = {
    "non_standard": "value",
    "tool_result": "content",
    "computer_call_output": "output",
    "function_call_output": "output",
    "custom_tool_call_output": "output",
}
"""For each type of nest, the key under which it holds further blocks."""

ROLES: Final[dict[Any, Role]] = {
    **dict.fromkeys(
        ("image", "image_url", "input_image", "image_generation_call", "computer_screenshot"), "picture"
    ),
    **dict.fromkeys(("video", "video_url", "input_video"), "video"),
    # Pictures, PDFs and videos among these are recognised by their bytes or their MIME type; the rest is refused.
    **dict.fromkeys(("file", "input_file", "media", "inline_data", "file_data", "text-plain"), "file"),
    **dict.fromkeys(NEST_KEYS, "nest"),
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
"""Roles by the ``type`` of a block."""

TYPELESS_ROLES: Final[dict[Any, Role]] = {
    **dict.fromkeys(("image", "image_url", "imageUrl", "url"), "picture"),
    **dict.fromkeys(("video", "video_url", "videoUrl"), "video"),
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
"""Roles by the keys of a block without a ``type``: of Bedrock Converse, Gemini, and LangChain's ImagePromptValue."""

INLINE_PAYLOAD_KEYS: Final = frozenset({"base64", "data", "bytes", "result", "file_data", "fileData"})
"""Keys under which a carrier holds its payload itself, in whichever dict inside the block they stand."""

PAYLOAD_KEYS: Final = INLINE_PAYLOAD_KEYS | {
    "url", "uri", "image_url", "imageUrl", "file_url", "fileUrl", "file_uri", "fileUri", "gcs_uri", "gcsUri",
    "file_id", "fileId", "s3Location", "s3_location", "video_url", "audio_url", "path",
}  # fmt: skip
"""All keys under which a carrier holds its payload, or says where it is."""

_REFERENCE_KEYS: Final = frozenset(
    {
        "fileid", "fileids", "fileuri", "fileuris", "fileurl", "fileurls", "imagefile", "imagefileid", "inputimagemask",
        "imageuri", "imageuris", "imageurls", "mediaurl", "mediauri", "videourl", "videouri", "audiourl", "audiouri",
        "documenturl", "documenturi", "pdfurl", "gcsuri", "gcssource", "s3location", "s3uri", "s3datasource",
        "inputcontenturi", "vectorstoreid", "vectorstoreids", "libraryids", "collectionids", "cachedcontent",
    }
)  # fmt: skip
"""Keys that name a picture or a file which is stored elsewhere, in whichever mapping they stand; see :func:`_bare`."""

_HOLDER_KEY: Final = re.compile(
    r"image|img|photo|picture|video|audio|screenshot|thumb|avatar|frame|media|mask"
    r"|^(?:inlinedata|filedata|files?|documents?|pdf|attachments?|blob)$"
)
"""Keys that hold a carrier, or an address that some provider loads, in whichever mapping they stand."""

HOSTED_KEYS: Final = frozenset(
    {"file_id", "fileId", "gcs_uri", "gcsUri", "s3Location", "s3_location", "path"}
)
"""Keys of payloads that are stored elsewhere, so that they can't be protected."""

TEXT_FILE_KEYS: Final = frozenset(
    {
        "type", "text", "mime_type", "title", "context", "index", "extras", "metadata", "cache_control", "citations",
        "filename", "source_type", "id",
    }
)  # fmt: skip
"""Keys of a file that is nothing but its text."""

ASIDE_KEYS: Final = frozenset({"extras", "metadata", "cache_control", "citations", "video_metadata"})
"""Keys that no provider reads as the picture. They are not searched for payloads, and dropped with the block."""

# An address, or the id of an uploaded file.
_ADDRESS: Final = re.compile(
    r"(?i)[a-z][a-z0-9+.-]{1,20}://|data:[^\s,]{0,99},|(?:files|cachedContents)/\S|file[-_][A-Za-z0-9]{8}"
)
_PICTURE_SUFFIXES: Final = (
    ".png", ".jpg", ".jpeg", ".jfif", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".heic", ".heif", ".avif", ".mp4",
    ".mov", ".webm", ".mkv", ".mp3", ".wav",
)  # fmt: skip
_MEDIA_KIND: Final = re.compile(r"(?i)image|picture|video|audio|file|document|media")
_MEDIA_TYPES: Final = ("image/", "video/", "audio/", "application/pdf")
_CITATIONS: Final = ("_citation", "_location", "file_path")
_NONE: Final[frozenset[str]] = frozenset()
_TEXT_SOURCE: Final[dict[Any, frozenset[str]]] = {"text": frozenset({"data"})}
_TOKEN_NAME: Final = re.compile(r"(?i)signature|encrypted|redacted|ciphertext")

_DETAILS: Final = ("low", "high", "auto", "original")
_CACHE_CONTROLS: Final = (
    {"type": "ephemeral"},
    {"type": "ephemeral", "ttl": "5m"},
    {"type": "ephemeral", "ttl": "1h"},
)
_RESOLUTIONS: Final = tuple(
    f"{prefix}{level}"
    for prefix in ("MEDIA_RESOLUTION_", "media_resolution_")
    for level in ("LOW", "MEDIUM", "HIGH", "ULTRA_HIGH", "UNSPECIFIED", "low", "medium", "high", "ultra_high")
)
_PLACES: Final = frozenset({"url", "uri", "href", "src", "url_private"})
_IDS: Final = frozenset({"id", "uuid"})
_LINKS: Final = ("resource_link", "resource", "image_link")
_LONGEST_KEY: Final = 40
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
OPAQUE: Final[dict[str, _Opaque]] = {
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
"""Places of long opaque tokens that providers put into messages, by the ``type`` of the dict that holds them.

``True`` marks a value that may be long base64, or bytes. The header of a file is refused even there.
"""

OPAQUE_TYPELESS: Final[_Opaque] = {
    "reasoningContent": _BEDROCK_REASONING,
    "thought_signature": True,
    "thoughtSignature": True,
}
"""Places of opaque tokens in blocks without a ``type``; see :data:`OPAQUE`."""

OPAQUE_FIELDS: Final[_Opaque] = {
    "additional_kwargs": {"__gemini_function_call_thought_signatures__": {"*": True}},
}
"""Places of opaque tokens in the fields of a message; see :data:`OPAQUE`. An asterisk stands for all other keys."""

IDENTIFIERS: Final = frozenset({"id", "name", "type", "role", "tool_call_id", "status"})
"""Fields of a message that a note can't replace, because other messages or the provider refer to them."""

MESSAGE_ROLES: Final = frozenset(
    {"ai", "assistant", "developer", "function", "human", "remove", "system", "tool", "user"}
)
"""Roles and types of message-likes: dicts and pairs that LangChain turns into messages."""


def role_of(block: dict[Any, Any]) -> Role | None:
    """Return the role of a block, or ``None`` if its format is unknown.

    Without a ``type``, one key of a carrier or a document decides. Data are blocks with known keys only.
    """
    if "type" in block:
        kind = block["type"]
        return ROLES.get(kind) if isinstance(kind, str) else None
    roles = {TYPELESS_ROLES.get(key) for key in block}
    for role in ("picture", "video", "document", "file"):
        if role in roles:
            return role
    return "data" if roles == {"data"} else None


def is_reference(parts: Mapping[Any, Any]) -> bool:
    """Say whether a mapping inside of plain data names a picture or a file, so that a provider might load it.

    A mapping has the shape of a carrier by its ``type`` and a payload, by a ``source``, by the key of a payload, by a
    key that is its ``type``, or by an address beside a MIME type.
    Citations name files too, but no provider loads them.
    """
    kind = parts.get("type")
    kind = kind if isinstance(kind, str) else ""
    if kind.endswith(_CITATIONS):
        return False
    source = parts.get("source")
    return (
        any(_is_named_by(key, value) for key, value in parts.items() if _bare(key) is not None)
        or (
            ROLES.get(kind) in ("picture", "video", "file")
            and _has_payload(parts, PAYLOAD_KEYS | {"source", "id", "uuid"})
        )
        or (kind in ("audio", "input_audio", "url") and _has_payload(parts, PAYLOAD_KEYS))
        or (
            isinstance(source, Mapping)
            and _has_payload(source, PAYLOAD_KEYS - _TEXT_SOURCE.get(str(source.get("type")), _NONE))
        )
        or (_MEDIA_KIND.search(kind) is not None and _names_something(parts.get(kind)))
        or (_has_payload(parts, _PLACES) and (_declares_media(parts) or kind in _LINKS))
        or (bool(kind) and _has_payload(parts, _IDS) and _declares_media(parts))
        or (not kind and isinstance(parts.get("image_url", parts.get("imageUrl")), str))
    )


@functools.lru_cache(maxsize=4_096)
def _bare(key: Any) -> str | None:
    """Return a key of a reference or of a holder in lower case and without separators; ``None`` for other keys."""
    if not isinstance(key, str) or len(key) > _LONGEST_KEY:
        return None
    bare = key.lower().replace("_", "").replace("-", "")
    return bare if bare in _REFERENCE_KEYS or _HOLDER_KEY.search(bare) else None


def _is_named_by(key: Any, value: Any) -> bool:
    return _names_something(value) if _bare(key) in _REFERENCE_KEYS else _is_carrier(value)


def _declares_media(parts: Mapping[Any, Any]) -> bool:
    types = (parts.get(key) for key in (*_MIME_KEYS, "mimetype", "content_type", "contentType"))
    return any(isinstance(each, str) and each.lower().startswith(_MEDIA_TYPES) for each in types)


def is_argument(key: Any, parts: Mapping[Any, Any]) -> bool:
    """Say whether a key holds the arguments of a call, or the schema of arguments."""
    return key in ("args", "arguments", "input", "parameters", "input_schema") and "name" in parts


def opaque_part(key: Any, parts: Mapping[Any, Any], opaque: Any) -> Any:
    """Return where opaque tokens are expected in one part of a mapping; see :data:`OPAQUE`."""
    kind = parts.get("type")
    expected = OPAQUE.get(kind, opaque) if isinstance(kind, str) else opaque
    return (expected.get(key) or expected.get("*")) if isinstance(expected, dict) else None


def is_token_key(key: Any, parts: Mapping[Any, Any]) -> bool:
    """Say whether a provider names the place of an opaque token by this key, or by the type beside it."""
    if not isinstance(key, str):
        return False
    kind = parts.get("type")
    is_encrypted = isinstance(kind, str) and _TOKEN_NAME.search(kind) is not None
    return _TOKEN_NAME.search(key) is not None or (
        is_encrypted and key in ("data", "content", "text", "value")
    )


def _names_something(value: Any) -> bool:
    if isinstance(value, str):
        return bool(value)
    if isinstance(value, list | tuple):
        return any(isinstance(item, str) for item in value)
    return isinstance(value, Mapping) and _has_payload(value, PAYLOAD_KEYS)


def _has_payload(parts: Mapping[Any, Any], keys: AbstractSet[str]) -> bool:
    return any(isinstance(parts.get(key), str | bytes | Mapping) and parts[key] for key in keys)


def _is_carrier(value: Any) -> bool:
    """Say whether the value of a holder's key is a carrier or an address, or a list of these."""
    if isinstance(value, str):
        return _ADDRESS.match(value.strip()) is not None or _is_picture_path(value.strip())
    if isinstance(value, list | tuple):
        return any(_is_carrier(item) for item in value if isinstance(item, str | Mapping))
    return isinstance(value, Mapping) and (
        _has_payload(value, PAYLOAD_KEYS | {"src", "href"})
        or (_has_payload(value, _IDS) and _declares_media(value))
        or (isinstance(value.get("source"), Mapping) and _has_payload(value["source"], PAYLOAD_KEYS))
    )


def _is_picture_path(text: str) -> bool:
    path = text.partition("?")[0].partition("#")[0]
    return path.lower().endswith(_PICTURE_SUFFIXES) and not any(map(str.isspace, path[:500]))


def picture_settings(block: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the settings of a picture that hold no pixels, and that change its price or its treatment.

    Only known values pass: OpenAI's ``detail``, Anthropic's ``cache_control`` and Google's ``media_resolution``.
    """
    inner = [block.get(key) for key in ("image_url", "imageUrl", "extras", "metadata")]
    places = [block, *(each for each in inner if isinstance(each, Mapping))]
    settings: dict[str, Any] = {}
    for place in places:
        detail, cache, resolution = (
            place.get(key) for key in ("detail", "cache_control", "media_resolution")
        )
        if isinstance(detail, str) and detail in _DETAILS:
            settings.setdefault("detail", detail)
        if isinstance(cache, Mapping) and dict(cache) in _CACHE_CONTROLS:
            settings.setdefault("cache_control", dict(cache))
        if isinstance(resolution, str) and resolution in _RESOLUTIONS:
            settings.setdefault("media_resolution", resolution)
    return settings


def declared_mime_type(block: Mapping[Any, Any]) -> str:
    """Return the first MIME type or format named in a carrier, in lower case; empty if there is none."""
    return next(_declared_mime_types(block, set()), "")


def _declared_mime_types(block: Mapping[Any, Any], seen: set[int]) -> Iterator[str]:
    if id(block) in seen:
        return
    seen.add(id(block))
    yield from (block[key].lower() for key in _MIME_KEYS if isinstance(block.get(key), str))
    for value in block.values():
        if isinstance(value, Mapping):
            yield from _declared_mime_types(value, seen)
