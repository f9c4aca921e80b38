"""Settings of an evaluation: the attacks that ``--attack`` names, and what the artifact and its data tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from langchain_vpp.cli.options import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trainer.data.dataset import Dataset
    from trainer.evaluation import EvaluationSettings

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


def completed(
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
