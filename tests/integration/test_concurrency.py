"""One protected model, many callers: each answer belongs to its caller's picture and level."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langchain_openai import ChatOpenAI
from PIL import Image

from langchain_vpp import ImageProtector, protect
from langchain_vpp.engines import Blur, Pixelate

from .recording import noise_png, recording_server

pytestmark = pytest.mark.slow(seconds=20)

LEVELS = (0.2, 0.4, 0.6, 0.8, 1.0)


@pytest.fixture(scope="module")
def provider():
    with recording_server() as server:
        yield server


def _flat_png(colour: tuple[int, int, int]) -> bytes:
    encoded = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(encoded, "PNG")
    return encoded.getvalue()


def _message(picture: bytes) -> list[HumanMessage]:
    encoded = base64.b64encode(picture).decode()
    return [HumanMessage([{"type": "image", "base64": encoded, "mime_type": "image/png"}])]


def _digest(protector: ImageProtector, picture: bytes, level: float) -> str:
    block = protector.protect_messages(_message(picture), level=level)[0].content[0]
    return hashlib.sha256(base64.b64decode(block["base64"])).hexdigest()


def _check(answer: Any, expected: str, level: float) -> None:
    receipt = answer.response_metadata["vpp"]
    assert answer.text == f"saw {expected}"
    assert [(image["sha256"], image["level"]) for image in receipt["images"]] == [(expected, level)]


@pytest.fixture
def model(provider) -> ChatOpenAI:
    bare = ChatOpenAI(model="m", base_url=f"{provider.url}/v1", api_key="k", max_retries=2)
    # A memo that holds a few pictures only, so that it is emptied all the time.
    return protect(bare, ImageProtector(Pixelate(), min_level=0.0, memo_bytes=4_000))


@pytest.fixture(scope="module")
def cases() -> list[tuple[bytes, float, str]]:
    """Pictures and levels, with what another protector of the same engine makes of them."""
    reference = ImageProtector(Pixelate(), min_level=0.0)
    pictures = [noise_png(seed, (12, 12)) for seed in range(20)]
    return [(picture, level, _digest(reference, picture, level)) for picture in pictures for level in LEVELS]


def test_64_threads(model: ChatOpenAI, cases: list[tuple[bytes, float, str]]) -> None:
    def work(number: int) -> None:
        picture, level, expected = cases[number % len(cases)]
        answer = model.invoke(_message(picture), {"configurable": {"vpp_level": level}})
        _check(answer, expected, level)

    with ThreadPoolExecutor(64) as pool:
        for future in [pool.submit(work, number) for number in range(640)]:
            future.result()


async def test_1000_tasks(model: ChatOpenAI, cases: list[tuple[bytes, float, str]]) -> None:
    async def work(number: int) -> None:
        picture, level, expected = cases[number % len(cases)]
        answer = await model.ainvoke(_message(picture), {"configurable": {"vpp_level": level}})
        _check(answer, expected, level)

    await asyncio.gather(*(work(number) for number in range(1_000)))


async def test_streams_and_batches_at_the_same_time(
    model: ChatOpenAI, cases: list[tuple[bytes, float, str]]
) -> None:
    async def stream(number: int) -> None:
        picture, level, expected = cases[number]
        whole = None
        async for chunk in model.astream(_message(picture), {"configurable": {"vpp_level": level}}):
            whole = chunk if whole is None else whole + chunk
        _check(whole, expected, level)

    async def batch(number: int) -> None:
        some = cases[number : number + 4]
        configs = [{"configurable": {"vpp_level": level}} for _, level, _ in some]
        answers = await model.abatch([_message(picture) for picture, _, _ in some], configs)
        for answer, (_, level, expected) in zip(answers, some, strict=True):
            _check(answer, expected, level)

    await asyncio.gather(*(stream(number) for number in range(60)), *(batch(number) for number in range(60)))


def test_the_receipt_names_the_requests_level_even_if_levels_give_the_same_bytes(provider) -> None:
    bare = ChatOpenAI(model="m", base_url=f"{provider.url}/v1", api_key="k")
    model = protect(bare, ImageProtector(Blur(), level=0.5, min_level=0.0))
    flat = _message(_flat_png((200, 30, 60)))

    def work(number: int) -> tuple[float, float]:
        level = LEVELS[number % len(LEVELS)]
        answer = model.invoke(flat, {"configurable": {"vpp_level": level}})
        return level, answer.response_metadata["vpp"]["images"][0]["level"]

    with ThreadPoolExecutor(8) as pool:
        for wanted, named in pool.map(work, range(80)):
            assert named == wanted


async def test_the_event_loop_goes_on_while_a_picture_is_protected(provider) -> None:
    started, finish = threading.Event(), threading.Event()

    class Waiting:
        def protect(self, image: Image.Image, level: float) -> Image.Image:
            started.set()
            assert finish.wait(10), "the event loop stood still"
            return image.resize((1, 1)).resize(image.size)

    bare = ChatOpenAI(model="m", base_url=f"{provider.url}/v1", api_key="k")
    model = protect(bare, ImageProtector(Waiting()))
    pending = asyncio.ensure_future(model.ainvoke(_message(noise_png(3))))
    await asyncio.to_thread(started.wait, 10)
    finish.set()
    assert (await pending).text.startswith("saw ")
