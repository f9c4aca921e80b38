"""Cancelled work ends: running work at its next item, waiting work before it begins."""

from __future__ import annotations

import itertools
import threading

import pytest

from trainer.runtime.cancellation import GivenUpError, thread_pools, while_wanted


def _endless(started: threading.Event) -> None:
    for _ in while_wanted(itertools.repeat(None)):
        started.set()


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_error_ends_what_runs_and_what_waits(error) -> None:
    started, ran = threading.Event(), []
    with pytest.raises(error), thread_pools(1) as (pool,):  # noqa: PT012  the error leaves the pools' context
        running = pool.submit(_endless, started)
        waiting = pool.submit(ran.append, 1)
        assert started.wait(10)
        raise error
    assert isinstance(running.exception(), GivenUpError)
    assert waiting.cancelled()
    assert not ran


def test_work_that_other_work_hands_on_ends_too() -> None:
    started, inner = threading.Event(), []
    with pytest.raises(KeyboardInterrupt), thread_pools(1, 1) as (first, second):  # noqa: PT012  likewise
        first.submit(lambda: inner.append(second.submit(_endless, started))).result()
        assert started.wait(10)
        raise KeyboardInterrupt
    assert isinstance(inner[0].exception(), GivenUpError)


def test_work_is_done_to_its_end_where_nothing_happens() -> None:
    with thread_pools(2) as (pool,):
        assert pool.submit(lambda: list(while_wanted(range(3)))).result() == [0, 1, 2]
    assert list(while_wanted(range(3))) == [0, 1, 2]
