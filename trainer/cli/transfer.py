"""``vpp transfer``: measure a protector before other chat models than its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from langchain_vpp.cli.display import say, watched
from langchain_vpp.cli.options import ArtifactArgument, InputError, JsonOption
from trainer.cli.options import (
    DataOption,
    MaxCostOption,
    MaxQueriesOption,
    PriceOption,
    QueriesPerPointOption,
    QueryOriginalsOption,
    ReportOption,
    SeedOption,
    TimeoutOption,
    read_settings,
    require_packages,
)
from trainer.cli.spending import Inquiry, Spending

if TYPE_CHECKING:
    from collections.abc import Sequence


def transfer(
    artifact: ArtifactArgument,
    *,
    data: DataOption,
    models: Annotated[
        list[str],
        typer.Option("--model", help="As for train; two or more. The others are compared with the first."),
    ],
    out: ReportOption,
    base_urls: Annotated[
        list[str] | None,
        typer.Option("--base-url", help="As for train; once for all models, or once for each."),
    ] = None,
    max_queries: MaxQueriesOption = None,
    max_cost: MaxCostOption = None,
    price: PriceOption = None,
    timeout: TimeoutOption = None,
    queries_per_point: QueriesPerPointOption = None,
    query_originals: QueryOriginalsOption = False,
    seed: SeedOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be asked and what it costs; send nothing.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Measure what is lost before another chat model than the one that the protector was trained for."""
    require_packages()
    inquiry = Inquiry(data, out, Spending.of(max_queries, max_cost, price), timeout, dry_run, as_json)
    inquiry.require_new()
    urls = _urls(models, base_urls)
    prices = [inquiry.spending.charged(model) for model in models]
    from trainer.oracle.model_spec import ModelSpec  # noqa: PLC0415

    named = [ModelSpec.parse(*each, timeout) for each in zip(models, urls, strict=True)]
    chat_models = [] if dry_run else [each.build() for each in named]
    from langchain_vpp.artifact import artifact_folder, read_manifest  # noqa: PLC0415
    from trainer.data.dataset import load_dataset  # noqa: PLC0415  loads torch
    from trainer.evaluation.transfer import TransferSettings, TransferTest  # noqa: PLC0415
    from trainer.reporting.tables import transfer_tables  # noqa: PLC0415
    from trainer.training.cost import estimate_queries  # noqa: PLC0415

    settings = read_settings(
        TransferSettings,
        None,
        {"seed": seed, "queries_per_point": queries_per_point, "query_originals": query_originals or None},
    )
    folder = artifact_folder(artifact)
    levels = {*settings.levels, *read_manifest(folder)[0].presets.values()}
    test = TransferTest(
        folder, load_dataset(data), settings.model_copy(update={"levels": tuple(sorted(levels))})
    )
    inquiry.foresee(
        {
            _shown(model, url, models): estimate_queries(test.queries, model, each)
            for model, url, each in zip(models, urls, prices, strict=True)
        }
    )
    if dry_run:
        return
    report = watched(
        lambda display: test.measure(
            chat_models,
            ledger=inquiry.ledger,
            budget=inquiry.spending.budget,
            prices=prices,
            on_progress=lambda done, of: display.show("ask", done, of),
        ),
        "run the same command again to go on.",
    )
    inquiry.show(report, transfer_tables(report))
    for warning in report.warnings:
        say(f"warning: {warning}.")
    for sentence in report.sentences:
        say(sentence)


def _urls(models: Sequence[str], base_urls: Sequence[str] | None) -> list[str | None]:
    """Pair each model with its address, or with none."""
    if len(models) < 2:
        raise InputError(
            "nothing was sent: a transfer is from one chat model to another. Give --model twice."
        )
    urls: list[str | None] = list(base_urls) if base_urls else [None]
    if len(urls) == 1:
        urls *= len(models)
    if len(urls) != len(models):
        raise InputError("nothing was sent: give --base-url once for all models, or once for each.")
    return urls


def _shown(model: str, url: str | None, models: Sequence[str]) -> str:
    """Name a model, and its address where another model has the same name."""
    return model if models.count(model) == 1 else f"{model} at {url}"
