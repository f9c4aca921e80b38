"""Engine and level that a command names."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from langchain_vpp.cli.options import InputError
from langchain_vpp.cli.screens import SCREENS, load_screens

if TYPE_CHECKING:
    from collections.abc import Mapping

    from langchain_vpp.engines import Engine


class ChosenEngine(NamedTuple):
    """An engine, with the presets of its levels and the level that is meant where none is named."""

    engine: Engine
    presets: Mapping[str, float] = MappingProxyType({})
    level: float = 0.5


def choose_engine(artifact: str | None, engine: str | None) -> ChosenEngine:
    """Load the engine that the command line names.

    Args:
        artifact: Folder or name of an artifact, or ``screens``.
        engine: Name of a classical engine, in place of an artifact.

    Raises:
        InputError: If both are given.
        ArtifactError: If there is no such artifact.
    """
    if artifact is not None and engine is not None:
        raise InputError("nothing was protected: give either --artifact or --engine.")
    if artifact == SCREENS:
        words, presets = load_screens()
        return ChosenEngine(words, presets, presets["balanced"])
    if engine is None:
        from langchain_vpp.artifact import level_of, load_artifact, warn_of_unknown_domain  # noqa: PLC0415

        _, learned, manifest, _ = load_artifact(artifact or "default")
        warn_of_unknown_domain(manifest)
        return ChosenEngine(learned, manifest.presets, level_of(manifest, None))
    from langchain_vpp.engines import NAMED_ENGINES  # noqa: PLC0415

    return ChosenEngine(NAMED_ENGINES[engine]())


def read_level(text: str, presets: Mapping[str, float]) -> float:
    """Read a level from the command line.

    Args:
        text: A number from 0 to 1, or a preset.
        presets: Presets of the engine.

    Raises:
        InputError: If it is neither.
    """
    if text in presets:
        return presets[text]
    try:
        level = float(text)
    except ValueError:
        level = -1.0
    if not 0 <= level <= 1:
        names = f", or one of {', '.join(presets)}" if presets else ""
        raise InputError(f"nothing was protected: --level must be a number from 0 to 1{names}.")
    return level
