"""``vpp evaluate --pictures``: what protected pictures still give away, without a label."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from langchain_vpp.cli.display import console, print_json, say, watched
from langchain_vpp.cli.options import InputError
from trainer.cli.outputs import check_file

if TYPE_CHECKING:
    from pathlib import Path

    from langchain_vpp.cli.display import Display

_MOST: Final = 200
"""Most pictures that are measured."""


def measure_pictures(
    artifact: str | None, pictures: Path | None, out: Path, html: Path | None, *, as_json: bool
) -> None:
    """Measure a protector on a folder of pictures without labels, write the report and the page, and show it.

    Args:
        artifact: ``default``, ``screens``, or a folder of a trained protector.
        pictures: Folder of pictures; ``None`` if neither it nor a data set was named.
        out: File for the report, JSON.
        html: File for the page with pictures before and after; beside the report by default.
        as_json: Print the report on stdout, too.

    Raises:
        InputError: If no protector or no folder is named.
        DataError: If there are fewer than two pictures.
    """
    if artifact is None:
        raise InputError("nothing was measured: name the protector, such as `default` or `screens`.")
    if pictures is None:
        raise InputError("nothing was measured: give --data, or --pictures for a folder without labels.")
    page = html or out.with_suffix(".html")
    if page.resolve() == out.resolve():
        raise InputError(
            "nothing was measured: --out is the report, JSON. Give it another name than the page."
        )
    check_file(out)
    check_file(page)
    from langchain_vpp.engines import faces  # noqa: PLC0415
    from trainer.attackers.words.readers import any_is_installed, readers_named  # noqa: PLC0415
    from trainer.evaluation.unlabelled import UnlabelledMeasurement, measure_folder  # noqa: PLC0415
    from trainer.evaluation.words import protections_of  # noqa: PLC0415
    from trainer.reporting.files import save_json  # noqa: PLC0415
    from trainer.reporting.terminal import for_terminal  # noqa: PLC0415
    from trainer.reporting.unlabelled import save_unlabelled, unlabelled_table  # noqa: PLC0415

    measurement = UnlabelledMeasurement(
        protections_of(artifact, _levels(artifact)),
        readers_named(()) if any_is_installed() else {},
        faces.FaceFinder() if faces.is_installed() else None,
    )

    def work(display: Display) -> None:
        report, kept = measure_folder(
            pictures,
            measurement,
            artifact,
            most=_MOST,
            progress=lambda done, of: display.show("measure", done, of),
        )
        save_json(report, out)
        save_unlabelled(report, page, kept)
        if as_json:
            print_json(report.model_dump(mode="json"))
        console().print(for_terminal(unlabelled_table(report)))

    watched(work, "run the same command again.")
    say(f"before and after: {page}, which holds unprotected pictures.")


def _levels(artifact: str) -> tuple[str, ...]:
    """Return three levels: the presets, or numbers for a protector that has none."""
    from trainer.evaluation.words import SCREENS  # noqa: PLC0415

    presets = ("low", "balanced", "high")
    if artifact == SCREENS:
        return presets
    from langchain_vpp.artifact import artifact_folder, read_manifest  # noqa: PLC0415

    known = read_manifest(artifact_folder(artifact))[0].presets
    return presets if set(presets) <= known.keys() else ("0.25", "0.5", "0.9")
