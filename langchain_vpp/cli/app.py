"""The command ``vpp``: it finds its commands among the installed packages, and turns our errors into exit codes.

A package adds a command by an entry point in the group ``vpp.commands``. The entry point's name is the command's; it
leads to a function with Typer's annotations, or to a :class:`typer.Typer` for a command that has commands of its own.
Modules of entry points are imported for ``vpp --help`` and for completion, so they import what is slow inside the
function.

Progress and tables go to stderr. With ``--json`` the result, and nothing else, goes to stdout. Exit codes:

====  ==========================================================
0     done
2     bad input, or a package that is missing; nothing was spent
3     the query or money budget is exhausted; ``--resume`` goes on
4     the chat model failed, or none of its answers can be used; ``--resume`` goes on
5     measured, and the chat model has drifted from the manifest
130   interrupted
====  ==========================================================
"""

from __future__ import annotations

import os
import sys
from importlib.metadata import entry_points, version
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn

import typer
from typer.core import TyperGroup

from langchain_vpp.cli.display import INTERRUPTED, print_line, say_error, say_warnings
from langchain_vpp.cli.examples import add_examples
from langchain_vpp.cli.options import InputError
from langchain_vpp.errors import BudgetExhaustedError, OracleError, VPPError

if TYPE_CHECKING:
    from collections.abc import Callable
    from importlib.metadata import EntryPoint

GROUP: Final = "vpp.commands"
"""The entry-point group in which packages declare commands."""

_OURS: Final = "langchain-vpp"
_BAD_INPUT: Final = 2
_EXIT_CODES: Final[dict[type[VPPError], int]] = {BudgetExhaustedError: 3, OracleError: 4}


class _Commands(TyperGroup):
    """Loads a command when it is looked up, and turns our errors into one line on stderr and an exit code."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._entries = _find_commands()
        # For suggestions after a typing error, which need names alone.
        names: dict[str, Any] = dict.fromkeys(self._entries)
        self.commands.update(names)

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002  typer's own base class takes no typer.Context
        return sorted(self._entries)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
        entry = self._entries.get(cmd_name)
        return None if entry is None else _load(entry)

    def invoke(self, ctx: Any) -> Any:
        if ctx.params.get("debug"):
            return super().invoke(ctx)
        try:
            return super().invoke(ctx)
        except VPPError as error:
            code = next((code for kind, code in _EXIT_CODES.items() if isinstance(error, kind)), _BAD_INPUT)
            line = str(error)
        except BrokenPipeError:
            # Whoever read our output has gone; without this the interpreter complains when it flushes.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(1) from None
        except OSError as error:
            code = _BAD_INPUT
            line = (
                f"{error.filename or 'A file'} could not be used: {error.strerror or type(error).__name__}. "
                "Choose a place that can be written, then try again."
            )
        except KeyboardInterrupt:
            code, line = INTERRUPTED, "interrupted."
        say_error(line)
        raise typer.Exit(code)


def _find_commands() -> dict[str, EntryPoint]:
    """Find the commands of all installed packages, by name; ours can't be replaced by another package."""
    found = entry_points(group=GROUP)
    return {entry.name: entry for entry in sorted(found, key=lambda entry: _package(entry) == _OURS)}


def _package(entry: EntryPoint) -> str:
    return "" if entry.dist is None else entry.dist.name


def _load(entry: EntryPoint) -> Any:
    """Load a command; one that can't be loaded is replaced by one that says why."""
    reason = ""
    try:
        found = entry.load()
    except ImportError as error:
        reason = f"{error.name or entry.module} can't be imported"
    except Exception as error:  # noqa: BLE001  another package's code may fail in any way, and the others must go on
        reason = f"{entry.module} fails with {type(error).__name__}"
    if reason:
        return _unavailable(entry, reason)
    if isinstance(found, typer.Typer):
        group = typer.main.get_group(found)
        group.name = entry.name
        return _explained(group, entry)
    return _explained(_command(entry.name, found), entry)


def _explained(command: Any, entry: EntryPoint) -> Any:
    """Add the examples of a command of ours."""
    if _package(entry) == _OURS:
        add_examples(command, entry.name)
    return command


def _command(name: str, function: Callable[..., Any], **settings: Any) -> Any:
    """Make a command of a function with Typer's annotations."""
    alone = typer.Typer(add_completion=False)
    alone.command(name, **settings)(function)
    return typer.main.get_command(alone)


def _unavailable(entry: EntryPoint, reason: str) -> Any:
    def refuse() -> NoReturn:
        raise InputError(
            f"nothing was done: the command {entry.name!r} of the package {_package(entry) or entry.module} is not "
            f"available: {reason}. Install what is missing, or remove the package."
        )

    return _command(
        entry.name,
        refuse,
        help=f"Not available: {reason}.",
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    )


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Learned visual privacy for chat models: train a protector, measure it, use it.",
)


def main() -> None:
    """Run ``vpp``."""
    say_warnings()
    app()


def _show_version(*, wanted: bool) -> None:
    if wanted:
        print_line(f"vpp {version(_OURS)}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    show_version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    pass
