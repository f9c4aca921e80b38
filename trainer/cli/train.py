"""``vpp train``: learn a protector by querying a chat model."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from pathlib import Path  # noqa: TC003  typer reads annotations
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from langchain_vpp.cli.display import print_json, say, watched
from langchain_vpp.cli.inspect import show_manifest
from langchain_vpp.cli.options import InputError, JsonOption
from trainer.cli.display import answers_line, show_training
from trainer.cli.machines import EndpointOption, Machines, ProcessesOption, RayOption
from trainer.cli.options import (
    AccessOption,
    BaseURLOption,
    ConfigOption,
    DataOption,
    MaxCostOption,
    MaxQueriesOption,
    PriceOption,
    TimeoutOption,
    known_price,
    read_price,
    read_settings,
    require_packages,
)
from trainer.cli.train_words import MayShowOption, WordsRun, train_words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from langchain_vpp.cli.display import Display
    from langchain_vpp.network.protector import Protector
    from trainer.training.config import TrainerConfig
    from trainer.training.cost import CostEstimate


def train(
    *,
    data: DataOption,
    model: Annotated[
        str, typer.Option("--model", help="provider:name, such as openai:gpt-4o-mini, or sandbox.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder of the run: artifact, ledger, checkpoints.")],
    engine: Annotated[
        Literal["network", "words"],
        typer.Option("--engine", help="Learn a network, or which words of screens and documents to show."),
    ] = "network",
    may_show: MayShowOption = None,
    base_url: BaseURLOption = None,
    max_queries: MaxQueriesOption = None,
    max_cost: MaxCostOption = None,
    price: PriceOption = None,
    access: AccessOption = None,
    questions_per_call: Annotated[
        int | None,
        typer.Option("--questions-per-call", help="Most questions about one picture in one request."),
    ] = None,
    requests_per_second: Annotated[
        float | None, typer.Option("--requests-per-second", help="Most requests to the provider.")
    ] = None,
    timeout: TimeoutOption = None,
    estimator: Annotated[
        str | None,
        typer.Option(
            "--estimator",
            help="Source of utility gradients: student (default); label-only and none ask nothing, as baselines.",
        ),
    ] = None,
    steps: Annotated[int | None, typer.Option("--steps", help="Protector steps.")] = None,
    config: ConfigOption = None,
    seed: Annotated[int | None, typer.Option("--seed")] = None,
    ledger: Annotated[
        Path | None,
        typer.Option("--ledger", help="File of paid queries that runs share, and their budget with it."),
    ] = None,
    start_from: Annotated[
        str | None,
        typer.Option(
            "--start-from",
            metavar="ARTIFACT",
            help="Start from this artifact's weights, as after a change of the provider's model.",
        ),
    ] = None,
    processes: ProcessesOption = 1,
    ray: RayOption = None,
    endpoint: EndpointOption = None,
    no_store_images: Annotated[
        bool, typer.Option("--no-store-images", help="Keep digests of the protected pictures only.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be asked and what it costs; send nothing.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Learn a protector by querying a chat model as a black box."""
    overrides = {
        "questions_per_call": questions_per_call,
        "requests_per_second": requests_per_second,
        "store_images": False if no_store_images else None,
        "max_queries": max_queries,
        "max_cost": max_cost,
        "price": read_price(price),
        "access": access,
        "estimator": estimator,
        "steps": steps,
        "seed": seed,
    }
    require_packages()
    machines = Machines(processes, ray, tuple(endpoint or ()))
    machines.check(engine)
    if engine == "words":
        run = WordsRun(data, out, ledger, resume=resume, dry_run=dry_run, as_json=as_json)
        train_words(run, (model, base_url, timeout), config, {**overrides, "may_show": may_show}, start_from)
        return
    if may_show:
        raise InputError("nothing was sent: --may-show needs --engine words.")
    from trainer.oracle.model_spec import ModelSpec  # noqa: PLC0415

    named = ModelSpec.parse(model, base_url, timeout)
    # The oracle's process starts while this one loads torch.
    with nullcontext() if dry_run or processes > 1 else machines.oracle(named) as oracle:
        from trainer import Trainer, load_dataset  # noqa: PLC0415  loads torch
        from trainer.data.checks import check_for_training  # noqa: PLC0415
        from trainer.oracle.ledger import Price  # noqa: PLC0415
        from trainer.scale.processes import SharedRun  # noqa: PLC0415
        from trainer.training.cost import estimate  # noqa: PLC0415

        settings, start = _start(config, overrides, start_from)
        dataset = load_dataset(data)
        foreseen = estimate(
            settings, dataset, model, None if settings.price is None else Price(*settings.price)
        )
        if oracle is None:
            _say_before_training(check_for_training(dataset), foreseen)
        if dry_run:
            if as_json:
                print_json(foreseen._asdict())
            return
        settings = settings.model_copy(update={"price": known_price(model, settings.price)})
        if oracle is None:
            machines.fit(SharedRun(named, data, settings, out, resume, ledger, start))
            show_manifest(out, as_json=as_json)
            return
        trainer = Trainer(oracle, dataset, settings, protector=start)
        _say_before_training(trainer.warnings, foreseen)
        say(f"training begins; the first steps take longest. To follow it: vpp studio --run {out}")

        def fit(display: Display) -> None:
            try:
                on_progress = partial(show_training, display)
                trainer.fit(out, resume=resume, ledger=ledger, on_progress=on_progress)
            finally:
                display.say(answers_line(trainer.counts))

        watched(fit, "run the same command again with --resume to go on.")
    show_manifest(out, as_json=as_json)


def _start(
    config: Path | None, overrides: Mapping[str, Any], start_from: str | None
) -> tuple[TrainerConfig, Protector | None]:
    """Read the settings, and load the protector that training starts from, if one is named."""
    from langchain_vpp.artifact import artifact_folder, load_protector  # noqa: PLC0415
    from trainer import TrainerConfig  # noqa: PLC0415

    settings = read_settings(TrainerConfig, config, overrides)
    if start_from is None:
        return settings, None
    protector = load_protector(artifact_folder(start_from))[0]
    if "protector" not in settings.model_fields_set:
        settings = settings.model_copy(update={"protector": protector.config})
    return settings, protector


def _say_before_training(warnings: Sequence[str], foreseen: CostEstimate) -> None:
    for warning in warnings:
        say(f"warning: {warning}.")
    say(f"estimate: {foreseen.line}")
