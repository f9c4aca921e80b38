"""Protected copies of pictures, made by many processes: the plan, and the work of one process on a part of it.

The promises are those of :mod:`langchain_vpp.batch`, with processes that may die at any moment:

* Pictures are named, never passed along: each process reads the originals that it protects, and writes their copies.
* A process notes what it made, and from what, before the copies get their names. Whoever repeats the work of a process
  that died finds these notes, and makes only what is missing.
* An output without such a note is never taken for one of ours, and never replaced unless the user says so.
"""

from __future__ import annotations

import json
import tempfile
import uuid
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from langchain_vpp import batch
from langchain_vpp.batch import (
    HEAD_BYTES,
    JOURNALS,
    OURS,
    Copy,
    Job,
    journal_line,
    make_copy,
    one_output_each,
    output_suffix,
    read_journal,
    recipe_of,
    sha256,
    unsuitable,
)
from langchain_vpp.errors import ProtectionError
from trainer.scale.stores import located, protocol_of, within, write_whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from langchain_vpp.image_protector import ImageProtector

_MOST_ATTEMPTS: Final = 3
"""Processes that may die while they work on a part, before it is given up."""
_HELD_BYTES: Final = 64 * 2**20
"""Bytes of finished copies that a process holds before it writes them."""
Entries = dict[str, list[tuple[str, str]]]
"""Name of an output -> digest of its original and the settings, and its own digest, of every time that it was made."""


class Part(NamedTuple):
    """Work of one process: some pictures.

    Attributes:
        name: Name of the part, which no other part of any call has.
        start: Place of its first picture among those of the call.
        jobs: Originals and their copies, as addresses.
        entries: Notes of earlier calls on these copies.
    """

    name: str
    start: int
    jobs: tuple[tuple[str, str], ...]
    entries: Entries

    def as_text(self) -> str:
        """Write the part as JSON."""
        return json.dumps(self._asdict())

    @classmethod
    def of_text(cls, text: str) -> Part:
        """Read a part from JSON."""
        read = json.loads(text)
        jobs = tuple((source, target) for source, target in read["jobs"])
        entries = {
            name: [(first, second) for first, second in each] for name, each in read["entries"].items()
        }
        return cls(read["name"], read["start"], jobs, entries)


class _Made(NamedTuple):
    """A protected copy that has yet to be written."""

    copy: Copy
    name: str
    recipe: str
    encoded: bytes


# -- the plan --------------------------------------------------------------------------------------------------


def plan(paths: Sequence[str], out: str) -> tuple[list[Job], list[Copy]]:
    """Pair every picture with its output; see :func:`langchain_vpp.batch.plan`.

    Args:
        paths: Pictures, and folders of pictures, on disks or in stores.
        out: Folder of the protected copies, on a disk or in a store.

    Raises:
        ProtectionError: If a store can't be used.
    """
    place = located(out)
    local = [path for path in paths if not protocol_of(located(path))]
    stored = [path for path in paths if path not in set(local)]
    found, others = _plan_local([Path(path) for path in local], place)
    for path in stored:
        jobs, left = _plan_stored(located(path), place)
        found += jobs
        others += left
    if not stored:
        return found, others
    originals = {str(job.source) for job in found}
    jobs, left = one_output_each(found, lambda job: str(job.target) in originals)
    return jobs, others + left


def _plan_local(paths: Sequence[Path], out: Any) -> tuple[list[Job], list[Copy]]:
    """Plan pictures of this machine's disks, the outputs of which may go to a store."""
    if not paths:
        return [], []
    if not protocol_of(out):
        return batch.plan(paths, Path(out))
    with tempfile.TemporaryDirectory() as place:
        nowhere = Path(place) / "out"
        jobs, others = batch.plan(paths, nowhere)
    moved = [Job(job.source, out / job.target.relative_to(nowhere).as_posix()) for job in jobs]
    return moved, [each._replace(target=None) for each in others]


