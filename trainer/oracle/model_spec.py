"""Chat models by name: enough to set one up from a command line, or in another process."""

from __future__ import annotations

import hashlib
import math
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pydantic import ValidationError

from langchain_vpp.errors import TrainingError
from langchain_vpp.extras import require
from trainer.oracle.connection import addresses, is_a, takes_address, takes_timeout

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

_TIMEOUT_S: Final = 60.0
"""Time for an answer from OpenAI's client, unless the user gives one."""
_OTHERS_TIMEOUT_S: Final = 600.0
"""Time for an answer from other clients: some serve models on slow machines."""
_KEYS: Final = {
    "openai": " (OPENAI_API_KEY)",
    "anthropic": " (ANTHROPIC_API_KEY)",
    "google_genai": " (GOOGLE_API_KEY)",
    "mistralai": " (MISTRAL_API_KEY)",
}
"""Provider -> where its key is looked for."""
_DIGITS: Final = 12
"""Hexadecimal digits of an address's digest."""
_USUAL: Final = {
    "ChatOpenAI": r"https://api\.openai\.com(/v1)?",
    "ChatAnthropic": r"https://api\.anthropic\.com",
    "ChatMistralAI": r"https://api\.mistral\.ai(/v1)?",
    "ChatGoogleGenerativeAI": r"https://generativelanguage\.googleapis\.com",
    "ChatBedrock": r"https://bedrock(-runtime)?\.[a-z0-9-]+\.amazonaws\.com",
    "ChatBedrockConverse": r"https://bedrock(-runtime)?\.[a-z0-9-]+\.amazonaws\.com",
    "ChatAnthropicBedrock": r"https://bedrock-runtime\.[a-z0-9-]+\.amazonaws\.com",
    "ChatOllama": r"http://(127\.0\.0\.1|localhost):11434",
}
"""Class of a chat model -> the address that it asks unless told otherwise."""
_SANDBOX: Final = r"http://(127\.0\.0\.1|localhost|\[::1\])(:\d+)?(/.*)?"
"""Address of the sandbox, which answers alike at every port. Its models are named ``sandbox`` or ``sandbox-...``."""
_ADDRESS_OPTION: Final = {"bedrock": "endpoint_url", "azure_openai": "azure_endpoint"}
"""Provider -> option for the address of its server where it is not ``base_url``."""


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
        """Read ``provider:name``, ``transformers:FOLDER`` for a model in this process, or ``sandbox``.

        Raises:
            TrainingError: If the text is neither, or the time is not above 0 or has no end.
        """
        provider, _, name = (spec if spec != "sandbox" else "sandbox:sandbox").partition(":")
        if not provider or not name:
            raise TrainingError(
                f"nothing was sent: {spec!r} is no model. Write provider:name (openai:gpt-4o-mini) or sandbox: the "
                "part before the colon says whose model it is."
            )
        if timeout is not None and not 0 < timeout < math.inf:
            raise TrainingError(
                f"nothing was sent: {timeout:g} is no time to wait for an answer. Give seconds above 0."
            )
        return cls(provider, name, base_url, timeout)

    @property
    def longest_answer_s(self) -> float:
        """Seconds after which a request has been answered or given up by its client."""
        ours = _TIMEOUT_S if self.provider in {"openai", "sandbox"} else _OTHERS_TIMEOUT_S
        return self.timeout or ours

    def build(self) -> BaseChatModel:
        """Set the chat model up.

        Its client is told not to send a request again by itself: the oracle does, and records which requests may be
        charged. The address and the time for an answer are read back from what was built.

        Raises:
            MissingExtraError: If a provider other than OpenAI is named and ``langchain`` (extra ``agents``) is missing.
            TrainingError: If the sandbox's address, the provider's package or its API key is missing, or the address or
                the time for an answer takes no effect.
        """
        if self.provider == "sandbox" and self.base_url is None:
            raise TrainingError(
                "nothing was sent: the model 'sandbox' needs --base-url; `vpp sandbox serve` prints it."
            )
        build = {"openai": self._openai, "sandbox": self._openai, "transformers": self._local}.get(
            self.provider, self._other
        )
        if build == self._other:
            require("langchain", extra="agents", undone="nothing was sent")
        if build == self._local:
            require("transformers", extra="huggingface", undone="nothing was sent")
        try:
            model = build()
        except ImportError as error:
            package = (error.name or f"langchain_{self.provider}").partition(".")[0].replace("_", "-")
            reason = f"the package of provider {self.provider!r} is missing: pip install {package}"
        except Exception as error:  # noqa: BLE001  each provider has its own type for a missing key or a bad option
            reason = (
                f"the model '{self.provider}:{self.name}' can't be set up ({_described(error)}). "
                f"Check provider and name, the API key in the environment{_KEYS.get(self.provider, '')} and options"
            )
        else:
            self._require_effect(model)
            return model
        raise TrainingError(f"nothing was sent: {reason}.")

    def _openai(self) -> BaseChatModel:
        from langchain_openai import ChatOpenAI  # noqa: PLC0415  takes a second

        key: dict[str, Any] = {"api_key": "sandbox"} if self.provider == "sandbox" else {}
        return ChatOpenAI(
            model=self.name, base_url=self.base_url, max_retries=0, timeout=self.longest_answer_s, **key
        )

    def _local(self) -> BaseChatModel:
        from trainer.oracle.transformers import TransformersChatModel  # noqa: PLC0415  an optional package

        return TransformersChatModel(model=self.name)

    def _other(self) -> BaseChatModel:
        from langchain.chat_models import init_chat_model  # noqa: PLC0415  an optional package

        options = self._options()
        while True:
            refused: set[str]
            try:
                model: BaseChatModel = init_chat_model(self.name, model_provider=self.provider, **options)
            except ValidationError as error:
                refused = {
                    str(each["loc"][0]) for each in error.errors() if each["type"] == "extra_forbidden"
                }
                if refused.isdisjoint(options):
                    raise
            else:
                # An option that the class does not declare is dropped, or would be sent as a parameter of the model.
                refused = {name for name in options if not _declares(model, name)}
                if not refused:
                    return model
            options = {name: value for name, value in options.items() if name not in refused}

    def _options(self) -> dict[str, Any]:
        provider = self.provider.replace("-", "_").lower()
        # Some classes declare whole seconds.
        seconds = float(self.longest_answer_s)
        seconds = int(seconds) if seconds.is_integer() else seconds
        options: dict[str, Any] = {"timeout": seconds, "max_retries": 0}
        if provider.startswith("google_"):
            options["max_retries"] = 1  # of Google's clients: attempts, and 0 stands for their default
        if provider == "ollama":
            options = {"client_kwargs": {"timeout": seconds}}
        if self.base_url is not None:
            options[_ADDRESS_OPTION.get(provider, "base_url")] = self.base_url
        return options

    def _require_effect(self, model: BaseChatModel) -> None:
        """Refuse a model that did not take an option of the user."""
        lost = []
        if self.base_url is not None and not takes_address(model, self.base_url):
            lost.append("--base-url, so pictures would go to another server")
        if self.timeout is not None and not takes_timeout(model, self.timeout):
            lost.append("--timeout, so a server that hangs would stop the run")
        if lost:
            raise TrainingError(
                f"nothing was sent: the models of provider {self.provider!r} ({type(model).__name__}) do not take "
                f"{'; nor '.join(lost)}. Leave it out, or write openai:NAME if the server speaks its protocol."
            )


