"""Protected copies of pictures and folders of pictures: made in parallel, and resumable after ``kill -9``.

Four promises hold:

* Originals are never touched. An output that would replace one is refused, whatever path or link leads there.
* Nothing is left out without a word. A file of a folder that is no picture, or an output of an earlier call, is listed.
* A file under the name of an output is complete. It is written elsewhere on the same disk, and then renamed.
* Work is not repeated. A journal in the output folder says what each output was made from, and the output is checked
  against it.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import re
import time
import unicodedata
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Self

from filelock import FileLock, Timeout

from langchain_vpp import extras
from langchain_vpp.errors import ProtectionError
from langchain_vpp.images.codec import decode_image
from langchain_vpp.images.given import image_bytes
from langchain_vpp.images.pdf import rasterize_pdf
from langchain_vpp.images.video import video_format
from langchain_vpp.messages.base64 import decode_base64, encode_base64

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import BinaryIO

    from PIL import Image

    from langchain_vpp.image_protector import ImageProtector

logger = logging.getLogger(__name__)

PICTURE_SUFFIXES: Final = frozenset({
    ".jpg", ".jpeg", ".jpe", ".jif", ".jfif", ".jfi", ".pjpeg", ".pjp", ".mpo", ".png", ".apng", ".webp", ".gif",
    ".bmp", ".dib", ".tif", ".tiff", ".avif", ".heic", ".heif", ".hif",
})  # fmt: skip
"""Suffixes, in small letters, of pictures that are taken from a folder; a file without one is judged by its head."""
_PDF: Final = ".pdf"
_VIDEO: Final = ".mp4"
_VIDEO_SUFFIXES: Final = frozenset({
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".mts", ".mpg", ".mpeg", ".3gp",
})  # fmt: skip
_HEADS: Final = (
    (re.compile(rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|GIF8[79]a|RIFF.{4}WEBP|II\*\0|MM\0\*", re.DOTALL), ".jpg"),
    (re.compile(rb"BM.{4}\0{4}|.{4}ftyp(avi[fs]|he[iv][cmsx]|mif1|msf1)", re.DOTALL), ".jpg"),
    (re.compile(rb"%PDF-"), _PDF),
)
"""First bytes of pictures and documents, and the suffix of their outputs."""
HEAD_BYTES: Final = 16
_PDF_DPI: Final = 150

_NOTES: Final = {
    "covered": "it is covered whole, because it is unlike the pictures that the artifact was made for.",
    "shown": "it is unlike the pictures that the artifact was made for, so what it shows may be private.",
}
OURS: Final = ".vpp"
"""Folder, in that of the outputs, of what we note there."""
_JOURNAL: Final = "done.jsonl"
JOURNALS: Final = "done*.jsonl"
"""Files in :data:`OURS` that say what each output was made from."""
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
        status: ``protected`` by this call, ``unchanged`` since an earlier one, ``failed``, or ``skipped``: a file of a
            folder that is not to be protected.
        reason: For a failure, its cause and what to do; for a skipped file, the cause; for a copy of a picture that the
            artifact was not made for, what became of it; otherwise empty.
    """

    source: Path
    target: Path | None
    status: Literal["protected", "unchanged", "failed", "skipped"]
    reason: str = ""


class _Made(NamedTuple):
    """A protected copy that has yet to be written.

    Attributes:
        job: The picture.
        recipe: Digest of the original and of the settings.
        encoded: The copy, as a JPEG, as a PDF of a document, or as an MP4 of a video.
        note: What became of a picture that the artifact was not made for.
    """

    job: Job
    recipe: str
    encoded: bytes
    note: str = ""


def plan(paths: Sequence[Path], out: Path) -> tuple[list[Job], list[Copy]]:
    """Pair every picture with its output.

    Args:
        paths: Pictures, and folders of pictures, whose relative paths are kept below ``out``.
        out: Folder of the protected copies. It may be one of the folders, or lie within one.

    Returns:
        The jobs in the order of ``paths``, no two with one output, whatever the disk thinks of capitals; and a failure
        or a skipped file for each path that has no output.
    """
    others: list[Copy] = []
    found: list[Job] = []
    for path in paths:
        if path.is_dir():
            inside, skipped = _take(path, out)
            found += inside
            others += skipped
            if not inside:
                others.append(Copy(path, None, "failed", "there is no picture in this folder."))
        elif path.exists():
            found.append(Job(path, out / path.with_suffix(_suffix(path) or ".jpg").name))
        else:
            others.append(Copy(path, None, "failed", "there is no such file."))
    originals = {_identity(job.source) for job in found}
    # Compare files, not names: there are links, and disks that don't tell a.JPG from a.jpg.
    jobs, failed = one_output_each(
        found, lambda job: job.target.exists() and _identity(job.target) in originals
    )
    return jobs, others + failed


