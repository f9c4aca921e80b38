"""Protected chat models: a model of the same concrete class whose every entry point protects first.

:func:`protected_class` puts the mixins of this module in front of the concrete class. So ``isinstance`` checks,
profiles, structured output, usage, caching and rate limits stay the model's own. The protector is an attribute of the
class: ``configurable_fields``, which rebuilds a model through its class, rebuilds a protected one.

The public entry points protect before a run is opened, so callbacks, tracers and the cache key never hold an
original. ``_generate`` and ``_stream`` pass the messages through the gate once more: a message that the gate has put
out passes at once, and one that a callback has changed, or that came by another way, is protected.

Clients that a model hands out (``client``, ``root_client``, ...) are the provider's own. Requests that are sent through
them directly are not protected.
"""

from __future__ import annotations

import functools
import threading
from typing import TYPE_CHECKING, Any, Final, TypeVar, overload
from weakref import WeakKeyDictionary, WeakValueDictionary

from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import Runnable, RunnableBinding, RunnableSerializable
from langchain_core.tools import BaseTool

from langchain_vpp.errors import ProtectionError
from langchain_vpp.runnables.classes import move_to_class, subclass_of
from langchain_vpp.runnables.entries import Entries
from langchain_vpp.runnables.hooks import OPTIONAL_HOOKS, Hooks
from langchain_vpp.runnables.runnable import Ingress, enclose

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from langchain_vpp.guard.gate import Gate

_M = TypeVar("_M", bound=BaseChatModel)

_COMPOSITIONS: Final = "langchain_core."

_classes: WeakKeyDictionary[Gate, WeakValueDictionary[type, type[BaseChatModel]]] = WeakKeyDictionary()
_classes_lock: Final = threading.Lock()


class _WithAlternatives(Entries):
    """Entry points that take other models."""

    def with_fallbacks(self, fallbacks: Sequence[Runnable[Any, Any]], **kwargs: Any) -> Runnable[Any, Any]:  # type: ignore[override]
        """See :meth:`Runnable.with_fallbacks`. Chat models among the fallbacks are protected too."""
        return super().with_fallbacks(
            [_protected_if_model(fallback, self.vpp_protector) for fallback in fallbacks], **kwargs
        )

    def configurable_alternatives(self, which: Any, **kwargs: Any) -> Runnable[Any, Any]:  # type: ignore[override]
        """See :meth:`RunnableSerializable.configurable_alternatives`. Models among them are protected too."""
        alternatives = {
            name: _protected_if_model(value, self.vpp_protector) for name, value in kwargs.items()
        }
        return super().configurable_alternatives(which, **alternatives)


def protected_class(cls: type[BaseChatModel], protector: Gate) -> type[BaseChatModel]:
    """Derive the protected class of a chat model class.

    The class takes the same arguments as ``cls`` and has its name. Its models are not serializable and can't be
    pickled. The same pair gives the same class for as long as that is in use.

    Args:
        cls: A concrete chat model class.
        protector: Protects the input of its models.

    Raises:
        TypeError: If ``cls`` is no chat model class.
        ProtectionError: If it is protected by another protector already.
    """
    if not (isinstance(cls, type) and issubclass(cls, BaseChatModel)):
        msg = "protected_class() takes a subclass of BaseChatModel"
        raise TypeError(msg)
    if issubclass(cls, Entries):
        if cls.vpp_protector is protector:
            return cls
        raise ProtectionError("This model is protected by another protector already; protect the bare model.")
    with _classes_lock:
        derived = _classes.setdefault(protector, WeakValueDictionary())
        known = derived.get(cls)
        if known is None:
            mixins = [mixin for name, mixin in OPTIONAL_HOOKS.items() if _overrides(cls, name)]
            builders = {name: _enclosing(getattr(cls, name)) for name in _builder_names(cls)}
            known = derived[cls] = subclass_of(
                cls, *mixins, _WithAlternatives, Hooks, vpp_protector=protector, **builders
            )
        return known


