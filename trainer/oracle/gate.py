"""The gate through which requests leave."""

from __future__ import annotations

import math
import threading
import time

from langchain_core.rate_limiters import InMemoryRateLimiter


class GateClosedError(Exception):
    """A request was held back because asking was interrupted."""


class Gate:
    """Lets requests leave: no faster than a rate, not while the provider wants a pause, none while it is closed.

    Args:
        requests_per_second: Upper limit, or ``None``.

    Attributes:
        stopped: Set by :meth:`stop`.
    """

    def __init__(self, requests_per_second: float | None) -> None:
        self._limiter: InMemoryRateLimiter | None = None
        self._tick = 0.05
        if requests_per_second is not None:
            self._limiter = InMemoryRateLimiter(requests_per_second=requests_per_second)
            self._tick = min(self._tick, 0.25 / requests_per_second)
        self._closed, self.stopped = threading.Event(), threading.Event()
        self._not_before = -math.inf

    def open(self) -> None:
        """Let requests leave, unless :meth:`stop` was called."""
        self._closed.clear()
        # Looked at last: `stop` sets it before it closes the gate, so the gate ends up closed in any order of events.
        if self.stopped.is_set():
            self._closed.set()

    def close(self) -> None:
        """Let no further request leave until :meth:`open`."""
        self._closed.set()

    def stop(self) -> None:
        """Let no further request leave, ever."""
        self.stopped.set()
        self._closed.set()

    def pause(self, seconds: float) -> None:
        """Let no request leave for some time."""
        if seconds > 0:
            self._not_before = max(self._not_before, time.monotonic() + seconds)

    def wait(self) -> None:
        """Block until a request may leave.

        Raises:
            GateClosedError: If the gate is closed or becomes so.
        """
        while not self._closed.is_set():
            left = self._not_before - time.monotonic()
            if left <= 0 and (self._limiter is None or self._limiter.acquire(blocking=False)):
                return
            self._closed.wait(max(left, self._tick))
        raise GateClosedError