def _plan_stored(path: Any, out: Any) -> tuple[list[Job], list[Copy]]:
    """Plan a picture or a folder of a store."""
    problem = ""
    try:
        if within(path.is_file):
            suffix = output_suffix(path.suffix, lambda: _head(path))
            return [Job(path, out / Path(path.name).with_suffix(suffix or ".jpg").name)], []
        names = within(lambda: sorted(path.fs.find(path.path)))
    except (OSError, ValueError) as error:
        problem, names = _reason(error), []
    if problem or not names:
        return [], [Copy(path, None, "failed", problem or "there is no such file, and no picture below it.")]
    if _is_within(out, path) and str(out).rstrip("/") == str(path).rstrip("/"):
        raise ProtectionError(f"nothing was protected: {out} holds the originals. Choose another --out.")
    jobs, others = [], []
    for name in names:
        source = located(path.fs.unstrip_protocol(name))
        inner = name.removeprefix(path.path).lstrip("/")
        if OURS in inner.split("/"):
            continue
        found = _pair(source, inner, out)
        if isinstance(found, Job):
            jobs.append(found)
        else:
            others.append(found)
    if not jobs:
        others.append(Copy(path, None, "failed", "there is no picture in this folder."))
    return jobs, others


def _pair(source: Any, inner: str, out: Any) -> Job | Copy:
    """Pair a file of a store with its output, or say why it has none.

    Args:
        source: The file.
        inner: Its name below the folder that was named.
        out: Folder of the outputs.
    """
    if {"", ".", ".."} & set(inner.split("/")) or "\\" in inner:  # a key of a store may be any text
        return Copy(source, None, "failed", "its name leads out of the folder. Rename it.")
    if _is_within(source, out):
        return Copy(source, None, "skipped", "it lies in --out.")
    suffix = output_suffix(Path(inner).suffix, lambda: _head(source))
    if reason := unsuitable(suffix):
        return Copy(source, None, "skipped", reason)
    return Job(source, out / Path(inner).with_suffix(suffix).as_posix())


def _head(path: Any) -> bytes:
    return within(lambda: bytes(path.fs.cat_file(path.path, start=0, end=HEAD_BYTES)))


def _is_within(path: Any, folder: Any) -> bool:
    return f"{path}/".startswith(f"{str(folder).rstrip('/')}/")


def divide(jobs: Sequence[tuple[str, str]], out: str, *, most: int) -> Iterator[Part]:
    """Divide work into parts, with the notes of earlier calls that concern each.

    Args:
        jobs: Originals and their copies, as addresses.
        out: Folder of the copies.
        most: Most pictures in a part.

    Raises:
        OSError: If the notes can't be read.
    """
    entries = read_entries(out)
    folder = located(out)
    call = uuid.uuid4().hex
    for start in range(0, len(jobs), most):
        some = tuple(jobs[start : start + most])
        names = [_name(target, folder) for _, target in some]
        yield Part(f"{call}-{start}", start, some, {name: entries[name] for name in names if name in entries})


def read_entries(out: str, pattern: str = JOURNALS) -> Entries:
    """Read what is noted in a folder of outputs.

    Raises:
        OSError: If it can't be read.
    """
    folder = located(out) / OURS
    found: Entries = {}
    for path in within(lambda: sorted(folder.glob(pattern), key=str)):
        for name, recipe, digest in read_journal(within(path.read_bytes)):
            found.setdefault(name, []).append((recipe, digest))
    return found


def _name(target: Any, folder: Any) -> str:
    """Name of an output in the notes: its path in the folder."""
    return str(target).removeprefix(str(folder)).lstrip("/")


# -- the work of one process -----------------------------------------------------------------------------------


