"""Decoding in another process, which is ended when it takes too long or too much memory.

What TIFF, AVIF, HEIC, BMP and PDF ask of a decoder can't be told from outside, and their decoders can't be stopped
from within: a PDF of three kilobytes draws for minutes, and a TIFF of some kilobytes asks for gigabytes. The processes
serve one file after the other, and are shared by all threads. They get bytes and give back a size and RGB pixels;
nothing that they say is trusted beyond that.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import struct
import subprocess
import sys
import threading
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple

from PIL import Image

from langchain_vpp.errors import ProtectionError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from langchain_vpp.images.bounds import Bounds

_MAIN: Final = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from langchain_vpp.images.isolated_process import main
main()
"""
# Bytes of address space: an interpreter and its libraries, and what decoders take per pixel.
_BASE_MEMORY: Final = 768 * 2**20
_MEMORY_PER_PIXEL: Final = 16
_LARGEST_HEAD: Final = 65_536
_FILES_OF_A_PROCESS: Final = 500
_MOST_SECONDS: Final = 20.0
"""Bound on the time for one file: whoever sends many must not keep all processes."""
TOO_MUCH_MEMORY: Final = "memory"
"""Name of the reason for which a process is not used again."""

_NOT_STARTED: Final = (
    "The picture was not protected: the process that reads its format can't be started. Send a JPEG or a PNG."
)


class IsolatedError(Exception):
    """The other process has refused the file, was ended, or has died.

    Attributes:
        reason: Its name for the reason; empty if it gave none.
    """

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.reason = reason


