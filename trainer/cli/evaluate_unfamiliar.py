"""``vpp evaluate --unfamiliar``: what becomes of pictures that an artifact was not made for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from langchain_vpp.cli.display import bars, console, print_json, say
from langchain_vpp.extras import is_installed
from trainer.cli.outputs import check_file

UnfamiliarOption = Annotated[
    bool,
    typer.Option(
        "--unfamiliar",
        help="Only measure what becomes of pictures that the artifact was not made for: letters, chats, tables, cards "
        "and screens that are drawn, and --data's test pictures, turned and changed.",
    ),
]
PicturesOption = Annotated[
    Path | None,
    typer.Option(
        "--pictures",
        help="In place of --data: any pictures, without labels; before and after. With --unfamiliar: further pictures, "
        "a folder of each kind.",
    ),
]


def measure_other_kinds(
    artifact: str,
    data: Path | None,
    pictures: Path | None,
    out: Path,
    html: Path | None,
    *,
    seed: int,
    as_json: bool,
) -> None:
    """Measure an artifact with pictures of other kinds, write the report, and show it.

    The table lies beside the report, in Markdown.

    Args:
        artifact: Folder or name of the artifact.
        data: Data set of the artifact, or ``None``.
        pictures: Folder of further pictures, or ``None``.
        out: File for the report, JSON.
        html: File for the table as a page, or ``None``.
        seed: Seed of what is drawn.
        as_json: Print the report on stdout, too.

    Raises:
        InputError: If a file is a folder.
        ArtifactError: If the artifact can't be loaded.
        DataError: If the data or the pictures can't be used.
        TrainingError: If a file can't be written.
    """
    for path in filter(None, (out, html)):
        check_file(path)
    from trainer.attackers.ocr import best_readers  # noqa: PLC0415  loads torch
    from trainer.data.dataset import load_dataset  # noqa: PLC0415
    from trainer.evaluation.unfamiliar import measure_unfamiliar  # noqa: PLC0415
    from trainer.reporting.files import save_json  # noqa: PLC0415
    from trainer.reporting.terminal import for_terminal  # noqa: PLC0415
    from trainer.reporting.unfamiliar import save_markdown, save_page, unfamiliar_table  # noqa: PLC0415

    reads = is_installed("rapidocr")
    with bars() as shown:
        bar = shown.add_task("other kinds", total=None, facts="")
        report = measure_unfamiliar(
            artifact,
            dataset=None if data is None else load_dataset(data, needs_attributes=False),
            folder=pictures,
            seed=seed,
            reader=best_readers() if reads else None,
            progress=lambda kind, done: shown.update(bar, completed=done, facts=kind),
        )
    save_json(report, out)
    save_markdown(report, out.with_suffix(".md"))
    if html is not None:
        save_page(report, html)
    if as_json:
        print_json(report.model_dump(mode="json"))
    console().print(for_terminal(unfamiliar_table(report)))
    for warning in report.warnings:
        say(f"warning: {warning}.")
    if not reads:
        say(
            "warning: no text was read in what is not covered. Install the extra ocr: pip install 'langchain-vpp[ocr]'."
        )
