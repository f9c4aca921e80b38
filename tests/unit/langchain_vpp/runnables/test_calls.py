"""Levels and settings of a call."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from typing import Annotated, Any, TypedDict

import numpy as np
import pytest
from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableLambda, RunnableParallel, RunnablePassthrough
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from langchain_vpp import ImageProtector, ProtectionError, protect
from langchain_vpp.engines import Pixelate
from langchain_vpp.testing import assert_no_leak
from tests.callbacks import Everything
from tests.unit.langchain_vpp.runnables.models import ENCODED, MESSAGE, PICTURE, Echo, Streaming


def test_the_level_of_a_request_does_not_reach_the_model(protector: ImageProtector) -> None:
    model = protect(Streaming(seen=[]), protector)
    answer = model.invoke([MESSAGE], {"configurable": {"vpp_level": 0.9}}, other=1)
    list(model.stream([MESSAGE], {"configurable": {"vpp_level": 0.9}}))
    assert answer.response_metadata["vpp"]["images"][0]["level"] == 0.9
    assert [kwargs for _, kwargs in model.seen] == [{"other": 1}, {}]


@pytest.mark.parametrize("level", [2, "high", None.__class__])
def test_a_wrong_level_in_the_config_sends_nothing(level: Any, protector: ImageProtector) -> None:
    model = protect(Echo(seen=[]), protector)
    for runnable in (model, model | RunnablePassthrough()):
        with pytest.raises(ProtectionError, match="vpp_level"):
            runnable.invoke([MESSAGE], {"configurable": {"vpp_level": level}})
    assert not model.seen


HIDING_PLACES: dict[str, dict[str, Any]] = {
    "argument": {
        "extra_body": {"messages": [{"content": [{"image_url": f"data:image/png;base64,{ENCODED}"}]}]}
    },
    "bytes": {"image": PICTURE},
    "stop": {"stop": [ENCODED]},
    "metadata": {"config": {"metadata": {"picture": ENCODED}}},
    "tag": {"config": {"tags": [ENCODED]}},
    "run name": {"config": {"run_name": ENCODED}},
    "configurable": {"config": {"configurable": {"picture": ENCODED}}},
}


@pytest.mark.parametrize("place", HIDING_PLACES)
def test_a_picture_in_the_arguments_of_a_call_is_refused(place: str, protector: ImageProtector) -> None:
    model = protect(Echo(seen=[]), protector)
    for runnable in (model, model | RunnablePassthrough(), model.bind()):
        with pytest.raises(ProtectionError) as caught:
            runnable.invoke("Hello.", **HIDING_PLACES[place])
        assert_no_leak(PICTURE, caught.value.args)
    assert not model.seen


class Described(BaseModel):
    """A schema with a picture in its description, as ``response_format`` or ``tools`` take it."""

    title: str = Field(description=f"Such as this: data:image/png;base64,{ENCODED}")


class Defaulted(BaseModel):
    picture: bytes = PICTURE


class Configured(BaseModel):
    model_config = ConfigDict(json_schema_extra={"examples": [ENCODED]})


class Nested(BaseModel):
    inner: list[Described] = []


class Hiding(BaseModel):
    _kept: Any = PrivateAttr(default=None)


class Typed(TypedDict):
    title: Annotated[str, ..., ENCODED]


@dataclasses.dataclass
class Record:
    picture: str = ENCODED


def described(place: str, sample: str = ENCODED) -> str:
    """Look at a place."""
    return place + sample


def _hiding() -> Hiding:
    value = Hiding()
    value._kept = PICTURE
    return value


SETTINGS: dict[str, Any] = {
    "description": Described, "default": Defaulted, "configuration": Configured, "nested class": Nested,
    "typed dict": Typed, "dataclass": Record, "function": described, "private attribute": _hiding(),
    "class of an instance": Described(title="x"), "in a list": [{"schema": Described}],
}  # fmt: skip


@pytest.mark.parametrize("place", SETTINGS)
def test_classes_functions_and_models_among_the_arguments_are_searched(
    place: str, protector: ImageProtector
) -> None:
    model = protect(Echo(seen=[]), protector)
    for call in (
        lambda: model.invoke("Hello.", response_format=SETTINGS[place]),
        lambda: model.bind(response_format=SETTINGS[place]).invoke("Hello."),
        lambda: protect(Echo(seen=[]).bind(response_format=SETTINGS[place]), protector).invoke("Hello."),
        lambda: protect(
            RunnableLambda(lambda text, **_: text).bind(response_format=SETTINGS[place]), protector
        ).invoke("Hello."),
        lambda: protect(
            RunnablePassthrough() | RunnablePassthrough().with_config(configurable={"x": SETTINGS[place]}),
            protector,
        ).invoke("Hello."),
    ):
        with pytest.raises(ProtectionError) as caught:
            call()
        assert_no_leak(PICTURE, caught.value.args)
    assert not model.seen


class Joke(BaseModel):
    """A joke."""

    setup: str = Field(description="The question.", examples=["Why?"])
    _note: Any = PrivateAttr(default=None)


def test_ordinary_classes_and_functions_among_the_arguments_pass(protector: ImageProtector) -> None:
    def look(place: str = "here") -> str:
        """Look at a place."""
        return place

    model = protect(Echo(seen=[]), protector)
    for value in (Joke, Joke(setup="Why?"), look, [Joke, look], object(), Echo, int, list[int]):
        model.invoke("Hello.", response_format=value)
        model.bind(response_format=value).invoke("Hello.")


@pytest.mark.parametrize("place", ["metadata", "tags", "run_name"])
def test_a_picture_in_the_config_of_a_part_is_refused(place: str, protector: ImageProtector) -> None:
    value = {"metadata": {"picture": ENCODED}, "tags": [ENCODED], "run_name": ENCODED}[place]
    handler = Everything()
    part = RunnableLambda(str).with_config({place: value})
    for runnable in (part, part.with_retry(), RunnablePassthrough() | part, RunnableParallel(a=part)):
        with pytest.raises(ProtectionError, match="settings"):
            protect(runnable, protector).invoke("x", {"callbacks": [handler]})
    assert not handler.events


def test_a_picture_in_the_arguments_of_a_models_constructor_is_refused(protector: ImageProtector) -> None:
    for settings in (
        {"metadata": {"picture": ENCODED}},
        {"tags": [ENCODED]},
        {"model_kwargs": {"image": PICTURE}},
    ):
        model = protect(WithArguments(seen=[], **settings), protector)
        for call in (
            lambda: model.invoke("Hello."),  # noqa: B023  called at once
            lambda: model.generate([[HumanMessage("Hello.")]]),  # noqa: B023
            lambda: model._generate([HumanMessage("Hello.")]),  # noqa: B023
        ):
            with pytest.raises(ProtectionError, match="settings"):
                call()
        assert not model.seen
    protect(WithArguments(seen=[], model_kwargs={"seed": 1}), protector).invoke("Hello.")


class WithArguments(Echo):
    model_kwargs: dict[str, Any] = Field(default_factory=dict)


@pytest.mark.parametrize("level", [np.float32(0.9), np.float64(0.9), Fraction(9, 10)])
def test_numbers_of_every_class_are_levels(level: Any) -> None:
    model = protect(Echo(seen=[]), ImageProtector(Pixelate(), level=np.float32(0.5)))
    answer = model.invoke([MESSAGE], {"configurable": {"vpp_level": level}})
    assert answer.response_metadata["vpp"]["images"][0]["level"] == pytest.approx(0.9)


def test_a_request_names_a_preset_and_gets_no_less_than_the_level() -> None:
    protector = ImageProtector(Pixelate(), level=0.6, presets={"low": 0.1, "high": 0.9})
    model = protect(Echo(seen=[]), protector)
    for runnable in (
        model,
        RunnablePassthrough() | model.bind(stop=["x"]),
        protect(RunnablePassthrough() | Echo(), protector),
    ):
        for asked, expected in (("high", 0.9), ("low", 0.6), (0, 0.6), (1.0, 1.0)):
            answer = runnable.invoke([MESSAGE], {"configurable": {"vpp_level": asked}})
            assert answer.response_metadata["vpp"]["images"][0]["level"] == expected
    with pytest.raises(ProtectionError, match="low, high"):
        model.invoke([MESSAGE], {"configurable": {"vpp_level": "medium"}})


def test_a_picture_in_text_whose_tokens_are_counted_is_refused(protector: ImageProtector) -> None:
    model = protect(Echo(custom_get_token_ids=lambda text: [len(text)]), protector)
    assert model.get_num_tokens("Hello.") == 1
    for call in (model.get_num_tokens, model.get_token_ids):
        with pytest.raises(ProtectionError):
            call(ENCODED)
