"""Protected copies of pictures and folders of pictures: made in parallel, and resumable after ``kill -9``.

Three promises hold:

* Originals are never touched. An output that would replace one is refused, whatever path or link leads there.
* A file under the name of an output is complete. It is written elsewhere on the same disk, and then renamed.
* Work is not repeated. A journal in the output folder says what each output was made from, and the output is checked
  against it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import ExitStack
from itertools import islice
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, Self

from filelock import FileLock, Timeout

from langchain_vpp.errors import ProtectionError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import BinaryIO

    from langchain_vpp.image_protector import ImageProtector

logger = logging.getLogger(__name__)

PICTURE_SUFFIXES: Final = frozenset({
    ".jpg", ".jpeg", ".jfif", ".jpe", ".mpo", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".heic",
    ".heif",
})  # fmt: skip
"""Suffixes, in small letters, of the files that are taken from a folder."""

_OURS: Final = ".vpp"
_JOURNAL: Final = "done.jsonl"
_PARTIAL: Final = "output.partial"


class Job(NamedTuple):
    """One picture to protect.

    Attributes:
        source: The original.
        target: Its protected copy.
    """

    source: Path
    target: Path


class Copy(NamedTuple):
    """Outcome for one picture.

    Attributes:
        source: The original.
        target: Its protected copy; ``None`` if there can't be one.
        status: ``protected`` by this call, ``unchanged`` since an earlier one, or ``failed``.
        reason: For a failure, its cause and what to do; otherwise empty.
    """

    source: Path
    target: Path | None
    status: Literal["protected", "unchanged", "failed"]
    reason: str = ""


class _Made(NamedTuple):
    """A protected copy that has yet to be written.

    Attributes:
        job: The picture.
        recipe: Digest of the original and of the settings.
        encoded: The copy, as a JPEG.
    """

    job: Job
    recipe: str
    encoded: bytes


def plan(paths: Sequence[Path], out: Path) -> tuple[list[Job], list[Copy]]:
    """Pair every picture with its output.

    Args:
        paths: Pictures, and folders of pictures, whose relative paths are kept below ``out``.
        out: Folder of the protected copies. It may lie within one of the folders.

    Returns:
        The jobs in the order of ``paths``, no two with one output; and a failure for each path that can have no output.
    """
    failed: list[Copy] = []
    found: list[Job] = []
    for path in paths:
        if path.is_dir():
            inside = _pictures_in(path, out)
            found += [Job(each, _target(out / each.relative_to(path))) for each in inside]
            if not inside:
                failed.append(Copy(path, None, "failed", "there is no picture in this folder."))
        elif path.exists():
            found.append(Job(path, _target(out / path.name)))
        else:
            failed.append(Copy(path, None, "failed", "there is no such file."))
    originals = {_identity(job.source) for job in found}
    jobs: dict[Path, Job] = {}
    for job in found:
        # Compare files, not names: there are links, and disks that don't tell a.JPG from a.jpg.
        if job.target.exists() and _identity(job.target) in originals:
            reason = f"{job.target} is an original. Choose another --out."
        elif job.target in jobs:
            reason = f"{job.target} is already the output of {jobs[job.target].source}. Rename one of them."
        else:
            jobs[job.target] = job
            continue
        failed.append(Copy(job.source, job.target, "failed", reason))
    return list(jobs.values()), failed


def protect_files(
    jobs: Sequence[Job],
    out: Path,
    protector: ImageProtector,
    *,
    settings: Mapping[str, object],
    overwrite: bool = False,
    workers: int = 1,
) -> Generator[Copy, None, None]:
    """Protect pictures and write each copy as soon as it is made.

    ``out/.vpp/done.jsonl`` keeps the sha256 of each output, and a digest of its original and the settings. Anyone who
    has an original could recognise it by that digest, so only the owner can read the folder.

    Args:
        jobs: Result of :func:`plan` for ``out``.
        out: Folder of the outputs; created with the first one.
        protector: Protects the pictures, in several threads at once.
        settings: Everything but the picture that an output depends on, as JSON: engine, artifact, level, version.
        overwrite: Replace files under the names of outputs that were made in another way.
        workers: Number of pictures in work at once.

    Yields:
        An outcome per job, in the order in which the jobs end.

    Raises:
        ProtectionError: If another process is writing to ``out``.
    """
    journal = _Journal(out)

    def make(job: Job) -> _Made | Copy:
        try:
            data = job.source.read_bytes()
            recipe = _recipe(data, settings)
            if os.path.lexists(job.target):
                if journal.holds(job.target, recipe):
                    return Copy(*job, "unchanged")
                if not overwrite:
                    advice = "exists. Choose another --out, or give --overwrite."
                    return Copy(*job, "failed", f"{job.target} {advice}")
            return _Made(job, recipe, protector.protect_encoded(data))
        except ProtectionError as error:
            return Copy(*job, "failed", str(error))
        except OSError as error:
            return Copy(*job, "failed", _describe(error, job))

    waiting = iter(jobs)
    pool = ThreadPoolExecutor(workers, thread_name_prefix="vpp-protect")
    with journal:
        try:
            # A few more jobs than threads, so that no thread waits; not all jobs, because results take memory.
            running = {pool.submit(make, job) for job in islice(waiting, 2 * workers)}
            while running:
                ended, running = wait(running, return_when=FIRST_COMPLETED)
                running |= {pool.submit(make, job) for job in islice(waiting, len(ended))}
                for each in ended:
                    made = each.result()
                    yield made if isinstance(made, Copy) else journal.write(made)
        finally:
            pool.shutdown(cancel_futures=True)


class _Journal:
    """Record of the outputs of a folder and of what they were made from. One thread writes, others may read."""

    def __init__(self, out: Path) -> None:
        self._out = out
        self._folder = out / _OURS
        self._held = ExitStack()
        self._file: BinaryIO | None = None
        self._entries = frozenset(self._read())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def holds(self, target: Path, recipe: str) -> bool:
        """Say whether ``target`` is, to the byte, an output that an earlier call made by ``recipe``."""
        if target.is_symlink() or not target.is_file():
            return False
        return (self._name(target), recipe, _sha256(target.read_bytes())) in self._entries

    def write(self, made: _Made) -> Copy:
        """Put an output into its place, after its entry in the journal, so that every output has one."""
        job = made.job
        partial = self._folder / _PARTIAL
        try:
            file = self._file or self._open()
            partial.unlink(missing_ok=True)  # of a process that was killed
            with partial.open("xb") as output:
                output.write(made.encoded)
            line = {"output": self._name(job.target), "recipe": made.recipe, "sha256": _sha256(made.encoded)}
            file.write(json.dumps(line).encode() + b"\n")
            file.flush()
            job.target.parent.mkdir(parents=True, exist_ok=True)
            partial.replace(job.target)
        except OSError as error:
            return Copy(*job, "failed", _describe(error, job))
        return Copy(*job, "protected")

    def _open(self) -> BinaryIO:
        """Lock the folder for this process, until it ends, however it ends."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        taken = False
        try:
            self._held.enter_context(FileLock(self._folder / "lock", blocking=False))
        except Timeout:
            taken = True
        if taken:
            raise ProtectionError(
                f"another process is writing to {self._out}, so nothing was written. Wait for it, or choose another "
                "folder."
            )
        path = self._folder / _JOURNAL
        kept = path.read_bytes() if path.exists() else b""
        self._file = self._held.enter_context(path.open("ab"))
        if kept and not kept.endswith(b"\n"):
            self._file.write(b"\n")
        return self._file

    def _read(self) -> Iterator[tuple[str, str, str]]:
        path = self._folder / _JOURNAL
        if not path.is_file():
            return
        unread = 0
        for line in path.read_bytes().splitlines():
            try:
                entry = json.loads(line)
                yield entry["output"], entry["recipe"], entry["sha256"]
            except (ValueError, KeyError, TypeError):
                unread += 1  # cut off when a process was killed, before its output was in its place
        if unread:
            logger.warning("%d lines of the journal of earlier outputs could not be read", unread)

    def _name(self, target: Path) -> str:
        return target.relative_to(self._out).as_posix()


def _pictures_in(folder: Path, out: Path) -> list[Path]:
    """List all pictures below a folder, without those that an earlier call has put into ``out``."""
    outputs = out.resolve()
    skip_outputs = outputs != folder.resolve()
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in PICTURE_SUFFIXES
        and path.is_file()
        and not (skip_outputs and path.resolve().is_relative_to(outputs))
    ]


def _target(path: Path) -> Path:
    return path.with_suffix(".jpg")


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def _recipe(data: bytes, settings: Mapping[str, object]) -> str:
    described = json.dumps(dict(settings), sort_keys=True).encode()
    return _sha256(described + b"\n" + hashlib.sha256(data).digest())


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _describe(error: OSError, job: Job) -> str:
    return f"{error.filename or job.target}: {error.strerror or type(error).__name__}."
