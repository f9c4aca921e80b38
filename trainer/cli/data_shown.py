"""Results of ``vpp data`` on the terminal and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.text import Text

from langchain_vpp.cli.display import console, print_json, say, table
from langchain_vpp.cli.options import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from trainer.data.adapters import Adapter
    from trainer.data.inspection import Inspection
    from trainer.data.making import Made

_MOST_SHOWN: Final = 5


def show_made(made: Made, folder: Path, *, as_json: bool) -> None:
    """Say what was made, what is missing, and what to do next."""
    taken = made.taken
    if as_json:
        print_json(
            {
                "data": str(folder),
                "pictures": len(taken.sources),
                "new": taken.new,
                "groups": made.groups,
                "splits": dict(made.splits),
                "unanswered": made.unanswered,
                "unlabelled": made.unlabelled,
                "proposed": made.proposed,
                "failed": [each._asdict() for each in taken.failures],
                "copies": list(taken.copies),
                "other_files": list(taken.others),
            }
        )
    for each in taken.failures[:_MOST_SHOWN]:
        say(f"left out: {each.name}: {each.reason}.")
    if len(taken.failures) > _MOST_SHOWN:
        say(f"left out: {len(taken.failures) - _MOST_SHOWN} more pictures; --json lists all.")
    say(
        f"{len(taken.sources)} pictures ({taken.new} new) in {made.groups} groups: "
        f"{', '.join(f'{count} {split}' for split, count in made.splits.items())}, in {folder}."
    )
    left = {
        "answer": (made.unanswered, "answers.csv"),
        "private label": (made.unlabelled, "labels.csv"),
    }
    for what, (count, name) in left.items():
        if count:
            say(f"next: {count} pictures have no {what} yet ({folder / name}).")
    if made.proposed:
        say(f"next: {made.proposed} answers or labels are proposals that nobody has confirmed.")
    if made.unanswered or made.unlabelled or made.proposed:
        say(
            f"Fill them in and confirm them in your browser: vpp studio --label {folder} (extra studio). Or change the "
            "CSV files in any spreadsheet, and write `person` into the column source of what is right."
        )
    advice = "Then run the same command again, and" if made.unanswered or made.unlabelled else "Now"
    say(f"{advice} check: vpp data check {folder}")


def show_inspection(found: Inspection, folder: Path, *, as_json: bool) -> None:
    """Show faults, warnings and expected intervals.

    Raises:
        InputError: If there is a fault.
    """
    if as_json:
        print_json(found.as_json())
    if found.faults:
        shown = table("Faults", "line", "what", "what to do", numbers=False)
        for fault in found.faults:
            shown.add_row("" if fault.line is None else str(fault.line), Text(fault.what), Text(fault.remedy))
        console().print(shown)
    for warning in found.warnings:
        say(f"warning: {warning}.")
    if found.faults:
        count = len(found.faults)
        raise InputError(
            f"{folder} has {count} fault{'s' * (count != 1)}, listed above. Nothing can be trained on it yet."
        )
    shown = table("Expected intervals on test", "", "pictures", "groups", "chance", "half-width", "enough")
    for each in found.expected:
        half = "-" if each.half_width is None else f"{each.half_width:.2f}"
        cells = (str(each.pictures), str(each.groups), f"{each.chance:.2f}", half, str(each.enough))
        shown.add_row(Text(each.subject), *cells)
    shown.caption = (
        "half-width of the 95 % interval: of the leak (0 chance, 1 originals) of a protector that hides the attribute, "
        "and of the share of right answers; enough: groups for a half-width of 0.10"
    )
    console().print(shown)
    verdict = (
        "is large enough" if found.is_large_enough else "can be used, but is small: intervals will be wide"
    )
    say(f"{folder} {verdict}.")


def show_formats(adapters: Mapping[str, Adapter], *, as_json: bool) -> None:
    """List the formats that can be converted."""
    shown = table("Formats", "name", "what", "options", numbers=False)
    for name, adapter in sorted(adapters.items()):
        shown.add_row(name, Text(adapter.about), ", ".join(adapter.options))
    console().print(shown)
    if as_json:
        print_json(
            {name: {"about": each.about, "options": dict(each.options)} for name, each in adapters.items()}
        )
