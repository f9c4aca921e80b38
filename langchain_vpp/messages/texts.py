"""Texts in messages and values, wherever they stand, rewritten by a function."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from langchain_core.messages import BaseMessage

from langchain_vpp.errors import ProtectionError
from langchain_vpp.messages.dialects import is_argument, is_token_key, opaque_part
from langchain_vpp.messages.tree import Finding, TreeWalk

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_vpp.messages.registry import Shape

_JSON_KEYS: Final = frozenset({"args", "arguments", "partial_json"})
"""Keys of arguments as a model writes them: JSON, or a piece of it."""
_ROUTING: Final = frozenset({"type", "role", "status"})
_CALLED: Final = frozenset({"name", "type", "index"})
"""Keys of a call by which the program finds what is called."""
_FIELDS: Final = frozenset({"id", "type", "role", "status", "usage_metadata", "chunk_position"})
"""Fields of a message that say nothing."""
_PUT_OUT: Final = re.compile(r"(?:data:image/jpeg;base64,)?/9j/[A-Za-z0-9+/]{60,}={0,2}")
_FIELD_NAME: Final = re.compile(r"[a-z_][A-Za-z0-9_]*", re.ASCII)
_OPAQUE: Final = re.compile(r"[A-Za-z0-9+/_=-]{24,}")


class TextWalk(TreeWalk):
    """Rewrites the texts and the keys of values and messages, and changes nothing else.

    Protected pictures, opaque tokens of providers and the names of tools stay as they are.

    Args:
        rewrite: Returns what stands for a text. Its second argument says whether the text is JSON for certain.
        is_lenient: Whether what can't be searched to its end, or not be built again, stays as it is.
    """

    judges = False

    def __init__(self, rewrite: Callable[[str, bool], str], *, is_lenient: bool = False) -> None:
        super().__init__()
        self._is_lenient = is_lenient
        self.passes_unknown = True
        self._rewrite = rewrite

    def value(self, value: Any, opaque: Any = None, depth: int = 0) -> Any:
        """See :meth:`TreeWalk.value`. Messages are rewritten, too."""
        if isinstance(value, str):
            return self.text(value, opaque)
        if isinstance(value, BaseMessage):
            return self.message(value, depth)
        return super().value(value, opaque, depth)

    def message(self, message: BaseMessage, depth: int = 0) -> BaseMessage:
        """Return a message with its texts rewritten; the message itself if none of them changes."""
        changed: dict[str, dict[str, Any]] = {}
        for held in ("__dict__", "__pydantic_extra__"):
            fields = getattr(message, held) or {}
            walked = {
                name: item if name in _FIELDS else self.value(item, None, depth + 1)
                for name, item in fields.items()
            }
            if any(walked[name] is not item for name, item in fields.items()):
                changed[held] = walked
        if not changed:
            return message
        clone = type(message).__new__(type(message))
        for held in ("__dict__", "__pydantic_extra__", "__pydantic_private__", "__pydantic_fields_set__"):
            kept = getattr(message, held)
            object.__setattr__(clone, held, changed.get(held, kept.copy() if kept else kept))
        return clone

    def text(self, text: str, opaque: Any = None, *, is_json: bool = False) -> str:
        """Return what stands for a text."""
        if _PUT_OUT.fullmatch(text) or (opaque is True and _OPAQUE.fullmatch(text)):
            return text
        rewritten = self._rewrite(text, is_json)
        return text if rewritten == text else rewritten

    def keyed(self, value: Any, parts: dict[Any, Any], shape: Shape, opaque: Any, depth: int) -> Any:
        """See :meth:`TreeWalk.keyed`. Keys that are no names of fields are texts, too."""
        renamed = {key: self._key(key) for key in parts} if isinstance(value, dict) else {}
        if all(new is key for key, new in renamed.items()):
            return super().keyed(value, parts, shape, opaque, depth)
        walked = super().keyed(value, parts, shape, opaque, depth)
        return self._rebuilt(
            value, {renamed.get(key, key): item for key, item in walked.items()}, shape, is_changed=True
        )

    def refuse(self, finding: Finding, value: Any) -> Any:
        """See :meth:`TreeWalk.refuse`."""
        if finding.kind in ("deep", "whole") and not self._is_lenient:
            raise ProtectionError(f"Nothing was sent: in text that may hold hidden values, {finding.reason}.")
        return value

    def _part(self, key: Any, item: Any, parts: dict[Any, Any], opaque: Any, depth: int) -> Any:
        if not isinstance(item, str):
            return super()._part(key, item, parts, opaque, depth)
        if key in _ROUTING or (key in _CALLED and any(is_argument(each, parts) for each in parts)):
            return item
        is_opaque = opaque_part(key, parts, opaque) is True or is_token_key(key, parts)
        return self.text(item, is_opaque, is_json=key in _JSON_KEYS or is_argument(key, parts))

    def _key(self, key: Any) -> Any:
        if not isinstance(key, str) or _FIELD_NAME.fullmatch(key):
            return key
        return self.text(key)
