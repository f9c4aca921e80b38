"""Folders of pictures and of their copies, on disks and in stores of objects, by one interface (fsspec).

Addresses are paths or URLs such as ``s3://bucket/folder``. A file that is written is whole or not there: on a disk it
gets its name after its last byte; a store of objects shows an object after its last byte anyway.
"""

from __future__ import annotations

import threading
import uuid
from typing import TYPE_CHECKING, Any, Final, TypeVar

from langchain_vpp import extras
from langchain_vpp.batch import OURS
from langchain_vpp.errors import MissingExtraError, ProtectionError

if TYPE_CHECKING:
    from collections.abc import Callable

_UNDONE: Final = "nothing was protected"
_T = TypeVar("_T")
_WHOLE: Final = frozenset({
    "s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oci", "r2", "hf", "memory",
})  # fmt: skip
"""Protocols of stores that show an object when its last byte is there."""
PARTIAL: Final = "partial-"
"""Beginning of the names of files that are not finished."""
STALLED_S: Final = 120.0
"""Seconds after which a store that does not answer is given up."""


class StalledError(OSError):
    """A store did not answer in time."""


def located(address: str) -> Any:
    """Return the path object of an address: that of :mod:`pathlib` for a disk, one of universal-pathlib for a store.

    Raises:
        MissingExtraError: If the package for this kind of store is missing.
        ProtectionError: If there is no such kind of store.
    """
    paths = extras.load("upath", extra="ray", undone=_UNDONE)
    missing, unknown = "", False
    try:
        found = paths.UPath(address)
        if protocol_of(found):
            found.fs  # noqa: B018  loads the package of the store
    except ImportError as error:
        missing = error.name or "a package of fsspec"
    except ValueError:
        unknown = True
    if missing:
        kind = address.partition("://")[0]
        raise MissingExtraError(
            f"{_UNDONE}: stores of the kind {kind}:// need a package of fsspec, of which {missing} is missing: "
            f"pip install 'fsspec[{kind}]'."
        )
    if unknown:
        raise ProtectionError(f"{_UNDONE}: fsspec knows no store {address.partition('://')[0]}://.")
    return found


def protocol_of(path: Any) -> str:
    """Protocol of a store; empty for a disk of this machine."""
    protocol = getattr(path, "protocol", "")
    return "" if protocol in {"file", "local"} else str(protocol)


def write_whole(path: Any, data: bytes, folder: Any) -> None:
    """Write a file so that nobody ever sees a part of it under its name.

    Args:
        path: The file.
        data: Its content.
        folder: The folder of outputs that it is in, where unfinished files lie.

    Raises:
        OSError: If it can't be written.
    """
    if protocol_of(path) in _WHOLE:
        within(lambda: path.fs.pipe_file(path.path, data))
        return
    partial = folder / OURS / f"{PARTIAL}{uuid.uuid4().hex}"
    for parent in (partial.parent, path.parent):
        parent.mkdir(parents=True, exist_ok=True)
    within(lambda: partial.write_bytes(data))
    if protocol_of(path):
        within(lambda: path.fs.mv(partial.path, path.path))
    else:
        partial.replace(path)


def within(function: Callable[[], _T], seconds: float | None = None) -> _T:
    """Call a function of a store, and give it up when it takes too long.

    Args:
        function: The call. Given up, it goes on in a thread that keeps no process alive.
        seconds: The longest time; :data:`STALLED_S` if not given.

    Raises:
        StalledError: If it took longer.
    """
    ended: list[_T] = []
    failed: list[BaseException] = []

    def call() -> None:
        try:
            ended.append(function())
        except BaseException as error:  # noqa: BLE001  raised below, in the thread that waits
            failed.append(error)

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(STALLED_S if seconds is None else seconds)
    if failed:
        raise failed[0]
    if not ended:
        raise StalledError(None, "the store did not answer in time")
    return ended[0]
