"""Values of any shape, such as the state of a graph: their messages are protected, the rest must be harmless."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from langchain_core.messages import BaseMessage
from langchain_core.prompt_values import ChatPromptValue, PromptValue, StringPromptValue

from langchain_vpp.errors import ProtectionError
from langchain_vpp.guard.pool import in_text_thread
from langchain_vpp.messages.dialects import MESSAGE_ROLES
from langchain_vpp.messages.plan import NOTE
from langchain_vpp.messages.tree import Finding, TreeWalk
from langchain_vpp.messages.walk import coerce_messages

if TYPE_CHECKING:
    from langchain_core.callbacks import Callbacks

    from langchain_vpp.guard.gate import Gate


def protect_value(protector: Gate, value: Any, *, level: float | None, callbacks: Callbacks = None) -> Any:
    """Protect the messages anywhere in a value, and refuse or drop pictures anywhere else in it.

    Args:
        protector: Protects the messages.
        value: The input of a Runnable, or the output of a tool.
        level: The level that the request names, or None.
        callbacks: The callbacks of the request, if an enclosing run may have recorded the value.

    Returns:
        A copy: changes that others make to the value later don't reach it.

    Raises:
        ProtectionError: If anything can't be protected.
    """
    collection = _Collection(protector)
    copied = collection.value(value)
    admission = protector.admit(collection.messages, level=level, callbacks=callbacks)
    return _substituted(copied, collection.messages, admission.messages)


async def aprotect_value(
    protector: Gate, value: Any, *, level: float | None, callbacks: Callbacks = None
) -> Any:
    """Run :func:`protect_value` with the work in threads."""
    collection = _Collection(protector)
    copied = await in_text_thread(value, lambda: collection.value(value))
    admission = await protector.aadmit(collection.messages, level=level, callbacks=callbacks)
    return _substituted(copied, collection.messages, admission.messages)


class _Collection(TreeWalk):
    """Copies a value and collects the messages in it; everything else is judged at once.

    Prompt values and message-likes become messages.
    """

    copies = True

    def __init__(self, protector: Gate) -> None:
        super().__init__()
        self._is_dropping = protector.content_policy.on_unsupported == "drop"
        self._messages: dict[int, BaseMessage] = {}

    @property
    def messages(self) -> list[BaseMessage]:
        """The messages in the order of the walk, each object once."""
        return list(self._messages.values())

    def value(self, value: Any, opaque: Any = None, depth: int = 0) -> Any:
        if isinstance(value, BaseMessage):
            self._messages[id(value)] = value
            return value
        if isinstance(value, StringPromptValue):
            return StringPromptValue(text=super().value(value.text))
        if isinstance(value, PromptValue):
            return ChatPromptValue(messages=[self.value(message) for message in value.to_messages()])
        if _is_message_like(value):
            return self.value(coerce_messages([value])[0])
        return super().value(value, opaque, depth)

    def refuse(self, finding: Finding, value: Any) -> Any:  # noqa: ARG002  as in the base class
        if self._is_dropping and finding.kind != "deep":
            return NOTE
        raise ProtectionError(
            f"Nothing was sent: in the input, {finding.reason}. Put pictures into messages, or seal them "
            "(protector.seal)."
        )


class _Substitution(TreeWalk):
    """Replaces the messages in a copy that a :class:`_Collection` has made, and judges nothing anew."""

    def __init__(self, replacements: Mapping[int, BaseMessage]) -> None:
        super().__init__()
        self._replacements = replacements

    def value(self, value: Any, opaque: Any = None, depth: int = 0) -> Any:
        if isinstance(value, str):
            return value
        if not isinstance(value, BaseMessage):
            return super().value(value, opaque, depth)
        if id(value) not in self._replacements:
            raise ProtectionError("Nothing was sent: the input changed while it was protected.")
        return self._replacements[id(value)]

    def refuse(self, finding: Finding, value: Any) -> Any:  # noqa: ARG002  as in the base class
        raise ProtectionError(f"Nothing was sent: in the input, {finding.reason}.")


def _substituted(copied: Any, found: list[BaseMessage], admitted: list[BaseMessage]) -> Any:
    if all(new is old for new, old in zip(admitted, found, strict=True)):
        return copied
    pairs = zip(found, admitted, strict=True)
    return _Substitution({id(old): new for old, new in pairs}).value(copied)


def _is_message_like(value: Any) -> bool:
    if isinstance(value, Mapping):
        roles = (value.get("role"), value.get("type"))
        return "content" in value and any(isinstance(role, str) and role in MESSAGE_ROLES for role in roles)
    # A pair of texts needs no conversion: its texts are searched as they are.
    is_pair = isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], list)
    return is_pair and isinstance(value[0], str) and value[0] in MESSAGE_ROLES
