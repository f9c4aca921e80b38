"""Exceptions that hold pictures: handlers and tracers show them with all that they hold."""

from __future__ import annotations

from langchain_vpp.messages.tree import find_media


def error_holds_media(error: BaseException) -> bool:
    """Say whether an exception holds a picture, or one does that handlers and tracers reach from it."""
    pending: list[BaseException] = [error]
    seen: set[int] = set()
    while pending:
        current = pending.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        try:
            found = find_media([str(current), current.args, vars(current)], unknown="pass")
        except Exception:  # noqa: BLE001  an error that can't be read can't be shown either
            return True
        if found is not None:
            return True
        inner = current.exceptions if isinstance(current, BaseExceptionGroup) else current.args
        linked = (current.__cause__, current.__context__, *inner)
        pending.extend(part for part in linked if isinstance(part, BaseException))
    return False