class Copying:
    """Makes the copies of parts, in one of many processes.

    Args:
        out: Folder of the outputs.
        protector: Protects the pictures.
        settings: Everything but the picture that an output depends on.
        overwrite: Replace files under the names of outputs that were made in another way.
    """

    def __init__(
        self, out: str, protector: ImageProtector, settings: Mapping[str, object], *, overwrite: bool = False
    ) -> None:
        self._out, self._folder = out, located(out)
        self._protector, self._settings, self._overwrite = protector, settings, overwrite

    def complete(self, part: Part) -> list[Copy]:
        """Make the copies of a part that are missing, and return an outcome for each of its pictures.

        Returns nothing if so many processes have died of the part that it is given up.

        Raises:
            OSError: If the notes of earlier attempts can't be read, or this one can't be noted.
        """
        begun = f"begun-{part.name}-"
        if len(self._notes(begun)) >= _MOST_ATTEMPTS:
            return []
        write_whole(self._folder / OURS / f"{begun}{uuid.uuid4().hex[:12]}", b"", self._folder)
        copies = self._completed(part)
        for path in self._notes(begun):
            within(partial(path.unlink, missing_ok=True))
        return copies

    def _notes(self, beginning: str) -> list[Any]:
        return within(lambda: list((self._folder / OURS).glob(f"{beginning}*")))

    def _completed(self, part: Part) -> list[Copy]:
        # Attempts of a process that died: another name for each, so that none loses what another has noted.
        here = read_entries(self._out, f"done-{part.name}-*.jsonl")
        outcomes: list[_Made | Copy] = []
        held = 0
        for source, target in part.jobs:
            outcomes.append(self._attempted(located(source), located(target), part.entries, here))
            held += 0 if isinstance(outcomes[-1], Copy) else len(outcomes[-1].encoded)
            if held >= _HELD_BYTES:
                outcomes, held = list(self._written(part, outcomes)), 0
        return self._written(part, outcomes)

    def _attempted(self, source: Any, target: Any, known: Entries, here: Entries) -> _Made | Copy:
        """Protect a picture, or say why there is no need or no way to."""
        name = _name(target, self._folder)
        try:
            data = within(source.read_bytes)
            recipe = recipe_of(data, self._settings)
            if (there := self._there(target)) is not None:
                if (recipe, there) in here.get(name, ()):
                    return Copy(source, target, "protected")
                if (recipe, there) in known.get(name, ()):
                    return Copy(source, target, "unchanged")
                if not self._overwrite:
                    advice = "exists. Choose another --out, or give --overwrite."
                    return Copy(source, target, "failed", f"{target} {advice}")
            encoded, note = make_copy(data, target.suffix, self._protector)
        except ProtectionError as error:
            return Copy(source, target, "failed", str(error))
        except OSError as error:
            return Copy(source, target, "failed", _reason(error))
        return _Made(Copy(source, target, "protected", note), name, recipe, encoded)

    def _there(self, target: Any) -> str | None:
        """Digest of the file under the name of an output; ``None`` if there is none, empty if it is no file."""
        if not protocol_of(target) and target.is_symlink():
            return ""
        try:
            return sha256(within(target.read_bytes))
        except FileNotFoundError:
            return None
        except (IsADirectoryError, PermissionError):
            return ""

    def _written(self, part: Part, outcomes: Sequence[_Made | Copy]) -> list[Copy]:
        """Note the copies that are made, then put them into their places; returns all outcomes in their order."""
        made = [each for each in outcomes if isinstance(each, _Made)]
        reason = ""
        if made:
            lines = b"".join(journal_line(each.name, each.recipe, each.encoded) for each in made)
            note = self._folder / OURS / f"done-{part.name}-{uuid.uuid4().hex[:12]}.jsonl"
            reason = self._put(note, lines)
        copies = []
        for each in outcomes:
            if isinstance(each, Copy):
                copies.append(each)
                continue
            problem = reason or self._put(each.copy.target, each.encoded)
            copies.append(each.copy._replace(status="failed", reason=problem) if problem else each.copy)
        return copies

    def _put(self, path: Any, data: bytes) -> str:
        """Write a file; returns why it could not be written, or nothing."""
        try:
            write_whole(path, data, self._folder)
        except OSError as error:
            return _reason(error)
        return ""


def _reason(error: Exception) -> str:
    """Say why a file can't be used, without what a store has written about it."""
    if isinstance(error, FileNotFoundError):
        return "there is no such file."
    return f"{getattr(error, 'strerror', None) or type(error).__name__}."
