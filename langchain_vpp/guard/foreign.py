"""Calls of code that belongs to others: engines, stores, fetch functions, encoders."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from langchain_vpp.errors import ProtectionError

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")


def call_foreign(what: str, call: Callable[[], _T]) -> _T:
    """Call foreign code, and replace its exception by one that carries no content.

    Args:
        what: The name of the code in the error, such as "engine".
        call: The call itself.

    Raises:
        ProtectionError: If the call raises any exception. The original is neither its cause nor its context.
    """
    try:
        return call()
    except Exception as error:  # noqa: BLE001  any of them may quote content, and ours is raised below
        failure = type(error).__name__
    raise ProtectionError(f"The {what} failed with {failure}, so nothing was sent.")
