"""The settings of a call: the level and the callbacks that a request names, and a search of the rest for pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

from langchain_core.callbacks import BaseCallbackManager
from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.runnables.config import ensure_config

from langchain_vpp.errors import ProtectionError
from langchain_vpp.guard.conversations import conversation_of
from langchain_vpp.guard.level import LEVEL_KEY, requested_level
from langchain_vpp.messages.tree import find_media

if TYPE_CHECKING:
    from collections.abc import Mapping

    from langchain_core.callbacks import Callbacks
    from langchain_core.language_models import BaseChatModel
    from langchain_core.runnables import RunnableConfig

    from langchain_vpp.guard.level import RequestLevel

CALL_CONVERSATION: Final = "vpp_conversation"
"""Argument in which the name of the conversation travels."""
CARRIED: Final = (LEVEL_KEY, CALL_CONVERSATION)
"""Arguments that travel down to the hooks, and are not sent."""

# Arguments of the constructors of chat models that are sent, or recorded, as they are.
_MODEL_SETTINGS: Final = (
    "metadata", "tags", "name", "stop", "stop_sequences", "model_kwargs", "extra_body", "default_headers",
    "default_query", "additional_headers", "additional_model_request_fields", "additional_model_response_field_paths",
    "request_metadata", "system", "thinking", "context_management", "mcp_servers", "tools", "format", "prompt",
)  # fmt: skip
GRAPH_INTERNAL: Final = "__pregel_"
"""Prefix of langgraph's own keys: channels and bookkeeping of the enclosing graph, which no run records."""


def request_options(config: RunnableConfig | None) -> dict[str, Any]:
    """Return the options of :meth:`Gate.admit` that a request's config names: level, callbacks and conversation."""
    return {
        "level": requested_level(config),
        "callbacks": ensure_config(config).get("callbacks"),
        "conversation": conversation_of(config),
    }


def check_call(config: RunnableConfig | None, kwargs: Mapping[str, Any]) -> None:
    """Refuse pictures in the settings of a call: they go to the provider or into traces as they are.

    Objects of unknown classes pass as arguments and configurable values, where functions, classes and clients are
    at home. In tags, metadata and names they are refused.

    Raises:
        ProtectionError: If there is a picture.
    """
    # Merged with the config of the enclosing run, whose metadata are recorded with every run inside.
    check_settings(ensure_config(config), kwargs)


def check_settings(config: Mapping[str, Any], kwargs: Mapping[str, Any]) -> None:
    """Refuse pictures in a config and in arguments, of a call or bound to a Runnable; see :func:`check_call`.

    Raises:
        ProtectionError: If there is a picture.
    """
    configurable = {
        key: item
        for key, item in config.get("configurable", {}).items()
        if not (isinstance(key, str) and key.startswith(GRAPH_INTERNAL))
        # RunnableWithMessageHistory passes the store itself; its content comes as messages.
        and not isinstance(item, BaseChatMessageHistory)
    }
    refuse_media(dict(kwargs), unknown="pass", references=True)
    refuse_media(configurable, unknown="pass")
    refuse_media({key: config.get(key) for key in ("tags", "metadata", "run_name")})
    check_callbacks(config.get("callbacks"))


def check_callbacks(callbacks: Callbacks) -> None:
    """Refuse pictures in the tags and metadata that a callback manager hands on to every run.

    Raises:
        ProtectionError: If there is one.
    """
    if isinstance(callbacks, BaseCallbackManager):
        refuse_media(
            [callbacks.tags, callbacks.inheritable_tags, callbacks.metadata, callbacks.inheritable_metadata]
        )


def refuse_media(
    value: Any, *, unknown: Literal["refuse", "pass"] = "refuse", references: bool = False
) -> None:
    """Raise if a value holds a picture.

    Args:
        value: Settings or text.
        unknown: Whether objects of unknown classes are refused, or passed over.
        references: Whether mappings that name a picture elsewhere are refused, because a provider may load it.

    Raises:
        ProtectionError: If it holds one, or is nested too deeply to tell.
    """
    finding = find_media(value, unknown=unknown, references=references)
    if finding is not None:
        raise ProtectionError(
            f"Nothing was sent: in the settings of a call, {finding.reason}. Put pictures into messages."
        )


def call_level(kwargs: Mapping[str, Any]) -> RequestLevel | None:
    """Return the level that travels in the arguments of a call, from its config down to the receipt."""
    level: RequestLevel | None = kwargs.get(LEVEL_KEY)
    return level


def call_conversation(kwargs: Mapping[str, Any]) -> str | None:
    """Return the name of the conversation that travels in the arguments of a call, from its config down to the hooks.

    Without one it is that of the enclosing run.
    """
    name: str | None = kwargs.get(CALL_CONVERSATION)
    return conversation_of(None) if name is None else name


def check_model(model: BaseChatModel) -> None:
    """Refuse pictures in the arguments of a model's constructor that go with every request, or into every run.

    Raises:
        ProtectionError: If there is a picture.
    """
    refuse_media({name: getattr(model, name, None) for name in _MODEL_SETTINGS}, unknown="pass")
