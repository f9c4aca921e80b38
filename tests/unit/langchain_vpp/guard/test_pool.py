"""Threads of our own: none waits behind work of another kind, requests take turns, and a fork leaves them whole."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from langchain_vpp import ImageProtector, ProtectionError, RequestBudget
from langchain_vpp.engines import Pixelate
from langchain_vpp.guard import pool as pool_module
from langchain_vpp.guard.pool import FairPool
from langchain_vpp.images.pace import PIECE
from tests.unit.langchain_vpp.guard.samples import Seeing, gradient, human

if TYPE_CHECKING:
    from PIL import Image


def held(pool: FairPool) -> tuple[threading.Event, Any]:
    """Keep the only thread of a pool busy, until the event is set."""
    begun, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        go_on.wait(20)

    future = pool.submit(hold)
    assert begun.wait(20)
    return go_on, future


def order_of(jobs: list[tuple[str, float]]) -> list[str]:
    """The order in which one thread serves jobs of requests, all of which wait."""
    pool = FairPool("test", 1)
    go_on, _ = held(pool)
    accounts = {name: RequestBudget().open() for name, _ in jobs}
    done: list[str] = []
    futures = [
        pool.submit(lambda name=name: done.append(name), cost=cost, account=accounts[name])
        for name, cost in jobs
    ]
    go_on.set()
    for future in futures:
        future.result(20)
    return done


def test_a_request_with_little_work_is_served_before_the_rest_of_one_with_much() -> None:
    assert order_of([("much", 10)] * 5 + [("little", 1)]) == ["little"] + ["much"] * 5
    assert order_of([("a", 1)] * 3 + [("b", 1)] * 3) == ["a", "b"] * 3


def test_work_that_costs_much_is_not_put_off_for_ever() -> None:
    pool = FairPool("test", 1)
    go_on, _ = held(pool)
    done: list[str] = []

    def small() -> None:  # another request comes for each that is served
        done.append("small")
        if len(done) < 1_000:
            pool.submit(small, account=RequestBudget().open())

    large = pool.submit(lambda: done.append("large"), cost=20, account=RequestBudget().open())
    for _ in range(4):
        small_one = pool.submit(small, account=RequestBudget().open())
    go_on.set()
    for future in (large, small_one):
        future.result(20)
    assert done.index("large") < 200


def test_what_is_in_work_at_once_is_bounded_by_its_cost() -> None:
    pool = FairPool("test", 8, capacity=10)
    lock, now, most = threading.Lock(), 0, 0

    def work(cost: int) -> None:
        nonlocal now, most
        with lock:
            now += cost
            most = max(most, now)
        time.sleep(0.01)
        with lock:
            now -= cost

    for future in [
        pool.submit(lambda cost=cost: work(cost), cost=cost) for cost in [4, 4, 4, 9, 1, 25, 3] * 3
    ]:
        future.result(20)
    assert most == 25  # alone
    pool = FairPool("test", 8, capacity=10)
    most = 0
    for future in [pool.submit(lambda cost=cost: work(cost), cost=cost) for cost in [4, 4, 4, 9, 1, 3] * 3]:
        future.result(20)
    assert most <= 10


def test_more_work_than_can_wait_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "_MOST_WAITING", 3)
    pool = FairPool("test", 1)
    go_on, _ = held(pool)
    for _ in range(3):
        pool.submit(lambda: None)
    with pytest.raises(ProtectionError, match="Try again"):
        pool.submit(lambda: None)
    go_on.set()


def test_an_engine_that_protects_pictures_itself_does_not_wait_for_itself() -> None:
    inner = ImageProtector(Pixelate())

    class Nested(Seeing):
        def protect(self, image: Image.Image, level: float) -> Image.Image:
            inner.protect_messages(human(*(gradient(20 + number, 20) for number in range(4))))
            return super().protect(image, level)

    pictures = [gradient(40 + number, 30) for number in range(8)]
    ImageProtector(Nested(), budget=RequestBudget(seconds=20)).protect_messages(human(*pictures))


class Stuck(Seeing):
    """Keeps its thread until it is told to go on."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = threading.Event()

    def protect(self, image: Image.Image, level: float) -> Image.Image:
        self.go_on.wait(20)
        return super().protect(image, level)


@pytest.mark.slow(seconds=1)
async def test_a_text_waits_neither_for_pictures_nor_for_servers_nor_in_the_pool_of_the_loop() -> None:
    loop, engine = asyncio.get_running_loop(), Stuck()
    default = ThreadPoolExecutor(1)
    loop.set_default_executor(default)
    default.submit(engine.go_on.wait, 20)
    protector = ImageProtector(
        engine, memo_bytes=0, on_remote_url="fetch", fetch=lambda _: engine.go_on.wait(20) and gradient(9, 9)
    )
    stuck = [
        asyncio.ensure_future(
            protector.aprotect_messages(human(gradient(40 + number, 30), gradient(2_000, 1_500)))
        )
        for number in range(40)
    ]
    remote = [HumanMessage([{"type": "image", "url": f"https://example.org/{n}.png"} for n in range(90)])]
    stuck += [asyncio.ensure_future(protector.aprotect_messages(remote)) for _ in range(10)]
    await asyncio.sleep(0.5)
    async with asyncio.timeout(5):
        for number in range(20):
            await protector.aprotect_messages(f"text {number}")
    assert not any(each.done() for each in stuck)
    for each in stuck:
        each.cancel()
    engine.go_on.set()
    await asyncio.gather(*stuck, return_exceptions=True)