def one_output_each(found: Sequence[Job], overwrites: Callable[[Job], bool]) -> tuple[list[Job], list[Copy]]:
    """Leave out jobs whose output is an original, or that of an earlier job, whatever the disk thinks of capitals.

    Args:
        found: The jobs.
        overwrites: Tells whether a job's output is an original.

    Returns:
        The jobs that are left, and a failure for each of the others.
    """
    others: list[Copy] = []
    jobs: dict[str, Job] = {}
    for job in found:
        name = unicodedata.normalize("NFC", str(job.target)).casefold()
        if overwrites(job):
            reason = f"{job.target} is an original. Choose another --out."
        elif name in jobs:
            reason = f"{job.target} is already the output of {jobs[name].source}. Rename one of them."
        else:
            jobs[name] = job
            continue
        others.append(Copy(job.source, job.target, "failed", reason))
    return list(jobs.values()), others


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
            recipe = recipe_of(data, settings)
            if os.path.lexists(job.target):
                if journal.holds(job.target, recipe):
                    return Copy(*job, "unchanged")
                if not overwrite:
                    advice = "exists. Choose another --out, or give --overwrite."
                    return Copy(*job, "failed", f"{job.target} {advice}")
            return _Made(job, recipe, *make_copy(data, job.target.suffix, protector))
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
        self._folder = out / OURS
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
        return (self._name(target), recipe, sha256(target.read_bytes())) in self._entries

    def write(self, made: _Made) -> Copy:
        """Put an output into its place, after its entry in the journal, so that every output has one."""
        job = made.job
        partial = self._folder / _PARTIAL
        try:
            file = self._file or self._open()
            partial.unlink(missing_ok=True)  # of a process that was killed
            with partial.open("xb") as output:
                output.write(made.encoded)
            file.write(journal_line(self._name(job.target), made.recipe, made.encoded))
            file.flush()
            job.target.parent.mkdir(parents=True, exist_ok=True)
            partial.replace(job.target)
        except OSError as error:
            return Copy(*job, "failed", _describe(error, job))
        return Copy(*job, "protected", made.note)

    def _open(self) -> BinaryIO:
        """Lock the folder for this process, until it ends, however it ends."""
        self._held.enter_context(alone_in(self._out))
        path = self._folder / _JOURNAL
        kept = path.read_bytes() if path.exists() else b""
        self._file = self._held.enter_context(path.open("ab"))
        if kept and not kept.endswith(b"\n"):
            self._file.write(b"\n")
        return self._file

    def outputs(self) -> Iterator[Path]:
        """Yield the files that are, to the byte, outputs of earlier calls."""
        digests: dict[str, set[str]] = {}
        for name, _, digest in self._entries:
            digests.setdefault(name, set()).add(digest)
        for name, known in digests.items():
            path = self._out / name
            if path.is_file() and sha256(path.read_bytes()) in known:
                yield path

    def _read(self) -> Iterator[tuple[str, str, str]]:
        for path in self._folder.glob(JOURNALS):
            yield from read_journal(path.read_bytes())

    def _name(self, target: Path) -> str:
        return target.relative_to(self._out).as_posix()


@contextmanager
def alone_in(out: Path) -> Iterator[None]:
    """Keep other processes from writing to a folder of outputs, until this one leaves it or ends, however it ends.

    Raises:
        ProtectionError: If another process is writing to it.
    """
    folder = out / OURS
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock, taken = FileLock(folder / "lock", blocking=False), False
    try:
        lock.acquire()
    except Timeout:
        taken = True
    if taken:
        raise ProtectionError(
            f"another process is writing to {out}, so nothing was written. Wait for it, or choose another folder."
        )
    try:
        yield
    finally:
        lock.release()


def read_journal(lines: bytes) -> Iterator[tuple[str, str, str]]:
    """Read a journal: name of an output, digest of its original and settings, and its own sha256."""
    unread = 0
    for line in lines.splitlines():
        try:
            entry = json.loads(line)
            yield entry["output"], entry["recipe"], entry["sha256"]
        except (ValueError, KeyError, TypeError):
            unread += 1  # cut off when a process was killed, before its output was in its place
    if unread:
        logger.warning("%d lines of the journal of earlier outputs could not be read", unread)


def journal_line(output: str, recipe: str, encoded: bytes) -> bytes:
    """Write the line of an output for a journal; see :func:`read_journal`."""
    line = {"output": output, "recipe": recipe, "sha256": sha256(encoded)}
    return json.dumps(line).encode() + b"\n"


def _take(folder: Path, out: Path) -> tuple[list[Job], list[Copy]]:
    """Pair the pictures below a folder with their outputs, and list the files that are left out."""
    outputs = {
        _identity(each)
        for ours in sorted(folder.rglob(OURS))
        if ours.is_dir()
        for each in _Journal(ours.parent).outputs()
    }
    inner = out.resolve() if out.resolve() != folder.resolve() else None
    jobs, skipped = [], []
    for path in sorted(folder.rglob("*")):
        if OURS in path.relative_to(folder).parts or (path.is_dir() and not path.is_symlink()):
            continue
        if path.is_file() and _identity(path) in outputs and path.resolve().is_relative_to(out.resolve()):
            continue  # of this call: it is made again, or told as unchanged
        reason, suffix = _left_out(path, outputs, inner), ""
        if not reason:
            suffix = _suffix(path)
            reason = unsuitable(suffix)
        if reason:
            skipped.append(Copy(path, None, "skipped", reason))
        else:
            jobs.append(Job(path, out / path.relative_to(folder).with_suffix(suffix)))
    return jobs, skipped


