"""``vpp evaluate``: measure what an attacker still reads, and what the chat model still answers."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  typer reads annotations
from typing import Annotated

import typer

from langchain_vpp.cli.display import watched
from langchain_vpp.cli.options import InputError, JsonOption
from trainer.cli.attacks import completed, read_attacks
from trainer.cli.drift import check_drift, refuse_unused
from trainer.cli.evaluate_pictures import measure_pictures
from trainer.cli.evaluate_unfamiliar import PicturesOption, UnfamiliarOption, measure_other_kinds
from trainer.cli.evaluate_words import is_about_words, measure_words
from trainer.cli.options import (
    BaseURLOption,
    ConfigOption,
    MaxCostOption,
    MaxQueriesOption,
    OptionalDataOption,
    PriceOption,
    ProtocolOption,
    QueriesPerPointOption,
    QueryOriginalsOption,
    ReportOption,
    SeedOption,
    TimeoutOption,
    read_settings,
    require_packages,
)
from trainer.cli.outputs import Outputs, Shown, read_protocol
from trainer.cli.spending import Inquiry, Spending


def evaluate(
    artifact: Annotated[
        str | None,
        typer.Argument(
            help="Folder of a trained protector, `default` for the one that comes along, or `screens`."
        ),
    ] = None,
    *,
    against: Annotated[
        str | None,
        typer.Option(
            "--against",
            metavar="ARTIFACT",
            help="Only ask whether the chat model still answers as well as this artifact's manifest says; "
            "exit code 5 if it does not.",
        ),
    ] = None,
    data: OptionalDataOption = None,
    pictures: PicturesOption = None,
    out: ReportOption,
    protocol: ProtocolOption = None,
    model: Annotated[
        str | None, typer.Option("--model", help="As for train; without one only the leak is measured.")
    ] = None,
    base_url: BaseURLOption = None,
    max_queries: MaxQueriesOption = None,
    max_cost: MaxCostOption = None,
    price: PriceOption = None,
    timeout: TimeoutOption = None,
    judge: Annotated[
        str | None,
        typer.Option("--judge", help="A chat model that says which answers to open questions mean the same."),
    ] = None,
    queries_per_point: QueriesPerPointOption = None,
    query_originals: QueryOriginalsOption = False,
    attack: Annotated[
        list[str] | None,
        typer.Option(
            "--attack",
            help="Besides classifiers: identity, inversion, repeated, text (extra ocr), prompted (private questions in "
            "three styles), or all. Can be given several times. Alone: words, on pictures with annotations.jsonl.",
        ),
    ] = None,
    unfamiliar: UnfamiliarOption = False,
    html: Annotated[
        Path | None,
        typer.Option("--html", help="File for the report as a page, with protected pictures in it."),
    ] = None,
    with_originals: Annotated[
        bool, typer.Option("--with-originals", help="Also show UNPROTECTED test pictures in the page.")
    ] = False,
    config: ConfigOption = None,
    seed: SeedOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="With --against: say what would be asked; send nothing.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Measure what a fresh attacker still reads, and what the chat model still answers."""
    require_packages()
    unused: dict[str, object]
    if unfamiliar:
        unused = {
            "--against": against, "--model": model, "--judge": judge, "--query-originals": query_originals,
            "--attack": attack, "--with-originals": with_originals, "--config": config, "--dry-run": dry_run,
            "--queries-per-point": queries_per_point, "--protocol": protocol,
        }  # fmt: skip
        refuse_unused("--unfamiliar", unused)
        measure_other_kinds(artifact or "default", data, pictures, out, html, seed=seed or 0, as_json=as_json)
        return
    spending = Spending.of(max_queries, max_cost, price)
    if data is None:
        unused = {
            "--against": against, "--model": model, "--attack": attack, "--config": config, "--judge": judge,
            "--protocol": protocol,
        }  # fmt: skip
        refuse_unused("--pictures", unused)
        measure_pictures(artifact, pictures, out, html, as_json=as_json)
        return
    refuse_unused("--data", {"--pictures": pictures})
    if against is not None:
        unused = {
            "ARTIFACT": artifact, "--judge": judge, "--query-originals": query_originals, "--html": html,
            "--attack": attack, "--with-originals": with_originals, "--config": config, "--seed": seed,
        }  # fmt: skip
        refuse_unused("--against", unused)
        inquiry = Inquiry(data, out, spending, timeout, dry_run, as_json)
        check_drift(against, model, base_url, queries_per_point, inquiry)
        return
    if dry_run:
        raise InputError("nothing was measured: --dry-run belongs to --against, which asks a chat model.")
    if artifact is None:
        raise InputError("nothing was measured: name a protector: a folder of `vpp train`, or `default`.")
    if is_about_words(attack or ()):
        unused = {
            "--model": model, "--judge": judge, "--query-originals": query_originals, "--html": html, "--seed": seed,
            "--queries-per-point": queries_per_point,
        }  # fmt: skip
        refuse_unused("--attack words", unused)
        measure_words(artifact, data, out, config, as_json=as_json)
        return
    charged = spending.charged(model or "")
    benchmark = read_protocol(protocol)
    outputs = Outputs(out, html, with_originals, as_json)
    outputs.check()
    from trainer.oracle.model_spec import ModelSpec  # noqa: PLC0415

    chat_model = None if model is None else ModelSpec.parse(model, base_url, timeout).build()
    answer_judge = None if judge is None else ModelSpec.parse(judge, None, timeout).build()
    from langchain_vpp.artifact import artifact_folder, read_manifest  # noqa: PLC0415
    from trainer.data.dataset import load_dataset  # noqa: PLC0415  loads torch
    from trainer.evaluation import EvaluationSettings  # noqa: PLC0415
    from trainer.evaluation import evaluate as measure  # noqa: PLC0415

    overrides = {
        "seed": seed,
        "queries_per_point": queries_per_point,
        "query_originals": query_originals or None,
        **read_attacks(attack or ()),
    }
    settings = read_settings(EvaluationSettings, config, overrides)
    folder = artifact_folder(artifact)
    presets = read_manifest(folder)[0].presets
    outputs.prepare()
    dataset = load_dataset(data)
    settings = completed(settings, presets, dataset)
    report = watched(
        lambda display: measure(
            folder,
            dataset,
            chat_model,
            settings,
            answer_judge=answer_judge,
            ledger=outputs.ledger,
            budget=spending.budget,
            price=charged,
            on_progress=lambda phase: display.show(phase.name, phase.done, phase.of),
        ),
        "run the same command again to go on.",
    )
    outputs.show(report, Shown(folder, dataset, presets, settings.levels), benchmark)