def model_identity(model: BaseChatModel, *others: BaseChatModel) -> str:
    """Name of a chat model in ledgers and manifests: its class and model name, and a digest of its server's address.

    Models of one name on two servers are two models. The address is left out where it is the class's usual one, and for
    the sandbox on this machine. It is a digest because manifests are published, and an address may be internal.

    Args:
        model: The chat model.
        others: The same one on further servers, of which any may answer a query.
    """
    name = getattr(model, "model_name", None) or getattr(model, "model", None) or model._llm_type  # noqa: SLF001
    usual = [pattern for kind, pattern in _USUAL.items() if is_a(model, kind)]
    if re.fullmatch(r"sandbox(-.+)?", name):
        usual.append(_SANDBOX)
    known = {address for each in (model, *others) for address in addresses(each)}
    unusual = sorted(each for each in known if not any(re.fullmatch(pattern, each) for pattern in usual))
    digest = hashlib.sha256("\n".join(unusual).encode()).hexdigest()[:_DIGITS]
    return f"{type(model).__name__}:{name}" + (f"@{digest}" if unusual else "")


def without_address(identity: str) -> str:
    """Return a model's identity as earlier versions wrote it, which took two servers for one."""
    return re.sub(rf"@[0-9a-f]{{{_DIGITS}}}$", "", identity)


def _declares(model: BaseChatModel, option: str) -> bool:
    """Whether a class has a field of an option's name or alias."""
    return any(
        option in (name, field.alias, field.validation_alias)
        for name, field in type(model).model_fields.items()
    )


def _described(error: Exception) -> str:
    """Name an error by its type, and the options that are not valid; a value may be a secret."""
    kind = type(error).__name__
    if not isinstance(error, ValidationError):
        return kind
    places = sorted({str(each["loc"][0]) for each in error.errors() if each["loc"]})
    return ": ".join(filter(None, (kind, ", ".join(places))))
