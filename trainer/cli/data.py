"""``vpp data``: make, check and convert data sets."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  typer reads annotations
from typing import TYPE_CHECKING, Annotated, Any

import typer

from langchain_vpp.cli.display import print_json, say, watched
from langchain_vpp.cli.formats import open_heic
from langchain_vpp.cli.options import InputError, JsonOption
from langchain_vpp.extras import require
from trainer.cli.data_proposals import Consent, proposers
from trainer.cli.data_shown import show_formats, show_inspection, show_made
from trainer.cli.options import (  # noqa: TC001  typer reads annotations
    BaseURLOption,
    MaxCostOption,
    MaxQueriesOption,
    PriceOption,
    SeedOption,
    TimeoutOption,
)

if TYPE_CHECKING:
    from langchain_vpp.cli.display import Display

data = typer.Typer(no_args_is_help=True, help="Make, check and convert data sets.")


@data.command("init")
def init(
    photos: Annotated[Path, typer.Argument(metavar="PHOTOS", help="Folder of pictures, with subfolders.")],
    *,
    questions: Annotated[
        Path, typer.Option("--questions", help="A question a line; choices after bars: Colour? | red | blue")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of the data set; PHOTOS-data by default.")
    ] = None,
    answers: Annotated[
        Path | None,
        typer.Option(
            "--answers", help="CSV: image,question,answer, or image and a column for each question."
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            "--labels",
            help="CSV: image and a column for each private attribute; also text:KIND, group and split.",
        ),
    ] = None,
    group_by: Annotated[
        str,
        typer.Option(
            "--group-by", help="What keeps pictures in one split: folder, time, alike, person; or none."
        ),
    ] = "folder,time,alike",
    propose_with: Annotated[
        str | None,
        typer.Option(
            "--propose-with", metavar="MODEL", help="Let a chat model propose answers, as provider:name."
        ),
    ] = None,
    sees_originals: Annotated[
        bool,
        typer.Option(
            "--i-know-it-sees-originals",
            help="Consent to send the UNPROTECTED pictures to that model; a model on this machine needs none.",
        ),
    ] = False,
    propose_labels: Annotated[
        list[str] | None,
        typer.Option(
            "--propose-labels",
            help="Let a local detector propose labels: faces, identities or words (extras of that name); repeatable.",
        ),
    ] = None,
    base_url: BaseURLOption = None,
    max_queries: MaxQueriesOption = None,
    max_cost: MaxCostOption = None,
    price: PriceOption = None,
    timeout: TimeoutOption = None,
    seed: SeedOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a data set of your pictures and questions; the same command goes on, and takes over what you wrote."""
    require("torch", "imagehash", extra="data")
    open_heic()
    from trainer.data.making import Recipe, make_data_set, read_questions  # noqa: PLC0415  loads chat models

    folder = out or photos.with_name(f"{photos.resolve().name}-data")
    asked = read_questions(questions)
    consent = Consent(propose_with, base_url, timeout, sees_originals)
    limits = (max_queries, max_cost, price)

    def work(display: Display) -> Any:
        recipe = Recipe(
            asked,
            answers,
            labels,
            _reasons(group_by),
            seed or 0,
            proposers(consent, limits, propose_labels or (), folder, display),
        )
        return make_data_set(photos, folder, recipe, progress=display.show)

    made = watched(work, "run the same command again to go on.")
    show_made(made, folder, as_json=as_json)


@data.command("check")
def check(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder with data.jsonl.")],
    *,
    as_json: JsonOption = False,
) -> None:
    """List all faults of a data set, with lines and remedies, and say whether it is large enough.

    Exit code 2 if there is a fault.
    """
    require("torch", extra="train")
    open_heic()
    from trainer.data.inspection import inspect_data  # noqa: PLC0415  loads torch

    found = watched(
        lambda display: inspect_data(folder, progress=lambda done, of: display.show("check", done, of)),
        "run the same command again.",
    )
    show_inspection(found, folder, as_json=as_json)


@data.command("convert")
def convert(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Format; --list names all.")] = "",
    source: Annotated[
        Path | None, typer.Argument(metavar="SOURCE", help="Folder or file as published.")
    ] = None,
    out: Annotated[
        Path | None, typer.Argument(metavar="OUT", help="A folder that is missing or empty.")
    ] = None,
    *,
    options: Annotated[
        list[str] | None,
        typer.Option("--option", metavar="KEY=VALUE", help="Option of the format, such as split=2."),
    ] = None,
    show_list: Annotated[bool, typer.Option("--list", help="Name all formats and their options.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Convert a data set from the format in which it is published."""
    from trainer.data.adapters import ADAPTERS, convert_data  # noqa: PLC0415

    if show_list:
        show_formats(ADAPTERS, as_json=as_json)
        return
    if not name or source is None or out is None:
        raise InputError("nothing was converted: give NAME, SOURCE and OUT; --list names the formats.")
    given = dict(each.partition("=")[::2] for each in options or ())
    counts = watched(
        lambda display: convert_data(
            name, source, out, given, progress=lambda n: display.show("convert", n, None)
        ),
        "remove the folder and run the same command again.",
    )
    if as_json:
        print_json(counts.as_json())
    for note in counts.notes:
        say(f"note: {note}.")
    say(f"{', '.join(f'{number} {split}' for split, number in counts.splits.items())}, in {out}.")


def _reasons(text: str) -> Any:
    from trainer.data.groups import REASONS  # noqa: PLC0415

    wanted = [part.strip() for part in text.split(",") if part.strip()]
    if wanted == ["none"]:
        return ()
    if not wanted or set(wanted) - set(REASONS):
        raise InputError(f"nothing was written: --group-by takes {', '.join(REASONS)}, or none.")
    return tuple(wanted)
