"""``vpp evaluate --attack words``: what readers still read in pictures of words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_vpp.cli.display import bars, console, print_json
from langchain_vpp.cli.options import InputError
from trainer.cli.options import read_settings
from trainer.cli.outputs import check_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

WORDS = "words"
"""Name of the attack, which is made alone."""


def is_about_words(attacks: Sequence[str]) -> bool:
    """Say whether the attack on words is asked for.

    Raises:
        InputError: If others are asked for, too.
    """
    if WORDS not in attacks:
        return False
    if set(attacks) != {WORDS}:
        raise InputError(
            "nothing was measured: --attack words has data of its own, with annotations.jsonl, so it goes alone."
        )
    return True


def log_of(out: Path) -> Path:
    """Return the file that keeps what each picture gave, beside a report."""
    return out.with_suffix(".pictures.jsonl")


def measure_words(artifact: str | None, data: Path, out: Path, config: Path | None, *, as_json: bool) -> None:
    """Measure a protector of words, write the report, and show it.

    What each picture gave is kept beside the report. So a run that ended early goes on when it is started again, and
    pictures that were added are all that is measured then.

    Args:
        artifact: ``screens``, or a folder of a trained protector.
        data: Folder with ``annotations.jsonl``.
        out: File for the report.
        config: File of settings.
        as_json: Print the report on stdout, too.

    Raises:
        InputError: If an option is not valid.
        DataError: If the data can't be used.
        TrainingError: If a reader is missing, or the report can't be written.
    """
    if artifact is None:
        raise InputError("nothing was measured: name the protector, such as `screens`.")
    check_file(out)
    from trainer.data.annotated import load_annotated  # noqa: PLC0415
    from trainer.evaluation.words import WordSettings, attack_of, evaluate_words, protections_of  # noqa: PLC0415
    from trainer.reporting.files import save_json  # noqa: PLC0415
    from trainer.reporting.terminal import for_terminal  # noqa: PLC0415
    from trainer.reporting.words import word_tables  # noqa: PLC0415

    settings = read_settings(WordSettings, config, {})
    pictures = load_annotated(data)[: settings.pictures]
    failure = ""
    try:
        protections = protections_of(artifact, settings.levels)
    except ValueError as error:
        failure = str(error)
    if failure:
        raise InputError(f"nothing was measured: {failure}")
    attack = attack_of(settings)
    if attack.name == "aimed" and any(picture.words is None for picture in pictures):
        raise InputError(
            "nothing was measured: an aimed attack counts the other words that the annotations list under `words`, as "
            "those of `vpp sandbox make-pages` do. Add them, or leave `attack` out of the settings."
        )
    with bars() as shown:
        bar = shown.add_task("reading", total=len(pictures), facts="")
        report = evaluate_words(
            artifact,
            pictures,
            protections,
            attack,
            log=log_of(out),
            progress=lambda done: shown.update(bar, completed=done),
        )
    save_json(report, out)
    if as_json:
        print_json(report.model_dump(mode="json"))
    for table in word_tables(report):
        console().print(for_terminal(table))
