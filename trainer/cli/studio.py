"""``vpp studio``: a page on this machine that shows what a chat model would see."""

from __future__ import annotations

import webbrowser
from pathlib import Path  # noqa: TC003  typer reads annotations
from typing import Annotated

import typer

from langchain_vpp.cli.display import print_line, say
from langchain_vpp.cli.options import InputError
from trainer.cli.options import BaseURLOption, not_served, require_packages


def studio(
    *,
    artifact: Annotated[
        list[Path] | None,
        typer.Option("--artifact", help="Folder of a protector to offer too; may be repeated."),
    ] = None,
    min_level: Annotated[
        float, typer.Option("--min-level", min=0, max=1, help="Level below which nothing is shown or sent.")
    ] = 0.0,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model", help="Chat model to offer beside the sandbox, as provider:name; may be repeated."
        ),
    ] = None,
    base_url: BaseURLOption = None,
    run: Annotated[
        list[Path] | None, typer.Option("--run", help="Folder of a run to follow; may be repeated.")
    ] = None,
    report: Annotated[
        list[Path] | None,
        typer.Option(
            "--report", help="Report of vpp evaluate to open, or a folder of them; may be repeated."
        ),
    ] = None,
    label: Annotated[
        Path | None, typer.Option("--label", help="Data set to label: a folder with data.jsonl.")
    ] = None,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 picks a free one.")] = 0,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    let_others_in: Annotated[
        bool,
        typer.Option(
            "--let-others-in",
            help="Needed for a --host that other machines reach: whoever has the address may use the studio, and the "
            "pictures that they bring travel UNENCRYPTED.",
        ),
    ] = False,
    open_browser: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the page in the browser.")
    ] = True,
) -> None:
    """Show what a chat model would see of your pictures, follow runs, open reports, and label data.

    The page is served on this machine alone, and its address holds a secret. Originals stay in the memory of this
    process; only protected pictures leave, when you press send. Nothing is written to disk but labels that you save.
    """
    require_packages("starlette", "uvicorn", extra="studio")
    from trainer.studio.app import Settings  # noqa: PLC0415  loads torch
    from trainer.studio.labels import Labels  # noqa: PLC0415
    from trainer.studio.serve import is_loopback, serve_studio  # noqa: PLC0415

    if not is_loopback(host) and not let_others_in:
        raise InputError(
            f"the studio was not started: other machines reach {host}, and pictures would travel to it unencrypted. "
            "Give --let-others-in if that is what you want."
        )
    finished = [folder for folder in run or () if (folder / "manifest.json").is_file()]
    settings = Settings(
        artifacts=(*(artifact or ()), *finished),
        min_level=min_level,
        models=tuple(model or ()),
        base_url=base_url,
        runs=tuple(run or ()),
        reports=tuple(report or ()),
        labels=None if label is None else Labels(label),
    )

    def ready(address: str) -> None:
        print_line(address)
        say("The studio is open at this address, for whoever has it. Ctrl-C ends it.")
        if open_browser:
            webbrowser.open(address)

    refusal = None
    try:
        serve_studio(settings, host=host, port=port, on_ready=ready)
    except OSError as error:
        refusal = not_served("the studio was not started", error, host, port)
    if refusal is not None:
        raise refusal
