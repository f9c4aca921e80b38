"""Chat models by name: enough to set one up from a command line, or in another process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from langchain_vpp.errors import TrainingError
from langchain_vpp.extras import require

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

_TIMEOUT_S: Final = 60.0
"""Time for an answer from OpenAI's client, unless the user gives one."""
_CLIENTS_TIMEOUT_S: Final = 600.0
"""Longest time that other clients wait for an answer by default."""


class ModelSpec(NamedTuple):
    """A chat model that can be set up from text; API keys come from the environment.

    Example:
        >>> ModelSpec.parse("openai:gpt-4o-mini").name
        'gpt-4o-mini'
    """

    provider: str
    name: str
    base_url: str | None = None
    timeout: float | None = None
    """Seconds to wait for an answer."""

    @classmethod
    def parse(cls, spec: str, base_url: str | None = None, timeout: float | None = None) -> ModelSpec:
        """Read ``provider:name``, or ``sandbox``.

        Raises:
            TrainingError: If the text is neither.
        """
        provider, _, name = (spec if spec != "sandbox" else "sandbox:sandbox").partition(":")
        if not provider or not name:
            raise TrainingError(
                f"nothing was sent: {spec!r} is no model. Write provider:name (openai:gpt-4o-mini) or sandbox."
            )
        return cls(provider, name, base_url, timeout)

    @property
    def longest_answer_s(self) -> float:
        """Seconds after which a request has been answered or given up by its client."""
        ours = _TIMEOUT_S if self.provider in {"openai", "sandbox"} else _CLIENTS_TIMEOUT_S
        return self.timeout or ours

    def build(self) -> BaseChatModel:
        """Set the chat model up.

        OpenAI's client is told not to send a request again by itself: the oracle does, and records which requests may
        be charged.

        Raises:
            MissingExtraError: If a provider other than OpenAI is named and ``langchain`` (extra ``agents``) is missing.
            TrainingError: If the sandbox's address, the provider's package or its API key is missing, or the provider
                does not take the settings.
        """
        if self.provider == "sandbox" and self.base_url is None:
            raise TrainingError(
                "nothing was sent: the model 'sandbox' needs --base-url; `vpp sandbox serve` prints it."
            )
        if self.provider not in {"openai", "sandbox"}:
            require("langchain", extra="agents", undone="nothing was sent")
        build = self._openai if self.provider in {"openai", "sandbox"} else self._other
        try:
            return build()
        except ImportError as error:
            reason = f"the package of provider {self.provider!r} is missing ({error.name or 'see its documentation'})"
        except Exception as error:  # noqa: BLE001  each provider has its own type for a missing key or a bad option
            reason = (
                f"the model '{self.provider}:{self.name}' can't be set up ({type(error).__name__}). "
                "Check its name and its API key"
            )
        raise TrainingError(f"nothing was sent: {reason}.")

    def _openai(self) -> BaseChatModel:
        from langchain_openai import ChatOpenAI  # noqa: PLC0415  takes a second

        key: dict[str, Any] = {"api_key": "sandbox"} if self.provider == "sandbox" else {}
        return ChatOpenAI(
            model=self.name, base_url=self.base_url, max_retries=0, timeout=self.longest_answer_s, **key
        )

    def _other(self) -> BaseChatModel:
        from langchain.chat_models import init_chat_model  # noqa: PLC0415  an optional package

        given = {"base_url": self.base_url, "timeout": self.timeout}
        options: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        model: BaseChatModel = init_chat_model(self.name, model_provider=self.provider, **options)
        return model


def model_identity(model: BaseChatModel) -> str:
    """Name of a chat model in ledgers and manifests: its class and model name."""
    name = getattr(model, "model_name", None) or getattr(model, "model", None) or model._llm_type  # noqa: SLF001
    return f"{type(model).__name__}:{name}"
