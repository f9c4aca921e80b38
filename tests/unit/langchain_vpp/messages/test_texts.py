"""Texts are rewritten wherever they stand, and nothing else is."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from pydantic import BaseModel

from langchain_vpp.errors import ProtectionError
from langchain_vpp.messages.texts import TextWalk

JPEG = "/9j/" + "aAbB" * 40


def rewritten(value):
    return TextWalk(lambda text, is_json: text.replace("Ada", "{Ada}" if is_json else "X")).value(value)


@dataclass
class Record:
    name: str
    parts: tuple


class Model(BaseModel):
    name: str
    inner: dict


def test_texts_in_values_of_all_kinds_are_rewritten_and_their_classes_stay():
    value = {
        "a": ["Ada", ("Ada", {"Ada"}), 7, None, b"Ada"], "Ada Lovelace": OrderedDict(x="Ada"),
        "r": Record("Ada", ("Ada",)), "m": Model(name="Ada", inner={"n": "Ada"}),
    }  # fmt: skip
    assert rewritten(value) == {
        "a": ["X", ("X", {"X"}), 7, None, b"Ada"], "X Lovelace": OrderedDict(x="X"),
        "r": Record("X", ("X",)), "m": Model(name="X", inner={"n": "X"}),
    }  # fmt: skip
    assert value["r"].name == "Ada"


def test_what_holds_no_such_text_stays_the_same_object():
    value = {"a": [HumanMessage("x"), np.zeros(3), object()]}
    assert rewritten(value) is value


def test_names_of_fields_and_of_what_is_called_stay():
    call = {"name": "Ada", "args": {"name": "Ada", "Ada": 1}, "id": "1", "type": "tool_call"}
    assert rewritten({"type": "Ada", "role": "Ada", "ada_field": 1, "call": call}) == {
        "type": "Ada", "role": "Ada", "ada_field": 1, "call": {**call, "args": {"name": "X", "X": 1}},
    }  # fmt: skip


@pytest.mark.parametrize("key", ["args", "arguments", "partial_json"])
def test_arguments_are_known_to_be_json(key):
    assert rewritten({"name": "f", key: '{"a": "Ada"}'})[key] == '{"a": "{Ada}"}'


def test_all_fields_of_a_message_are_rewritten_but_its_id():
    message = ToolMessage(["Ada", {"type": "text", "text": "Ada"}], artifact=["Ada"], tool_call_id="Ada", name="Ada",
                          id="Ada", additional_kwargs={"x": "Ada"}, response_metadata={"y": "Ada"})  # fmt: skip
    new = rewritten(message)
    assert (new.id, type(new)) == ("Ada", ToolMessage)
    assert str(new).count("Ada") == 1
    assert new.tool_call_id == "X"
    assert message.name == "Ada"


def test_protected_pictures_and_opaque_tokens_stay():
    picture = JPEG.replace("aAbB", "Ada9", 1)
    blocks = [
        {"type": "image", "base64": picture, "mime_type": "image/jpeg"},
        {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{picture}"}},
        {"type": "thinking", "thinking": "Ada", "signature": "Ada" * 20},
    ]
    new = rewritten(AIMessage(blocks))
    assert new.content[:2] == blocks[:2]
    assert new.content[2] == {"type": "thinking", "thinking": "X", "signature": "Ada" * 20}


@pytest.mark.parametrize(
    "text", ["/9j/ Ada " + "a" * 80, "/9j/Ada", "data:image/jpeg;base64,/9j/" + "a" * 80 + " Ada"]
)
def test_text_that_only_begins_like_a_picture_is_rewritten(text):
    assert "Ada" not in rewritten({"type": "image", "base64": text})["base64"]
    assert "Ada" not in rewritten({"type": "thinking", "signature": text})["signature"]


def test_what_is_too_deep_is_refused():
    deep: list = ["Ada"]
    for _ in range(100):
        deep = [deep]
    with pytest.raises(ProtectionError, match="nested too deeply"):
        rewritten(deep)
    assert TextWalk(lambda text, _: text.replace("Ada", "X"), is_lenient=True).value(["Ada", deep])[0] == "X"


def test_what_can_not_be_built_again_is_refused_or_stays():
    with pytest.raises(ProtectionError, match="can't be rebuilt"):
        rewritten([PurePosixPath("Ada")])
    value = [PurePosixPath("Ada"), "Ada"]
    assert TextWalk(lambda text, _: text.replace("Ada", "X"), is_lenient=True).value(value) == [value[0], "X"]
