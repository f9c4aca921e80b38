"""The option ``--attack``: which attacks an evaluation makes besides classifiers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from langchain_vpp.cli.options import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

_ATTACKS: Final = ("identity", "inversion", "repeated", "text", "prompted", "all")


def read_attacks(names: Sequence[str]) -> dict[str, Any]:
    """Translate names of attacks into settings of an evaluation.

    Raises:
        InputError: If there is no such attack.
    """
    chosen = set(names)
    if unknown := sorted(chosen - set(_ATTACKS)):
        raise InputError(
            f"nothing was measured: there is no attack {unknown[0]!r}. Choose from {', '.join(_ATTACKS)}."
        )
    further = [each for each in _ATTACKS if each in chosen or "all" in chosen]
    result: dict[str, Any] = {}
    if found := [each for each in further if each not in {"prompted", "all"}]:
        result["attacks"] = found
    if "prompted" in further:
        from trainer.attackers.prompted import STYLES  # noqa: PLC0415  loads torch

        result["styles"] = STYLES
    return result
