"""Report of ``vpp protect``: what was made, what was left out of folders, and what failed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import typer

from langchain_vpp.cli.display import print_json, say, say_error
from langchain_vpp.images.structure import REFUSED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from langchain_vpp.batch import Copy, Job

_BAD_INPUT: Final = 2
_MOST_SHOWN: Final = 10
"""Files that were left out of folders and are named on the terminal."""


def show_copies(copies: Sequence[Copy], out: str, *, folders: bool, as_json: bool) -> None:
    """Show what became of pictures.

    Args:
        copies: Outcome for each of them.
        out: Folder of the copies.
        folders: Whether a folder was named, so that files may have been left out.
        as_json: Print the result on stdout, too.

    Raises:
        typer.Exit: With code 2, if one failed.
    """
    of: dict[str, list[Copy]] = {"protected": [], "unchanged": [], "failed": [], "skipped": []}
    for copy in copies:
        of[copy.status].append(copy)
    if as_json:
        made = {
            status: [
                {"input": str(each.source), "output": str(each.target)}
                | ({"unfamiliar": each.reason} if each.reason else {})
                for each in of[status]
            ]
            for status in ("protected", "unchanged")
        }
        left = {
            status: [{"input": str(each.source), "reason": each.reason} for each in of[status]]
            for status in ("failed", *(["skipped"] if folders else []))
        }
        print_json(made | left)
    _show_skipped(of["skipped"])
    noted = [copy for copy in of["protected"] if copy.reason]
    for copy in noted[:_MOST_SHOWN]:
        say(f"unfamiliar: {copy.source}: {copy.reason}")
    counts = [f"{len(of['protected'])} protected"]
    counts += (
        [
            f"{len(noted)} of them unlike the artifact's pictures (another --artifact or --engine may keep more)"
        ]
        if noted
        else []
    )
    counts += [f"{len(of['unchanged'])} were there already"] if of["unchanged"] else []
    counts += [f"{len(of['skipped'])} left out"] if of["skipped"] else []
    summary = f"{', '.join(counts)}, in {out}"
    # Reasons of the codec begin like the sentence that they end here.
    failures = [
        f"{each.source} was not protected: {each.reason.removeprefix(REFUSED)}" for each in of["failed"]
    ]
    if not failures:
        say(summary)
        return
    summary = f"{len(failures)} not protected, {summary}."
    if len(failures) == 1:
        say_error(f"{failures[0]} {summary}")
    else:
        for failure in failures:
            say_error(failure)
        say(summary)
    raise typer.Exit(_BAD_INPUT)


def show_plan(
    jobs: Sequence[Job], others: Sequence[Copy], out: str, settings: Mapping[str, object], *, as_json: bool
) -> None:
    """Show what would become of pictures.

    Args:
        jobs: Pictures that would be protected.
        others: Failures, and files that would be left out.
        out: Folder of the copies.
        settings: Engine and level.
        as_json: Print it on stdout, too.

    Raises:
        typer.Exit: With code 2, if a picture can't be protected.
    """
    failed = [each for each in others if each.status == "failed"]
    skipped = [each for each in others if each.status == "skipped"]
    if as_json:
        print_json(
            {
                "would_protect": [{"input": str(job.source), "output": str(job.target)} for job in jobs],
                "exist": [str(job.target) for job in jobs if job.target.exists()],
                "failed": [{"input": str(each.source), "reason": each.reason} for each in failed],
                "skipped": [{"input": str(each.source), "reason": each.reason} for each in skipped],
                "settings": dict(settings),
            }
        )
    for job in jobs[:_MOST_SHOWN]:
        say(f"would protect: {job.source} -> {job.target}{' (exists)' * job.target.exists()}")
    if len(jobs) > _MOST_SHOWN:
        say(f"would protect: {len(jobs) - _MOST_SHOWN} more pictures; --json lists all.")
    _show_skipped(skipped)
    for each in failed:
        say_error(f"{each.source} would not be protected: {each.reason}")
    engine = settings["engine"] or "artifact"
    say(
        f"{len(jobs)} would be protected by {engine} at level {settings['level']}, in {out}. Nothing was written."
    )
    if failed:
        raise typer.Exit(_BAD_INPUT)


def _show_skipped(skipped: Sequence[Copy]) -> None:
    for each in skipped[:_MOST_SHOWN]:
        say(f"left out: {each.source}: {each.reason}")
    if len(skipped) > _MOST_SHOWN:
        say(f"left out: {len(skipped) - _MOST_SHOWN} more files; --json lists all.")
