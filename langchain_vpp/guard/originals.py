"""Bytes of the originals: from messages, a store, or a server, within the budget of the request."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from langchain_vpp.errors import ProtectionError
from langchain_vpp.guard.foreign import call_foreign
from langchain_vpp.guard.pool import REMOTE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from langchain_vpp.guard.budget import Account
    from langchain_vpp.guard.pool import Steps
    from langchain_vpp.guard.sealing import Sealing
    from langchain_vpp.messages.plan import PixelSource


class Originals:
    """Gets the bytes of pictures, each reference once, and several at a time.

    Args:
        fetch: ``url -> bytes``; ``None`` for the fetcher of this package.
        sealing: Resolves handles.
    """

    def __init__(self, fetch: Callable[[str], bytes] | None, sealing: Sealing) -> None:
        self._fetch = fetch
        self._sealing = sealing

    def read(self, sources: Sequence[PixelSource], account: Account) -> Steps[list[bytes]]:
        """Return the bytes of each source; the work that has to be waited for is yielded.

        Raises:
            ProtectionError: If anything can't be read, or is more than the request may cost.
        """
        remote = {each.reference: each.kind for each in sources if each.data is None and each.reference}
        account.spend_pictures(sum(kind != "sealed" for kind in remote.values()))
        read: dict[str, bytes] = {}
        if remote:
            futures = [
                REMOTE.submit(partial(self._read, reference, kind, account), account=account)
                for reference, kind in remote.items()
            ]
            read = dict(zip(remote, (yield futures), strict=True))
        return [_bytes_of(source, read) for source in sources]

    def _read(self, reference: str, kind: str, account: Account) -> bytes:
        if kind == "sealed":
            return self._sealing.unseal(reference)
        fetch = self._fetch
        if fetch is None:
            from langchain_vpp.fetch import FetchPolicy, fetch_image  # noqa: PLC0415  an HTTP client

            policy = FetchPolicy()
            policy = replace(policy, timeout=max(0.0, min(policy.timeout, account.seconds_left)))
            return fetch_image(reference, policy, spend=account.spend_bytes)
        data = call_foreign("fetch function", lambda: fetch(reference))
        if not isinstance(data, bytes):
            raise ProtectionError("The fetch function did not return bytes, so nothing was sent.")
        account.spend_bytes(len(data))
        return data


def _bytes_of(source: PixelSource, read: dict[str, bytes]) -> bytes:
    if source.data is not None:
        return source.data
    if not source.reference:
        raise ProtectionError("A picture had neither data nor an address, so nothing was sent.")
    return read[source.reference]
