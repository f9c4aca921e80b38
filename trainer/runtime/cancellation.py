"""Cooperative cancellation: work in thread pools stops soon after its caller gives up."""

from __future__ import annotations

import contextvars
import threading
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_P = ParamSpec("_P")
_T = TypeVar("_T")

_given_up: Final = contextvars.ContextVar[threading.Event | None]("given_up", default=None)


class GivenUpError(Exception):
    """Ends work in a thread whose caller has given up."""


@contextmanager
def thread_pools(*sizes: int) -> Iterator[tuple[Executor, ...]]:
    """Open thread pools whose work is cancelled as soon as an error or Ctrl-C leaves the context.

    Work that has not begun is cancelled. Python can't end a thread, so work that runs must ask; see
    :func:`while_wanted`.

    Args:
        sizes: Number of threads of each pool, at least 1.
    """
    with ExitStack() as stack:
        pools = tuple(stack.enter_context(_Pool(size)) for size in sizes)
        given_up = threading.Event()
        token = _given_up.set(given_up)
        try:
            yield pools
        except BaseException:
            given_up.set()
            for pool in pools:
                pool.shutdown(wait=False, cancel_futures=True)
            raise
        finally:
            _given_up.reset(token)


def while_wanted(items: Iterable[_T]) -> Iterator[_T]:
    """Iterate until the caller of the work gives up.

    Raises:
        GivenUpError: Before the next item, once the caller has given up.
    """
    given_up = _given_up.get()
    for item in items:
        if given_up is not None and given_up.is_set():
            raise GivenUpError
        yield item


class _Pool(ThreadPoolExecutor):
    """Thread pool whose work runs in the context of the thread that submits it."""

    def submit(self, work: Callable[_P, _T], /, *given: _P.args, **named: _P.kwargs) -> Future[_T]:
        return super().submit(contextvars.copy_context().run, partial(work, *given, **named))
