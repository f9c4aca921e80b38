"""``vpp evaluate --against``: does the chat model still answer as well as an artifact's manifest says?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import typer

from langchain_vpp.cli.display import say, watched
from langchain_vpp.cli.options import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainer.cli.spending import Inquiry

_DRIFTED: Final = 5


def refuse_unused(option: str, unused: Mapping[str, object]) -> None:
    """Refuse options that have no effect beside another one.

    Args:
        option: The other option.
        unused: Option -> its value.

    Raises:
        InputError: If one of them was given.
    """
    given = [name for name, value in unused.items() if value is not None and value is not False]
    if given:
        raise InputError(f"nothing was sent: {option} does not go together with {', '.join(given)}.")


def check_drift(
    source: str, model: str | None, base_url: str | None, queries_per_point: int | None, inquiry: Inquiry
) -> None:
    """Ask the chat model anew, compare its answers with the manifest, and show the result.

    Raises:
        InputError: If no chat model is named, or the report exists.
        typer.Exit: With code 5, if the chat model has drifted.
    """
    if model is None:
        raise InputError("nothing was sent: --against asks a chat model. Give --model.")
    inquiry.require_new()
    price = inquiry.spending.charged(model)
    from langchain_vpp.artifact import artifact_folder  # noqa: PLC0415
    from trainer.oracle.model_spec import ModelSpec  # noqa: PLC0415

    chat_model = None if inquiry.dry_run else ModelSpec.parse(model, base_url, inquiry.timeout).build()
    from trainer.data.dataset import load_dataset  # noqa: PLC0415  loads torch
    from trainer.evaluation.drift import DriftCheck  # noqa: PLC0415
    from trainer.reporting.tables import drift_table  # noqa: PLC0415
    from trainer.training.cost import estimate_queries  # noqa: PLC0415

    check = DriftCheck(
        artifact_folder(source), load_dataset(inquiry.data), queries_per_point=queries_per_point
    )
    foreseen = estimate_queries(check.queries, model, price, questions_per_call=check.questions_per_call)
    inquiry.foresee({model: foreseen})
    if chat_model is None:
        return
    report = watched(
        lambda display: check.measure(
            chat_model,
            ledger=inquiry.ledger,
            budget=inquiry.spending.budget,
            price=price,
            on_progress=lambda done, of: display.show("ask", done, of),
        ),
        "run the same command again to go on.",
    )
    inquiry.show(report, [drift_table(report)])
    for warning in report.warnings:
        say(f"warning: {warning}.")
    if report.drifted:
        raise typer.Exit(_DRIFTED)
    if report.resolution is not None:
        say(f"no drift was seen; a change of utility by less than {report.resolution:.2f} may go unseen.")
