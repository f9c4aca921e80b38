"""Sandbox server in a process of its own."""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Final, Self

import httpx

from langchain_vpp.errors import OracleError

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

_STOP_SECONDS: Final = 5.0
_END_SECONDS: Final = 1.0
"""Longest time between the end of a process's output and the end of the process."""


class SandboxServer:
    """Starts the sandbox server on entry and stops it on exit.

    The server's process ends with the process that started it, even if that is killed.

    Args:
        record: File to which the server appends each request body as a line of JSON.
        port: TCP port; 0 picks a free one.
        start_seconds: Longest wait, in seconds, until the server answers.

    Attributes:
        base_url: URL of the API, ending in ``/v1``; set on entry.
        pid: Process id of the server; set on entry.
    """

    base_url: str
    pid: int

    def __init__(self, record: Path | None = None, *, port: int = 0, start_seconds: float = 60.0) -> None:
        self._command = [
            sys.executable,
            "-m",
            "trainer.sandbox.server",
            "--stop-with-stdin",
            f"--port={port}",
        ]
        if record is not None:
            self._command.append(f"--record={record}")
        self._start_seconds = start_seconds
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        deadline = time.monotonic() + self._start_seconds
        process = self._start()
        self._process = process
        self.pid = process.pid
        ready = False
        try:
            line = _first_line(process, deadline - time.monotonic())
            if line:
                self.base_url = json.loads(line)["base_url"]
                ready = self._healthy(deadline)
        finally:
            if not ready:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(_END_SECONDS)
                code = process.poll()
                self._stop()
        if not ready:
            what = f"ended with exit code {code}" if code is not None else "did not answer in time"
            raise OracleError(
                f"The sandbox server {what}, so nothing was asked. Its error output says why; it needs the "
                "extra `demo` (pip install 'langchain-vpp[demo]')."
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(  # noqa: S603 - our own module, no shell
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def stats(self) -> dict[str, int]:
        """Return the server's own count of requests.

        Returns:
            ``completions`` (requests answered), ``distinct`` (different pairs of image bytes and question among them)
            and ``repeated`` (pairs that had been asked before).

        Raises:
            OracleError: If the server does not answer.
        """
        counts: dict[str, int] | None = None
        with contextlib.suppress(httpx.HTTPError, ValueError):
            counts = self._get("/stats").json()
        if counts is None:
            raise OracleError("The sandbox server does not answer, so its count can't be read.")
        return counts

    def _healthy(self, deadline: float) -> bool:
        while time.monotonic() < deadline:
            try:
                return self._get("/health").is_success
            except httpx.HTTPError:
                time.sleep(0.05)
        return False

    def _get(self, path: str) -> httpx.Response:
        # No proxy settings of the environment: the server is on this machine.
        return httpx.get(self.base_url.removesuffix("/v1") + path, trust_env=False, timeout=10)

    def _stop(self) -> None:
        process = self._process
        if process is None:
            return
        self._process = None
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


def _first_line(process: subprocess.Popen[str], seconds: float) -> str:
    """Return the first line of a process's output; empty if the process ends or time runs out before."""
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    output = process.stdout
    if output is None:
        return ""
    threading.Thread(target=lambda: lines.put(output.readline()), daemon=True).start()
    try:
        return lines.get(timeout=max(0.0, seconds))
    except queue.Empty:
        return ""
