"""Conversations: what is hidden in one is unknown in all others."""

from __future__ import annotations

import contextlib
import secrets
import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar
from weakref import WeakValueDictionary

from langchain_vpp.engines.words.vault import Vault
from langchain_vpp.errors import ProtectionError
from langchain_vpp.guard.pool import in_thread
from langchain_vpp.messages.shielded import shielded
from langchain_vpp.messages.texts import TextWalk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_core.runnables import RunnableConfig

    from langchain_vpp.guard.vault import VaultKeeper

_T = TypeVar("_T")

CONVERSATION_KEY: Final = "__vpp_conversation"
"""Key of ``config["configurable"]`` for the name of the conversation that an enclosing call has begun.

Core writes no key that begins so into metadata.
"""

_SAID: Final[ContextVar[str | None]] = ContextVar("vpp_conversation", default=None)
_CALL: Final = "call/"
_THREAD: Final = "thread/"
_ENDED: Final = (
    "Nothing was sent: the call that began this conversation has ended, and what was hidden in it is gone."
)


class Conversation(NamedTuple):
    """A conversation that is open.

    Attributes:
        name: Its name.
        vault: What is hidden in it.
    """

    name: str
    vault: Vault


class Conversations:
    """Opens the vaults of conversations. Thread-safe.

    A conversation is a thread (``thread_id``), or else a single call with all that happens inside of it: its vault ends
    with it. History that comes with the next call brings its pictures along, and these their tokens.

    Args:
        keeper: Keeps the vaults of threads.
        is_needed: Whether the engine names private values. Else every vault stays empty.
    """

    def __init__(self, keeper: VaultKeeper, *, is_needed: bool) -> None:
        self._keeper = keeper
        self.is_needed = is_needed
        self._calls: WeakValueDictionary[str, Vault] = WeakValueDictionary()
        self._lock = threading.Lock()

    def open(self, name: str | None) -> Conversation:
        """Open a conversation. It is open for as long as the result is held.

        Args:
            name: Result of :func:`conversation_of`; ``None`` for a call without a thread.

        Raises:
            ProtectionError: If its vault is gone, or can't be read.
        """
        if not self.is_needed:
            return Conversation(name or _CALL, Vault())
        if name is None:
            name = _CALL + secrets.token_hex(16)
            with self._lock:
                vault = self._calls[name] = Vault()
            return Conversation(name, vault)
        if not name.startswith(_CALL):
            return Conversation(name, self._keeper.load(name))
        with self._lock:
            found = self._calls.get(name)
        if found is None:
            raise ProtectionError(_ENDED)
        return Conversation(name, found)

    def current(self) -> Conversation:
        """Open the conversation of the enclosing run; an empty one if there is none."""
        name = conversation_of(None) if self.is_needed else None
        return Conversation(_CALL, Vault()) if name is None else self.open(name)

    async def aopen(self, name: str | None) -> Conversation:
        """Run :meth:`open`, in a thread if a store may be asked."""
        is_kept = self.is_needed and name is not None and not name.startswith(_CALL)
        return await in_thread(self.open, name) if is_kept else self.open(name)

    def inside(self, config: RunnableConfig | None, conversation: Conversation) -> RunnableConfig:
        """Return a config for what happens inside of a conversation, which names it."""
        config = config or {}
        if not self.is_needed:
            return config
        configurable = {**config.get("configurable", {}), CONVERSATION_KEY: conversation.name}
        return {**config, "configurable": configurable}

    def keep(self, conversation: Conversation) -> None:
        """Keep what has changed in a conversation.

        Raises:
            ProtectionError: If that fails.
        """
        if self.is_needed and not conversation.name.startswith(_CALL):
            self._keeper.save(conversation.name, conversation.vault)


def conversation_of(config: RunnableConfig | None) -> str | None:
    """Return the name of the conversation that a request belongs to; ``None`` if it says none.

    That of an enclosing call counts first, then ``thread_id``, here or in the config of the enclosing run, then what
    :func:`conversing` has said.
    """
    from langchain_core.runnables.config import ensure_config  # noqa: PLC0415  loads all Runnables

    configurable = ensure_config(config).get("configurable", {})
    begun = configurable.get(CONVERSATION_KEY)
    if isinstance(begun, str):
        return begun
    thread = configurable.get("thread_id")
    return _SAID.get() if thread is None else thread_name(thread)


@contextlib.contextmanager
def conversing(name: str | None) -> Iterator[None]:
    """Say which conversation what happens inside belongs to, where no config says so.

    Args:
        name: Name of the conversation; with ``None`` nothing changes.
    """
    token = _SAID.set(_SAID.get() if name is None else name)
    try:
        yield
    finally:
        _SAID.reset(token)


def run_name() -> str:
    """Return a name for the conversation of a run without a thread, which outlives its single calls."""
    return f"run/{secrets.token_hex(16)}"


def thread_name(thread: object) -> str:
    """Return the name of the conversation of a thread."""
    return f"{_THREAD}{thread}"


@shielded("the search for hidden values")
def hidden_in(value: _T, vault: Vault) -> _T:
    """Return messages, or any other value, with tokens in the places of what is hidden.

    Args:
        value: Anything. It is not changed.
        vault: What is hidden in the conversation.

    Raises:
        ProtectionError: If it can't be searched to its end.
    """
    if vault.is_empty:
        return value
    hidden: _T = TextWalk(lambda text, _: vault.hidden(text)).value(value)
    return hidden


@shielded("putting values back")
def restored_in(value: _T, vault: Vault) -> _T:
    """Return an answer, or any other value, with what was hidden in the places of its tokens.

    Args:
        value: Anything. It is not changed. A part that can't be searched to its end keeps its tokens.
        vault: What is hidden in the conversation.
    """
    if vault.is_empty:
        return value

    def rewrite(text: str, is_json: bool) -> str:  # noqa: FBT001  as the walk calls it
        return vault.restored(text, json_text=is_json)

    restored: _T = TextWalk(rewrite, is_lenient=True).value(value)
    return restored
