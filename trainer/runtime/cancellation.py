"""Long work in threads that ends soon after nobody waits for its result any more."""

from __future__ import annotations

import contextvars
import threading
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

P = ParamSpec("P")
T = TypeVar("T")

_given_up: Final = contextvars.ContextVar[threading.Event | None]("given_up", default=None)


class GivenUpError(Exception):
    """Ends work in a thread that nobody waits for."""


@contextmanager
def thread_pools(*sizes: int) -> Iterator[tuple[Executor, ...]]:
    """Pools of threads whose work is given up as soon as an error or Ctrl-C leaves the context.

    Python can't end a thread: what waits for its turn is cancelled, what runs must ask, see :func:`while_wanted`.

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


def while_wanted(items: Iterable[T]) -> Iterator[T]:
    """Iterate as long as somebody waits for the result.

    Raises:
        GivenUpError: Before the next item, if nobody does.
    """
    given_up = _given_up.get()
    for item in items:
        if given_up is not None and given_up.is_set():
            raise GivenUpError
        yield item


class _Pool(ThreadPoolExecutor):
    """Threads that know the context of whoever hands them work."""

    def submit(self, work: Callable[P, T], /, *given: P.args, **named: P.kwargs) -> Future[T]:
        return super().submit(contextvars.copy_context().run, partial(work, *given, **named))