@overload
def protect(target: _M, protector: Gate) -> _M: ...
@overload
def protect(target: Runnable[Any, Any], protector: Gate) -> Runnable[Any, Any]: ...
def protect(target: Any, protector: Gate) -> Any:
    """Protect a chat model, or any other Runnable, agent or graph.

    Args:
        target: A chat model comes back as a model of the same class that shares the original's clients, a
            binding of one (``bind``, ``bind_tools``) as a binding of the protected one, and anything else as
            a :class:`~langchain_vpp.runnables.runnable.ProtectedRunnable`. The chat models inside of LangChain's
            compositions (sequences, fallbacks, branches, ...) are protected too, because a step may make a
            picture that was not in the input. ``target`` itself is not changed.
        protector: Protects the input.

    Raises:
        TypeError: If ``target`` is no Runnable, or a tool (see ``protect_tool``).
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
    if isinstance(target, BaseChatModel):
        cls = protected_class(type(target), protector)
        return target if isinstance(target, cls) else move_to_class(target, cls)
    if isinstance(target, BaseTool):
        msg = "Use protect_tool(tool, protector) for a tool"
        raise TypeError(msg)
    if not isinstance(target, Runnable):
        msg = f"protect() takes a Runnable, not a {type(target).__name__}"
        raise TypeError(msg)
    if isinstance(target, RunnableBinding) and isinstance(target.bound, BaseChatModel):
        return enclose(target.model_copy(update={"bound": protect(target.bound, protector)}), protector)
    return enclose(_protect_parts(target, protector), protector)


def _protect_parts(part: Any, protector: Gate) -> Any:  # noqa: PLR0911  one table of shapes
    """Protect the chat models in a composed Runnable; functions and graphs keep theirs to themselves."""
    if isinstance(part, Ingress):
        return part
    if (protected := _protected_if_model(part, protector)) is not part:
        return protected
    if isinstance(part, Runnable) and hasattr(type(part), "bind_tools"):
        return enclose(part, protector)  # stands for a model, such as the configurable one of init_chat_model
    if isinstance(part, dict):
        items = {name: _protect_parts(item, protector) for name, item in part.items()}
        return part if all(items[name] is item for name, item in part.items()) else items
    if isinstance(part, (list, tuple)):
        parts = [_protect_parts(item, protector) for item in part]
        unchanged = all(new is old for new, old in zip(parts, part, strict=True))
        return part if unchanged else type(part)(parts)
    if not isinstance(part, RunnableSerializable) or not type(part).__module__.startswith(_COMPOSITIONS):
        return part
    fields = {name: getattr(part, name) for name in type(part).model_fields}
    changed = {
        name: new for name, old in fields.items() if (new := _protect_parts(old, protector)) is not old
    }
    return part.model_copy(update=changed) if changed else part


def _protected_if_model(candidate: Any, protector: Gate) -> Any:
    bound = candidate.bound if isinstance(candidate, RunnableBinding) else candidate
    return protect(candidate, protector) if isinstance(bound, BaseChatModel) else candidate


def _overrides(cls: type[BaseChatModel], name: str) -> bool:
    return getattr(cls, name, None) is not getattr(BaseChatModel, name, None)


def _builder_names(cls: type[BaseChatModel]) -> tuple[str, ...]:
    if _overrides(cls, "bind_tools"):
        return ("bind_tools", "with_structured_output")
    return ("with_structured_output",) if _overrides(cls, "with_structured_output") else ()


def _enclosing(method: Callable[..., Runnable[Any, Any]]) -> Callable[..., Runnable[Any, Any]]:
    """Enclose the Runnable that a method returns, and keep its signature: langchain-tests reads ``tool_choice``."""

    @functools.wraps(method)
    def build(self: Entries, *args: Any, **kwargs: Any) -> Runnable[Any, Any]:
        return enclose(method(self, *args, **kwargs), self.vpp_protector)

    return build
