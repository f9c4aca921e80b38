"""Threads of our own: bounded, and shared fairly between requests.

Each kind of work has its own threads, so that none waits behind another: a text never waits behind pictures, and a
small picture never waits behind large ones. Within a kind, requests take turns by the work that they have asked for, as
in weighted fair queueing (Demers, Keshav and Shenker, 1989): a request with little work is served before the rest of
one with much, whichever came first, and none waits for ever. A few words are not worth a thread: they are searched
sooner than one could be woken. Threads for long work are nicer than others, so that a processor is free when a small
picture comes.
"""

from __future__ import annotations

import asyncio
import atexit
import contextvars
import heapq
import itertools
import os
import threading
import time
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, ParamSpec, TypeVar

from langchain_vpp.errors import ProtectionError
from langchain_vpp.images.pace import lower_priority
from langchain_vpp.messages.extent import extent, is_short

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from typing import TypeAlias

    from langchain_vpp.guard.budget import Account

    Steps: TypeAlias = "Generator[list[Future[Any]], list[Any], _T]"

_T = TypeVar("_T")
_P = ParamSpec("_P")

_MOST_WAITING: Final = 10_000
_SECONDS_TO_END: Final = 10.0
_FULL: Final = "Nothing was sent: too much work is waiting in this process. Try again later."
_this_thread = threading.local()


def usable_cpus() -> int:
    """Return how many CPUs this process may use: a container may give it fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Job(NamedTuple):
    finish: float
    order: int
    cost: float
    account: Account | None
    future: Future[Any]
    work: Callable[[], Any]


class FairPool:
    """Threads for one kind of work.

    Args:
        name: Name of the threads.
        threads: Number of threads at most; they start when they are needed.
        capacity: Bound on the cost of what is in work at once. One job that costs more is done alone.
        niceness: By how much its threads are nicer than the thread that starts them, where the system can.
        runs_engines: Whether the work calls engines, which may protect pictures in their turn. Work that its threads
            ask for is done at once: it might wait for itself.
    """

    def __init__(
        self,
        name: str,
        threads: int,
        *,
        capacity: float = float("inf"),
        niceness: int = 0,
        runs_engines: bool = False,
    ) -> None:
        self._name = name
        self._most_threads = threads
        self._capacity = capacity
        self._niceness = niceness
        self._runs_engines = runs_engines
        self.forget()
        # A thread that is cut off within an engine's own code would take the process down with it.
        atexit.register(self.end)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.forget)

    def forget(self) -> None:
        """Begin anew, as a process that was just forked must: it has no threads but one."""
        self._condition = threading.Condition()
        self._waiting: list[_Job] = []
        self._order = itertools.count()
        self._idle = 0
        self._threads: list[threading.Thread] = []
        self._working: list[Account] = []
        self._is_ending = False
        self._in_work = self._clock = 0.0
        self._finish: dict[Account | None, tuple[float, int]] = {}

    def submit(
        self, work: Callable[[], _T], *, cost: float = 1.0, account: Account | None = None
    ) -> Future[_T]:
        """Queue work, with the caller's context variables.

        Args:
            work: The function.
            cost: Its work, in any unit that is the same for all jobs of the pool.
            account: The request that asks. Its jobs stand in line for one another, and end with it.

        Raises:
            ProtectionError: If too much work is waiting already.
        """
        future: Future[_T] = Future()
        run = contextvars.copy_context().run
        if getattr(_this_thread, "runs_engines", False):
            _do(_Job(0.0, 0, cost, account, future, lambda: run(work)))
            return future
        with self._condition:
            if len(self._waiting) >= _MOST_WAITING:
                raise ProtectionError(_FULL)
            last, waiting = self._finish.get(account, (0.0, 0))
            finish = max(self._clock, last) + cost
            if account is not None:
                self._finish[account] = finish, waiting + 1
            job = _Job(finish, next(self._order), cost, account, future, lambda: run(work))
            heapq.heappush(self._waiting, job)
            if len(self._waiting) > self._idle and len(self._threads) < self._most_threads:
                self._threads.append(threading.Thread(target=self._serve, name=self._name, daemon=True))
                self._threads[-1].start()
            self._condition.notify()
        return future

    def end(self) -> None:
        """Cancel what waits, end what is in work, and wait for a while until its threads have stopped."""
        with self._condition:
            self._is_ending = True
            for job in self._waiting:
                job.future.cancel()
            for account in self._working:
                account.close()
            self._condition.notify_all()
        until = time.monotonic() + (_SECONDS_TO_END if self._runs_engines else 0.0)
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, until - time.monotonic()))

    def _serve(self) -> None:
        _this_thread.runs_engines = self._runs_engines
        lower_priority(self._niceness)
        condition = self._condition
        while True:
            with condition:
                self._idle += 1
                while not self._is_ending and not (self._waiting and self._fits(self._waiting[0])):
                    condition.wait()
                self._idle -= 1
                if self._is_ending:
                    return
                job = heapq.heappop(self._waiting)
                self._take(job)
            _do(job)
            with condition:
                self._in_work -= job.cost
                if job.account is not None:
                    self._working.remove(job.account)
                condition.notify_all()
            del job  # an idle thread keeps nobody's picture

    def _fits(self, job: _Job) -> bool:
        return self._in_work == 0 or self._in_work + job.cost <= self._capacity

    def _take(self, job: _Job) -> None:
        self._in_work += job.cost
        # The clock runs by the work that each of the waiting requests could have had done meanwhile.
        self._clock += job.cost / max(1, len(self._finish))
        if job.account is not None:
            finish, waiting = self._finish.pop(job.account)
            if waiting > 1:
                self._finish[job.account] = finish, waiting - 1
            self._working.append(job.account)


def _do(job: _Job) -> None:
    if not job.future.set_running_or_notify_cancel():
        return
    try:
        if job.account is not None:
            job.account.check()
        job.future.set_result(job.work())
    except BaseException as error:  # noqa: BLE001  as in any executor: who waits gets it
        job.future.set_exception(error)


# -- the pools of this process -------------------------------------------------------------------------------

_LONG: Final = 200_000
"""Characters from which on a request counts as long; a picture of 640 x 480 has fewer."""

_NICENESS: Final = 5
"""Niceness of threads for long work: small, so that one that holds the interpreter is soon given a processor."""

SMALL_COST: Final = 4_000_000
"""Pixels, decoded and sent, up to which a picture counts as small."""

_LARGE_AT_ONCE: Final = 16_000_000

TEXTS: Final = FairPool("vpp-text", 8)
LONG_TEXTS: Final = FairPool("vpp-long-text", 1, niceness=_NICENESS)
SMALL: Final = FairPool("vpp-small", max(2, usable_cpus()), runs_engines=True)
# One CPU stays free for texts, small pictures and the event loop.
LARGE: Final = FairPool(
    "vpp-large",
    max(1, usable_cpus() - 1),
    capacity=max(96_000_000, _LARGE_AT_ONCE * usable_cpus()),
    niceness=_NICENESS,
    runs_engines=True,
)
ISOLATED: Final = FairPool("vpp-isolated", max(1, usable_cpus() // 2), niceness=_NICENESS, runs_engines=True)
REMOTE: Final = FairPool("vpp-remote", 32)
CALLS: Final = FairPool("vpp-call", 64)


async def in_thread(function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Call a function that waits for pictures in a thread of our own; never in the event loop's pool.

    That pool belongs to the application. A few requests with pictures would hold up everything that it does there.
    """
    return await asyncio.wrap_future(CALLS.submit(lambda: function(*args, **kwargs)))