async def test_a_question_is_admitted_without_a_thread_and_so_is_a_conversation_of_which_it_is_the_only_news(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    protector = ImageProtector(Pixelate())
    threads: list[str] = []
    submit = FairPool.submit

    def counted(pool: FairPool, *args: Any, **kwargs: Any) -> Any:
        threads.append(pool._name)
        return submit(pool, *args, **kwargs)

    monkeypatch.setattr(FairPool, "submit", counted)
    history: list[Any] = [HumanMessage("Tell me all about engines. " * 40), AIMessage("They turn. " * 100)]
    await protector.aprotect_messages([HumanMessage("What is new?")])
    assert threads == []
    await protector.aprotect_messages(history)
    assert threads == ["vpp-text"]
    await protector.aprotect_messages([*history, HumanMessage("And what is new?")])
    assert threads == ["vpp-text"]
    for odd in ("x" * 40, "48656c6c6f 576f726c64 " * 90, "{}" * 9):  # what may spell data is for a thread
        await protector.aprotect_messages([HumanMessage(odd)])
    assert threads == ["vpp-text"] * 4
    await protector.aprotect_messages([HumanMessage("Long. " * 50_000)])
    assert threads[4:] == ["vpp-long-text"]
    await protector.aprotect_messages(human(gradient(40, 30)))
    assert threads[5:] == ["vpp-text", "vpp-small", "vpp-text"]


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no priority of their own")
def test_threads_for_long_work_are_nicer_than_others() -> None:
    own = os.getpriority(os.PRIO_PROCESS, 0)
    pool = FairPool("test", 1, niceness=3)
    assert pool.submit(lambda: os.getpriority(os.PRIO_PROCESS, 0)).result(20) == min(19, own + 3)
    assert os.getpriority(os.PRIO_PROCESS, 0) == own
    for quick in (pool_module.TEXTS, pool_module.SMALL):
        assert quick._niceness == 0
    for long in (pool_module.LONG_TEXTS, pool_module.LARGE, pool_module.ISOLATED):
        assert long._niceness > 0


async def test_work_on_a_long_message_is_done_in_pieces_between_which_others_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pauses = 0

    def count(seconds: float) -> None:
        nonlocal pauses
        assert seconds > 0  # a pause of no length is none
        pauses += 1

    monkeypatch.setattr("langchain_vpp.images.pace.time.sleep", count)
    picture = gradient(40, 30) + bytes(3_000_000)
    protector = ImageProtector(Pixelate())
    protector.protect_messages(human(picture))
    assert pauses >= 2 * len(picture) // PIECE
    pauses = 0
    protector.protect_messages([HumanMessage([{"type": "text", "text": "x"} for _ in range(2_000)])])
    assert pauses >= 10


async def test_a_small_picture_does_not_wait_for_large_ones() -> None:
    engine = Stuck()
    large = ImageProtector(engine, memo_bytes=0)
    data = gradient(3_000, 2_000)
    stuck = [asyncio.ensure_future(large.aprotect_messages(human(data))) for _ in range(6)]
    await asyncio.sleep(0.3)
    async with asyncio.timeout(10):
        await ImageProtector(Pixelate()).aprotect_messages(human(gradient(40, 30)))
    assert not any(each.done() for each in stuck)
    engine.go_on.set()
    await asyncio.gather(*stuck)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_process_that_forks_after_use_goes_on_in_both() -> None:
    protector = ImageProtector(Pixelate(), memo_bytes=0)
    messages = human(gradient(40, 30), gradient(50, 30))
    protector.protect_messages(messages)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            fresh = ImageProtector(Pixelate(), memo_bytes=0, budget=RequestBudget(seconds=10))
            code = 0 if fresh.protect_messages(messages) else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    protector.protect_messages(human(gradient(60, 30)))


@pytest.mark.slow(seconds=1)
def test_an_idle_thread_keeps_nobodys_picture() -> None:
    import gc
    import weakref

    class Picture:
        pass

    pool, picture = FairPool("test", 1), Picture()
    gone = weakref.ref(picture)
    pool.submit(lambda kept=picture: None).result(20)
    del picture
    for _ in range(50):
        gc.collect()
        if gone() is None:
            break
        time.sleep(0.02)
    assert gone() is None


@pytest.mark.slow(seconds=0.49)
def test_a_process_ends_in_good_order_while_engines_work() -> None:
    code = """
import base64, threading, time
from langchain_vpp import ImageProtector
from tests.unit.langchain_vpp.guard.samples import Seeing, gradient, human

class Slow(Seeing):
    def protect(self, image, level):
        time.sleep(0.3)
        print("ended", flush=True)
        return super().protect(image, level)

protector = ImageProtector(Slow())
pictures = human(*(gradient(30 + number, 20) for number in range(40)))
threading.Thread(target=protector.protect_messages, args=(pictures,), daemon=True).start()
time.sleep(0.2)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert 1 <= done.stdout.count("ended") <= 20  # what was in work ends, what waits is not begun
    assert "Abort" not in done.stderr
