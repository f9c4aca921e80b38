"""Errors that carry nothing: whatever a walk raises becomes an error of ours, without content, cause or context."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from langchain_vpp.errors import ProtectionError

if TYPE_CHECKING:
    from collections.abc import Callable

_P = ParamSpec("_P")
_T = TypeVar("_T")


def shielded(what: str) -> Callable[[Callable[_P, _T]], Callable[_P, _T]]:
    """Let nothing out of a function but its result or a ``ProtectionError``.

    A value that is walked may be of any class, and text in it of any characters. Exceptions of their methods and of
    codecs quote what they were given: a ``UnicodeError`` holds the whole text.

    Args:
        what: What could not be done, for the error.
    """

    def shield(function: Callable[_P, _T]) -> Callable[_P, _T]:
        @functools.wraps(function)
        def run(*args: _P.args, **kwargs: _P.kwargs) -> _T:
            try:
                return function(*args, **kwargs)
            except ProtectionError as error:
                refusal = error
                refusal.__cause__ = refusal.__context__ = None
            except Exception as error:  # noqa: BLE001  any of them may quote content, and ours is raised below
                refusal = ProtectionError(f"Nothing was sent: {what} failed with {type(error).__name__}.")
            raise refusal

        return run

    return shield
