"""Metrics of a run, written as they come: lines of JSON, and events for TensorBoard on request."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Self

from langchain_vpp import extras
from langchain_vpp.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import TextIO

_LINES = "metrics.jsonl"
_EVENTS = "tensorboard"


class MetricsLog:
    """Appends to ``metrics.jsonl`` in a run's folder, and to event files for TensorBoard beside it.

    A resumed run repeats the steps after its last checkpoint. The later row of a step is the valid one, and TensorBoard
    is told to forget the earlier one.

    Args:
        folder: Folder of the run; created if missing. Nothing is written if it is ``None``.
        step: Steps of the run that are finished.
        tensorboard: Whether to write event files.

    Raises:
        MissingExtraError: If TensorBoard is wanted but not installed.
        TrainingError: If the file can't be written.
    """

    def __init__(self, folder: Path | None, *, step: int, tensorboard: bool) -> None:
        self._events: Any = None
        self._lines: TextIO | None = None
        if folder is None:
            return
        if tensorboard:
            self._events = _writer(folder / _EVENTS, step)
        path, failure = folder / _LINES, ""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lines = path.open("a", encoding="utf-8")
        except OSError as error:
            failure = error.strerror or type(error).__name__
        if failure:
            raise TrainingError(
                f"{path} could not be opened: {failure}. Choose a folder that can be written."
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._lines is not None:
            self._lines.close()
        if self._events is not None:
            self._events.close()

    def write(self, step: int, row: Mapping[str, float]) -> None:
        """Record the metrics of a step."""
        if self._lines is None:
            return
        self._lines.write(json.dumps({"step": step, **row}) + "\n")
        self._lines.flush()
        if self._events is not None:
            for name, value in row.items():
                self._events.add_scalar(name, value, step)


def _writer(folder: Path, step: int) -> Any:
    module = extras.load(
        "torch.utils.tensorboard",
        extra="tensorboard",
        undone="nothing was trained",
        advice="Or leave the setting 'tensorboard' out.",
    )
    return module.SummaryWriter(str(folder), purge_step=step + 1)
