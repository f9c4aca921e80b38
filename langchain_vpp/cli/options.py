"""Options that several commands share, and the error for those that can't be followed."""

from __future__ import annotations

from typing import Annotated

import typer

from langchain_vpp.errors import VPPError

ArtifactArgument = Annotated[
    str, typer.Argument(help="Folder of a trained protector, or `default` for the one that comes along.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]


class InputError(VPPError):
    """The command line asks for something that can't be done as it is written."""
