"""Carriers nested and mixed at random: no picture comes out, nothing but ProtectionError is raised."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from PIL import Image

from langchain_vpp.errors import ProtectionError
from langchain_vpp.messages import dialects
from langchain_vpp.messages.plan import ContentPolicy
from langchain_vpp.messages.walk import coerce_messages, plan_messages
from tests.carriers import CARRIERS, HARMLESS, b64, data_url, nested, url_safe
from tests.unit.canary import find_canary

# 3 x 800 cases; with the raise and the drop policy walked in each, 4,800 walks.
CASES = 800
slow = pytest.mark.slow(seconds=8)
many = settings(max_examples=CASES, deadline=None, suppress_health_check=list(HealthCheck))
JPEG = b"\xff\xd8\xff\xe0protected"


def encode(file_format: str) -> bytes:
    file = io.BytesIO()
    Image.frombytes("RGB", (16, 16), random.Random(5).randbytes(768)).save(file, file_format)
    return file.getvalue()


PICTURES = {name: encode(name) for name in ("PNG", "JPEG", "GIF", "WEBP")}
pictures = st.sampled_from(list(PICTURES.values()))

SPELLINGS = (
    lambda p: p,
    bytearray,
    memoryview,
    b64,
    url_safe,
    data_url,
    lambda p: base64.encodebytes(p).decode(),
    lambda p: b64(b"?" + p),
    lambda p: b64(b"??" + p),
    lambda p: f"see ![this]({data_url(p)})",
    lambda p: json.dumps({"image": b64(p)}),
    lambda p: json.dumps(json.dumps([data_url(p)])),
    lambda p: b64(json.dumps({"image": b64(p)}).encode()),
    lambda p: p.hex(),
    lambda p: p.hex(" ").upper(),
    str,
    lambda p: str(list(p)),
    list,
    lambda p: p.decode("latin-1"),
    lambda p: json.dumps(p.decode("latin-1")),
    lambda p: Image.open(io.BytesIO(p)),
)
KEYS = sorted(
    {
        *map(str, dialects.ROLES),
        *map(str, dialects.TYPELESS_ROLES),
        *dialects.PAYLOAD_KEYS,
        *dialects.ASIDE_KEYS,
    }
    | {
        "type",
        "content",
        "value",
        "output",
        "input",
        "args",
        "id",
        "name",
        "source_type",
        "mime_type",
        "signature",
    }
    | {"encrypted_content", "detail", "unknown"}
)
TYPES = sorted(
    {*map(str, dialects.ROLES), "unknown", "base64", "url", "text", "content", "file", "video", "audio"}
)
scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=60) | st.sampled_from(TYPES)
)


@st.composite
def structures(draw: st.DrawFn) -> tuple[bytes, Any]:
    """A tree of dicts and lists in the vocabulary of all dialects, with a picture at many of its leaves."""
    picture = draw(pictures)
    leaf = scalars | st.sampled_from(SPELLINGS).map(lambda spell: spell(picture))
    tree = st.recursive(
        leaf,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)
            | st.builds(
                lambda kind, rest: {**rest, "type": kind},
                st.sampled_from(TYPES),
                st.dictionaries(st.sampled_from(KEYS), inner, max_size=3),
            )
        ),
        max_leaves=8,
    )
    return picture, draw(tree)


@st.composite
def mixtures(draw: st.DrawFn) -> tuple[bytes, list[BaseMessage]]:
    """Blocks of known carriers and of harmless messages, wrapped, shuffled and put into one message each."""
    picture = draw(pictures)
    chosen = draw(st.lists(st.sampled_from(CARRIERS), min_size=1, max_size=4))
    found = [carrier(picture) for carrier in chosen]
    found.append(draw(st.sampled_from(HARMLESS))[1])
    contents = [message.content for messages in found for message in messages]
    items = [item for content in contents for item in (content if isinstance(content, list) else [content])]
    wrapped: list[Any] = []
    for item in draw(st.permutations(items)):
        wrap = draw(st.integers(0, 5))
        if wrap == 1:
            item = nested(item, draw(st.integers(1, 4)))  # noqa: PLW2901
        elif wrap == 2:
            item = {"type": "tool_result", "tool_use_id": "t", "content": [item]}  # noqa: PLW2901
        elif wrap == 3:
            item = {"type": "document", "source": {"type": "content", "content": [item]}}  # noqa: PLW2901
        elif wrap == 4 and isinstance(item, dict) and wrapped and isinstance(wrapped[-1], dict):
            item = {**wrapped[-1], **item}  # noqa: PLW2901
        wrapped.append(item)
    message = draw(st.sampled_from([HumanMessage, SystemMessage, AIMessage]))(wrapped)
    others = [m for messages in found for m in messages] if draw(st.booleans()) else []
    return picture, [message, *others]


def place(where: str, thing: Any) -> BaseMessage:
    """Put anything anywhere into a message, past the validation that a caller could avoid as well."""
    message: BaseMessage = ToolMessage("Done.", tool_call_id="c") if where == "artifact" else AIMessage("Hi.")
    if where == "content":
        message.content = thing
    elif where == "item":
        message.content = ["Hi.", thing]
    elif where == "args":
        message.tool_calls = [{"name": "f", "args": thing, "id": "c", "type": "tool_call"}]
    elif where == "extra":
        return HumanMessage("Hi.", attachment=thing)
    else:
        setattr(message, where, thing)
    return message


def check(picture: bytes, messages: list[BaseMessage]) -> None:
    """Walk under both policies: nothing of the picture comes out, and a refusal says nothing of it."""
    for policy in (ContentPolicy(), ContentPolicy(on_unsupported="drop")):
        refusal: ProtectionError | None = None
        rebuilt: list[BaseMessage] = []
        try:
            plan = plan_messages(messages, policy)
            rebuilt = plan.rebuild([[JPEG] for _ in plan.sources])
        except ProtectionError as error:
            refusal = error
        assert find_canary(picture, rebuilt) is None
        if refusal is not None:
            assert refusal.__cause__ is None
            assert refusal.__context__ is None
            assert find_canary(picture, [str(refusal), repr(refusal.args)]) is None


@pytest.mark.slow(seconds=23)
@slow
@many
@given(
    structures(),
    st.sampled_from(
        [
            "content",
            "item",
            "args",
            "additional_kwargs",
            "response_metadata",
            "artifact",
            "extra",
            "name",
            "id",
            "usage_metadata",
        ]
    ),
)
def test_random_structures_anywhere_leak_nothing(case: tuple[bytes, Any], where: str) -> None:
    picture, tree = case
    check(picture, [place(where, tree)])


@pytest.mark.slow(seconds=13)
@slow
@many
@given(structures())
def test_random_blocks_leak_nothing(case: tuple[bytes, Any]) -> None:
    picture, tree = case
    check(picture, [place("content", tree if isinstance(tree, list) else [tree])])


@pytest.mark.slow(seconds=7)
@slow
@many
@given(mixtures())
def test_mixed_carriers_leak_nothing(case: tuple[bytes, list[BaseMessage]]) -> None:
    check(*case)


@pytest.mark.slow(seconds=8)
@settings(max_examples=200, deadline=None)
@given(structures())
def test_any_input_becomes_messages_or_a_refusal(case: tuple[bytes, Any]) -> None:
    picture, tree = case
    messages: list[BaseMessage] = []
    with contextlib.suppress(ProtectionError):
        messages = coerce_messages(tree)
    check(picture, messages)


def test_the_search_finds_the_picture_in_unprotected_messages() -> None:
    # The checks above mean something only if the same search is red without protection.
    picture = PICTURES["PNG"]
    seen = [c.name for c in CARRIERS if find_canary(picture, c(picture)) is None]
    # By design: these hold no picture, but a name or an address of one, an object, or a layer of base64 more.
    assert {"v1_image_url", "artifact_pil", "text_base64_of_base64"} <= set(seen)
    assert len(seen) < len(CARRIERS) / 4


@pytest.mark.parametrize("name", PICTURES)
def test_the_pictures_are_long_enough_to_be_searched_for(name: str) -> None:
    assert len(PICTURES[name]) > 200
