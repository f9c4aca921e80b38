"""Checks of ``vpp doctor`` that ask a chat model or read a data set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from langchain_vpp.cli.checkup import Finding
from langchain_vpp.extras import require
from langchain_vpp.images.codec import encode_image

if TYPE_CHECKING:
    from collections.abc import Iterator

_SECONDS = 60.0


def check_model(spec: str, base_url: str = "") -> Iterator[Finding]:
    """Ask a chat model once about a grey picture.

    Args:
        spec: ``provider:name``.
        base_url: Address of its server, or nothing.

    Raises:
        TrainingError: If the model can't be set up.
    """
    require("langchain_openai", extra="train")
    from trainer.oracle.message import as_message, reply_text  # noqa: PLC0415
    from trainer.oracle.model_spec import ModelSpec  # noqa: PLC0415
    from trainer.oracle.query import Query  # noqa: PLC0415

    model = ModelSpec.parse(spec, base_url or None, _SECONDS).build()
    grey = encode_image(Image.new("RGB", (64, 64), (128, 128, 128)))
    failure, text = "", ""
    try:
        reply = model.invoke([as_message(Query(grey, "What colour is the picture?", ("grey", "red")))])
        text = reply_text(reply)
    except Exception as error:  # noqa: BLE001  each provider has its own types, and a value may be a secret
        failure = type(error).__name__
    if failure:
        yield Finding(
            "model",
            "fail",
            f"{spec} did not answer ({failure})",
            "check its name, key and address, and the proxy",
        )
    elif not text:
        yield Finding(
            "model", "warn", f"{spec} answered nothing about a picture", "choose a model that sees pictures"
        )
    else:
        yield Finding("model", "ok", f"{spec} answers about pictures")


def check_data(folder: str) -> Iterator[Finding]:
    """Check a data set, a finding for each fault and warning.

    Args:
        folder: Folder with ``data.jsonl``.

    Raises:
        DataError: If it can't be read.
    """
    require("torch", extra="train")
    from trainer.data.inspection import inspect_data  # noqa: PLC0415  loads torch

    found = inspect_data(Path(folder))
    for fault in found.faults:
        place = "" if fault.line is None else f"line {fault.line}: "
        yield Finding("data", "fail", f"{place}{fault.what}", fault.remedy)
    for warning in found.warnings:
        yield Finding("data", "warn", warning)
    if not found.faults:
        counts = ", ".join(f"{count} {split}" for split, count in found.pictures.items())
        small = "" if found.is_large_enough else "; small: intervals will be wide, see vpp data check"
        yield Finding("data", "ok", f"{counts}{small}")
