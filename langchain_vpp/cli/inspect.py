"""``vpp inspect``: an artifact's digests and manifest, or what pictures cost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from langchain_vpp.cli.display import console, print_json, say, table
from langchain_vpp.cli.options import InputError, JsonOption
from langchain_vpp.cli.screens import SCREENS, show_screens

if TYPE_CHECKING:
    from rich.table import Table

    from langchain_vpp.artifact import Manifest

_HIDES_TOO_LITTLE: Final = 0.25
"""Leak at the most private level above which a trained protector is doubted: sound runs of the demo end below 0.15."""
_ANSWERS_TOO_LITTLE: Final = 0.05
"""Best utility up to which the chat model's answers are doubted: 0 is guessing."""


def inspect(
    source: Annotated[
        str,
        typer.Argument(
            metavar="ARTIFACT",
            help="Folder of a trained protector, `staff-cards` or `screens`; with --cost also a picture.",
        ),
    ],
    *,
    cost: Annotated[
        bool, typer.Option("--cost", help="What upload and image tokens cost, same size and fitted.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check an artifact's digests and show what it says of itself, or what pictures cost."""
    if source == SCREENS and not cost:
        show_screens(as_json=as_json)
        return
    from langchain_vpp.artifact import artifact_folder  # noqa: PLC0415

    is_file = Path(source).is_file()
    if is_file and not cost:
        raise InputError(
            f"nothing was inspected: {source} is a file, and an artifact is a folder. To see what a picture costs to "
            "send, give --cost."
        )
    path = Path(source) if is_file else artifact_folder(source)
    if cost:
        _show_cost(path, as_json=as_json)
    else:
        show_manifest(path, as_json=as_json)


def show_manifest(folder: Path, *, as_json: bool) -> None:
    """Check every file of an artifact, and show its manifest.

    Args:
        folder: The artifact.
        as_json: Print the manifest on stdout, too.

    Raises:
        ArtifactError: If the artifact does not hold.
    """
    from langchain_vpp.artifact import verify_artifact  # noqa: PLC0415

    manifest, digest = verify_artifact(folder)
    if as_json:
        print_json({"artifact": str(folder), "digest": digest} | manifest.model_dump(mode="json"))
    console().print(_facts(folder, manifest, digest))
    if manifest.engine == "words":
        _show_admission(manifest)
    elif manifest.front:
        _show_front(manifest)
    if manifest.engine == "network" and manifest.domain is None:
        say(
            "warning: the domain of this artifact is unknown, so it can't tell pictures that it was not made for, and "
            "may show private parts of them. Export it again with `vpp export`, which fits the domain."
        )
    if manifest.unread:
        say(
            f"warning: training could not read {', '.join(map(repr, manifest.unread))} even from originals, so this "
            "protector did not learn to hide it. Measure with `vpp evaluate` what others read."
        )


def _show_admission(manifest: Manifest) -> None:
    """Show what each question needs, and what is shown at each level."""
    from rich.text import Text  # noqa: PLC0415

    needs = table("needs", "question", "kinds", numbers=False)
    for question, kinds in manifest.needs.items():
        needs.add_row(Text(question), ", ".join(kinds) or "none, or none that helps")
    shown = table("front", "up to level", "price", "utility", "shows", numbers=False)
    for point, step in zip(manifest.front, manifest.shown, strict=False):
        names = ", ".join(step.kinds) or "nothing"
        shown.add_row(f"{step.level:.2f}", f"{point.leak:.3f}", f"{point.utility:.3f}", names)
    shown.caption = manifest.front_measured_by
    console().print(needs, shown)


def _facts(folder: Path, manifest: Manifest, digest: str) -> Table:
    from rich.text import Text  # noqa: PLC0415

    shown = table("artifact", "", "", numbers=False)
    cost = "unknown" if manifest.cost_usd is None else f"${manifest.cost_usd:.4f}"
    rows = {
        "folder": str(folder),
        "digest": f"{digest} (every file checked)",
        "trained against": f"{manifest.trained_against}, {manifest.access}",
        "queries, cost": f"{manifest.queries}, {cost}",
        "steps, seed": f"{manifest.steps}, {manifest.seed}",
        "private attributes": ", ".join(manifest.private_attributes),
        "questions": str(len(manifest.questions)),
        "domain": _domain_line(manifest),
        "presets": ", ".join(f"{name} = level {level:g}" for name, level in manifest.presets.items()),
        "licence": " ".join(filter(None, (manifest.licence, manifest.attribution))),
        "made with": manifest.created_with,
    }
    for name, value in rows.items():
        if value:
            shown.add_row(name, Text(value))
    return shown


def _domain_line(manifest: Manifest) -> str:
    """Describe the pictures that an artifact knows; nothing for an engine that knows no kind of pictures."""
    domain = manifest.domain
    if domain is None:
        return "unknown" if manifest.engine == "network" else ""
    told = ", ".join(f"{kind} {share:.0%}" for kind, share in domain.told_apart.items())
    alike = ", ".join(domain.alike)
    parts = (
        f"fitted on {domain.train} pictures; {domain.covered:.1%} of {domain.val} others of the kind are unfamiliar",
        f"told apart: {told}" if told else "",
        f"not told apart: {alike}" if alike else "",
    )
    return "; ".join(filter(None, parts))


def _show_front(manifest: Manifest) -> None:
    front = table("front", "level", "leak", "utility")
    for point in manifest.front:
        front.add_row(f"{point.level:.2f}", f"{point.leak:.3f}", f"{point.utility:.3f}")
    front.caption = manifest.front_measured_by
    console().print(front)
    most_private = max(manifest.front, key=lambda point: point.level)
    if most_private.leak > _HIDES_TOO_LITTLE:
        say(
            f"warning: even at level {most_private.level:g} {most_private.leak:.0%} of what originals give away is "
            "still read, so this protector hides too little. Train for more steps or with another --seed, and "
            "measure with `vpp evaluate` before you rely on it."
        )
    if max(point.utility for point in manifest.front) <= _ANSWERS_TOO_LITTLE:
        say(
            "warning: at no level are the chat model's answers better than guessing, so training learned nothing of "
            "what it needs to see. See whether it refuses: ask it about a few pictures, or choose another model."
        )


def _show_cost(path: Path, *, as_json: bool) -> None:
    from langchain_vpp.cli.formats import open_heic  # noqa: PLC0415
    from langchain_vpp.cli.upload_cost import of_artifact, of_picture  # noqa: PLC0415

    open_heic()
    costs = of_artifact(path) if path.is_dir() else [of_picture(path)]
    if as_json:
        print_json([each.as_json() for each in costs])
    for each in costs:
        shown = table(each.title, "", "as the original", "fitted", "saved")
        for name, (same, fitted) in each.rows.items():
            shown.add_row(name, f"{same:,}", f"{fitted:,}", f"{1 - fitted / same:.0%}")
        shown.caption = each.note
        console().print(shown)
