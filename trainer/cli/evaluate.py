"""``vpp evaluate``: measure what an attacker still reads, and what the chat model still answers."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  typer reads annotations
from typing import TYPE_CHECKING, Annotated, Any

import typer

from langchain_vpp.cli.display import watched
from langchain_vpp.cli.options import InputError, JsonOption
from trainer.cli.attacks import read_attacks
from trainer.cli.drift import check_drift, refuse_unused
from trainer.cli.evaluate_pictures import measure_pictures
from trainer.cli.evaluate_words import is_about_words, measure_words
from trainer.cli.options import (
    BaseURLOption,
    ConfigOption,
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
from trainer.cli.outputs import Outputs, Shown, read_protocol
from trainer.cli.spending import Inquiry, Spending

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainer.data.dataset import Dataset
    from trainer.evaluation import EvaluationSettings


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
    data: Annotated[Path | None, typer.Option("--data", help="Folder with data.jsonl.")] = None,
    pictures: Annotated[
        Path | None,
        typer.Option(
            "--pictures", help="In place of --data: any pictures, without labels; before and after."
        ),
    ] = None,
    out: ReportOption,
    protocol: Annotated[
        str | None,
        typer.Option("--protocol", help="Also print the paper's row: okvqa, vispr, hmdb51 or ucf101."),
    ] = None,
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
    spending = Spending.of(max_queries, max_cost, price)
    unused: dict[str, object]
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
    settings = _completed(settings, presets, dataset)
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


def _completed(
    settings: EvaluationSettings, presets: Mapping[str, float], dataset: Dataset
) -> EvaluationSettings:
    """Fill in what the artifact, the data set and the installation know.

    That is the presets' levels, what to ask privately, and the one baseline that needs an extra.
    """
    from langchain_vpp.engines import FaceBlur  # noqa: PLC0415
    from langchain_vpp.engines.faces import is_installed  # noqa: PLC0415

    update: dict[str, Any] = {}
    if "baselines" not in settings.model_fields_set and is_installed():
        update["baselines"] = {**settings.baselines, FaceBlur.name: (0.5,)}
    if "levels" not in settings.model_fields_set:
        update["levels"] = tuple(sorted({*settings.levels, *presets.values()}))
    if len(settings.styles) > 1 and not settings.private_questions:
        update["private_questions"] = {
            name: f"What is the {name.replace('_', ' ')}?" for name in dataset.private_attributes
        }
    return settings.model_copy(update=update)
