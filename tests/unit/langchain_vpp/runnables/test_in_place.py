"""Values whose pictures are protected where they stand: each keeps its form, and the rest is untouched."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.messages import HumanMessage
from langchain_core.prompt_values import ChatPromptValue
from PIL import Image

from langchain_vpp import ImageProtector, ProtectionError
from langchain_vpp.engines import Pixelate
from langchain_vpp.messages.plan import NOTE
from langchain_vpp.runnables.in_place import aprotect_in_place, protect_in_place
from langchain_vpp.testing import assert_no_leak
from tests.unit.langchain_vpp.runnables.models import BLOCK, ENCODED, MESSAGE, PICTURE

URL = f"data:image/png;base64,{ENCODED}"


def _protect(value: Any, protector: ImageProtector | None = None) -> Any:
    protector = protector or ImageProtector(Pixelate(), level=0.7)
    return protect_in_place(protector, value, place="the test", level=None)


def _is_jpeg(value: Any) -> bool:
    return bytes(value[:3]) == b"\xff\xd8\xff"


@dataclasses.dataclass
class Shot:
    place: str
    data: bytes


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (PICTURE, lambda value: value),
        (bytearray(PICTURE), lambda value: value),
        (ENCODED, base64.b64decode),
        (base64.urlsafe_b64encode(PICTURE).decode(), base64.b64decode),
        ("\n".join(ENCODED[i : i + 76] for i in range(0, len(ENCODED), 76)), base64.b64decode),
        (URL, lambda value: base64.b64decode(value.removeprefix("data:image/jpeg;base64,"))),
        (BLOCK, lambda value: base64.b64decode(value["base64"])),
        ({"rows": [{"thumbnail": ENCODED}]}, lambda value: base64.b64decode(value["rows"][0]["thumbnail"])),
        ((1, [PICTURE]), lambda value: value[1][0]),
        (Shot("hall", PICTURE), lambda value: value.data),
        (
            Document("x", metadata={"picture": ENCODED}),
            lambda value: base64.b64decode(value.metadata["picture"]),
        ),
        (MESSAGE, lambda value: base64.b64decode(value.content[0]["base64"])),
        ([MESSAGE, "Hi."], lambda value: base64.b64decode(value[0].content[0]["base64"])),
        (
            ChatPromptValue(messages=[MESSAGE]),
            lambda value: base64.b64decode(value.messages[0].content[0]["base64"]),
        ),
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": URL}}]},
            lambda value: base64.b64decode(value["content"][0]["image_url"]["url"].partition(",")[2]),
        ),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_a_picture_keeps_its_form(value: Any, read: Any) -> None:
    protector = ImageProtector(Pixelate(), level=0.7)
    protected = _protect(value, protector)
    assert type(protected) is (bytes if isinstance(value, bytearray) else type(value))
    assert _is_jpeg(read(protected))
    assert_no_leak(PICTURE, protected)
    # What this protector has put out passes unchanged.
    assert _protect(protected, protector) is protected
    assert await aprotect_in_place(protector, value, place="the test", level=None) == protected


def test_a_pil_image_stays_one() -> None:
    protected = _protect({"shot": Image.open(io.BytesIO(PICTURE))})["shot"]
    assert (protected.mode, protected.size, protected.info) == ("RGB", (24, 24), {})
    assert_no_leak(PICTURE, protected)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (BLOCK, {"type": "image", "mime_type": "image/jpeg"}),
        (
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": ENCODED}},
            {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg"}},
        ),
        ({"image": {"format": "png", "source": {"bytes": PICTURE}}}, {"image": {"format": "jpeg"}}),
        ({"format": "png", "picture": ENCODED}, {"format": "png"}),
    ],
)
def test_the_name_of_the_format_changes_with_the_picture(value: Any, expected: Any) -> None:
    def without_pictures(part: Any) -> Any:
        if not isinstance(part, dict):
            return part
        kept = {
            key: without_pictures(item)
            for key, item in part.items()
            if key not in ("base64", "data", "bytes", "picture")
        }
        return {key: item for key, item in kept.items() if item != {}}

    assert without_pictures(_protect(value)) == expected


@pytest.mark.parametrize(
    "value", [None, 7, "text", {"a": [1, b"x"]}, object(), {"f": print}, [HumanMessage("Hi.")]]
)
def test_a_value_without_pictures_is_the_same_object(value: Any) -> None:
    assert _protect(value) is value


def test_an_object_of_an_unknown_class_passes_beside_a_picture() -> None:
    connection = object()
    assert _protect({"connection": connection, "shot": PICTURE})["connection"] is connection


HIDDEN = [
    f"See {URL} there",
    json.dumps({"shot": ENCODED}),
    PICTURE.hex(),
    b"prefix" + PICTURE,
    list(PICTURE),
    np.zeros((9, 9, 3), np.uint8),
    io.BytesIO(PICTURE),
    {ENCODED: 1},
    b"\xff\xd8\xff\xe0" + bytes(60),
    "%PDF-1.7\n" + "x" * 60,
]


@pytest.mark.parametrize("value", HIDDEN, ids=lambda value: type(value).__name__)
def test_what_is_no_picture_by_itself_is_refused_without_content(value: Any) -> None:
    with pytest.raises(ProtectionError, match=r"the test|was not protected") as caught:
        _protect({"deep": [value]})
    assert_no_leak(PICTURE, caught.value.args)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_drop_leaves_a_note_in_the_place_of_what_is_refused() -> None:
    protector = ImageProtector(Pixelate(), on_unsupported="drop")
    assert _protect({"rows": [json.dumps({"shot": ENCODED})]}, protector) == {"rows": [NOTE]}
