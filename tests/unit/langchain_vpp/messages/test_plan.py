"""Plans: rebuilding messages around protected pictures."""

from __future__ import annotations

import base64
import random
from collections import OrderedDict, deque
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from langchain_vpp.errors import ProtectionError
from langchain_vpp.messages.plan import NOTE
from langchain_vpp.messages.walk import plan_messages
from tests.carriers import human, openai, png_block, tool
from tests.unit.langchain_vpp.messages.samples import DROP, FRESH, JPEG, PICTURE, STRICT, protect


def test_only_changed_messages_are_rebuilt_and_keep_their_other_fields() -> None:
    plain = HumanMessage("Hello.")
    rich = AIMessage(
        [{"type": "text", "text": "Here."}, openai(PICTURE)],
        id="run-1",
        name="painter",
        tool_calls=[{"name": "f", "args": {"x": 1}, "id": "c1", "type": "tool_call"}],
        usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3},
        response_metadata={"model_name": "m"},
        additional_kwargs={"refusal": None},
        custom="kept",
    )
    first, second = protect([plain, rich])
    assert first is plain
    assert second is not rich
    assert isinstance(second, AIMessage)
    assert second.content == [{"type": "text", "text": "Here."}, FRESH]
    assert {**rich.model_dump(), "content": None} == {**second.model_dump(), "content": None}
    assert second.additional_kwargs is not rich.additional_kwargs
    assert second.content[0] is not rich.content[0]


def test_caches_and_private_state_of_a_rebuilt_message_stay_behind() -> None:
    class Caching(HumanMessage):
        _seen: Any = None

    message = Caching([openai(PICTURE)])
    message.__dict__["cached"] = "a computed property"
    message._seen = "private"
    (rebuilt,) = protect([message])
    assert type(rebuilt) is Caching
    assert "cached" not in rebuilt.__dict__
    assert rebuilt._seen is None


def test_containers_of_other_classes_stay_what_they_are_beside_a_picture() -> None:
    artifact = OrderedDict(scores=deque([1, 2], maxlen=3), documents=(Document("x"),))
    message = ToolMessage([png_block(PICTURE)], tool_call_id="c", artifact=artifact)
    (rebuilt,) = protect([message])
    assert isinstance(rebuilt, ToolMessage)
    assert rebuilt.content == [FRESH]
    assert type(rebuilt.artifact) is OrderedDict
    assert rebuilt.artifact == artifact


def test_sources_come_in_the_order_of_the_walk_and_each_replacement_finds_its_place() -> None:
    pictures = [PICTURE + bytes([number]) for number in range(4)]
    messages = [*human(*(png_block(p) for p in pictures[:2])), *tool([png_block(p) for p in pictures[2:]])]
    plan = plan_messages(messages, STRICT)
    assert [source.data for source in plan.sources] == pictures
    rebuilt = plan.rebuild([[JPEG + bytes([number])] for number in range(4)])
    found = [
        base64.b64decode(b["base64"])[-1]
        for m in rebuilt
        for b in m.content
        if isinstance(b, dict) and "base64" in b
    ]
    assert found == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "images",
    [[], [[JPEG], [JPEG]], [[]], [[JPEG, JPEG]], [[PICTURE]], [["text"]], [[b""]]],
    ids=["none", "too many", "empty", "pages for a picture", "not a JPEG", "not bytes", "no bytes"],
)
def test_rebuild_refuses_what_does_not_answer_to_the_sources(images: Any) -> None:
    with pytest.raises(ProtectionError):
        plan_messages(human(png_block(PICTURE)), STRICT).rebuild(images)


def test_under_drop_a_source_without_replacement_leaves_a_note() -> None:
    (message,) = plan_messages(human(png_block(PICTURE)), DROP).rebuild([[]])
    assert message.content[1] == {"type": "text", "text": NOTE}


def test_nothing_of_a_source_is_shown() -> None:
    plan = plan_messages(human(png_block(PICTURE), {"type": "image", "url": "vpp://0a1b"}), STRICT)
    assert repr(plan.sources) == "(PixelSource(kind='image'), PixelSource(kind='sealed'))"
    assert repr(plan) == "MessagePlan(1 messages, 2 sources)"


def test_large_pictures_come_out_whole() -> None:
    jpeg = JPEG + random.Random(4).randbytes(300_000)
    plan = plan_messages(human(png_block(PICTURE)), STRICT)
    assert base64.b64decode(plan.rebuild([[jpeg]])[0].content[1]["base64"], validate=True) == jpeg
