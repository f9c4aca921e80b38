"""Protector that the options of ``vpp protect`` describe, here and on other machines."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Literal, NamedTuple

from langchain_vpp.cli.chosen import choose_engine, read_level
from langchain_vpp.cli.options import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from langchain_vpp.image_protector import ImageProtector

OnUnfamiliar = Literal["cover", "raise", "warn"]


class Protection(NamedTuple):
    """Options of a protector, as text and numbers.

    Attributes:
        artifact: Folder or name of an artifact, or ``screens``; the default one if neither it nor an engine is named.
        engine: Name of a classical engine, in place of an artifact.
        level: A number from 0 to 1, or a preset, or ``None`` for the artifact's own.
        size: ``same``, ``fit``, or the pixels of the longest side.
        max_pixels: Pixels of the largest picture, or ``None`` for the default.
        on_unfamiliar: Fate of a picture that the artifact was not made for.
    """

    artifact: str | None = None
    engine: str | None = None
    level: str | None = None
    size: str = "same"
    max_pixels: int | None = None
    on_unfamiliar: OnUnfamiliar = "cover"

    def build(self) -> tuple[ImageProtector, Mapping[str, object]]:
        """Build the protector.

        Returns:
            The protector, and everything but the picture that its outputs depend on, as JSON.

        Raises:
            InputError: If an option is not valid.
            ArtifactError: If there is no such artifact.
        """
        from langchain_vpp.guard.budget import RequestBudget  # noqa: PLC0415
        from langchain_vpp.image_protector import ImageProtector  # noqa: PLC0415

        chosen = choose_engine(self.artifact, self.engine)
        engine = chosen.engine
        strength = chosen.level if self.level is None else read_level(self.level, chosen.presets)
        output_size = _output_size(self.size)
        settings = {
            "engine": getattr(engine, "name", ""),
            "artifact": getattr(engine, "digest", ""),
            "level": strength,
            "size": output_size,
            "on_unfamiliar": self.on_unfamiliar,
            "version": version("langchain-vpp"),
        }
        most = self.max_pixels
        budget = RequestBudget() if most is None else RequestBudget(max_pixels=most, pixels=2 * most)
        protector = ImageProtector(
            engine, level=strength, output_size=output_size, budget=budget, on_unfamiliar=self.on_unfamiliar
        )
        return protector, settings


def _output_size(text: str) -> Literal["same", "fit"] | int:
    named: Mapping[str, Literal["same", "fit"]] = {"same": "same", "fit": "fit"}
    if text in named:
        return named[text]
    if text.isascii() and text.isdigit() and 1 <= int(text) <= 65_500:
        return int(text)
    raise InputError(
        "nothing was protected: --size must be same, fit, or the pixels of the longest side, 1 to 65500."
    )
