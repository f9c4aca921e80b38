"""Protected chat models: a model of the same concrete class whose every entry point protects first.

:func:`protected_class` puts mixins in front of the concrete class: the public entry points
(:mod:`langchain_vpp.runnables.entries`) and the hooks below them (:mod:`langchain_vpp.runnables.hooks`). So
``isinstance`` checks, profiles, structured output, usage, caching and rate limits stay the model's own. The protector
is an attribute of the class: ``configurable_fields`` rebuilds a model through its class, so it stays protected.

Clients that a model hands out (``client``, ``root_client``, ...) are the provider's own. Requests that are sent through
them directly are not protected.
"""

from __future__ import annotations

from typing import Any, TypeVar, overload

from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool

from langchain_vpp.guard.gate import Gate
from langchain_vpp.runnables.runnable import model_class, protected

_M = TypeVar("_M", bound=BaseChatModel)


def protected_class(
    cls: type[BaseChatModel], protector: Gate, *, restore: bool = False
) -> type[BaseChatModel]:
    """Derive the protected class of a chat model class.

    The class takes the same arguments as ``cls`` and has its name. Its models are not serializable and can't be
    pickled. The same pair gives the same class for as long as that is in use.

    Args:
        cls: A concrete chat model class.
        protector: Protects the input of its models.
        restore: Whether its models put values back; see :func:`protect`.

    Raises:
        TypeError: If ``cls`` is no chat model class, or ``protector`` is none.
        ProtectionError: If it is protected by another protector already.
    """
    if not (isinstance(cls, type) and issubclass(cls, BaseChatModel)):
        msg = "protected_class() takes a subclass of BaseChatModel"
        raise TypeError(msg)
    _require_gate(protector)
    return model_class(cls, protector, restores=restore)


def _require_gate(protector: Any) -> None:
    if not isinstance(protector, Gate):
        kind = type(protector).__name__
        msg = f"nothing was protected: the protector is a {kind}. Give an ImageProtector, as ImageProtector(engine)"
        raise TypeError(msg)


@overload
def protect(target: _M, protector: Gate, *, restore: bool = False) -> _M: ...
@overload
def protect(target: Runnable[Any, Any], protector: Gate, *, restore: bool = False) -> Runnable[Any, Any]: ...
def protect(target: Any, protector: Gate, *, restore: bool = False) -> Any:
    """Protect a chat model, or any other Runnable, agent or graph.

    Args:
        target: A chat model comes back as a model of the same class that shares the original's clients, a
            binding of one (``bind``, ``bind_tools``) as a binding of the protected one, and anything else as
            a :class:`~langchain_vpp.runnables.runnable.ProtectedRunnable`. The chat models, functions and prompts
            inside of a composition are protected too, whatever its class, because a step may make a picture that was
            not in the input. ``target`` itself is not changed.
        protector: Protects the input.
        restore: Whether what the engine named (``NAME_1``) is put back in answers, streams, tool calls and structured
            output, for the caller. Runs, traces and checkpoints hold tokens only. So inside of another protected call,
            and in a graph, answers keep their tokens: restore the outermost call.

    Raises:
        TypeError: If ``target`` is no Runnable, or a tool (see ``protect_tool``), or ``protector`` is none.
        ProtectionError: If it is protected by another protector already.

    Example:
        >>> from langchain_core.language_models import FakeListChatModel
        >>> from langchain_vpp import ImageProtector
        >>> from langchain_vpp.engines import Pixelate
        >>> model = protect(FakeListChatModel(responses=["A cat."]), ImageProtector(Pixelate()))
        >>> isinstance(model, FakeListChatModel)
        True
        >>> model.invoke("What is this?").text
        'A cat.'
    """
    if isinstance(target, BaseTool):
        msg = "Use protect_tool(tool, protector) for a tool"
        raise TypeError(msg)
    if not isinstance(target, Runnable):
        msg = f"protect() takes a Runnable, not a {type(target).__name__}"
        raise TypeError(msg)
    _require_gate(protector)
    return protected(target, protector, restores=restore)