def _left_out(path: Path, outputs: Collection[tuple[int, int]], inner: Path | None) -> str:
    """Say why a file of a folder is not among the originals; nothing if it may be."""
    if path.is_dir():
        return "a link to a folder is not followed."
    if not path.is_file():
        return "it is no file."
    if _identity(path) in outputs:
        return "it is the output of an earlier call."
    if inner is not None and path.resolve().is_relative_to(inner):
        return "it lies in --out."
    return ""


def unsuitable(suffix: str) -> str:
    """Say why a file has no protected copy; nothing if it can have one."""
    if not suffix:
        return "it is no picture by its name, nor, without a suffix, by its first bytes."
    if suffix == _PDF and not extras.is_installed("pypdfium2"):
        return "a PDF needs the extra documents: pip install 'langchain-vpp[documents]'."
    if suffix == _VIDEO and not extras.is_installed("av"):
        return "a video needs the extra video: pip install 'langchain-vpp[video]'."
    return ""


def _suffix(path: Path) -> str:
    """Suffix of the output of a file; empty if the file is no picture, document or video."""

    def head() -> bytes:
        with path.open("rb") as file:
            return file.read(HEAD_BYTES)

    return output_suffix(path.suffix, head)


def output_suffix(suffix: str, head: Callable[[], bytes]) -> str:
    """Return the suffix of the output of a file; empty if the file is no picture, document or video.

    Args:
        suffix: Suffix of the file.
        head: Reads its first :data:`HEAD_BYTES`, by which a file without a suffix is judged.
    """
    suffix = suffix.lower()
    if suffix in _VIDEO_SUFFIXES:
        return _VIDEO
    if suffix:
        return ".jpg" if suffix in PICTURE_SUFFIXES else _PDF if suffix == _PDF else ""
    try:
        first = head()
    except OSError:
        return ".jpg"  # what can't be read fails, and is not left out
    known = next((suffix for pattern, suffix in _HEADS if pattern.match(first)), "")
    return known or (_VIDEO if video_format(first) else "")


def make_copy(data: bytes, suffix: str, protector: ImageProtector) -> tuple[bytes, str]:
    """Protect a file that was read.

    Args:
        data: The file.
        suffix: Suffix of its output: ``.jpg``, or ``.pdf`` of a document or ``.mp4`` of a video.
        protector: Protects it.

    Returns:
        The protected copy, and a note of what became of a picture that the artifact was not made for, or nothing.

    Raises:
        ProtectionError: If it can't be protected.
    """
    if suffix == _PDF:
        return _protect_document(data, protector), ""
    if suffix == _VIDEO:
        return protector.protect_video(data), ""
    file = protector.protect_file(data)
    return file.encoded, _NOTES.get(file.unfamiliar or "", "")


def _protect_document(data: bytes, protector: ImageProtector) -> bytes:
    """Protect each page of a PDF as a picture, and bind the pictures to a PDF without text or metadata."""
    pages = rasterize_pdf(data, dpi=_PDF_DPI)
    if protector.conversations.is_needed:
        first, *others = _protect_together(pages, protector)
    else:
        first, *others = map(protector.protect_image, pages)
    bound, no_date = io.BytesIO(), time.gmtime(0)
    first.save(
        bound, "PDF", save_all=True, append_images=others, resolution=_PDF_DPI,
        creationDate=no_date, modDate=no_date,
    )  # fmt: skip
    return bound.getvalue()


def _protect_together(pages: list[Image.Image], protector: ImageProtector) -> list[Image.Image]:
    """Protect pages as those of one conversation, so that a private value has the same name on all of them."""
    from langchain_core.messages import HumanMessage  # noqa: PLC0415  only documents need it

    blocks: list[str | dict[Any, Any]] = [
        {"type": "image", "base64": encode_base64(image_bytes(page))} for page in pages
    ]
    content: Any = protector.protect_messages([HumanMessage(blocks)])[0].content
    return [decode_image(decode_base64(block["base64"]) or b"") for block in content]


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def recipe_of(data: bytes, settings: Mapping[str, object]) -> str:
    """Digest of an original and of everything else that its output depends on."""
    described = json.dumps(dict(settings), sort_keys=True).encode()
    return sha256(described + b"\n" + hashlib.sha256(data).digest())


def sha256(data: bytes) -> str:
    """Digest of a file, in hex."""
    return hashlib.sha256(data).hexdigest()


def _describe(error: OSError, job: Job) -> str:
    return f"{error.filename or job.target}: {error.strerror or type(error).__name__}."
