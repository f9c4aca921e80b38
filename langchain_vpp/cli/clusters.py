"""Clusters that other packages offer to ``vpp protect``, found among the installed packages."""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from langchain_vpp import extras
from langchain_vpp.cli.options import InputError

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from langchain_vpp.batch import Copy, Job
    from langchain_vpp.cli.protection import Protection

CLUSTERS: Final = "vpp.clusters"
"""The entry-point group in which packages declare clusters; each leads to a function from an address to a
:class:`Cluster`."""


class Cluster(Protocol):
    """Protects files on several machines, with the promises of :mod:`langchain_vpp.batch`."""

    def plan(self, paths: Sequence[str], out: str) -> tuple[list[Job], list[Copy]]:
        """Pair every picture with its output; see :func:`langchain_vpp.batch.plan`."""

    def protect_files(
        self,
        jobs: Sequence[Job],
        out: str,
        protection: Protection,
        *,
        settings: Mapping[str, object],
        overwrite: bool,
        workers: int | None,
    ) -> Generator[Copy, None, None]:
        """Protect pictures and write their copies; see :func:`langchain_vpp.batch.protect_files`.

        Args:
            jobs: Result of :meth:`plan` for ``out``.
            out: Folder of the outputs.
            protection: Describes the protector, which every machine builds for itself.
            settings: Everything but the picture that an output depends on; each machine's must be the same.
            overwrite: Replace files under the names of outputs that were made in another way.
            workers: Pictures in work at once; as many as the cluster has CPUs if not given.
        """


def find_cluster(name: str, address: str) -> Cluster:
    """Connect to a cluster.

    Args:
        name: Kind of cluster: the name of its entry point.
        address: Where it is.

    Raises:
        InputError: If no package offers it.
        MissingExtraError: If a package that it needs is missing.
    """
    for entry in entry_points(group=CLUSTERS):
        if entry.name == name and (module := extras.find(entry.module)) is not None:
            cluster: Cluster = getattr(module, entry.attr)(address)
            return cluster
    raise InputError(f"nothing was protected: no installed package offers --{name}.")


def require_local(paths: Sequence[str]) -> list[Path]:
    """Return paths of this machine.

    Raises:
        InputError: If one lies in a store.
    """
    if stored := [path for path in paths if "://" in path]:
        raise InputError(
            f"nothing was protected: {stored[0]} lies in a store. Give --ray local, or an address."
        )
    return list(map(Path, paths))
