"""The public names, what importing them costs, and the interface of LangChain that the protection covers."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from importlib import metadata

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import Runnable, RunnableBinding, RunnableSerializable
from pydantic import BaseModel

import langchain_vpp
from langchain_vpp import ImageProtector, ProtectedRunnable, protected_class
from langchain_vpp.engines import Blur
from langchain_vpp.runnables.runnable import ProtectedBinding
from langchain_vpp.tracing import RedactingCallbackHandler

PUBLIC = [
    "ArtifactError",
    "ImageProtector",
    "ProtectedRunnable",
    "ProtectionError",
    "RequestBudget",
    "TraceLeakWarning",
    "VPPError",
    "__version__",
    "image_block",
    "protect",
    "protect_tool",
    "protected_class",
]

# Every public method of a chat model. A new one in a future langchain-core belongs into one of these, after
# it was checked what it does with its input.
ENTRIES = {
    "abatch", "abatch_as_completed", "agenerate", "agenerate_prompt", "ainvoke", "astream",
    "astream_events", "astream_log", "atransform", "batch", "batch_as_completed", "generate",
    "generate_prompt", "get_num_tokens", "get_num_tokens_from_messages", "get_token_ids", "invoke",
    "stream", "stream_events", "transform",
}  # fmt: skip
COMPOSITIONS = {
    "as_tool", "assign", "bind", "configurable_alternatives", "configurable_fields", "map", "pick", "pipe",
    "with_alisteners", "with_config", "with_fallbacks", "with_listeners", "with_retry", "with_types",
    "__or__",
}  # fmt: skip
# Overridden only where the concrete class has them: their presence tells what a model can do.
OPTIONAL = {"bind_tools", "with_structured_output"}
# They take no input, or the left operand has it already (see the upstream guard).
NO_INPUT = {
    "InputType", "OutputType", "__ror__", "asdict", "config_schema", "config_specs", "dict",
    "get_config_jsonschema", "get_graph", "get_input_jsonschema", "get_input_schema", "get_lc_namespace",
    "get_name", "get_output_jsonschema", "get_output_schema", "get_prompts", "input_schema",
    "is_lc_serializable", "lc_attributes", "lc_id", "lc_secrets", "output_schema", "set_verbose", "to_json",
    "to_json_not_implemented",
}  # fmt: skip
# The hooks below the entry points. `_generate`, `_stream` and their async twins protect again.
HOOKS = {
    "_agenerate", "_agenerate_with_cache", "_astream", "_astream_events_v1_v2",
    "_astream_events_v3_unsupported", "_call_async", "_call_with_config", "_generate",
    "_generate_with_cache", "_stream", "_streaming_disabled",
}  # fmt: skip
OPERATORS = {"__or__", "__ror__"}


def _interface(cls: type) -> set[str]:
    own = {
        name for part in cls.__mro__ if part.__module__.startswith("langchain_core") for name in vars(part)
    }
    public = {name for name in own if not name.startswith("_")} - set(getattr(cls, "model_fields", ()))
    return (public - set(vars(BaseModel)) - {"name"}) | (own & OPERATORS) | (own & {"dict"})


def _run(code: str) -> str:
    command = [sys.executable, "-c", textwrap.dedent(code)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_public_names_are_exactly_these() -> None:
    assert langchain_vpp.__all__ == PUBLIC
    assert sorted(PUBLIC) == PUBLIC
    assert dir(langchain_vpp) == PUBLIC
    for name in set(PUBLIC) - {"__version__"}:
        assert getattr(langchain_vpp, name).__name__ == name


def test_the_version_is_that_of_the_installed_package() -> None:
    assert langchain_vpp.__version__ == metadata.version("langchain-vpp")


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        langchain_vpp.nonsense  # noqa: B018


def test_importing_the_package_loads_neither_torch_nor_trainer_nor_langchain() -> None:
    loaded = _run(
        """
        import sys, langchain_vpp
        print(sorted(name for name in ("torch", "trainer", "langchain_core", "langchain", "PIL") if name in
        sys.modules))
        """
    )
    assert loaded.strip() == "[]"


@pytest.mark.slow(seconds=1)
def test_protecting_a_chat_model_with_a_classical_engine_does_not_load_torch_or_trainer() -> None:
    loaded = _run(
        """
        import base64, io, sys
        from PIL import Image
        from langchain_core.language_models import FakeListChatModel
        from langchain_core.messages import HumanMessage
        from langchain_vpp import ImageProtector, protect, protect_tool
        from langchain_vpp.engines import Blur

        picture = io.BytesIO()
        Image.new("RGB", (8, 8), "red").save(picture, "PNG")
        encoded = base64.b64encode(picture.getvalue()).decode()
        block = {"type": "image", "base64": encoded, "mime_type": "image/png"}
        model = protect(FakeListChatModel(responses=["ok"]), ImageProtector(Blur()))
        assert model.invoke([HumanMessage([block])]).text == "ok"
        print(sorted(name for name in ("torch", "trainer", "langchain") if name in sys.modules))
        """
    )
    assert loaded.strip() == "[]"


def test_every_public_method_of_a_chat_model_is_classified() -> None:
    classified = ENTRIES | COMPOSITIONS | OPTIONAL | NO_INPUT
    assert _interface(BaseChatModel) == classified


def test_a_new_public_method_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BaseChatModel, "invoke_v4", lambda self, messages: None, raising=False)
    assert _interface(BaseChatModel) - (ENTRIES | COMPOSITIONS | OPTIONAL | NO_INPUT) == {"invoke_v4"}


def test_every_hook_of_a_chat_model_is_known() -> None:
    own = {
        name
        for part in BaseChatModel.__mro__
        if part.__module__.startswith("langchain_core")
        for name in vars(part)
        if name.startswith(("_stream", "_astream", "_generate", "_agenerate", "_call", "_invoke", "_ainvoke"))
    }
    assert own == HOOKS


def test_a_protected_class_overrides_every_entry_and_every_composition() -> None:
    class Model(BaseChatModel):
        def _generate(self, *args, **kwargs):
            raise NotImplementedError

        @property
        def _llm_type(self):
            return "model"

    protected = protected_class(Model, ImageProtector(Blur()))
    for name in ENTRIES | COMPOSITIONS | {"_generate", "_agenerate"}:
        owner = next(part for part in protected.__mro__ if name in vars(part))
        assert owner.__module__.startswith("langchain_vpp"), name


def test_a_protected_runnable_defines_every_method_that_takes_input_or_composes() -> None:
    own_way = {name for name in _interface(Runnable) if name in ENTRIES | COMPOSITIONS}
    # These call invoke, stream and their async twins, which are overridden.
    derived = {"batch", "abatch", "batch_as_completed", "abatch_as_completed", "transform", "atransform"}
    for name in own_way - derived:
        owner = next(part for part in ProtectedRunnable.__mro__ if name in vars(part))
        assert owner.__module__.startswith("langchain_vpp"), name
    assert _interface(Runnable) <= ENTRIES | COMPOSITIONS | NO_INPUT


def test_a_protected_binding_defines_every_method_that_composes_or_records() -> None:
    for name in (COMPOSITIONS & _interface(RunnableSerializable)) | {"astream_events", "astream_log"}:
        owner = next(part for part in ProtectedBinding.__mro__ if name in vars(part))
        assert owner.__module__.startswith("langchain_vpp"), name
    assert _interface(RunnableBinding) <= ENTRIES | COMPOSITIONS | NO_INPUT


def test_the_redacting_handler_knows_every_event() -> None:
    events = {name for name in dir(BaseCallbackHandler) if name.startswith(("on_", "ignore_"))}
    assert events - set(vars(RedactingCallbackHandler)) == {"on_retry"}
