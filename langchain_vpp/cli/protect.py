"""``vpp protect``: protected copies of pictures."""

from __future__ import annotations

import os
import time
from contextlib import closing
from importlib.metadata import version
from pathlib import Path  # noqa: TC003  typer reads annotations
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from langchain_vpp.cli.chosen import choose_engine, read_level
from langchain_vpp.cli.copies import show_copies, show_plan
from langchain_vpp.cli.display import INTERRUPTED, bars, say_error
from langchain_vpp.cli.formats import open_heic
from langchain_vpp.cli.options import InputError, JsonOption

OnUnfamiliar = Literal["cover", "raise", "warn"]

if TYPE_CHECKING:
    from collections.abc import Mapping

    from langchain_vpp.cli.chosen import ChosenEngine
    from langchain_vpp.image_protector import ImageProtector


def protect(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH...", help="Pictures, PDFs, or folders of them.")
    ],
    *,
    out: Annotated[Path, typer.Option("--out", help="Folder for the protected copies, without metadata.")],
    artifact: Annotated[
        str | None,
        typer.Option(
            "--artifact",
            help="Folder of a trained protector; by default the one that comes along, for staff cards. `screens` "
            "covers the words of screens, letters and documents (extra words).",
        ),
    ] = None,
    engine: Annotated[
        Literal["blur", "pixelate", "downscale", "face-blur"] | None,
        typer.Option(
            "--engine",
            help="A classical operator in place of an artifact; face-blur (extra faces) blurs what a detector finds.",
        ),
    ] = None,
    level: Annotated[
        str | None,
        typer.Option(
            "--level",
            help="0 (most useful) to 1 (most private), or an artifact's preset; `balanced` by default, else 0.5.",
        ),
    ] = None,
    size: Annotated[
        str,
        typer.Option(
            "--size", help="same, fit (what the main providers keep), or pixels of the longest side."
        ),
    ] = "same",
    max_pixels: Annotated[
        int | None,
        typer.Option(
            "--max-pixels",
            min=1,
            help="Pixels of the largest picture that is protected, 64 million by default; each takes up to 20 bytes.",
        ),
    ] = None,
    on_unfamiliar: Annotated[
        OnUnfamiliar,
        typer.Option(
            "--on-unfamiliar",
            help="A picture that the artifact was not made for: cover it with one grey, leave it out as failed, or "
            "protect it with a warning.",
        ),
    ] = "cover",
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace other files in --out; inputs are never replaced."),
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option("--workers", min=1, max=256, help="Pictures at once; as many as there are CPUs."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be written and what is left out; write nothing.")
    ] = False,
    contact_sheet: Annotated[
        Path | None,
        typer.Option(
            "--contact-sheet", help="PNG or JPEG with a few pictures before and after: it shows ORIGINALS."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write protected copies of pictures and, with the extras documents and video, of PDFs and videos.

    The originals are never touched.

    The same command goes on where it was stopped: what was made from the same picture in the same way stays.
    """
    # One thread per picture: networks that each start a thread per CPU would only wait for each other.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from langchain_vpp.batch import plan, protect_files  # noqa: PLC0415
    from langchain_vpp.guard.pool import usable_cpus  # noqa: PLC0415

    open_heic()
    chosen = choose_engine(artifact, engine)
    protector, settings = _protector(chosen, level, size, max_pixels, on_unfamiliar)
    jobs, copies = plan(paths, out)
    if dry_run:
        show_plan(jobs, copies, out, settings, as_json=as_json)
        return
    if contact_sheet is not None:
        from langchain_vpp.cli.contact_sheet import check_sheet, save_sheet  # noqa: PLC0415

        check_sheet(contact_sheet)
    order = {path: position for position, path in enumerate(job.source for job in jobs)}
    started, made, interrupted = time.monotonic(), 0, False
    with bars() as shown:
        bar = shown.add_task("protecting", total=len(jobs), facts="")
        done = protect_files(
            jobs, out, protector, settings=settings, overwrite=overwrite, workers=workers or usable_cpus()
        )
        try:
            with closing(done):
                for copy in done:
                    copies.append(copy)
                    made += copy.status == "protected"
                    rate = made / (time.monotonic() - started)
                    shown.update(bar, advance=1, facts=f"{rate:.1f} images/s" if made else "")
        except KeyboardInterrupt:
            interrupted = True
    if interrupted:
        say_error(f"interrupted. {made} pictures were protected; run the same command again to go on.")
        raise typer.Exit(INTERRUPTED)
    copies.sort(key=lambda copy: order.get(copy.source, -1))
    if contact_sheet is not None:
        save_sheet(copies, contact_sheet)
    show_copies(copies, out, folders=any(path.is_dir() for path in paths), as_json=as_json)


def _protector(
    chosen: ChosenEngine,
    level: str | None,
    size: str,
    max_pixels: int | None = None,
    on_unfamiliar: OnUnfamiliar = "cover",
) -> tuple[ImageProtector, Mapping[str, object]]:
    """Build a protector, and return it with all settings that its outputs depend on."""
    from langchain_vpp.guard.budget import RequestBudget  # noqa: PLC0415
    from langchain_vpp.image_protector import ImageProtector  # noqa: PLC0415

    engine = chosen.engine
    strength = chosen.level if level is None else read_level(level, chosen.presets)
    output_size = _output_size(size)
    settings = {
        "engine": getattr(engine, "name", ""),
        "artifact": getattr(engine, "digest", ""),
        "level": strength,
        "size": output_size,
        "on_unfamiliar": on_unfamiliar,
        "version": version("langchain-vpp"),
    }
    budget = (
        RequestBudget() if max_pixels is None else RequestBudget(max_pixels=max_pixels, pixels=2 * max_pixels)
    )
    protector = ImageProtector(
        engine, level=strength, output_size=output_size, budget=budget, on_unfamiliar=on_unfamiliar
    )
    return protector, settings


def _output_size(text: str) -> Literal["same", "fit"] | int:
    named: Mapping[str, Literal["same", "fit"]] = {"same": "same", "fit": "fit"}
    if text in named:
        return named[text]
    if text.isascii() and text.isdigit() and 1 <= int(text) <= 65_500:
        return int(text)
    raise InputError(
        "nothing was protected: --size must be same, fit, or the pixels of the longest side, 1 to 65500."
    )
