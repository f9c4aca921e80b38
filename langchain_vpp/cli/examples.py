"""Examples of every command, which ``--help`` shows below its options."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

EXAMPLES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType({
    "data check": ("vpp data check photos-data", "vpp data check photos-data --json"),
    "data convert": (
        "vpp data convert --list",
        "vpp data convert okvqa downloads/okvqa okvqa-data",
        "vpp data convert vispr downloads/vispr vispr-data --option attributes=all",
    ),
    "data init": (
        "vpp data init photos --questions questions.txt",
        "vpp data init photos --questions questions.txt --answers answers.csv --labels labels.csv",
        "vpp data init photos --questions questions.txt --propose-labels faces --propose-labels identities",
        "vpp data init photos --questions questions.txt --propose-with openai:gpt-4o-mini --i-know-it-sees-originals",
    ),
    "demo": ("vpp demo",),
    "doctor": (
        "vpp doctor",
        "vpp doctor --data photos-data --model openai:gpt-4o-mini",
        "vpp doctor --json",
    ),
    "evaluate": (
        "vpp evaluate runs/mine --data photos-data --out report.json --html report.html",
        "vpp evaluate runs/mine --data okvqa-data --model openai:gpt-4o-mini --protocol okvqa --out report.json",
        "vpp evaluate screens --pictures screenshots --out report.json",
    ),
    "export": ("vpp export runs/mine --data photos-data",),
    "inspect": ("vpp inspect runs/mine", "vpp inspect photo.jpg --cost"),
    "protect": (
        "vpp protect photo.jpg --artifact photographs --out protected",
        "vpp protect screenshots --artifact screens --level high --out protected",
        "vpp protect photos --engine pixelate --level 0.8 --out protected --dry-run",
        "vpp protect s3://bucket/photos --artifact photographs --out s3://bucket/protected --ray auto",
    ),
    "sandbox make-cards": ("vpp sandbox make-cards cards-data --faces fairface",),
    "sandbox make-data": ("vpp sandbox make-data data", "vpp sandbox make-data forms-data --task forms"),
    "sandbox make-films": ("vpp sandbox make-films films",),
    "sandbox make-pages": ("vpp sandbox make-pages pages",),
    "sandbox make-photos": ("vpp sandbox make-photos photographs photos-data",),
    "sandbox serve": ("vpp sandbox serve --port 8123",),
    "studio": (
        "vpp studio",
        "vpp studio --artifact runs/mine --min-level 0.5 --model openai:gpt-4o-mini",
        "vpp studio --run runs/mine --report reports",
        "vpp studio --label photos-data",
    ),
    "train": (
        "vpp train --data photos-data --model openai:gpt-4o-mini --out runs/mine --dry-run",
        "vpp train --data photos-data --model openai:gpt-4o-mini --out runs/mine --max-cost 5",
        "vpp train --data photos-data --model openai:gpt-4o-mini --out runs/mine --resume",
        "vpp train --data photos-data --model openai:gpt-4o-mini --out runs/mine --processes 2",
    ),
    "transfer": (
        "vpp transfer runs/mine --data photos-data --model openai:gpt-4o-mini --model openai:gpt-4o --out report.json",
    ),
})  # fmt: skip
"""Path of a command -> lines that can be copied."""


def add_examples(command: Any, path: str) -> None:
    """Put the examples of a command, and of the commands in it, below its options.

    Args:
        command: A command or group of typer.
        path: Its path, such as ``data init``.
    """
    for name, inner in getattr(command, "commands", {}).items():
        add_examples(inner, f"{path} {name}")
    if lines := EXAMPLES.get(path):
        # Between empty lines, which keep each example on a line of its own.
        command.epilog = "\n\n".join(("Examples:", *lines))
