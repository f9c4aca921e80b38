"""Processes of our own modules, forked instead of started anew.

``python -m`` would load their libraries again, which takes longer than their work in most tests. Tests that are about
the start of a process start it anew.
"""

from __future__ import annotations

import functools
import importlib
import logging
import os
import signal
import subprocess
import sys
import traceback
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

from trainer.sandbox.process import SandboxServer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from multiprocessing.connection import Connection
    from multiprocessing.context import ForkServerContext

    import pytest

STARTERS = ("trainer.oracle.subprocess", "trainer.sandbox.process")
"""Modules that start processes of ours."""


# -- from a process that has one thread ------------------------------------------------------------------------------


def fork_what_is_started(patch: pytest.MonkeyPatch) -> None:
    """Have this process fork what it would start with ``python -m``."""
    standing_in = SimpleNamespace(**vars(subprocess) | {"Popen": _fork})
    for name in STARTERS:
        patch.setattr(importlib.import_module(name), "subprocess", standing_in)


def forked_processes(folder: Path) -> list[int]:
    """Ids of the processes that were forked by those that worked in a folder."""
    return [int(path.name) for path in _notes(folder).glob("*")]


def _notes(folder: Path) -> Path:
    """Folder that names those processes: beside the other one, where tests look for what a command has left."""
    return folder.with_name(f"{folder.name}-forked")


def _fork(command: Sequence[str], **options) -> subprocess.Popen:
    # In the child this function never returns, so that there is no `exec`; all else is as Popen does it.
    become = functools.partial(_become, command[command.index("-m") + 1 :])
    return subprocess.Popen(command, preexec_fn=become, **options)  # noqa: PLW1509  there is one thread


def _become(command: Sequence[str]) -> None:
    notes = _notes(Path.cwd())
    notes.mkdir(exist_ok=True)
    (notes / str(os.getpid())).touch()
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # as a new interpreter has it
    logging.getLogger().handlers.clear()
    sys.stdin, sys.stdout = open(0, closefd=False), open(1, "w", closefd=False)  # noqa: SIM115
    code = 1
    try:
        _run(command)
        code = 0
    except SystemExit as end:
        code = end.code or 0
    except BaseException:  # noqa: BLE001  nothing is above it
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def _run(command: Sequence[str]) -> None:
    module, *arguments = command
    sys.argv = [module, *arguments]
    importlib.import_module(module).main()


# -- from the tests' own process, which has threads ------------------------------------------------------------------


class ForkedSandbox(SandboxServer):
    """A sandbox whose process the server of forks starts."""

    def __init__(self, context: ForkServerContext, record: Path | None = None, *, port: int = 0) -> None:
        super().__init__(record, port=port)
        self._context = context

    def _start(self) -> subprocess.Popen[str]:
        return _ServedProcess(self._context, self._command[self._command.index("-m") + 1 :])  # type: ignore[return-value]


class _ServedProcess:
    """As much of ``Popen`` as the sandbox needs."""

    def __init__(self, context: ForkServerContext, command: Sequence[str]) -> None:
        its_input, our_end = context.Pipe(duplex=False)
        our_start, its_output = context.Pipe(duplex=False)
        self._process = context.Process(target=_serve, args=(command, its_input, its_output), daemon=True)
        self._process.start()
        self.pid = self._process.pid
        self.stdin, self.stdout = (
            os.fdopen(os.dup(end.fileno()), mode) for end, mode in ((our_end, "w"), (our_start, "r"))
        )
        for end in (its_input, our_end, our_start, its_output):
            end.close()
        self.terminate, self.kill = self._process.terminate, self._process.kill

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("forked", timeout or 0)
        return self._process.exitcode


def _serve(command: Sequence[str], requests: Connection, answers: Connection) -> None:
    os.dup2(requests.fileno(), 0)
    os.dup2(answers.fileno(), 1)
    requests.close()
    answers.close()
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    _run(command)