class _Process:
    """One decoder process; used by one thread at a time."""

    def __init__(self) -> None:
        failed = False
        try:
            self._child = subprocess.Popen(  # noqa: S603  our own interpreter and code
                [sys.executable, "-I", "-c", _MAIN, json.dumps(sys.path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={
                    name: os.environ[name] for name in ("SYSTEMROOT", "LD_LIBRARY_PATH") if name in os.environ
                },
            )
        except OSError:
            failed = True
        if failed:
            raise ProtectionError(_NOT_STARTED)
        self.files = 0
        self.is_spent = False

    def exchange(
        self, task: dict[str, Any], data: bytes, bounds: Bounds, seconds: float
    ) -> Iterator[_Answer]:
        """Send a file, and yield what comes back: to each answer, the next message must be sent with :meth:`say`."""
        self.files += 1
        most = 4 * bounds.max_pixels
        killer = threading.Timer(max(0.0, min(seconds, bounds.seconds_left)), self._child.kill)
        killer.daemon = True
        killer.start()
        try:
            self.say(task, data)
            while True:
                answer = self._hear(most)
                yield answer
                if answer.head.get("last"):
                    return
        finally:
            killer.cancel()

    def say(self, head: dict[str, Any], data: bytes = b"") -> None:
        """Send a message to the process."""
        assert self._child.stdin is not None
        try:
            send(self._child.stdin, head, data)
        except OSError:
            raise IsolatedError from None

    def _hear(self, most: int) -> _Answer:
        assert self._child.stdout is not None
        return receive(self._child.stdout, most=most)

    def end(self) -> None:
        """End the process, whatever it does."""
        self._child.kill()
        for pipe in (self._child.stdin, self._child.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        self._child.wait()


class Decoded(NamedTuple):
    """A picture that another process has decoded.

    Attributes:
        size: Its width and height, upright.
        image: RGB pixels, of the size that was wanted.
        text: What was asked for beside the pixels, as JSON; empty if nothing was.
    """

    size: tuple[int, int]
    image: Image.Image
    text: bytes = b""


class _Answer(NamedTuple):
    head: dict[str, Any]
    data: bytes


def send(pipe: IO[bytes], head: dict[str, Any], data: bytes | memoryview = b"") -> None:
    """Write a message: a small JSON object, and bytes."""
    encoded = json.dumps(head).encode()
    pipe.write(struct.pack("<IQ", len(encoded), len(data)) + encoded)
    pipe.write(data)
    pipe.flush()


def receive(pipe: IO[bytes], *, most: int = 2**40) -> _Answer:
    """Read a message.

    Args:
        pipe: Where it comes from.
        most: Bound on its bytes.

    Raises:
        IsolatedError: If the pipe ends, or what comes is no message.
    """
    sizes = pipe.read(12)
    if len(sizes) == 12:
        head, data = struct.unpack("<IQ", sizes)
        if head <= _LARGEST_HEAD and data <= most:
            with contextlib.suppress(ValueError):
                read = json.loads(pipe.read(head))
                answer = _Answer(read, pipe.read(data))
                if isinstance(read, dict) and len(answer.data) == data:
                    return answer
    raise IsolatedError


class _Processes:
    """Processes that wait for work, and a bound on those that work."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew, as a process that was just forked must: the decoders are its parent's."""
        self._idle: list[_Process] = []
        cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self._free = threading.BoundedSemaphore(max(1, cpus))

    def end(self) -> None:
        """End the processes that wait for work."""
        while self._idle:
            self._idle.pop().end()

    @contextlib.contextmanager
    def one(self, bounds: Bounds) -> Iterator[_Process]:
        """Lend a process; one that failed is ended."""
        free = self._free
        if not free.acquire(timeout=max(0.0, bounds.seconds_left)):
            raise bounds.late()
        process: _Process | None = None
        good = False
        try:
            try:
                process = self._idle.pop()
            except IndexError:
                process = _Process()
            yield process
            good = process.files < _FILES_OF_A_PROCESS and not process.is_spent
        finally:
            if process is not None and good:
                self._idle.append(process)
            elif process is not None:
                process.end()
            free.release()


_PROCESSES: Final = _Processes()
atexit.register(_PROCESSES.end)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_PROCESSES.forget)


def run_isolated(
    task: dict[str, Any],
    data: bytes,
    bounds: Bounds,
    wanted: Callable[[int, int], tuple[int, int]],
) -> list[Decoded]:
    """Decode a file in another process; see :func:`iterate_isolated`."""
    return list(iterate_isolated(task, data, bounds, wanted))


def iterate_isolated(
    task: dict[str, Any],
    data: bytes,
    bounds: Bounds,
    wanted: Callable[[int, int], tuple[int, int]],
    *,
    seconds: float = _MOST_SECONDS,
) -> Iterator[Decoded]:
    """Decode a file in another process, picture by picture.

    Args:
        task: What to do: ``{"task": "decode"}``, ``{"task": "draw", ...}`` or ``{"task": "sample", ...}``.
        data: The file.
        bounds: What it may cost.
        wanted: Function from the size of each picture, upright, to the size that is wanted.
        seconds: Bound on the time until the last picture is taken.

    Yields:
        The pictures, each of the size that was wanted.

    Raises:
        IsolatedError: If the process refuses the file, needs too much memory, or dies.
        ProtectionError: If time or pixels don't suffice.
    """
    limits = {
        "max_pixels": bounds.max_pixels,
        "memory": _BASE_MEMORY + _MEMORY_PER_PIXEL * bounds.max_pixels,
    }
    refusal: Exception
    try:
        with _PROCESSES.one(bounds) as process:
            answers = process.exchange(task | limits, data, bounds, seconds)
            reason = yield from _pictures(process, answers, bounds, wanted)
            if reason is None:
                return
            process.is_spent = reason == TOO_MUCH_MEMORY
        refusal = IsolatedError(reason)
    except (IsolatedError, ProtectionError, ValueError) as error:
        refusal = error if isinstance(error, (IsolatedError, ProtectionError)) else IsolatedError()
    bounds.check()
    refusal.__traceback__ = refusal.__context__ = None
    raise refusal


def _pictures(
    process: _Process,
    answers: Iterator[_Answer],
    bounds: Bounds,
    wanted: Callable[[int, int], tuple[int, int]],
) -> Generator[Decoded, None, str | None]:
    """Yield what a process makes of a file, and return the reason for which it refuses it, or ``None``."""
    size = seen = (0, 0)
    picture: Decoded | None = None
    for answer in answers:
        if "refused" in answer.head:
            return str(answer.head["refused"])
        if "size" in answer.head:
            size = _size(answer.head["size"])
            bounds.spend(size[0] * size[1])
            seen = wanted(*size)
            process.say({"size": seen})
        elif "text" in answer.head and picture is not None:
            picture = picture._replace(text=answer.data)
        elif answer.data:
            if picture is not None:
                yield picture
            picture = Decoded(size, Image.frombytes("RGB", seen, answer.data))
    if picture is not None:
        yield picture
    return None


def _size(value: Any) -> tuple[int, int]:
    width, height = value if isinstance(value, list) and len(value) == 2 else (0, 0)
    if type(width) is not int or type(height) is not int or min(width, height) < 1:
        raise IsolatedError
    return width, height
