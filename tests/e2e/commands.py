"""Runs ``vpp`` and scripts in processes of their own.

They are forked from a server that has loaded the libraries, because loading them takes ten times longer than the
commands of these tests. Otherwise they are ordinary processes: they have file descriptors, signals and an exit code.
What they start themselves is forked too. Those that train fit the domain of the artifact to few pictures.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import runpy
import signal
import sys
import tempfile
import time
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.domains import fit_to_few_pictures
from tests.e2e.forked import ForkedSandbox, fork_what_is_started

if TYPE_CHECKING:
    from pathlib import Path

_PRELOADED = (
    "torch._dynamo",
    "torchvision.transforms.functional",
    "langchain_openai",
    "langchain_vpp.cli.app",
    "trainer.training.trainer",
    "trainer.evaluation.evaluate",
    "trainer.oracle.subprocess",
    "trainer.sandbox.server",
    __name__,
)


class Result(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line that says what went wrong."""
        lines = [line for line in self.err.splitlines() if line.startswith("vpp: ")]
        assert len(lines) == 1, self.err
        assert self.err.rstrip().endswith(lines[0])
        assert "Traceback" not in self.err
        return lines[0]


class FinishedRun(NamedTuple):
    """Everything that a finished run of ``vpp train`` left in a folder, which no test may change."""

    folder: Path

    @property
    def out(self) -> Path:
        return self.folder / "run"

    @property
    def requests(self) -> Path:
        """The bodies of all its requests, a line each."""
        return self.folder / "requests.jsonl"

    @property
    def printed(self) -> Path:
        """Standard output, which is JSON."""
        return self.folder / "printed.json"

    @property
    def told(self) -> Path:
        """Standard error."""
        return self.folder / "told.txt"

    def arguments(self, data: Path, base_url: str) -> tuple[object, ...]:
        """What was given to ``vpp``, but for ``--out`` and ``--json``."""
        served = ("--model", "sandbox", "--base-url", base_url)
        return ("train", "--data", data, "--config", self.folder / "config.json", *served, "--seed", 1)


class Commands:
    """Starts ``vpp`` and scripts in a working folder.

    Args:
        folder: The working folder.
        anew: Whether ``vpp`` starts the subprocess that asks as it does for users, and does not fork it.
    """

    def __init__(self, folder: Path, *, anew: bool = False) -> None:
        os.environ["OMP_NUM_THREADS"] = "1"
        os.environ.pop("OPENAI_API_KEY", None)
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(list(_PRELOADED))
        self.folder = folder
        self._anew = anew
        self._numbers = itertools.count()

    def start(self, *arguments: object) -> Command:
        return self._started(_vpp, [str(each) for each in arguments])

    def run(self, *arguments: object) -> Result:
        return self.start(*arguments).wait()

    def run_script(self, path: Path, environment: dict[str, str]) -> Result:
        """Run a script from top to bottom, as ``python path`` does."""
        return self._started(_script, path, environment).wait(300)

    def sandbox(self, record: Path | None = None, *, port: int = 0) -> ForkedSandbox:
        """Return a sandbox; see ``SandboxServer``."""
        return ForkedSandbox(self._context, record, port=port)

    def _started(self, work, *arguments) -> Command:
        return Command(self._context, self.folder, next(self._numbers), work, arguments, anew=self._anew)


class Command:
    """One running process."""

    def __init__(self, context, folder: Path, number: int, work, arguments, *, anew: bool) -> None:
        self._out, self._err = folder / f"stdout-{number}", folder / f"stderr-{number}"
        for path in (self._out, self._err):
            path.touch()  # a process may be killed before it opens them
        given = (work, arguments, folder, self._out, self._err)
        self._process = context.Process(target=_run, args=given, kwargs={"anew": anew})
        self._process.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def signal(self, number: signal.Signals) -> None:
        os.kill(self._process.pid, number)

    def running(self) -> bool:
        return self._process.is_alive()

    def wait(self, seconds: float = 300) -> Result:
        self._process.join(seconds)
        assert not self._process.is_alive(), "it does not end"
        return Result(self._process.exitcode, self._out.read_text(), self._err.read_text())


def _run(work, arguments, folder: Path, out: Path, err: Path, *, anew: bool) -> None:
    for descriptor, path in ((1, out), (2, err)):
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(opened, descriptor)
        os.close(opened)
    os.chdir(folder)
    patch = pytest.MonkeyPatch()
    fit_to_few_pictures(patch)
    if not anew:
        fork_what_is_started(patch)
    # Ignored, and so inherited, where the tests themselves run in a shell's background.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    work(*arguments)


def _vpp(arguments: list[str]) -> None:
    sys.argv = ["vpp", *arguments]
    from langchain_vpp.cli.app import main

    main()


def _script(path: Path, environment: dict[str, str]) -> None:
    os.environ.update(environment)
    tempfile.tempdir = None  # it may have been looked up before
    sys.argv = [str(path)]
    runpy.run_path(str(path), run_name="__main__")


def wait_until(condition, seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)
