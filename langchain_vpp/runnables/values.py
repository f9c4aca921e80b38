"""Values of any shape, such as the state of a graph: messages are protected, other pictures sealed or refused.

A picture outside of a message (bytes, base64 or a data URL in a variable of a prompt, a PIL image) can't be protected
in its place: code further down may need the original. In the input of a chain it is sealed: a ``vpp://`` handle stands
for it in runs, traces and checkpoints, until a chat model gets the protected picture, or a function the original.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.prompt_values import ChatPromptValue, PromptValue, StringPromptValue

from langchain_vpp.errors import ProtectionError
from langchain_vpp.guard.admitted import State, message_state
from langchain_vpp.guard.conversations import conversation_of, hidden_in, restored_in
from langchain_vpp.guard.pool import in_text_thread
from langchain_vpp.messages.dialects import MESSAGE_ROLES
from langchain_vpp.messages.failures import error_holds_media
from langchain_vpp.messages.plan import NOTE
from langchain_vpp.messages.shielded import shielded
from langchain_vpp.messages.tree import Finding, TreeWalk
from langchain_vpp.messages.walk import coerce_messages
from langchain_vpp.runnables.decisions import aprotect_request, is_decision_request, protect_request

if TYPE_CHECKING:
    from langchain_core.callbacks import Callbacks

    from langchain_vpp.guard.gate import Gate
    from langchain_vpp.guard.level import RequestLevel

_LONGEST_NAME: Final = 40


class Reading(NamedTuple):
    """Reactions to what a value holds beside messages.

    Attributes:
        pictures: Seal pictures outside of messages and refuse everything else that can't be searched; refuse all of it;
            or keep it all out of runs, as the output of a function needs it.
        answers: States of a model's answers that pass as they are: a picture that a model drew is no original.
    """

    pictures: Literal["seal", "refuse", "hold"] = "refuse"
    answers: frozenset[State] = frozenset()


INPUT: Final = Reading(pictures="seal")
"""Reading of the input of a chain or a graph."""

_STRICT: Final = Reading()


def protect_value(
    protector: Gate,
    value: Any,
    *,
    level: RequestLevel | None,
    callbacks: Callbacks = None,
    conversation: str | None = None,
    reading: Reading = _STRICT,
) -> Any:
    """Protect the messages anywhere in a value, and seal, refuse or drop pictures anywhere else in it.

    What the conversation hides becomes tokens in all texts of the value.

    Args:
        protector: Protects the messages.
        value: The input of a Runnable, or the output of a function or a tool.
        level: The level that the request names, or None.
        callbacks: The callbacks of the request, if an enclosing run may have recorded the value.
        conversation: Name of the conversation. Default: that of the enclosing run, or else one of this value.
        reading: Reactions to everything that is no message.

    Returns:
        A copy: changes that others make to the value later don't reach it.

    Raises:
        ProtectionError: If anything can't be protected.
    """
    opened = protector.conversations.open(conversation or conversation_of(None))
    options: dict[str, Any] = {"level": level, "callbacks": callbacks, "conversation": opened.name}
    if is_decision_request(value):
        return hidden_in(protect_request(protector, value, **options), opened.vault)
    collection = _Collection(protector, reading)
    copied = _told(protector, collection.collected(value), callbacks)
    admission = protector.admit(collection.messages, exposed=collection.exposed, **options)
    return hidden_in(collection.filled(copied, admission.messages), opened.vault)


async def aprotect_value(
    protector: Gate,
    value: Any,
    *,
    level: RequestLevel | None,
    callbacks: Callbacks = None,
    conversation: str | None = None,
    reading: Reading = _STRICT,
) -> Any:
    """Run :func:`protect_value` with the work in threads."""
    opened = await protector.conversations.aopen(conversation or conversation_of(None))
    options: dict[str, Any] = {"level": level, "callbacks": callbacks, "conversation": opened.name}
    if is_decision_request(value):
        return hidden_in(await aprotect_request(protector, value, **options), opened.vault)
    collection = _Collection(protector, reading)
    copied = _told(protector, await in_text_thread(value, lambda: collection.collected(value)), callbacks)
    admission = await protector.aadmit(collection.messages, exposed=collection.exposed, **options)
    filled = collection.filled(copied, admission.messages)
    if opened.vault.is_empty:
        return filled
    return await in_text_thread(filled, lambda: hidden_in(filled, opened.vault))


def unseal_value(protector: Gate, value: Any) -> tuple[Any, Reading]:
    """Put back what was sealed or hidden on its way, for a function.

    Args:
        protector: The gate that sealed it.
        value: The input of a function, as its run has recorded it. It is not changed.

    Returns:
        The value with originals in the place of their handles, and the reading of what the function returns.
    """
    walk = _Unsealing(protector, made_only=False)
    vault = protector.conversations.current().vault
    unsealed = restored_in(walk.value(value), vault)
    answers = [each for answer in walk.answers for each in (answer, restored_in(answer, vault))]
    states = frozenset(state for message in answers if (state := message_state(message)) is not None)
    return unsealed, Reading("hold", states)


def release_value(protector: Gate, value: Any) -> Any:
    """Put back what functions inside of a chain have made, for the caller of the chain.

    What the caller gave stays sealed.
    """
    return _Unsealing(protector, made_only=True).value(value)


class _Collection(TreeWalk):
    """Copies a value and collects the messages in it; everything else is judged at once.

    Prompt values and message-likes become messages.
    """

    copies = True

    def __init__(self, protector: Gate, reading: Reading) -> None:
        super().__init__()
        self.exposed = False
        self.passes_unknown = reading.pictures == "hold"
        self._protector = protector
        self._reading = reading
        self._is_dropping = protector.content_policy.on_unsupported == "drop"
        self._messages: dict[int, BaseMessage] = {}
        self._passing: dict[int, BaseMessage] = {}
        self._variable = ""

    @property
    def messages(self) -> list[BaseMessage]:
        """The messages in the order of the walk, each object once."""
        return list(self._messages.values())

    @shielded("reading the input")
    def collected(self, value: Any) -> Any:
        """Return the copy of a value; or the error that refuses it, to be raised with no other as its context."""
        try:
            if type(value) is not dict or _is_message_like(value):
                return self.counted(value, self.value(value))
            # Each variable by itself, so that an error can name it.
            copied = {}
            for name, item in value.items():
                self._variable = name if _is_name(name) else ""
                copied.update(self.value({name: item}))
            return self.counted(value, copied)
        except ProtectionError as error:
            return error

    def filled(self, copied: Any, admitted: list[BaseMessage]) -> Any:
        """Put admitted messages into the copy, in the place of those that were collected."""
        if all(new is old for new, old in zip(admitted, self.messages, strict=True)):
            return copied
        replacements = dict(zip(self._messages, admitted, strict=True))
        return _Substitution({**self._passing, **replacements}, is_lenient=self.passes_unknown).value(copied)

    def value(self, value: Any, opaque: Any = None, depth: int = 0) -> Any:
        if isinstance(value, BaseMessage):
            is_answer = self._reading.answers and message_state(value) in self._reading.answers
            (self._passing if is_answer else self._messages)[id(value)] = value
            return value
        if isinstance(value, StringPromptValue):
            return StringPromptValue(text=super().value(value.text))
        if isinstance(value, PromptValue):
            return ChatPromptValue(messages=[self.value(message) for message in value.to_messages()])
        if _is_message_like(value):
            return self.value(coerce_messages([value])[0])
        return super().value(value, opaque, depth)

    def refuse(self, finding: Finding, value: Any) -> Any:
        if self.passes_unknown:
            is_kept = finding.kind == "unknown" or isinstance(value, Iterator | AsyncIterator)
            return value if is_kept else self._protector.sealing.hold(value)
        if isinstance(value, BaseException) and not error_holds_media(value):
            return value  # of a step that failed, as fallbacks get it (exception_key)
        self.exposed = True
        handle = self._protector.sealing.seal_value(value) if self._reading.pictures == "seal" else None
        if handle is not None and finding.kind in ("text", "bytes", "media"):
            return handle
        if self._is_dropping and finding.kind != "deep":
            return NOTE
        where = f" (variable {self._variable})" if self._variable else ""
        raise ProtectionError(
            f"Nothing was sent: in the input{where}, {finding.reason}. Put pictures into messages, seal them "
            "(protector.seal), or give a chain each one alone, as bytes, base64 or a data URL: it is then sealed."
        )


class _Substitution(TreeWalk):
    """Replaces the messages in a copy that a :class:`_Collection` has made, and judges nothing anew."""

    def __init__(self, replacements: Mapping[int, BaseMessage], *, is_lenient: bool) -> None:
        super().__init__()
        self.passes_unknown = is_lenient
        self._replacements = replacements

    def value(self, value: Any, opaque: Any = None, depth: int = 0) -> Any:
        if isinstance(value, str):
            return value
        if not isinstance(value, BaseMessage):
            return super().value(value, opaque, depth)
        if id(value) not in self._replacements:
            raise ProtectionError("Nothing was sent: the input changed while it was protected.")
        return self._replacements[id(value)]

    def refuse(self, finding: Finding, value: Any) -> Any:
        if finding.kind in ("unknown", "media") and self.passes_unknown:
            return value
        if isinstance(value, BaseException):
            return value  # which the collection has read
        raise ProtectionError(f"Nothing was sent: in the input, {finding.reason}.")


class _Unsealing(TreeWalk):
    """Replaces handles by the values that they stand for, and collects a model's answers without a look into them."""

    def __init__(self, protector: Gate, *, made_only: bool) -> None:
        super().__init__()
        self.passes_unknown = True
        self.answers: list[AIMessage] = []
        self._protector = protector
        self._made_only = made_only

    def value(self, value: Any, opaque: Any = None, depth: int = 0) -> Any:
        if isinstance(value, str):
            held = self._protector.sealing.held(value)
            return value if held is None or (self._made_only and held.is_given) else held.value
        if isinstance(value, BaseMessage):
            if isinstance(value, AIMessage):
                self.answers.append(value)
            return value
        return super().value(value, opaque, depth)

    def refuse(self, finding: Finding, value: Any) -> Any:  # noqa: ARG002  as in the base class
        return value


def _told(protector: Gate, collected: Any, callbacks: Callbacks) -> Any:
    if isinstance(collected, ProtectionError):
        protector.upstream.refuse(collected, callbacks)
    return collected


def _is_message_like(value: Any) -> bool:
    if isinstance(value, Mapping):
        roles = (value.get("role"), value.get("type"))
        return "content" in value and any(isinstance(role, str) and role in MESSAGE_ROLES for role in roles)
    # A pair of texts needs no conversion: its texts are searched as they are.
    is_pair = isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], list)
    return is_pair and isinstance(value[0], str) and value[0] in MESSAGE_ROLES


def _is_name(key: Any) -> bool:
    return isinstance(key, str) and key.isidentifier() and len(key) <= _LONGEST_NAME
