"""Everything from portraits to the default artifact, in one command that goes on where it was stopped.

1. Staff cards with the portraits of ``--faces`` (``OUT/data``).
2. The local vision model that reads them (``OUT/model``), unless its weights come with the package.
3. A second network that has learned to read cards (``OUT/student``): the same kind from other weights and other
   drawings, and for a shorter time. Student and assessor start from it; new ones would need most of the run to learn to
   read at all.
4. A protector that knows from drawings where the fields are (``OUT/start``).
5. The protector, trained from there through the model as a black box with the settings of ``config.json``
   (``OUT/run``).
6. The artifact, whose closed mask shows one grey from now on, after a lesson from drawings on which it erred, with its
   graphs, presets, front and card, ready for ``langchain_vpp/artifacts/staff-cards`` (``OUT/artifact``); and the assessor, which
   follows it through that lesson (``OUT/assessor.pt``).
7. Its audit (``OUT/report.json`` and ``OUT/report.html``), by fresh classifiers, by the chat model's own network that
   goes on learning, by training's assessor as it stands, by networks that find people again and restore their faces,
   and by a text recogniser if one is installed; and what its graph in int8 changes (``OUT/recheck.json``).

On one core of a server with bfloat16, steps 2, 3 and 5 take an hour or more each; step 2 takes a GPU if there is one.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from langchain_vpp.errors import VPPError
from trainer.recipes.staff_cards.artifact import train_default
from trainer.recipes.staff_cards.audit import audit_default, recheck_default
from trainer.recipes.staff_cards.plan import SMOKE, StaffCardsPlan, settings

if TYPE_CHECKING:
    from collections.abc import Sequence


_logger = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Train from the command line.

    Returns:
        The exit code: 0 when done, 2 if it could not be done.
    """
    parser = argparse.ArgumentParser(description="Train the default artifact; the same command goes on.")
    parser.add_argument("--faces", type=Path, required=True, help="portraits: labels.csv, train/ and val/")
    parser.add_argument("--out", type=Path, required=True, help="folder for everything")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--workers", type=int, default=1, help="processes that draw cards")
    parser.add_argument("--smoke", action="store_true", help="smallest sizes, to see that everything runs")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        artifact = train_default(
            given.faces,
            given.out,
            SMOKE if given.smoke else StaffCardsPlan(),
            settings(smoke=given.smoke),
            device=given.device,
            workers=given.workers,
        )
        if not given.smoke and not (given.out / "report.html").exists():
            # At the smallest sizes there is nothing that an attacker could learn.
            audit_default(given.faces, given.out)
            recheck_default(given.out)
    except VPPError as error:
        _logger.error("%s", error)  # noqa: TRY400  one line, as on the command line
        return 2
    _logger.info("done: %s", artifact)
    return 0


if __name__ == "__main__":
    sys.exit(main())
