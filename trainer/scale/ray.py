"""Protected copies of pictures on a cluster of Ray. Only commands import this module.

An original never leaves the process that reads it: Ray's object store and its logs see addresses of pictures and
outcomes. The cluster's machines must see the same folders or stores, and have the same version of this package.
"""

from __future__ import annotations

import logging
import os
import tempfile
import uuid
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from langchain_vpp import extras
from langchain_vpp.artifact import read_manifest
from langchain_vpp.batch import OURS, Copy, alone_in
from langchain_vpp.cli.formats import open_heic
from langchain_vpp.errors import ProtectionError, VPPError
from trainer.scale.copying import Copying, Part, divide, plan
from trainer.scale.stores import PARTIAL, located, protocol_of

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence

    from langchain_vpp.batch import Job
    from langchain_vpp.cli.protection import Protection

_PARTS_PER_CPU: Final = 8
_MOST_PER_PART: Final = 64
_Outcomes = list[list[str]]
"""Status and reason of every picture of a part, in order."""


def connect(address: str) -> Any:
    """Connect this process to a cluster of Ray, unless it is connected, and return Ray's module.

    Args:
        address: ``local`` for a cluster of this machine alone, which ends with this process; else what ``ray.init``
            takes, such as ``auto`` or ``host:port``.

    Raises:
        MissingExtraError: If Ray is missing.
        ProtectionError: If there is no cluster at the address.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # read when Ray is imported
    ray = extras.load("ray", extra="ray")
    extras.require("ray.data", extra="ray")
    if ray.is_initialized():
        return ray
    problem = ""
    local = {"include_dashboard": False} if address == "local" else {}
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **local)
    except (ConnectionError, ValueError, RuntimeError) as error:
        problem = type(error).__name__
    if problem:
        raise ProtectionError(
            f"nothing was done: there is no cluster of Ray at {address} ({problem}). Start one with "
            "`ray start --head`, or write local for one on this machine."
        )
    return ray


class Cluster:
    """A cluster of Ray that protects pictures.

    Args:
        address: See :func:`connect`.

    Raises:
        ProtectionError: See :func:`connect`.
    """

    def __init__(self, address: str) -> None:
        self._ray = connect(address)

    def plan(self, paths: Sequence[str], out: str) -> tuple[list[Job], list[Copy]]:
        """Pair every picture with its output; see :func:`trainer.scale.copying.plan`.

        Raises:
            ProtectionError: If a store can't be used, or is the memory of a single process.
        """
        for path in (*paths, out):
            if protocol_of(located(path)) == "memory":
                raise ProtectionError(
                    f"nothing was protected: {path} is memory of this process, which the others can't read."
                )
        return plan(paths, out)

    def protect_files(
        self,
        jobs: Sequence[Job],
        out: str,
        protection: Protection,
        *,
        settings: Mapping[str, object],
        overwrite: bool = False,
        workers: int | None = None,
    ) -> Generator[Copy, None, None]:
        """Protect pictures on the cluster; see ``Cluster.protect_files`` in ``langchain_vpp.cli.clusters``.

        Yields:
            An outcome per job, in the order in which the jobs end.

        Raises:
            ProtectionError: If another process is writing to ``out``, or the cluster can't be reached any more. What
                was made stays; the same call goes on.
        """
        if not jobs:
            return
        place = located(out)
        with ExitStack() as held:
            mark = ""
            if not protocol_of(place):
                place = Path(out).absolute()
                held.enter_context(alone_in(place))
                for partial in (place / OURS).glob(f"{PARTIAL}*"):  # by processes that were killed
                    partial.unlink(missing_ok=True)
                mark = held.enter_context(_mark(place))
            files = (
                None
                if not _is_folder(protection.artifact)
                else self._ray.put(artifact_files(Path(protection.artifact or "")))
            )
            work = _Work(uuid.uuid4().hex, str(place), protection, files, dict(settings), overwrite, mark)
            run = _Run(self._ray, work, workers)
            cpus = workers or max(1, int(self._ray.cluster_resources().get("CPU", 1)))
            size = max(1, min(_MOST_PER_PART, len(jobs) // (_PARTS_PER_CPU * cpus)))
            left = yield from run.outcomes(jobs, size)
            # Each in a part of its own, so that a picture that kills its process takes no other one along.
            lost = yield from run.outcomes(left, 1)
            for job in lost:
                reason = (
                    "its process failed more than once. Run the same command again, or leave this file out."
                )
                yield Copy(*job, "failed", reason)


class _Work(NamedTuple):
    """Everything that a process needs besides its parts."""

    call: str
    out: str
    protection: Protection
    files: Any
    """Reference to the files of a protector that is no part of the package, or ``None``."""
    settings: dict[str, object]
    overwrite: bool
    mark: str
    """Name of a file that a process must see in the folder of outputs; empty for a store."""


class _Run(NamedTuple):
    """One call of the cluster."""

    ray: Any
    work: _Work
    workers: int | None

    def outcomes(self, jobs: Sequence[Job], size: int) -> Generator[Copy, None, list[Job]]:
        """Yield outcomes as they come; returns the jobs whose processes died again and again."""
        if not jobs:
            return []
        data = extras.load("ray.data", extra="ray")
        context = data.DataContext.get_current()
        context.enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        context.max_errored_blocks = -1  # the other parts are worth having
        parts = list(
            divide([(_address(job.source), _address(job.target)) for job in jobs], self.work.out, most=size)
        )
        waiting = {part.name: jobs[part.start : part.start + len(part.jobs)] for part in parts}
        rows = data.from_items([part.as_text() for part in parts], override_num_blocks=len(parts))
        made = rows.map(
            _complete,
            fn_kwargs={"work": self.work},
            num_cpus=1,
            concurrency=self.workers,
        )
        failure = ""
        try:
            for row in made.iter_rows():
                # A part without outcomes was given up.
                some = waiting.pop(row["part"], ()) if len(row["outcomes"]) else ()
                for job, (status, reason) in zip(some, row["outcomes"], strict=True):
                    yield Copy(*job, status, reason)
        except self.ray.exceptions.RayError as error:
            failure = type(error).__name__
        if failure:
            raise ProtectionError(
                f"the cluster failed ({failure}), so not everything was protected. What was made stays: run the same "
                "command again to go on."
            )
        return [job for some in waiting.values() for job in some]


@contextmanager
def _mark(out: Path) -> Iterator[str]:
    """Put a file into the folder of outputs, by which other machines know that it is the same folder."""
    mark = out / OURS / f"shared-{uuid.uuid4().hex}"
    mark.touch()
    try:
        yield mark.name
    finally:
        mark.unlink(missing_ok=True)


def _address(path: Any) -> str:
    return str(path) if protocol_of(path) else str(Path(path).absolute())


def _is_folder(artifact: str | None) -> bool:
    return artifact is not None and Path(artifact).is_dir()


def artifact_files(folder: Path) -> dict[str, bytes]:
    """Read the files of an artifact. Others may lie beside them, such as a ledger with pictures: they stay here.

    Raises:
        ArtifactError: If the folder holds no artifact.
    """
    manifest, _ = read_manifest(folder)
    return {name: (folder / name).read_bytes() for name in ("manifest.json", *manifest.files)}


# -- on the cluster's machines ---------------------------------------------------------------------------------

_COPYING: dict[str, Copying] = {}
"""Call -> its work, for as long as this process serves it."""


def _complete(row: dict[str, str], work: _Work) -> dict[str, Any]:
    """Make the copies of a part."""
    part = Part.of_text(row["item"])
    if work.mark and not (Path(work.out) / OURS / work.mark).exists():
        reason = "a machine of the cluster does not see --out. Choose a folder that all share, or a store."
        return {"part": part.name, "outcomes": [["failed", reason]] * len(part.jobs)}
    refused = ""
    try:
        if work.call not in _COPYING:
            _COPYING.clear()
            _COPYING[work.call] = _begin(work)
    except VPPError as error:
        refused = str(error)
    if refused:
        return {"part": part.name, "outcomes": [["failed", refused]] * len(part.jobs)}
    outcomes: _Outcomes = [[copy.status, copy.reason] for copy in _COPYING[work.call].complete(part)]
    return {"part": part.name, "outcomes": outcomes}


def _begin(work: _Work) -> Copying:
    """Build the protector in this process, and refuse one that is not the same to the byte."""
    ray = extras.load("ray", extra="ray")
    open_heic()
    protection = work.protection
    with tempfile.TemporaryDirectory() as place:
        if work.files is not None:
            for name, data in ray.get(work.files).items():
                (Path(place) / name).write_bytes(data)
            protection = protection._replace(artifact=place)
        protector, settings = protection.build()
    if dict(settings) != work.settings:
        raise ProtectionError(
            "nothing was protected here: this machine's langchain-vpp or its artifact is not the one of the command. "
            "Install the same version everywhere."
        )
    return Copying(work.out, protector, settings, overwrite=work.overwrite)
