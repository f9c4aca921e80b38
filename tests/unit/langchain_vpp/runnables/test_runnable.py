"""Shells around Runnables, and what is composed of them."""

from __future__ import annotations

import copy
import pickle

import pytest
from langchain_core.load import dumps, loads
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableLambda, RunnablePassthrough

from langchain_vpp import ImageProtector, ProtectionError, protect
from langchain_vpp.runnables.runnable import ProtectedBinding
from tests.unit.langchain_vpp.guard.samples import Recording
from tests.unit.langchain_vpp.runnables.models import ENCODED, MESSAGE, Echo


def test_a_chain_in_front_of_a_protected_model_is_seen_by_the_guard(protector: ImageProtector) -> None:
    chain = RunnablePassthrough() | protect(Echo(), protector)
    with pytest.raises(ProtectionError, match="enclosing run"):
        chain.invoke([MESSAGE], {"callbacks": [Recording()]})


def test_protected_things_are_not_serializable_and_cannot_be_pickled(protector: ImageProtector) -> None:
    model = protect(Echo(), protector)
    model._serialized  # noqa: B018  cached by core on first use
    for thing in (
        model,
        copy.copy(model),
        model.bind(stop=["x"]),
        model | RunnablePassthrough(),
        model.with_retry(),
    ):
        with pytest.raises(NotImplementedError):
            loads(dumps(thing), allowed_objects="all")
        with pytest.raises(TypeError, match="pickled"):
            pickle.dumps(thing)


def test_copies_of_protected_things_are_protected(protector: ImageProtector) -> None:
    model = protect(Echo(), protector)
    for thing in (model, model.bind(stop=["x"]), model | RunnablePassthrough(), model.with_retry()):
        for made in (copy.copy(thing), copy.deepcopy({"steps": [thing]})["steps"][0]):
            assert type(made) is type(thing)
            assert made is not thing
            assert made.vpp_protector is protector
            assert made.invoke([MESSAGE]).text == "ok"


def test_bindings_of_every_kind_stay_protected_bindings(protector: ImageProtector) -> None:
    binding = protect(Echo(), protector).bind(a=1)
    for derived in (
        binding,
        binding.bind(b=2),
        binding.with_config(tags=["t"]),
        binding.with_listeners(on_start=lambda run: None),
        binding.with_types(output_type=AIMessage),
        protect(Echo().bind(a=1), protector),
    ):
        assert isinstance(derived, ProtectedBinding)
        assert derived.vpp_protector is protector
        assert derived.kwargs["a"] == 1


def test_a_tool_made_of_a_protected_runnable_refuses_pictures_in_its_arguments(
    protector: ImageProtector,
) -> None:
    runnable = protect(
        RunnableLambda(lambda text: text.upper()).with_types(input_type=str, output_type=str), protector
    )
    tool = runnable.as_tool(name="upper", description="Upper case.")
    assert tool.invoke("hello") == "HELLO"
    with pytest.raises(ProtectionError):
        tool.invoke(ENCODED)
