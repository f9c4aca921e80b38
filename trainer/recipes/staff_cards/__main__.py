"""Make the staff cards' artifact: ``python -m trainer.recipes.staff_cards --faces DIR --out DIR``.

The same command resumes an interrupted run. Its steps, with what each leaves in the folder ``OUT``:

1. Draw staff cards with the portraits of ``--faces`` (``data``).
2. Train the local vision model that answers about them (``model``), unless its weights come with the package.
3. Train a second network that reads cards (``student``): the same kind with other weights, on other drawings, for a
   shorter time. Student and assessor start from it; new networks would need most of the run to learn to read at all.
4. Pretrain a protector on drawings, from which it learns where the fields are (``start``).
5. Train the protector from there through the model as a black box, with the settings of ``config.json`` (``run``).
6. Make its closed mask show one grey, train it on drawings on which it errs, and save the artifact with its graphs,
   presets, front and card, ready for ``langchain_vpp/artifacts/staff-cards`` (``artifact``). The assessor follows the
   protector through that training (``assessor.pt``).
7. Audit the artifact (``report.json``, ``report.html``) by fresh classifiers, by the chat model's own network that goes
   on learning, by training's assessor as it stands, by networks that re-identify people and restore their faces, and by
   text recognisers; measure what it shows of pictures unlike those that it has learned from, for which Chromium must be
   installed (``out_of_distribution.json``); and measure the effect of its int8 graph (``recheck.json``).

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
from trainer.recipes.staff_cards.artifact import make_artifact
from trainer.recipes.staff_cards.audit import audit_artifact, recheck_artifact
from trainer.recipes.staff_cards.plan import SMOKE_PLAN, StaffCardsJob, StaffCardsPlan, read_config

if TYPE_CHECKING:
    from collections.abc import Sequence

_logger = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the artifact from the command line.

    Args:
        arguments: Arguments of the command line; the process's own if not given.

    Returns:
        The exit code: 0 when done, 2 if it could not be done.
    """
    parser = argparse.ArgumentParser(
        description="Make the staff cards' artifact; the same command resumes an interrupted run."
    )
    parser.add_argument("--faces", type=Path, required=True, help="portraits: labels.csv, train/ and val/")
    parser.add_argument("--out", type=Path, required=True, help="folder for everything")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--workers", type=int, default=1, help="processes that draw cards")
    parser.add_argument("--smoke", action="store_true", help="smallest sizes, to see that everything runs")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    plan = SMOKE_PLAN if given.smoke else StaffCardsPlan()
    config = read_config(smoke=given.smoke)
    job = StaffCardsJob(given.faces, given.out, plan, config, device=given.device, workers=given.workers)
    try:
        artifact = make_artifact(job)
        # At the smallest sizes there is nothing that an attacker could learn.
        if not given.smoke and not (given.out / "report.html").exists():
            audit_artifact(job)
            recheck_artifact(job)
    except VPPError as error:
        _logger.error("%s", error)  # noqa: TRY400  one line, as on the command line
        return 2
    _logger.info("done: %s", artifact)
    return 0


if __name__ == "__main__":
    sys.exit(main())
