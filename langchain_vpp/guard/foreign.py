"""Calls of code that isn't ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from langchain_vpp.errors import ProtectionError

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")


def call_foreign(what: str, call: Callable[[], _T]) -> _T:
    """Call code that isn't ours. Its exception may carry content, so it is replaced, not chained."""
    try:
        return call()
    except Exception as error:  # noqa: BLE001  whatever it is, ours is raised
        failure = type(error).__name__
    raise ProtectionError(f"The {what} failed with {failure}, so nothing was sent.")
