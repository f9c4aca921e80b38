"""Options that several commands share, and what is read from them."""

from __future__ import annotations

import errno
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import typer

from langchain_vpp.cli.formats import open_heic
from langchain_vpp.cli.options import InputError
from langchain_vpp.extras import require

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import BaseModel

_Settings = TypeVar("_Settings", bound="BaseModel")

DataOption = Annotated[Path, typer.Option("--data", help="Folder with data.jsonl.")]
OptionalDataOption = Annotated[Path | None, typer.Option("--data", help="Folder with data.jsonl.")]
ProtocolOption = Annotated[
    str | None, typer.Option("--protocol", help="Also print the paper's row: okvqa, vispr, hmdb51 or ucf101.")
]
ReportOption = Annotated[
    Path, typer.Option("--out", help="File for the report, JSON; the queries are kept beside it.")
]
BaseURLOption = Annotated[
    str | None, typer.Option("--base-url", help="Where an OpenAI-compatible server answers.")
]
AccessOption = Annotated[
    Literal["logprobs", "labels"] | None,
    typer.Option("--access", help="Use the model's log-probabilities, or the text of its answers alone."),
]
PriceOption = Annotated[
    str | None,
    typer.Option("--price", metavar="IN,OUT", help="US dollars per million input and output tokens."),
]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="JSON file of settings; options override it.")
]
MaxQueriesOption = Annotated[
    int | None, typer.Option("--max-queries", help="Most paid queries, over all resumptions.")
]
MaxCostOption = Annotated[
    float | None,
    typer.Option("--max-cost", help="Most US dollars; needs --price unless a list price is known."),
]
TimeoutOption = Annotated[
    float | None,
    typer.Option("--timeout", min=0.1, help="Seconds to wait for an answer before asking again."),
]
QueriesPerPointOption = Annotated[int | None, typer.Option("--queries-per-point", min=1)]
QueryOriginalsOption = Annotated[
    bool, typer.Option("--query-originals", help="Also send UNPROTECTED test images, as the reference.")
]
SeedOption = Annotated[int | None, typer.Option("--seed", min=0, max=2**31 - 1)]


def require_packages(*more: str, extra: str = "train") -> None:
    """Refuse a command that trains or measures where a package for it is missing, and read HEIC where that is possible.

    Args:
        more: Modules that the command needs besides those of the extra ``train``.
        extra: The extra that brings all of them.

    Raises:
        MissingExtraError: If one is missing. The message names all that are.
    """
    require("torch", "torchvision", "safetensors", "langchain_openai", "jinja2", *more, extra=extra)
    open_heic()


def read_settings(kind: type[_Settings], file: Path | None, overrides: Mapping[str, object]) -> _Settings:
    """Read settings from a JSON file; options that were given take the place of the file's.

    Args:
        kind: The class of the settings.
        file: The file; ``None`` for the defaults.
        overrides: Setting -> value of its option, ``None`` for one that was not given.

    Raises:
        InputError: If the file is no JSON object, or a setting is not valid.
    """
    from pydantic import ValidationError  # noqa: PLC0415

    given: object = {}
    if file is not None:
        try:
            given = json.loads(file.read_bytes())
        except ValueError:
            given = None
    if not isinstance(given, dict):
        raise InputError(
            f'nothing was sent: {file} is not a JSON object of settings, such as {{"steps": 600}}.'
        )
    try:
        return kind.model_validate(
            given | {name: value for name, value in overrides.items() if value is not None}
        )
    except ValidationError as error:
        first = error.errors()[0]
        reason = f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
    raise InputError(f"nothing was sent: a setting is not valid ({reason}).")


def read_price(text: str | None) -> tuple[float, float] | None:
    """Read the option ``--price``: US dollars per million input and output tokens.

    Raises:
        InputError: If it is not two numbers.
    """
    if text is None:
        return None
    try:
        price = tuple(float(part) for part in text.split(","))
    except ValueError:
        price = ()
    if len(price) != 2 or not all(0 <= part < math.inf for part in price):
        raise InputError(
            "nothing was sent: --price must be two numbers, such as 0.15,0.60: US dollars per million tokens."
        )
    return price[0], price[1]


def known_price(model: str, price: tuple[float, float] | None) -> tuple[float, float] | None:
    """Return the user's price, or else a model's list price, or ``None`` if neither is known."""
    from langchain_vpp.providers import find_model  # noqa: PLC0415

    listed = find_model(model)
    return price or (None if listed is None else (listed.input, listed.output))


def not_served(what: str, error: OSError, host: str, port: int) -> InputError:
    """Say why a server could not begin to listen, and what to do."""
    if error.errno == errno.EADDRINUSE:
        return InputError(
            f"{what}: port {port} of {host} is in use. End the program that uses it, perhaps an earlier one of this "
            "kind, or choose another --port (0 picks a free one)."
        )
    return InputError(f"{what}: {error.filename or host}: {error.strerror or error}. Choose another option.")
