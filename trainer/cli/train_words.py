"""``vpp train --engine words``: learn which kinds of words and regions a task needs."""

from __future__ import annotations

from functools import partial
from pathlib import Path  # noqa: TC003  typer reads annotations
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from langchain_vpp.cli.display import print_json, say, watched
from langchain_vpp.cli.inspect import show_manifest
from langchain_vpp.cli.options import InputError
from trainer.cli.display import answers_line, show_training
from trainer.cli.options import known_price, read_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from langchain_vpp.cli.display import Display
    from trainer.training.admission.config import AdmissionConfig

MayShowOption = Annotated[
    list[str] | None,
    typer.Option(
        "--may-show",
        metavar="KIND",
        help="With --engine words: a private kind, such as names, that the chat model may see in training; or all.",
    ),
]
_WORDS_ONLY = "nothing was sent: --engine words learns no network, so it takes no "


class WordsRun(NamedTuple):
    """Where a run reads and writes, and how it is called."""

    data: Path
    out: Path
    ledger: Path | None
    resume: bool
    dry_run: bool
    as_json: bool


def train_words(
    run: WordsRun,
    model: tuple[str, str | None, float | None],
    config: Path | None,
    given: Mapping[str, Any],
    start_from: str | None,
) -> None:
    """Learn an admission, or say what that would ask.

    Args:
        run: The run.
        model: Name of the chat model, its address and the seconds to wait for an answer.
        config: JSON file of settings.
        given: Settings that were given as options.
        start_from: An artifact, which has no meaning here.

    Raises:
        InputError: If an option was given that has no meaning here.
    """
    foreign = {
        "--" + name.replace("_", "-"): given[name] for name in ("steps", "access", "questions_per_call")
    }
    foreign["--start-from"] = start_from
    if used := [name for name, value in foreign.items() if value is not None]:
        raise InputError(f"{_WORDS_ONLY}{', '.join(used)}.")
    from trainer import load_dataset  # noqa: PLC0415  loads torch
    from trainer.oracle.ledger import Price  # noqa: PLC0415
    from trainer.oracle.model_spec import ModelSpec  # noqa: PLC0415
    from trainer.oracle.subprocess import SubprocessOracle  # noqa: PLC0415
    from trainer.training.admission.config import AdmissionConfig  # noqa: PLC0415
    from trainer.training.admission.run import AdmissionTrainer  # noqa: PLC0415
    from trainer.training.cost import estimate_at_most  # noqa: PLC0415

    named = ModelSpec.parse(*model)
    own = {name: value for name, value in given.items() if name in AdmissionConfig.model_fields}
    settings = read_settings(AdmissionConfig, config, own)
    dataset = load_dataset(run.data, needs_attributes=False)
    price = None if settings.price is None else Price(*settings.price)
    foreseen = estimate_at_most(settings.max_queries, dataset, model[0], price)
    _say_before(settings)
    say(f"estimate: {foreseen.line}")
    if run.dry_run:
        if run.as_json:
            print_json(foreseen._asdict())
        return
    charged = known_price(model[0], settings.price)
    with SubprocessOracle(named) as oracle:
        trainer = AdmissionTrainer(oracle, dataset, settings.model_copy(update={"price": charged}))

        def fit(display: Display) -> None:
            try:
                on_progress = partial(show_training, display)
                trainer.fit(run.out, resume=run.resume, ledger=run.ledger, on_progress=on_progress)
            finally:
                display.say(answers_line(trainer.counts))

        watched(fit, "run the same command again with --resume to go on.")
    show_manifest(run.out, as_json=run.as_json)


def _say_before(settings: AdmissionConfig) -> None:
    """Say what the chat model will be shown of the training pictures."""
    from langchain_vpp.engines.words.kinds import KINDS  # noqa: PLC0415  extra `words`

    shown = ", ".join(kind for kind in KINDS if kind in settings.allowed)
    covered = ", ".join(kind for kind in KINDS if kind not in settings.allowed)
    say(f"the chat model sees, on pictures of train and val: {shown}.")
    say(f"it never sees: {covered or 'nothing is kept from it'}. --may-show KIND allows a private kind.")