async def in_text_thread(value: Any, function: Callable[[], _T], account: Account | None = None) -> _T:
    """Call a function that works on messages, and waits for nothing, in a thread of our own.

    Args:
        value: What it works on: long texts, such as encoded pictures, have threads of their own.
        function: The function.
        account: The request that asks.
    """
    size = extent(value)
    pool = TEXTS if size <= _LONG else LONG_TEXTS
    return await asyncio.wrap_future(pool.submit(function, cost=1 + size, account=account))


def run_steps(steps: Steps[_T], account: Account) -> _T:
    """Run work that yields what it waits for, and wait for it in this thread."""
    try:
        step = _next(steps, [])
        while step.waits_for is not None:
            step = _next(steps, results(step.waits_for, account))
    finally:
        account.close()
    result: _T = step.result
    return result


async def arun_steps(steps: Steps[_T], account: Account, value: Any, *, at_once: bool = True) -> _T:
    """Run work that yields what it waits for: its steps in threads for texts, and without a thread while it waits.

    The first step for a short conversation is taken at once: most of it is known from the last turn.

    Args:
        steps: The work.
        account: The request that asks.
        value: What the work is about, see :func:`in_text_thread`.
        at_once: Whether the first step waits for nothing.
    """
    try:
        step = _next(steps, []) if at_once and is_short(value) else _Step([])
        while step.waits_for is not None:
            done = await _async_results(step.waits_for, account)
            step = await in_text_thread(value, partial(_next_that_waits, steps, done), account)
    finally:
        account.close()
    result: _T = step.result
    return result


class _Step(NamedTuple):
    waits_for: list[Future[Any]] | None
    result: Any = None


def _next(steps: Steps[Any], done: list[Any]) -> _Step:
    try:
        return _Step(steps.send(done) if done else next(steps))
    except StopIteration as end:
        return _Step(None, end.value)


def _next_that_waits(steps: Steps[Any], done: list[Any]) -> _Step:
    step = _next(steps, done)
    while step.waits_for == []:  # for a thread, which this one is
        step = _next(steps, [])
    return step


def results(futures: Sequence[Future[Any]], account: Account) -> list[Any]:
    """Wait for work of a request, until its time is up.

    Raises:
        ProtectionError: If the time is up, or any of the work fails.
    """
    done: list[Any] = []
    for future in futures:
        try:
            done.append(future.result(max(0.0, account.seconds_left)))
        except TimeoutError:
            break
    if len(done) < len(futures):
        raise account.late()
    return done


async def _async_results(futures: Sequence[Future[Any]], account: Account) -> list[Any]:
    """Wait for work of a request as :func:`results` does, without a thread."""
    waiting = [asyncio.wrap_future(future) for future in futures]
    try:
        if waiting:
            await asyncio.wait(
                waiting, timeout=max(0.0, account.seconds_left), return_when=asyncio.FIRST_EXCEPTION
            )
        failed = next((each for each in waiting if each.done() and each.exception()), None)
        if failed is None and not all(each.done() for each in waiting):
            raise account.late()
        return [each.result() for each in ([failed] if failed else waiting)]
    finally:
        for each in waiting:
            each.cancel()
