"""``vpp doctor``: what works on this machine, and what to do about what does not."""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path  # noqa: TC003  typer reads annotations
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.text import Text

from langchain_vpp import extras
from langchain_vpp.cli.display import console, print_json, say, table
from langchain_vpp.cli.options import JsonOption  # noqa: TC001  typer reads annotations
from langchain_vpp.errors import VPPError

if TYPE_CHECKING:
    from langchain_vpp.cli.checkup import Finding

CHECKS: Final = "vpp.checks"
"""The entry-point group in which packages declare checks; each leads to a function from texts to findings."""
_FAILED: Final = 2
_MARKS: Final = {"ok": "ok", "warn": "warn", "fail": "FAIL"}


def doctor(
    *,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="MODEL",
            help="Also ask this chat model once, as provider:name, about a grey picture; that may cost a little.",
        ),
    ] = None,
    base_url: Annotated[
        str | None, typer.Option("--base-url", help="Where an OpenAI-compatible server answers.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", help="Also check this data set, as `vpp data check` does.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Look at installation, extras, disk and surroundings, and say what to do; exit code 2 if something fails."""
    from langchain_vpp.cli.checkup import (  # noqa: PLC0415  `vpp --help` imports this module
        check_installation,
        check_machine,
        check_protector,
    )
    from langchain_vpp.cli.surroundings import check_surroundings  # noqa: PLC0415

    found = [*check_installation(), *check_protector(), *check_machine(), *check_surroundings()]
    if model is not None:
        found += _checked_by("model", model, base_url or "")
    if data is not None:
        found += _checked_by("data", str(data))
    if as_json:
        print_json([finding._asdict() for finding in found])
    shown = table("vpp doctor", "", "", "", "what to do", numbers=False)
    for each in found:
        # As texts: brackets, as in langchain-vpp[train], would be taken for markup.
        shown.add_row(_MARKS[each.state], *map(Text, (each.what, each.told, each.remedy)))
    console().print(shown)
    counts = {state: sum(each.state == state for each in found) for state in _MARKS}
    say(f"{counts['ok']} ok, {counts['warn']} to look at, {counts['fail']} failed.")
    if counts["fail"]:
        raise typer.Exit(_FAILED)


def _checked_by(name: str, *texts: str) -> list[Finding]:
    """Run a check of another package."""
    from langchain_vpp.cli.checkup import Finding  # noqa: PLC0415

    for entry in entry_points(group=CHECKS):
        if entry.name == name and (module := extras.find(entry.module)) is not None:
            failure = ""
            try:
                return list(getattr(module, entry.attr)(*texts))
            except VPPError as error:
                failure = str(error).rstrip(".")
            return [Finding(name, "fail", failure, "do what the message says")]
    return [Finding(name, "fail", "nothing can check it here", "pip install 'langchain-vpp[train]'")]
