"""Tools whose arguments and output are protected before a run records them."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from langchain_core.tools import BaseTool

from langchain_vpp.runnables.protected_tool import guarded_tool, protect_output
from langchain_vpp.runnables.runnable import ConfigurableIngress

if TYPE_CHECKING:
    from langchain_vpp.guard.gate import Gate

__all__ = ["protect_output", "protect_tool"]

_T = TypeVar("_T", bound=BaseTool)


def protect_tool(tool: _T, protector: Gate, *, restore: bool = False) -> _T:
    """Protect the arguments of a tool, and its output: content, artifact, messages and ``Command``.

    What the conversation hides becomes tokens in the output.

    Every entry point protects: ``invoke``, ``run``, ``stream``, ``batch``, their async twins, and what is composed from
    the tool. ``stream`` gives the whole output in one piece.

    Pictures among the arguments are protected where they stand, before the tool's run records them: as messages,
    content blocks, base64, bytes or PIL images. Arguments that core injects (the state of a graph, a store) are
    not recorded, and reach the tool as they are. A tool that needs an original gets it by a path or an id, or from the
    injected state.

    The output of the tool's error handlers is protected too, and an error that holds a picture is withheld. A tool
    may return pictures as a PIL image, as the bytes of an encoded picture, or as content blocks in any dialect that
    messages may hold. An artifact must hold none: it is refused, or dropped, as the protector's ``on_unsupported``
    says.

    Args:
        tool: Any tool. It is not changed.
        protector: Protects the pictures.
        restore: Whether the tool gets what was hidden in the places of tokens (``NAME_1``) among its arguments. Its run
            records the tokens. For tools that work on your side: whatever it sends away, it sends with real values.

    Returns:
        A copy of the tool, of a subclass of its class.

    Raises:
        TypeError: If ``tool`` is no ``BaseTool``.
        ProtectionError: If it is protected by another protector already. Calling the tool raises it when an
            argument or the output can't be protected.
    """
    return guarded_tool(tool, protector, ConfigurableIngress, restore=restore)
