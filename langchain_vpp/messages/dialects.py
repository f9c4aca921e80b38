"""The block formats of all providers, by their types and keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

# Nests: the key under which a block holds further blocks.
NEST_KEYS: Final = {
    "non_standard": "value",
    "tool_result": "content",
    "computer_call_output": "output",
    "function_call_output": "output",
    "custom_tool_call_output": "output",
}
Role = Literal["picture", "file", "nest", "document", "data"]
ROLES: Final[dict[Any, Role]] = {
    **dict.fromkeys(
        ("image", "image_url", "input_image", "image_generation_call", "computer_screenshot"), "picture"
    ),
    # A picture or a PDF among these is told by its bytes or its MIME type; the rest is refused.
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
# Blocks without a `type`, by one of their keys: Bedrock Converse, Gemini, and what ImagePromptValue makes.
TYPELESS_ROLES: Final[dict[Any, Role]] = {
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

# The keys under which a carrier holds its payload itself, in whatever dict inside the block they are.
INLINE_PAYLOAD_KEYS: Final = frozenset({"base64", "data", "bytes", "result", "file_data", "fileData"})
# All keys under which a carrier holds its payload, or says where it is.
PAYLOAD_KEYS: Final = INLINE_PAYLOAD_KEYS | {
    "url", "uri", "image_url", "imageUrl", "file_url", "fileUrl", "file_uri", "fileUri", "gcs_uri", "gcsUri",
    "file_id", "fileId", "s3Location", "s3_location", "video_url", "audio_url", "path",
}  # fmt: skip
# Never read as the picture by any provider; not searched for payloads, and dropped with the block.
ASIDE_KEYS: Final = frozenset({"extras", "metadata", "cache_control", "citations", "video_metadata"})
HOSTED_KEYS: Final = frozenset(
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
OPAQUE_TYPELESS: Final[_Opaque] = {
    "reasoningContent": _BEDROCK_REASONING,
    "thought_signature": True,
    "thoughtSignature": True,
}
OPAQUE_FIELDS: Final[_Opaque] = {
    "additional_kwargs": {"__gemini_function_call_thought_signatures__": {"*": True}},
}
# Can't be replaced by a note, because other messages or the provider refer to them.
IDENTIFIERS: Final = frozenset({"id", "name", "type", "role", "tool_call_id", "status"})
# Roles and types of message-likes: dicts and pairs that LangChain turns into messages.
MESSAGE_ROLES: Final = frozenset(
    {"ai", "assistant", "developer", "function", "human", "remove", "system", "tool", "user"}
)


def role_of(block: dict[Any, Any]) -> Role | None:
    """Look a block up by its type or, without one, by its keys: a carrier key decides, else all are data."""
    if "type" in block:
        kind = block["type"]
        return ROLES.get(kind) if isinstance(kind, str) else None
    roles = {TYPELESS_ROLES.get(key) for key in block}
    for role in ("picture", "document", "file"):
        if role in roles:
            return role
    return "data" if roles == {"data"} else None


def declared_mime_type(block: Mapping[Any, Any]) -> str:
    """Return the first MIME type or format named in a carrier, in lower case; empty if there is none."""
    for key in _MIME_KEYS:
        declared = block.get(key)
        if isinstance(declared, str):
            return declared.lower()
    for value in block.values():
        if isinstance(value, Mapping) and (declared := declared_mime_type(value)):
            return declared
    return ""
