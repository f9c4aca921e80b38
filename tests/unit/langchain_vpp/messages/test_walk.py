"""The walker over every carrier: what is protected, what is refused, what passes, and what errors may say."""

from __future__ import annotations

import base64
import copy
import random
import sys
import traceback
from collections import Counter
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, RemoveMessage, ToolMessage
from langchain_core.prompt_values import ChatPromptValue, ImagePromptValue, StringPromptValue
from PIL import Image

from langchain_vpp.errors import ProtectionError
from langchain_vpp.messages.plan import NOTE, ContentPolicy, PixelSource
from langchain_vpp.messages.walk import coerce_messages, plan_messages
from tests.carriers import CARRIERS, HARMLESS, Carrier, b64, data_url, human, link, png_block, tool
from tests.unit.canary import find_canary
from tests.unit.langchain_vpp.messages.samples import DROP, FRESH, JPEG, PICTURE, STRICT, encode, protect

PDF = b"%PDF-1.7\n" + bytes(range(256))


@pytest.fixture(scope="module", params=["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def picture(request: pytest.FixtureRequest) -> bytes:
    return encode(request.param)


def test_names_of_carriers_are_unique() -> None:
    assert len({carrier.name for carrier in CARRIERS}) == len(CARRIERS)


@pytest.mark.parametrize("carrier", CARRIERS, ids=lambda carrier: carrier.name)
def test_every_carrier_is_protected_or_refused(carrier: Carrier, picture: bytes) -> None:
    messages = carrier(picture)
    before = (
        copy.deepcopy([message.__dict__ for message in messages]) if "protected" in carrier.outcome else None
    )
    if carrier.outcome == "refused":
        with pytest.raises(ProtectionError):
            plan_messages(messages, STRICT)
        return
    plan = plan_messages(messages, STRICT)
    assert [(source.kind, source.data) for source in plan.sources] == [("image", picture)]
    rebuilt = plan.rebuild([[JPEG]])
    assert find_canary(picture, rebuilt) is None
    assert FRESH["base64"] in repr(rebuilt)
    assert before == [message.__dict__ for message in messages], "the input was changed"


@pytest.mark.slow(seconds=0.01)
@pytest.mark.parametrize("carrier", CARRIERS, ids=lambda carrier: carrier.name)
def test_dropping_leaves_nothing_of_the_picture(carrier: Carrier, picture: bytes) -> None:
    messages = carrier(picture)
    try:
        rebuilt = protect(messages, DROP)
    except ProtectionError:
        assert carrier.name in ("message_name", "message_id", "tool_call_id")
        return
    assert find_canary(picture, rebuilt) is None
    assert carrier.outcome == "protected" or NOTE in repr(rebuilt)
    assert [type(message) for message in rebuilt] == [type(message) for message in messages]


@pytest.mark.slow(seconds=0.01)
@pytest.mark.parametrize(
    "carrier",
    [carrier for carrier in CARRIERS if carrier.outcome == "refused"],
    ids=lambda carrier: carrier.name,
)
def test_a_refusal_carries_no_content(carrier: Carrier, picture: bytes) -> None:
    with pytest.raises(ProtectionError) as refusal:
        plan_messages(carrier(picture), STRICT)
    error: BaseException = refusal.value
    assert error.__cause__ is None
    assert error.__context__ is None
    said = f"{error!s} {error.args!r} {''.join(traceback.format_exception_only(error))}"
    assert said.isascii()
    assert "Nothing was sent: in message" in said
    assert find_canary(picture, [said]) is None
    assert link(picture) not in said
    assert b64(picture)[:12] not in said


@pytest.mark.parametrize("messages", [m for _, m in HARMLESS], ids=[name for name, _ in HARMLESS])
@pytest.mark.parametrize("policy", [STRICT, DROP], ids=["raise", "drop"])
def test_what_holds_no_pixels_passes_as_the_same_objects(
    messages: list[BaseMessage], policy: ContentPolicy
) -> None:
    plan = plan_messages(messages, policy)
    assert plan.sources == ()
    assert all(new is old for new, old in zip(plan.rebuild([]), messages, strict=True))


@pytest.mark.parametrize("policy", [STRICT, DROP], ids=["raise", "drop"])
def test_pixels_in_private_attributes_or_caches_are_refused(policy: ContentPolicy) -> None:
    class Caching(HumanMessage):
        _seen: Any = None

    private = Caching("Hi.")
    private._seen = PICTURE
    with pytest.raises(ProtectionError):
        plan_messages([private], policy)
    cached = HumanMessage("Hi.")
    cached.__dict__["preview"] = data_url(PICTURE)
    assert policy is STRICT or find_canary(PICTURE, protect([cached], policy)) is None
    if policy is STRICT:
        with pytest.raises(ProtectionError):
            plan_messages([cached], policy)


def test_a_picture_in_the_name_of_a_field_is_refused() -> None:
    with pytest.raises(ProtectionError, match="name of a field"):
        plan_messages([HumanMessage("Hi.", **{b64(PICTURE): 1})], DROP)


def test_a_key_that_spells_a_picture_in_a_nest_is_dropped_with_it() -> None:
    nest = {"type": "tool_result", "tool_use_id": "t", "content": "Done.", b64(PICTURE): 1}
    (message,) = protect([HumanMessage([nest])], DROP)
    assert message.content == [{"type": "text", "text": NOTE}]


def test_a_picture_of_a_tool_stays_in_its_tool_message() -> None:
    *_, message = protect(tool([{"type": "text", "text": "Done."}, png_block(PICTURE)], artifact={"n": 1}))
    assert isinstance(message, ToolMessage)
    assert message.content == [{"type": "text", "text": "Done."}, FRESH]
    assert (message.tool_call_id, message.artifact) == ("call_1", {"n": 1})


def test_pictures_in_a_tool_result_block_stay_there_and_elsewhere_take_the_place_of_their_block() -> None:
    result = {"type": "tool_result", "tool_use_id": "t", "content": [png_block(PICTURE)], "is_error": False}
    document = {"type": "document", "source": {"type": "content", "content": ["Page 1", png_block(PICTURE)]}}
    (message,) = protect([HumanMessage([result, document])])
    assert message.content == [{**result, "content": [FRESH]}, "Page 1", FRESH]


def test_remote_urls_and_handles_become_sources_only_where_the_policy_says_so() -> None:
    fetching = ContentPolicy(on_remote_url="fetch")
    for block in (
        {"type": "image", "url": "https://example.com/a.png"},
        {"type": "image_url", "image_url": "HTTPS://example.com/a.png"},
        {"type": "image", "source": {"type": "url", "url": "http://example.com/a.png"}},
        {"type": "media", "mime_type": "image/png", "file_uri": "https://example.com/a.png"},
    ):
        (source,) = plan_messages(human(block), fetching).sources
        assert source.kind == "url"
        assert (source.reference or "").lower().endswith("://example.com/a.png")
        with pytest.raises(ProtectionError, match="on_remote_url"):
            plan_messages(human(block), STRICT)
    for refused in ("gs://b/a.png", "s3://b/a.png", "file:///a.png", "ftp://h/a.png", "//h/a.png", "/a.png"):
        with pytest.raises(ProtectionError):
            plan_messages(human({"type": "image", "url": refused}), fetching)
    with pytest.raises(ProtectionError, match="document is given by URL"):
        plan_messages(human({"type": "file", "url": "https://example.com/a.pdf"}), fetching)
    assert plan_messages(human({"type": "image", "url": "vpp://0a1b"}), STRICT).sources == (
        PixelSource("sealed", reference="vpp://0a1b"),
    )


@pytest.mark.parametrize(
    "block",
    [
        {"type": "file", "base64": b64(PDF), "mime_type": "application/pdf"},
        {"type": "file", "file": {"file_data": data_url(PDF, "application/pdf"), "filename": "a.pdf"}},
        {"type": "input_file", "file_data": data_url(PDF, "application/pdf")},
        {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": b64(PDF)}},
        {"type": "media", "mime_type": "application/pdf", "data": PDF},
        {"document": {"format": "pdf", "name": "a", "source": {"bytes": PDF}}},
        {"type": "document", "document": {"format": "pdf", "name": "a", "source": {"bytes": PDF}}},
        {"type": "image", "base64": b64(PDF), "mime_type": "image/png"},
    ],
)
def test_a_pdf_in_any_dialect_is_refused_or_becomes_its_pages(block: dict[str, Any]) -> None:
    with pytest.raises(ProtectionError, match="on_document"):
        plan_messages(human(block), STRICT)
    plan = plan_messages(human(block), ContentPolicy(on_document="rasterize"))
    assert plan.sources == (PixelSource("document", data=PDF),)
    (message,) = plan.rebuild([[JPEG, JPEG, JPEG]])
    assert message.content == [{"type": "text", "text": "What is this?"}, FRESH, FRESH, FRESH]


def test_a_dropped_block_leaves_no_source_behind() -> None:
    half = {
        "type": "non_standard",
        "value": {"type": "document", "content": [png_block(PICTURE)], "url": "x"},
    }
    plan = plan_messages(human(half, png_block(PICTURE)), DROP)
    assert len(plan.sources) == 1
    (message,) = plan.rebuild([[JPEG]])
    assert message.content[1:] == [{"type": "text", "text": NOTE}, FRESH]


def test_dropped_tool_call_arguments_keep_their_shape() -> None:
    message = AIMessage("", tool_calls=[{"name": "f", "args": {"a": [1, {"b": b64(PICTURE)}]}, "id": "c"}])
    (rebuilt,) = protect([message], DROP)
    assert isinstance(rebuilt, AIMessage)
    assert rebuilt.tool_calls == [
        {"name": "f", "args": {"a": [1, {"b": NOTE}]}, "id": "c", "type": "tool_call"}
    ]


class Mystery:
    """An object that tells nothing of itself."""

    def __bool__(self) -> bool:
        raise RuntimeError(b64(PICTURE))


@pytest.mark.parametrize("thing", [Mystery(), Mystery, object(), lambda: None, iter([1])])
@pytest.mark.parametrize("where", ["artifact", "args", "block", "extra", "item"])
def test_objects_that_we_do_not_know_are_refused(thing: Any, where: str) -> None:
    message: BaseMessage = HumanMessage("Hi.")
    if where == "artifact":
        message = ToolMessage("Done.", tool_call_id="c", artifact=[thing])
    elif where == "args":
        message = AIMessage("", tool_calls=[{"name": "f", "args": {"x": thing}, "id": "c"}])
    elif where == "block":
        message = HumanMessage([{"type": "text", "text": "x", "thing": thing}])
    elif where == "extra":
        message = HumanMessage("Hi.", thing=thing)
    else:
        message.content = ["Hi.", thing]
    with pytest.raises(ProtectionError):
        plan_messages([message], STRICT)
    assert repr(thing) not in repr(protect([message], DROP))


@pytest.mark.parametrize(
    "block",
    [
        {"type": "image", "file_id": "file1234"},
        {"type": "input_image", "file_id": "file1234"},
        {"type": "image", "source": {"type": "file", "file_id": "file1234"}},
        {"type": "file", "file": {"file_id": "file1234"}},
        {"type": "image", "path": "/a/bcd/efg"},
        {"image": {"format": "png", "source": {"s3Location": {"uri": "abcd"}}}},
    ],
)
def test_an_id_that_happens_to_be_base64_is_not_read_as_a_picture(block: dict[str, Any]) -> None:
    with pytest.raises(ProtectionError, match="stored elsewhere"):
        plan_messages(human(block), STRICT)


def test_nesting_and_loops_end_in_a_refusal() -> None:
    deep: Any = {"type": "text", "text": "x"}
    for _ in range(5_000):
        deep = {"type": "non_standard", "value": deep}
    loop: dict[str, Any] = {"a": 1}
    loop["self"] = loop
    wide: Any = []
    for _ in range(40):
        wide = [wide, wide]
    for message in (
        HumanMessage([deep]),
        HumanMessage([{"type": "text", "text": "x", "extras": loop}]),
        ToolMessage("Done.", tool_call_id="c", artifact=loop),
        ToolMessage("Done.", tool_call_id="c", artifact=wide),
        HumanMessage([{"type": "image", "image": loop}]),
    ):
        with pytest.raises(ProtectionError):
            plan_messages([message], STRICT)


def test_something_that_is_no_message_is_refused() -> None:
    with pytest.raises(ProtectionError):
        plan_messages([{"role": "user", "content": data_url(PICTURE)}], STRICT)  # type: ignore[list-item]


def test_remove_messages_of_graphs_pass() -> None:
    message = RemoveMessage(id="m1")
    assert protect([message])[0] is message


@pytest.mark.parametrize(
    ("value", "texts"),
    [
        ("Hi.", ["Hi."]),
        (HumanMessage("Hi."), ["Hi."]),
        (StringPromptValue(text="Hi."), ["Hi."]),
        (ChatPromptValue(messages=[HumanMessage("Hi."), AIMessage("Ho.")]), ["Hi.", "Ho."]),
        (
            [("system", "Hi."), {"role": "user", "content": "Ho."}, "He.", AIMessage("Ha.")],
            ["Hi.", "Ho.", "He.", "Ha."],
        ),
        ([], []),
    ],
)
def test_every_input_of_a_chat_model_becomes_messages(value: Any, texts: list[str]) -> None:
    messages = coerce_messages(value)
    assert all(isinstance(message, BaseMessage) for message in messages)
    assert [message.content for message in messages] == texts


def test_an_image_prompt_value_becomes_a_message_that_is_protected() -> None:
    messages = coerce_messages(ImagePromptValue(image_url={"url": data_url(PICTURE), "detail": "low"}))
    url = f"data:image/jpeg;base64,{FRESH['base64']}"
    assert protect(messages)[0].content == [{"type": "image_url", "image_url": {"url": url, "detail": "low"}}]


@pytest.mark.parametrize(
    "value",
    [
        PICTURE,
        bytearray(PICTURE),
        None,
        42,
        {"role": "user", "content": data_url(PICTURE)},
        [{"content": data_url(PICTURE)}],
        [{"role": data_url(PICTURE), "content": "x"}],
        [(data_url(PICTURE), "x")],
        [[data_url(PICTURE)]],
        [PICTURE],
        [HumanMessage("x"), Image.new("RGB", (4, 4))],
        iter([HumanMessage("x")]),
    ],
)
def test_bad_input_is_refused_without_its_content(value: Any) -> None:
    with pytest.raises(ProtectionError) as refusal:
        coerce_messages(value)
    assert refusal.value.__cause__ is None
    assert refusal.value.__context__ is None
    assert find_canary(PICTURE, [str(refusal.value), repr(refusal.value.args)]) is None


def test_a_long_history_of_text_is_walked_in_few_steps() -> None:
    # Calls, because time depends on what else runs: `tests/bench/bench_walker.py` measures that.
    text = "The quick brown fox jumps over the lazy dog, and then it writes some code about it. " * 6
    metadata = {"token_usage": {"total_tokens": 8, "details": {"a": 0}}, "model_name": "m", "logprobs": None}
    history = [
        m for _ in range(100) for m in (HumanMessage(text), AIMessage(text, response_metadata=metadata))
    ]
    plan_messages(history, STRICT).rebuild([])  # what is kept between calls is there now
    calls = Counter()
    sys.setprofile(lambda _, event, __: calls.update([event]))
    try:
        plan_messages(history, STRICT).rebuild([])
    finally:
        sys.setprofile(None)
    assert calls["call"] + calls["c_call"] < 80 * len(history)


@pytest.mark.parametrize("size", [98_303, 98_304, 98_305, 300_000])
def test_a_large_payload_is_decoded_whole(size: int) -> None:
    data = PICTURE + random.Random(3).randbytes(size - len(PICTURE))
    for payload in (b64(data), base64.encodebytes(data).decode(), base64.urlsafe_b64encode(data).decode()):
        (source,) = plan_messages(human({"type": "image", "base64": payload}), STRICT).sources
        assert source.data == data


@pytest.mark.parametrize("junk", ["=", "==", "!", " =", "é"])
def test_a_large_payload_is_decoded_as_strictly_as_a_small_one(junk: str) -> None:
    payload = b64(PICTURE + random.Random(3).randbytes(300_000 - len(PICTURE)))
    for place in (7, 131_072 - len(junk), 131_072, len(payload) - 9):
        spoilt = payload[:place] + junk + payload[place + len(junk) :]
        with pytest.raises(ProtectionError):
            plan_messages(human({"type": "image", "base64": spoilt}), STRICT)
