"""``vpp export``: give an artifact graphs, so that it is served without torch."""

from __future__ import annotations

from typing import Annotated

import typer

from langchain_vpp.cli.display import print_json, say
from langchain_vpp.cli.options import ArtifactArgument, InputError, JsonOption
from trainer.cli.options import (
    BaseURLOption,
    ConfigOption,
    DataOption,
    MaxQueriesOption,
    TimeoutOption,
    read_settings,
    require_packages,
)


def export(
    artifact: ArtifactArgument,
    *,
    data: DataOption,
    images: Annotated[
        int, typer.Option("--images", min=1, help="Images to set the ranges of int8 by, and to check on.")
    ] = 64,
    least_psnr: Annotated[
        float, typer.Option("--least-psnr", help="Serve int8 only if it is as near to torch as this, dB.")
    ] = 35.0,
    recheck: Annotated[
        bool, typer.Option("--recheck", help="Measure the front of the graph and of torch, side by side.")
    ] = False,
    model: Annotated[
        str | None,
        typer.Option("--model", help="With --recheck: also what this chat model answers; as for train."),
    ] = None,
    base_url: BaseURLOption = None,
    max_queries: MaxQueriesOption = None,
    timeout: TimeoutOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add graphs to an artifact: it is then served without torch, several times as fast."""
    require_packages("onnx", extra="export")
    if not recheck and (model is not None or config is not None):
        raise InputError("nothing was exported: --model and --config belong to --recheck.")
    from trainer.oracle.model_spec import ModelSpec  # noqa: PLC0415

    chat_model = None if model is None else ModelSpec.parse(model, base_url, timeout).build()
    from langchain_vpp.artifact import artifact_folder  # noqa: PLC0415
    from trainer.data.dataset import load_dataset  # noqa: PLC0415  loads torch
    from trainer.evaluation import EvaluationSettings  # noqa: PLC0415
    from trainer.export import export as add_graphs  # noqa: PLC0415
    from trainer.export import recheck as measure  # noqa: PLC0415
    from trainer.oracle.ledger import Budget  # noqa: PLC0415

    settings = read_settings(EvaluationSettings, config, {})
    folder, dataset = artifact_folder(artifact), load_dataset(data)
    done = add_graphs(folder, dataset, images=images, least_psnr=least_psnr)
    again = None
    if recheck:
        budget = None if max_queries is None else Budget(max_queries)
        ledger = folder / "recheck.sqlite"
        again = measure(folder, dataset, chat_model, settings, ledger=ledger, budget=budget)
    if as_json:
        changes = {
            "largest_leak_gain": again and again.largest_leak_gain,
            "largest_utility_loss": again and again.largest_utility_loss,
        }
        print_json({"artifact": str(folder), **done._asdict(), **changes})
    say(f"exported: int8 is within {done.psnr:.1f} dB of torch at worst, digest {done.digest}.")
    if not done.quantised:
        say(f"warning: below {least_psnr:g} dB, so the graph in float32 is served, which is slower.")
    if again is not None:
        say(f"recheck: an attacker recovers {again.largest_leak_gain:+.3f} more at the worst level.")
        if again.largest_utility_loss is not None:
            say(
                f"recheck: the chat model loses {again.largest_utility_loss:+.3f} of utility at the worst level."
            )
