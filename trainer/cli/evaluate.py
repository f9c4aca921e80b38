"""``vpp evaluate``: measure what an attacker still reads, and what the chat model still answers."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  typer reads annotations
from typing import TYPE_CHECKING, Annotated, Any

import typer

from langchain_vpp.cli.display import console, print_json, watched
from langchain_vpp.cli.options import InputError, JsonOption
from trainer.cli.attacks import read_attacks
from trainer.cli.drift import check_drift, refuse_unused
from trainer.cli.options import (
    BaseURLOption,
    ConfigOption,
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
    from collections.abc import Mapping

    from trainer.data.dataset import Dataset
    from trainer.evaluation import EvaluationSettings


def evaluate(
    artifact: Annotated[
        str | None,
        typer.Argument(help="Folder of a trained protector, or `default` for the one that comes along."),
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
    data: DataOption,
    out: ReportOption,
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
            "three styles), or all. Can be given several times.",
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
    if against is not None:
        unused = {
            "ARTIFACT": artifact, "--judge": judge, "--query-originals": query_originals, "--html": html,
            "--attack": attack, "--with-originals": with_originals, "--config": config, "--seed": seed,
        }  # fmt: skip
        refuse_unused("--against", unused)
        inquiry = Inquiry(data, out, spending, timeout, dry_run, as_json)
        check_drift(against, model, base_url, queries_per_point, inquiry)
        return
    if artifact is None or dry_run:
        raise InputError(
            "nothing was measured: give the folder of an artifact, or --against, to which --dry-run belongs."
        )
    charged = spending.charged(model or "")
    _check_page(html, out, with_originals=with_originals)
    from trainer.oracle.model_spec import ModelSpec  # noqa: PLC0415

    chat_model = None if model is None else ModelSpec.parse(model, base_url, timeout).build()
    answer_judge = None if judge is None else ModelSpec.parse(judge, None, timeout).build()
    from langchain_vpp.artifact import artifact_folder, load_engine, read_manifest  # noqa: PLC0415
    from trainer.data.dataset import load_dataset  # noqa: PLC0415  loads torch
    from trainer.evaluation import EvaluationSettings  # noqa: PLC0415
    from trainer.evaluation import evaluate as measure  # noqa: PLC0415
    from trainer.reporting.files import save_json  # noqa: PLC0415
    from trainer.reporting.html import save_html  # noqa: PLC0415
    from trainer.reporting.pictures import picture_rows  # noqa: PLC0415
    from trainer.reporting.tables import evaluation_tables  # noqa: PLC0415
    from trainer.reporting.terminal import for_terminal  # noqa: PLC0415

    overrides = {
        "seed": seed,
        "queries_per_point": queries_per_point,
        "query_originals": query_originals or None,
        **read_attacks(attack or ()),
    }
    settings = read_settings(EvaluationSettings, config, overrides)
    folder = artifact_folder(artifact)
    presets = read_manifest(folder)[0].presets
    _prepare_files(out, html)
    dataset = load_dataset(data)
    settings = _completed(settings, presets, dataset)
    report = watched(
        lambda display: measure(
            folder,
            dataset,
            chat_model,
            settings,
            answer_judge=answer_judge,
            ledger=out.with_suffix(".ledger.sqlite"),
            budget=spending.budget,
            price=charged,
            on_progress=lambda phase: display.show(phase.name, phase.done, phase.of),
        ),
        "run the same command again to go on.",
    )
    save_json(report, out)
    if html is not None:
        shown = sorted(set(presets.values()) or set(settings.levels))
        pictures = picture_rows(dataset, load_engine(folder), shown, {}, originals=with_originals)
        save_html(report, html, presets=presets, pictures=pictures)
    if as_json:
        print_json(report.model_dump(mode="json"))
    for table in evaluation_tables(report):
        console().print(for_terminal(table))


def _check_page(html: Path | None, out: Path, *, with_originals: bool) -> None:
    if with_originals and html is None:
        raise InputError("nothing was measured: --with-originals is about the page. Give --html.")
    if html is not None and html.resolve() == out.resolve():
        raise InputError("nothing was measured: --out and --html are the same file. Give two.")


def _prepare_files(out: Path, html: Path | None) -> None:
    """Make the folders of the reports before what takes long, not after it."""
    for path in filter(None, (out, html)):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise InputError(f"nothing was measured: {path} is a folder. Give a file for the report.")


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
