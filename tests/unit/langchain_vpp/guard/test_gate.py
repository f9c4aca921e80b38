"""What the gate does with messages, and what it refuses."""

from __future__ import annotations

import asyncio
import base64
import copy
import threading
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from langchain_vpp import ImageProtector, ProtectionError
from langchain_vpp.engines import Blur, Downscale, Pixelate
from langchain_vpp.testing import assert_no_leak
from tests.unit.langchain_vpp.guard.samples import OTHER, PICTURE, Counting, Seeing, human, sent_pictures

if TYPE_CHECKING:
    from PIL import Image


def test_every_picture_is_replaced_and_the_input_is_not_changed() -> None:
    messages = [*human(PICTURE, OTHER), AIMessage("ok")]
    before = copy.deepcopy(messages)
    protected = ImageProtector(Pixelate()).protect_messages(messages)
    assert messages == before
    assert len(sent_pictures(protected)) == 2
    assert protected[1] == messages[1]
    assert_no_leak(PICTURE, protected)
    assert_no_leak(OTHER, protected)


def test_the_async_twin_gives_the_same() -> None:
    protector = ImageProtector(Pixelate())
    assert asyncio.run(protector.aprotect_messages(human(PICTURE))) == protector.protect_messages(
        human(PICTURE)
    )


@pytest.mark.parametrize("engine", [Blur(), Pixelate(), Downscale()])
def test_two_protectors_of_the_same_engine_give_the_same_bytes(engine: Any) -> None:
    one, other = ImageProtector(engine, level=0.7), ImageProtector(engine, level=0.7)
    assert sent_pictures(one.protect_messages(human(PICTURE))) == sent_pictures(
        other.protect_messages(human(PICTURE))
    )


def test_a_request_cannot_go_below_min_level() -> None:
    engine = Counting()
    ImageProtector(engine, level=0.8, min_level=0.5).protect_messages(human(PICTURE), level=0.1)
    assert engine.calls == [0.5]


def test_without_a_min_level_a_request_can_only_ask_for_more() -> None:
    engine = Counting()
    protector = ImageProtector(engine, level=0.8, presets={"low": 0.1, "high": 0.9})
    for asked in (0.0, "low", 0.9, "high"):
        protector.protect_messages(human(PICTURE), level=asked)
    assert engine.calls == [0.8, 0.9]


def test_a_protector_is_its_own_copy() -> None:
    protector = ImageProtector(Pixelate())
    assert copy.copy(protector) is protector
    assert copy.deepcopy({"protector": protector})["protector"] is protector


@pytest.mark.parametrize("level", [-0.1, 1.1, float("nan"), float("inf"), 10**400, "0.5", True, [0.5]])
def test_a_level_outside_0_to_1_is_refused(level: Any) -> None:
    protector = ImageProtector(Counting())
    with pytest.raises(ProtectionError, match="from 0 to 1"):
        protector.protect_messages(human(PICTURE), level=level)
    with pytest.raises(ValueError, match="from 0 to 1"):
        ImageProtector(Pixelate(), level=level)


@pytest.mark.parametrize(
    "options",
    [
        {"level": 0.2, "min_level": 0.5},
        {"on_unsupported": "pass"},
        {"on_remote_url": "pass"},
        {"on_document": "pass"},
        {"on_upstream_trace": "pass"},
        {"memo_bytes": -1},
        {"presets": {"high": 2.0}},
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must|below"):
        ImageProtector(Pixelate(), **options)


def test_unsupported_content_is_dropped_only_if_told_to() -> None:
    messages = [HumanMessage([{"type": "hologram", "data": base64.b64encode(PICTURE).decode()}])]
    with pytest.raises(ProtectionError):
        ImageProtector(Pixelate()).protect_messages(messages)
    dropped = ImageProtector(Pixelate(), on_unsupported="drop").protect_messages(messages)
    assert dropped[0].content[0]["type"] == "text"
    assert_no_leak(PICTURE, dropped)


REMOTE = [HumanMessage([{"type": "image", "url": "https://images.example/private.png"}])]


def test_a_remote_picture_is_refused_or_fetched_and_protected() -> None:
    with pytest.raises(ProtectionError):
        ImageProtector(Pixelate()).protect_messages(REMOTE)
    asked: list[str] = []

    def fetch(url: str) -> bytes:
        asked.append(url)
        return PICTURE

    protector = ImageProtector(Pixelate(), on_remote_url="fetch", fetch=fetch)
    assert sent_pictures(protector.protect_messages(REMOTE)) == sent_pictures(
        protector.protect_messages(human(PICTURE))
    )
    assert asked == ["https://images.example/private.png"]


def _failing_fetch(url: str) -> bytes:
    raise OSError(url)


@pytest.mark.parametrize(
    "fetch", [_failing_fetch, lambda url: url, lambda url: None, lambda url: b"no picture"]
)
def test_a_fetch_that_fails_stops_the_request_without_the_address(fetch: Any) -> None:
    protector = ImageProtector(Pixelate(), on_remote_url="fetch", fetch=fetch)
    with pytest.raises(ProtectionError) as caught:
        protector.protect_messages(REMOTE)
    assert caught.value.__context__ is None
    assert "private" not in str(caught.value)


async def test_the_event_loop_goes_on_while_pictures_are_protected() -> None:
    class Waiting(Seeing):
        def protect(self, image: Image.Image, level: float) -> Image.Image:
            assert released.wait(20)
            return super().protect(image, level)

    released = threading.Event()
    protected = asyncio.create_task(ImageProtector(Waiting()).aprotect_messages(human(PICTURE)))
    for _ in range(50):
        await asyncio.sleep(0.001)
    assert not protected.done()
    released.set()
    assert len(sent_pictures(await protected)) == 1
