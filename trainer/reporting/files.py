"""Files of results, and one error for those that can't be written."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from langchain_vpp.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from trainer.evaluation.results import Report


def save_json(report: Report, path: Path) -> None:
    """Write the whole report; ``Report.model_validate_json`` reads it back.

    Raises:
        TrainingError: If the file can't be written.
    """
    with writing("report", path):
        path.write_text(report.model_dump_json(indent=2) + "\n", encoding="utf-8")


@contextmanager
def writing(what: str, path: Path) -> Iterator[None]:
    """Make the folder, and turn a failure to write into an error that says so."""
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
