"""``vpp protect``: protected copies of pictures."""

from __future__ import annotations

import os
import time
from contextlib import closing
from pathlib import Path
from typing import Annotated, Literal

import typer

from langchain_vpp.cli.clusters import find_cluster, require_local
from langchain_vpp.cli.copies import show_copies, show_plan
from langchain_vpp.cli.display import INTERRUPTED, bars, say_error
from langchain_vpp.cli.formats import open_heic
from langchain_vpp.cli.options import InputError, JsonOption
from langchain_vpp.cli.protection import OnUnfamiliar, Protection


def protect(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH...",
            help="Pictures, PDFs, or folders of them; with --ray also in stores, as s3://bucket/folder.",
        ),
    ],
    *,
    out: Annotated[str, typer.Option("--out", help="Folder for the protected copies, without metadata.")],
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
    ray: Annotated[
        str | None,
        typer.Option(
            "--ray",
            metavar="ADDRESS",
            help="Work on a cluster of Ray (extra ray): auto, its address, or local for one on this machine.",
        ),
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
    protection = Protection(artifact, engine, level, size, max_pixels, on_unfamiliar)
    protector, settings = protection.build()
    cluster = None if ray is None else find_cluster("ray", ray)
    if cluster is None:
        jobs, copies = plan(require_local(paths), *require_local([out]))
    else:
        jobs, copies = cluster.plan(paths, out)
    if dry_run:
        show_plan(jobs, copies, out, settings, as_json=as_json)
        return
    if contact_sheet is not None:
        from langchain_vpp.cli.contact_sheet import check_sheet, save_sheet  # noqa: PLC0415

        if cluster is not None:
            raise InputError("nothing was protected: --contact-sheet does not go with --ray.")
        check_sheet(contact_sheet)
    order = {path: position for position, path in enumerate(job.source for job in jobs)}
    started, made, interrupted = time.monotonic(), 0, False
    with bars() as shown:
        bar = shown.add_task("protecting", total=len(jobs), facts="")
        if cluster is None:
            done = protect_files(
                jobs,
                Path(out),
                protector,
                settings=settings,
                overwrite=overwrite,
                workers=workers or usable_cpus(),
            )
        else:
            done = cluster.protect_files(
                jobs, out, protection, settings=settings, overwrite=overwrite, workers=workers
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
    folders = cluster is not None or any(Path(path).is_dir() for path in paths)
    show_copies(copies, out, folders=folders, as_json=as_json)
