"""The folder of a run, which one run at a time may write to."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from langchain_vpp.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Keep other runs out of a folder; the operating system frees the lock when this process ends, however it ends."""
    lock = FileLock(folder / "run.lock", blocking=False)
    taken, failure = False, ""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        taken = True
    except OSError as error:
        failure = error.strerror or type(error).__name__
    if taken:
        raise TrainingError(
            f"another run is writing to {folder}; nothing was done. Wait for it, or choose another folder."
        )
    if failure:
        raise TrainingError(
            f"the folder {folder} could not be opened: {failure}. "
            "Nothing was sent; choose a folder that can be written."
        )
    try:
        yield
    finally:
        lock.release()
