"""Files of results, and the error for those that can't be written."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from langchain_vpp.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pydantic import BaseModel


def save_json(report: BaseModel, path: Path) -> None:
    """Write a whole report; ``model_validate_json`` of its class reads it back.

    Raises:
        TrainingError: If the file can't be written.
    """
    with writing("report", path):
        path.write_text(report.model_dump_json(indent=2) + "\n", encoding="utf-8")


@contextmanager
def writing(what: str, path: Path) -> Iterator[None]:
    """Make the folder of a file, and turn a failure to write it into an error that names it.

    Args:
        what: Name of the file in the error, such as ``report``.
        path: The file.

    Raises:
        TrainingError: If the folder can't be made or the file can't be written.
    """
    failure = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        failure = error.strerror or type(error).__name__
    if failure:
        raise TrainingError(
            f"the {what} {path} was not written: {failure}. Choose a place that can be written."
        )
