"""Requests of decision models, such as routers and classifiers: text, messages or structures, and typed questions.

Content blocks may stand anywhere in the state, and in the instructions of a question. The provider gets the picture
from there, so it is protected there.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from langchain_core.messages import HumanMessage
from pydantic import BaseModel

from langchain_vpp.guard.pool import in_thread
from langchain_vpp.messages.dialects import PAYLOAD_KEYS, role_of
from langchain_vpp.messages.tree import find_media
from langchain_vpp.runnables.in_place import InPlaceProtection

if TYPE_CHECKING:
    from langchain_core.callbacks import Callbacks

    from langchain_vpp.guard.gate import Gate
    from langchain_vpp.guard.level import RequestLevel
    from langchain_vpp.messages.registry import Shape

_SUBJECTS: Final = ("state", "input")
_CARRIERS: Final = ("picture", "video", "file", "document")


def is_decision_model(part: Any) -> bool:
    """Say whether a Runnable by itself, not a composition, takes typed questions."""
    if not isinstance(part, BaseModel) or type(part).__module__.startswith("langchain_core.runnables."):
        return False
    with contextlib.suppress(Exception):  # a class from elsewhere says what it takes
        return "questions" in getattr(getattr(part, "InputType", None), "__annotations__", {})
    return False


def is_decision_request(value: Any) -> bool:
    """Say whether a value is the input of a decision model: something to judge, and a mapping of typed questions."""
    questions = value.get("questions") if isinstance(value, Mapping) else None
    return (
        isinstance(questions, Mapping)
        and any(key in value for key in _SUBJECTS)
        and all(
            isinstance(question, BaseModel) and hasattr(question, "type") for question in questions.values()
        )
    )


def protect_request(
    protector: Gate,
    request: Any,
    *,
    level: RequestLevel | None,
    callbacks: Callbacks = None,
    conversation: str | None = None,
) -> Any:
    """Protect the pictures of a decision request where they stand.

    Args:
        protector: Protects the pictures.
        request: The input of a decision model.
        level: The level that the request names, or None.
        callbacks: The callbacks of the request, if an enclosing run may have recorded it.
        conversation: Name of the conversation that names private values.

    Returns:
        A copy of the request.

    Raises:
        ProtectionError: If anything can't be protected: a picture by URL or id, or outside of a message or block.
    """
    place = "the request of a decision model"
    return _RequestProtection(protector, place, level, callbacks, conversation).value(request)


async def aprotect_request(
    protector: Gate,
    request: Any,
    *,
    level: RequestLevel | None,
    callbacks: Callbacks = None,
    conversation: str | None = None,
) -> Any:
    """Run :func:`protect_request` in a thread."""
    options: dict[str, Any] = {"level": level, "callbacks": callbacks, "conversation": conversation}
    return await in_thread(lambda: protect_request(protector, request, **options))


class _RequestProtection(InPlaceProtection):
    """Judges content blocks as those of a message, because the provider fetches what they refer to."""

    copies = True

    def keyed(self, value: Any, parts: dict[Any, Any], shape: Shape, opaque: Any, depth: int) -> Any:
        if "type" not in parts or role_of(parts) not in _CARRIERS or not _names_payload(parts):
            return super().keyed(value, parts, shape, opaque, depth)
        content: Any = self.admitted(HumanMessage([dict(parts)])).content
        if len(content) == 1 and content[0].get("type") == "image" and find_media(parts) is not None:
            # The picture is inline, and allowed: it keeps the dialect of its block.
            return super().keyed(value, parts, shape, opaque, depth)
        return content[0] if len(content) == 1 else content


def _names_payload(parts: Mapping[Any, Any]) -> bool:
    return any(
        key in PAYLOAD_KEYS or (isinstance(item, Mapping) and _names_payload(item))
        for key, item in parts.items()
    )
