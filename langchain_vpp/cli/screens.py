"""The protector of words on the command line, by its name ``screens``: it has no artifact."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from langchain_vpp.cli.display import console, print_json, table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from langchain_vpp.engines import Engine

SCREENS: Final = "screens"
_SHOWN: Final = {
    "low": "all but what is recognised as private",
    "balanced": "harmless words, and numbers and dates that identify nobody",
    "high": "harmless words",
}


def load_screens() -> tuple[Engine, Mapping[str, float]]:
    """Return the engine of words and its presets.

    Raises:
        MissingExtraError: If the extra ``words`` is missing or can't be loaded.
    """
    from langchain_vpp.engines.words.engine import PRESETS, Words  # noqa: PLC0415  extra `words`

    return Words(), PRESETS


def show_screens(*, as_json: bool) -> None:
    """Show what the protector of words consists of, and what it shows at its presets.

    Args:
        as_json: Print it on stdout, too.

    Raises:
        MissingExtraError: If the extra ``words`` is missing or can't be loaded.
    """
    engine, presets = load_screens()
    facts: dict[str, Any] = {
        "artifact": SCREENS,
        "engine": "words",
        "digest": getattr(engine, "digest", None),
        "parts": getattr(engine, "parts", ()),
        "presets": dict(presets),
    }
    if as_json:
        print_json(facts)
    shown = table("protector of words", "", "", numbers=False)
    shown.add_row("digest", f"{facts['digest']} (of the packages below; nothing of it was trained)")
    shown.add_row("parts", ", ".join(facts["parts"]))
    for name, level in presets.items():
        shown.add_row(f"{name} = up to level {level:g}", _SHOWN[name])
    shown.add_row("above", "no word")
    console().print(shown)
