"""The walk over messages: finds every picture, and refuses unknown content.

The walk is an allow-list over the *raw* message: content in the dialect of any provider, tool calls, metadata,
artifacts, names, extra fields. Blocks of content are judged by their role (see
:mod:`langchain_vpp.messages.dialects`), everything else by the registry of values (see
:mod:`langchain_vpp.messages.tree`).

Nothing acts on a half-walked message: :func:`plan_messages` collects, :meth:`MessagePlan.rebuild` acts.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final, NoReturn

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from langchain_vpp.errors import ProtectionError
from langchain_vpp.images.video import video_format
from langchain_vpp.messages.base64 import opened, sealed_reference
from langchain_vpp.messages.dialects import (
    ASIDE_KEYS,
    HOSTED_KEYS,
    IDENTIFIERS,
    NEST_KEYS,
    OPAQUE_FIELDS,
    OPAQUE_TYPELESS,
    PAYLOAD_KEYS,
    TEXT_FILE_KEYS,
    Role,
    declared_mime_type,
    picture_settings,
    role_of,
)
from langchain_vpp.messages.file_headers import SHORTEST_WIDE, find_file_header
from langchain_vpp.messages.plan import (
    NOTE,
    ContentPolicy,
    MessagePlan,
    PixelSource,
    PlannedMessage,
    Slot,
    copied,
    note,
)
from langchain_vpp.messages.registry import computed_fields, plain
from langchain_vpp.messages.shielded import shielded
from langchain_vpp.messages.spelled import examined, holds_pixels
from langchain_vpp.messages.tree import MAX_DEPTH, Finding, TreeWalk
from langchain_vpp.messages.volume import Tally

_EMPTIABLE: Final = frozenset({str, list, dict})
_MESSAGE_READERS: Final = frozenset(
    {
        "__getattr__", "__getattribute__", "__iter__", "additional_kwargs", "content", "content_blocks",
        "dict", "json", "model_dump", "model_dump_json", "response_metadata", "text", "to_json", "tool_calls",
    }
)  # fmt: skip
_MESSAGE_PACKAGES: Final = frozenset({"langchain_core", "pydantic", "typing", "builtins", "abc"})
MAX_BLOCKS: Final = 20_000
"""Most content blocks of a message, however they are nested."""


@shielded("the search of the messages")
def plan_messages(
    messages: Sequence[BaseMessage], policy: ContentPolicy, *, places: Sequence[int] | None = None
) -> MessagePlan:
    """Walk everything in every message, and list the pictures to protect.

    Args:
        messages: Messages of a request.
        policy: Reactions to content that is not simply a picture.
        places: For errors, the places of ``messages`` in the request; by default all from 0 on.

    Raises:
        ProtectionError: If anything is neither known to be free of pixels nor a picture that the policy
            allows. The error names the place of the message, and quotes no content.
    """
    walk = _Walk(policy)
    numbered = enumerate(messages) if places is None else zip(places, messages, strict=True)
    planned = [walk.message(place, message) for place, message in numbered]
    return MessagePlan(planned, walk.sources, droppable=policy.on_unsupported == "drop", dropped=walk.dropped)


@shielded("reading the input")
def coerce_messages(value: Any) -> list[BaseMessage]:
    """Turn any input of a chat model into messages.

    Args:
        value: A string, a prompt value, a message, or a sequence of messages and message-likes.

    Raises:
        ProtectionError: If it is none of these. LangChain's own error would quote the input.
    """
    if isinstance(value, str):
        return [HumanMessage(value)]
    if isinstance(value, BaseMessage):
        return [value]
    if isinstance(value, list | tuple) and all(isinstance(message, BaseMessage) for message in value):
        return list(value)
    # These load every class of message, which a list of messages can do without.
    from langchain_core.messages import convert_to_messages  # noqa: PLC0415
    from langchain_core.prompt_values import PromptValue  # noqa: PLC0415

    if isinstance(value, PromptValue) or (
        isinstance(value, Sequence) and not isinstance(value, bytes | bytearray)
    ):
        try:
            return value.to_messages() if isinstance(value, PromptValue) else convert_to_messages(value)
        except Exception:  # noqa: BLE001, S110  it quotes the input; another is raised below, without it as context
            pass
    raise ProtectionError(
        "The input was not sent: it is not a string, a prompt value, a message or a list of messages."
    )


class _Walk(TreeWalk):
    """Walks messages one after the other. Methods return their argument itself where nothing has to change."""

    def __init__(self, policy: ContentPolicy) -> None:
        super().__init__()
        self.sources: list[PixelSource] = []
        self.dropped = False
        self._policy = policy
        self._dropping = policy.on_unsupported == "drop"
        self._place = 0
        self.blocks = 0

    def message(self, place: int, message: BaseMessage) -> PlannedMessage:
        """Walk all fields of one message."""
        self._place = place
        self.containers = self.blocks = 0
        self.tally = Tally()
        self._visited = {}
        # Only what a model has said comes with tokens that its provider wants back.
        self.knows_token_keys = isinstance(message, AIMessage)
        first = len(self.sources)
        fields = self._fields(message)
        changes: dict[str, Any] = {}
        for name, value in fields.items():
            kind = type(value)
            if value is None or (kind in _EMPTIABLE and not value):
                continue
            # What providers get; metadata and artifacts stay here.
            self.passes_references = name not in ("content", "additional_kwargs")
            walked = self._content(message, value) if name == "content" else self._field(name, value)
            if walked is not value:
                changes[name] = walked
        if self.tally.exceeds_budget(examined):
            self._refuse(Finding("volume", "").reason)
        # A copy, because protecting pictures takes time in which others could change what was walked.
        kept = copied({**fields, **changes}) if changes else None
        return PlannedMessage(message, kept, range(first, len(self.sources)))

    def _fields(self, message: BaseMessage) -> dict[str, Any]:
        """Return everything that a message holds under a name, and refuse what can't be read that way."""
        if not isinstance(message, BaseMessage):
            self._refuse("there is no message")
        if _reads_otherwise(type(message)):
            self._refuse("a message is of a class that may show other content than it holds")
        private = message.__pydantic_private__
        if private and not self.is_clean(private, 0):
            self._refuse("a private attribute holds what could not be protected")
        if type(message).__pydantic_computed_fields__ and not self.is_clean(computed_fields(message), 0):
            self._refuse("a computed field holds what could not be protected")
        extra = message.__pydantic_extra__
        if not extra:
            return {**message.__dict__}
        if any(holds_pixels(name) for name in extra):
            self._refuse("the name of a field spells a picture")
        return {**message.__dict__, **extra}

    def _field(self, name: str, value: Any) -> Any:
        if name in IDENTIFIERS and isinstance(value, str):
            if len(value) >= SHORTEST_WIDE and holds_pixels(value):
                self._refuse("a name or an id spells a picture")
            return value
        return self.value(value, OPAQUE_FIELDS.get(name))

    # Content is text, or a list of blocks in which a slot takes the place of each carrier.

    def _content(self, message: BaseMessage, content: Any) -> Any:
        if isinstance(content, list):
            return self._items(content, 0)
        if isinstance(content, str):
            # ChatOpenAI sends the text of a tool message with this mark as the URL of a screenshot.
            if (
                isinstance(message, ToolMessage)
                and message.additional_kwargs.get("type") == "computer_call_output"
            ):
                return self._items([{"type": "input_image", "image_url": content}], 0)
            return self.value(content)
        return self._refuse(
            "the content is neither text nor a list of blocks; image_block(path) makes a block of a picture"
        )

    def _items(self, items: list[Any], depth: int) -> list[Any]:
        walked: list[Any] = []
        items = plain(items)
        for item in items:
            if isinstance(item, dict):
                walked.extend(self._block(item, depth + 1))
            elif isinstance(item, str):
                walked.append(self.value(item))
            else:
                self._drop_or_refuse("a content block is neither text nor a dict")
                walked.append(note())
        unchanged = len(walked) == len(items) and all(
            new is old for new, old in zip(walked, items, strict=True)
        )
        return items if unchanged else walked

    def _block(self, block: dict[Any, Any], depth: int) -> list[Any]:
        """Return the items in the place of ``block``: the block itself, other blocks, or slots."""
        if not self._dropping:
            return self._walk_block(block, depth)
        first = len(self.sources)
        with contextlib.suppress(ProtectionError):
            return self._walk_block(block, depth)
        del self.sources[first:]
        self.dropped = True
        return [note()]

    def _walk_block(self, block: dict[Any, Any], depth: int) -> list[Any]:
        self.blocks += 1
        if depth > MAX_DEPTH or self.blocks > MAX_BLOCKS:
            self._refuse(Finding("deep", "").reason)
        block = plain(block)
        role = role_of(block)
        if role == "data":
            return [self.value(block, None if "type" in block else OPAQUE_TYPELESS, depth)]
        if role == "nest":
            return self._nest(block, NEST_KEYS[block["type"]], depth)
        if role == "document":
            return self._document(block, depth)
        if role is None:
            self._refuse(
                "a content block is of a type that is not known to be free of pixels; remove it, or set "
                'on_unsupported="drop" to leave such blocks out'
            )
        return self._carrier(block, role, depth)

    def _nest(self, block: dict[Any, Any], key: str, depth: int) -> list[Any]:
        inner = block.get(key)
        kind = block["type"]
        rest = {name: value for name, value in block.items() if name != key}
        walked_rest = self.value(rest, None, depth)
        if not isinstance(walked_rest, dict):
            self._refuse("a block holds what could not be protected")
        if isinstance(inner, list) and kind != "non_standard":
            walked = self._items(inner, depth)
        elif isinstance(inner, dict):
            items = self._block(inner, depth + 1)
            walked = inner if len(items) == 1 and items[0] is inner else items
        elif isinstance(inner, str) and kind == "computer_call_output":
            return self._carrier({"image_url": inner}, "picture", depth)
        else:
            walked = self.value(inner, None, depth)
        if walked is inner and walked_rest is rest:
            return [block]
        if kind == "tool_result" or not isinstance(walked, list):
            return [{**walked_rest, key: walked}]
        # No provider package converts pictures inside other nests, so they take the place of the nest.
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
            # No provider package converts blocks inside a document, so blocks with pictures take its place.
            return [self.value(block, None, depth)] if walked is nested else list(walked)
        is_text = source.get("type") == "text" or source.keys() == {"text"}
        if (
            is_text
            and source.keys() <= {"type", "media_type", "data", "text"}
            and not self._payloads(outside, 0)
        ):
            return [self.value(block, None, depth)]
        return self._carrier(block, "document", depth)

    # Carriers.

    def _carrier(self, block: dict[Any, Any], role: Role, depth: int) -> list[Any]:
        payloads = self._payloads(block, 0)
        if not payloads and role in ("file", "document") and isinstance(block.get("text"), str):
            return [self._text_file(block, depth)]
        if not payloads:
            self._refuse(
                "a picture or file has no payload that could be read; image_block(path) makes a whole block"
            )
        if len(payloads) > 1:
            self._refuse("a picture or file has several payloads, and providers differ in which they read")
        key, payload = payloads[0]
        if key in HOSTED_KEYS:
            self._refuse("a picture or file is stored elsewhere (an id, a bucket or a path); send its bytes")
        source = self._source(payload, role, declared_mime_type(block))
        self.sources.append(source)
        settings = picture_settings(block)
        is_openai = "detail" in settings or (bool(settings) and "image_url" in block)
        return [Slot(len(self.sources) - 1, settings, in_openai_shape=is_openai)]

    def _text_file(self, block: dict[Any, Any], depth: int) -> Any:
        """Walk a file that is given as its text, and refuse one that is anything else beside it."""
        own_id = block.get("id", "lc_")
        if (
            not block.keys() <= TEXT_FILE_KEYS
            or block.get("source_type", "text") != "text"
            or not (isinstance(own_id, str) and own_id.startswith("lc_"))
        ):
            self._refuse("a file has a text, and something beside it that a provider could load instead")
        rest = {key: value for key, value in block.items() if key != "id"}
        walked = self.value(rest, None, depth)
        return block if walked is rest else walked

    def _payloads(
        self, block: Mapping[Any, Any], depth: int, seen: set[int] | None = None
    ) -> list[tuple[str, Any]]:
        """List the payloads of a carrier, in whichever dict inside it they stand, with the names of their keys."""
        seen = set() if seen is None else seen
        if depth > MAX_DEPTH or id(block) in seen:
            self._refuse("a picture or file is nested too deeply, or a part of it stands in it twice")
        seen.add(id(block))
        payloads: list[tuple[str, Any]] = []
        for key, value in block.items():
            if key in ASIDE_KEYS or value is None:
                continue
            if isinstance(value, Mapping) and key not in HOSTED_KEYS:
                payloads.extend(self._payloads(value, depth + 1, seen))
            elif key in PAYLOAD_KEYS and not (isinstance(value, str | bytes) and not value):
                payloads.append((key, value))
        return payloads

    def _source(self, payload: Any, role: Role, mime_type: str) -> PixelSource:
        if isinstance(payload, str):
            reference = payload.strip()
            scheme = reference[:8].lower()
            if scheme.startswith(("http://", "https://")):
                return self._remote_source(reference, role, mime_type)
            handle = sealed_reference(reference)
            if handle is not None:
                return PixelSource("sealed", reference=handle)
            # Strictly: junk that a lenient decoder would skip is refused.
            data = opened(reference).data or b""
            if not data:
                self._refuse(
                    "a picture or file is neither valid base64 nor a URL that can be read; image_block(path) makes a "
                    "valid block of a file"
                )
        elif isinstance(payload, bytes | bytearray | memoryview):
            data = bytes(payload)
        else:
            self._refuse("the payload of a picture or file is neither text nor bytes")
        return self._file_source(data, role, mime_type)

    def _file_source(self, data: bytes, role: Role, mime_type: str) -> PixelSource:
        if mime_type.startswith("audio/"):
            self._refuse("audio can't be protected here; send its text")
        if role == "video" or mime_type.startswith("video/") or video_format(data) is not None:
            if self._policy.on_video == "raise":
                self._refuse(
                    'a video can\'t be sent as it is; set on_video="sample" to send frames of it, or "encode" to '
                    "send a protected film"
                )
            return PixelSource("film" if self._policy.on_video == "encode" else "video", data=data)
        if data.startswith(b"%PDF-"):
            if self._policy.on_document != "rasterize":
                self._refuse('a PDF can\'t be sent as it is; set on_document="rasterize" to send its pages')
            return PixelSource("document", data=data)
        if role == "picture" or mime_type.startswith("image/") or find_file_header(data) == 0:
            return PixelSource("image", data=data)
        return self._refuse(
            "a document of this kind can't be protected; send its text, or pictures of its pages"
        )

    def _remote_source(self, url: str, role: Role, mime_type: str) -> PixelSource:
        if self._policy.on_remote_url != "fetch":
            self._refuse('a picture is given by URL; send its bytes, or set on_remote_url="fetch"')
        if role == "video":
            self._refuse("a video is given by URL; send its bytes")
        if role != "picture" and not mime_type.startswith("image/"):
            self._refuse("a document is given by URL; send its bytes")
        return PixelSource("url", reference=url)

    # Reactions.

    def refuse(self, finding: Finding, value: Any) -> Any:  # noqa: ARG002  as in the base class
        if finding.kind == "deep":
            self._refuse(finding.reason)
        return self._drop_or_refuse(finding.reason)

    def _drop_or_refuse(self, reason: str) -> str:
        if not self._dropping:
            self._refuse(reason)
        self.dropped = True
        return NOTE

    def _refuse(self, reason: str) -> NoReturn:
        raise ProtectionError(f"Nothing was sent: in message {self._place}, {reason}.")


@functools.lru_cache(maxsize=256)
def _reads_otherwise(cls: type[BaseMessage]) -> bool:
    """Say whether a class from outside of LangChain overrides how the content of a message is read or serialized."""
    foreign = (base for base in cls.__mro__ if not _is_known(base))
    return any(name in vars(base) for base in foreign for name in _MESSAGE_READERS)


def _is_known(cls: type) -> bool:
    """Say whether a class is one of LangChain's, of pydantic's or of Python's, and not one that only says so."""
    package = cls.__module__.partition(".")[0]
    found: Any = sys.modules.get(cls.__module__)
    for name in cls.__qualname__.split("."):
        found = getattr(found, name, None)
    return package in _MESSAGE_PACKAGES and found is cls
