"""Sealed pictures: originals in a store, and handles that stand for them in prompts, traces and checkpoints."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from typing import TYPE_CHECKING, Final

from langchain_vpp.errors import ProtectionError
from langchain_vpp.guard.foreign import call_foreign

if TYPE_CHECKING:
    from langchain_core.stores import ByteStore

_HANDLE: Final = re.compile(r"\Avpp://([0-9a-f]{64})\Z")
_STORE_PREFIX: Final = "vpp-"


class Sealing:
    """Puts originals into a store under keyed digests, and finds them again by their handles.

    Args:
        store: Where originals are kept. Without one, nothing can be sealed, and no handle resolved.
    """

    def __init__(self, store: ByteStore | None) -> None:
        self._store = store
        self._key = secrets.token_bytes(32)

    def seal(self, data: bytes) -> str:
        """Store an original and return its handle, ``vpp://<64 hex digits>``.

        The digest is keyed, so a handle tells nothing about the picture to anyone without the store.

        Raises:
            ProtectionError: If there is no store, or it fails.
        """
        store = self._store
        if store is None:
            raise ProtectionError(
                "There is no store for sealed pictures. Build the protector with one: store=..."
            )
        digest = hmac.new(self._key, data, hashlib.sha256).hexdigest()
        call_foreign("store", lambda: store.mset([(_STORE_PREFIX + digest, data)]))
        return f"vpp://{digest}"

    def unseal(self, handle: str) -> bytes:
        """Return the original that a handle stands for.

        Raises:
            ProtectionError: If the handle is malformed or unknown, there is no store, or it fails.
        """
        match = _HANDLE.match(handle)
        if match is None:
            raise ProtectionError(
                "A vpp:// handle is malformed, so nothing was sent. Use the block that seal() gave."
            )
        store = self._store
        if store is None:
            raise ProtectionError(
                "A vpp:// handle can't be resolved without a store. Give the protector the one that has it."
            )
        key = _STORE_PREFIX + match.group(1)
        data = call_foreign("store", lambda: store.mget([key])[0])
        if not isinstance(data, bytes):
            raise ProtectionError(
                "A vpp:// handle is unknown to the store, so nothing was sent. Seal the picture again."
            )
        return data
