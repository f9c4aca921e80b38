"""Levels and settings of a call."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.runnables import RunnablePassthrough

from langchain_vpp import ImageProtector, ProtectionError, protect
from langchain_vpp.testing import assert_no_leak
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


def test_a_picture_in_text_whose_tokens_are_counted_is_refused(protector: ImageProtector) -> None:
    model = protect(Echo(custom_get_token_ids=lambda text: [len(text)]), protector)
    assert model.get_num_tokens("Hello.") == 1
    for call in (model.get_num_tokens, model.get_token_ids):
        with pytest.raises(ProtectionError):
            call(ENCODED)
