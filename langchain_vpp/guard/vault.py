"""Vaults of conversations, which outlive a call: in memory, or encrypted in a store."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final, NoReturn, Protocol
from weakref import WeakKeyDictionary, WeakValueDictionary

from langchain_vpp import extras
from langchain_vpp.engines.words.vault import Vault
from langchain_vpp.errors import ProtectionError
from langchain_vpp.guard.foreign import call_foreign

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_REMEMBERED: Final = 100_000
"""Conversations of which it is known that their vaults were dropped."""
_FORGOTTEN: Final = (
    "Nothing was sent: the vault of this conversation was dropped, because there were too many others, and what it hid "
    "could leave as text. Begin another conversation (thread_id), or keep more: MemoryVaults(most=...), StoredVaults."
)
_UNREADABLE: Final = (
    "Nothing was sent: the vault of a conversation can't be decrypted with this key, or was altered."
)
_NAMESPACE: Final = ("vpp", "vaults")
_PREFIX: Final = "vpp-vault/"


class VaultKeeper(Protocol):
    """Anything that keeps the vaults of conversations. Thread-safe."""

    def load(self, conversation: str) -> Vault:
        """Return the vault of a conversation, the same object for as long as anybody uses it.

        Args:
            conversation: Name of the conversation.
        """
        ...

    def save(self, conversation: str, vault: Vault) -> None:
        """Keep what has changed in a vault.

        Args:
            conversation: Name of the conversation.
            vault: Its vault.
        """
        ...


class MemoryVaults:
    """Keeps the vaults of the conversations that were used last, in the memory of this process.

    A conversation whose vault was dropped is refused when it goes on: what was hidden in it could be sent as text.

    Args:
        most: Bound on the vaults.

    Raises:
        ValueError: If the bound is not positive.
    """

    def __init__(self, most: int = 1_000) -> None:
        if most < 1:
            msg = "most must be positive"
            raise ValueError(msg)
        self._most = most
        self._vaults: OrderedDict[str, Vault] = OrderedDict()
        self._opened = _Opened()
        self._dropped: OrderedDict[bytes, None] = OrderedDict()
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self._vaults)} vaults)"

    def __reduce__(self) -> NoReturn:
        msg = "Vaults can't be pickled: they hold what was hidden"
        raise TypeError(msg)

    def load(self, conversation: str) -> Vault:
        """Return the vault of a conversation; see :class:`VaultKeeper`.

        Raises:
            ProtectionError: If it was dropped.
        """
        with self._lock:
            vault = self._opened.vault(conversation)
            if vault.is_empty and _digest(conversation) in self._dropped:
                raise ProtectionError(_FORGOTTEN)
            self._keep(conversation, vault)
            return vault

    def save(self, conversation: str, vault: Vault) -> None:
        """Keep a vault that may have been dropped while somebody used it."""
        with self._lock:
            self._keep(conversation, vault)

    def _keep(self, conversation: str, vault: Vault) -> None:
        self._vaults[conversation] = vault
        self._vaults.move_to_end(conversation)
        if len(self._vaults) > self._most:
            name, dropped = self._vaults.popitem(last=False)
            if not dropped.is_empty:
                self._dropped[_digest(name)] = None
        if len(self._dropped) > _REMEMBERED:
            self._dropped.popitem(last=False)


class StoredVaults:
    """Keeps vaults encrypted in a store of LangChain or LangGraph, so that conversations outlive the process.

    Each vault is one value, encrypted and authenticated by Fernet (extra ``vault``). The names of its keys are digests
    of the conversations. A conversation may move between processes, but is for one at a time: changes by two at once
    are refused where they contradict each other.

    Args:
        store: A ``BaseStore`` of LangChain for bytes, such as ``LocalFileStore``, or one of LangGraph.
        key: Key from ``cryptography.fernet.Fernet.generate_key()``. Of several the first encrypts and all decrypt.

    Raises:
        MissingExtraError: If ``cryptography`` is not installed.
        ValueError: If a key is none.
        TypeError: If ``store`` is no store.

    Example:
        >>> from cryptography.fernet import Fernet
        >>> from langchain_core.stores import InMemoryByteStore
        >>> vaults = StoredVaults(InMemoryByteStore(), Fernet.generate_key())
        >>> vault = vaults.load("1")
        >>> vault.token("NAME", "Ada Lovelace")
        'NAME_1'
        >>> vaults.save("1", vault)
    """

    def __init__(self, store: Any, key: bytes | str | Sequence[bytes | str]) -> None:
        fernet = extras.load("cryptography.fernet", extra="vault", undone="No vault was opened")
        keys = [key] if isinstance(key, bytes | str) else key
        self._cipher: Any = None
        with contextlib.suppress(TypeError, ValueError):
            self._cipher = fernet.MultiFernet([fernet.Fernet(each) for each in keys])
        if self._cipher is None:
            msg = "key must be a key of Fernet: cryptography.fernet.Fernet.generate_key()"
            raise ValueError(msg)
        self._is_graph_store = hasattr(store, "get") and hasattr(store, "put")
        if not (self._is_graph_store or (hasattr(store, "mget") and hasattr(store, "mset"))):
            msg = "store must be a BaseStore of LangChain (mget, mset) or of LangGraph (get, put)"
            raise TypeError(msg)
        self._store = store
        self._opened = _Opened()
        self._saved: WeakKeyDictionary[Vault, int] = WeakKeyDictionary()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({type(self._store).__name__})"

    def __reduce__(self) -> NoReturn:
        msg = "Vaults can't be pickled: they hold a key"
        raise TypeError(msg)

    def load(self, conversation: str) -> Vault:
        """Return the vault of a conversation, with what the store has of it; see :class:`VaultKeeper`.

        Raises:
            ProtectionError: If the store fails, has something else, or contradicts what this process has.
        """
        vault = self._opened.vault(conversation)
        is_saved = self._saved.get(vault, 0) == vault.version
        state = self._read(conversation)
        if state is not None:
            vault.absorb(state)
        if is_saved:
            self._saved[vault] = vault.version
        return vault

    def save(self, conversation: str, vault: Vault) -> None:
        """Encrypt a vault and put it into the store, if it has changed; see :class:`VaultKeeper`.

        Raises:
            ProtectionError: If the store fails, or contradicts what this process has.
        """
        if self._saved.get(vault, 0) == vault.version:
            return
        state = self._read(conversation)
        if state is not None:
            vault.absorb(state)
        version = vault.version
        sealed = {"conversation": _digest(conversation).hex(), **vault.state()}
        encrypted: bytes = self._cipher.encrypt(json.dumps(sealed).encode())
        name = _digest(conversation).hex()
        if self._is_graph_store:
            value = {"sealed": encrypted.decode()}
            call_foreign("vault store", lambda: self._store.put(_NAMESPACE, name, value))
        else:
            call_foreign("vault store", lambda: self._store.mset([(_PREFIX + name, encrypted)]))
        self._saved[vault] = version

    def _read(self, conversation: str) -> Mapping[str, Any] | None:
        name = _digest(conversation).hex()
        encrypted: Any
        if self._is_graph_store:
            item = call_foreign("vault store", lambda: self._store.get(_NAMESPACE, name))
            encrypted = None if item is None else item.value.get("sealed") or b""
        else:
            encrypted = call_foreign("vault store", lambda: self._store.mget([_PREFIX + name])[0])
        if encrypted is None:
            return None
        state = None
        with contextlib.suppress(Exception):  # of several kinds; ours is raised below
            state = json.loads(self._cipher.decrypt(encrypted))
        # A value that was moved to the place of another conversation is authentic, too.
        if not isinstance(state, dict) or state.get("conversation") != name:
            raise ProtectionError(_UNREADABLE)
        return state


class _Opened:
    """Vaults that somebody holds, so that all who use a conversation at once have the same one."""

    def __init__(self) -> None:
        self._vaults: WeakValueDictionary[str, Vault] = WeakValueDictionary()
        self._lock = threading.Lock()

    def vault(self, conversation: str) -> Vault:
        with self._lock:
            return self._vaults.setdefault(conversation, Vault())


def _digest(conversation: str) -> bytes:
    return hashlib.sha256(conversation.encode("utf-8", "surrogatepass")).digest()
