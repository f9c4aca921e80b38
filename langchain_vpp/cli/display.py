"""Output of commands: results as JSON on stdout, everything else (lines, tables, progress) on stderr."""

from __future__ import annotations

import json
import sys
import warnings
from typing import TYPE_CHECKING, Any, Final, TextIO, TypeVar

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.progress import ProgressColumn, TaskID

_T = TypeVar("_T")

INTERRUPTED: Final = 130
"""Exit code of a command that was stopped with Ctrl-C."""


class Display:
    """One live bar per phase."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def say(self, text: str) -> None:
        """Print a line above the bars; nothing if there is no text."""
        if text:
            say(text, self._bars.console)

    def show(self, phase: str, done: int, of: int | None, facts: str = "") -> None:
        """Show how much of a phase is done, with a few facts behind its bar; ``of`` is ``None`` if nobody knows it."""
        if phase not in self._tasks:
            self._tasks[phase] = self._bars.add_task(phase, total=of, facts="")
        self._bars.update(self._tasks[phase], completed=done, total=of, facts=facts)


def watched(work: Callable[[Display], _T], advice: str) -> _T:
    """Do resumable work under live bars; on Ctrl-C say how to go on.

    Args:
        work: What to do; it is given the display.
        advice: How to go on after an interruption, such as "run the same command again to go on."

    Raises:
        typer.Exit: With code 130, if the work was interrupted.
    """
    try:
        with bars() as shown:
            return work(Display(shown))
    except KeyboardInterrupt:
        pass
    say_error(f"interrupted. Everything paid is saved: {advice}")
    raise typer.Exit(INTERRUPTED)


class _LoggedBars(Bars):
    """Live bars on a terminal; elsewhere, as in a log file, a line for every ten per cent of each bar."""

    def __init__(self, *columns: ProgressColumn, console: Console) -> None:
        self._told: dict[TaskID, int] = {}
        super().__init__(*columns, console=console, disable=not console.is_terminal)

    def update(self, task_id: TaskID, **changes: Any) -> None:
        """Change a bar; see :meth:`rich.progress.Progress.update`."""
        super().update(task_id, **changes)
        if self.disable:
            self._tell(task_id)

    def stop(self) -> None:
        """End the bars. Before rich 14.3 :meth:`rich.progress.Progress.stop` ended a log with an empty line."""
        if not self.disable:
            super().stop()

    def _tell(self, task_id: TaskID) -> None:
        task = self._tasks[task_id]
        if not task.total:
            return
        tenths = int(10 * task.completed / task.total)
        if tenths <= self._told.get(task_id, 0):
            return
        self._told[task_id] = tenths
        facts, left = task.fields.get("facts", ""), task.time_remaining
        eta = "" if left is None else f"ETA {int(left) // 60:02}:{int(left) % 60:02}"
        counts = f"{task.completed:,.0f}/{task.total:,.0f} ({tenths * 10} %)"
        say(" ".join(filter(None, (f"{task.description}:", counts, facts, eta))), self.console)


def bars() -> Bars:
    """Make progress bars with a field ``facts`` behind each; where stderr is no terminal, they are lines of a log."""
    return _LoggedBars(
        TextColumn("{task.description:>10}"),
        BarColumn(6),
        MofNCompleteColumn(),
        TextColumn("{task.fields[facts]}"),
        TextColumn("ETA"),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
        console=console(),
    )


def table(title: str, *columns: str, numbers: bool = True) -> Table:
    """Make an empty table.

    Args:
        title: Its title, above it.
        columns: Headings; all empty for a table without a heading.
        numbers: Align all columns but the first to the right.
    """
    made = Table(title=title, title_justify="left", caption_justify="left", show_header=any(columns))
    for index, column in enumerate(columns):
        made.add_column(column, justify="right" if numbers and index else "left", overflow="fold")
    return made


def console() -> Console:
    """Make a console that writes to stderr."""
    return Console(stderr=True)


def say(line: str, to: Console | None = None) -> None:
    """Print a line on stderr, as it is."""
    (to or console()).print(line, soft_wrap=True, highlight=False, markup=False)


def say_error(message: str) -> None:
    """Print an error as one line on stderr."""
    print(f"vpp: {' '.join(message.split())}", file=sys.stderr)


def say_warnings() -> None:
    """Print every :class:`FutureWarning`, which is meant for whoever runs a command, as one line on stderr."""
    shown = warnings.showwarning

    def show(  # noqa: PLR0917  called with the positions of `warnings.showwarning`
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if issubclass(category, FutureWarning):
            say(f"warning: {message}")
        else:
            shown(message, category, filename, lineno, file, line)

    warnings.showwarning = show


def print_line(line: str) -> None:
    """Print a line of the result on stdout, at once."""
    print(line, flush=True)


def print_json(result: object) -> None:
    """Print the result of a command on stdout."""
    print(json.dumps(result, indent=2, sort_keys=True))
