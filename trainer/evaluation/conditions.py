"""The engine under evaluation and the conditions of a measurement: originals, and engines at levels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from langchain_vpp.artifact import load_artifact
from langchain_vpp.engines import NAMED_ENGINES
from trainer.attackers.repeated import RepeatedQueries, views
from trainer.data.contamination import check_unseen
from trainer.evaluation.results import OURS

if TYPE_CHECKING:
    from langchain_vpp.engines import Engine
    from trainer.data.dataset import Dataset
    from trainer.evaluation.settings import EvaluationSettings

ORIGINALS: Final = "none"
"""Name of the engine that leaves pictures as they are."""
REPEATED: Final = "repeated queries"
"""Name of the engine that averages many protected views of each picture."""
_VIEWS: Final = views(
    level_changes=(0.0, 0.1), scales=(1.0, 0.75), margins=((0.0, 0.0, 0.0, 0.0), (0.05, 0.0, 0.0, 0.05))
)


class EvaluatedEngine(NamedTuple):
    """The engine under evaluation and its origin."""

    engine: Engine
    digest: str
    """Digest of the artifact or engine; empty for an engine that has none."""
    trained_against: str
    """The chat model that the manifest names; empty for an engine that was not trained."""
    warnings: tuple[str, ...]

    @classmethod
    def load(cls, source: str | Path | Engine, dataset: Dataset) -> EvaluatedEngine:
        """Load an artifact as users get it, with its graph if it has one, or wrap an engine.

        Args:
            source: An artifact's folder, or any engine.
            dataset: The data set whose test split is used.

        Raises:
            ArtifactError: If the artifact can't be loaded.
            DataError: If the artifact's training saw pictures of the test split.
        """
        if not isinstance(source, str | Path):
            return cls(source, getattr(source, "digest", ""), "", ())
        folder, engine, manifest, digest = load_artifact(source)
        warning = check_unseen(folder, manifest, dataset)
        return cls(engine, digest, manifest.trained_against, (warning,) if warning else ())


class Condition(NamedTuple):
    """An engine at a level: the condition under which attackers and the chat model see the pictures."""

    name: str
    """Name of the engine in the report."""
    engine: Engine | None
    """``None`` leaves pictures as they are."""
    level: float


class Conditions(NamedTuple):
    """All conditions of an evaluation."""

    originals: Condition
    points: tuple[Condition, ...]
    """The conditions that become operating points of the report."""
    repeated: tuple[Condition, ...]
    """Averages of repeated queries at the protector's levels, if they are measured."""

    @classmethod
    def of(cls, engine: Engine, settings: EvaluationSettings) -> Conditions:
        """Spell out the levels of the engine under evaluation and of the classical engines.

        Raises:
            ProtectionError: If ``face-blur`` is a baseline and the extra ``faces`` is missing.
        """
        points = [Condition(OURS, engine, level) for level in settings.levels]
        for name, levels in settings.baselines.items():
            points += [Condition(name, NAMED_ENGINES[name](), level) for level in levels]
        averaged = settings.levels if "repeated" in settings.attacks else ()
        return cls(
            Condition(ORIGINALS, None, 0.0),
            tuple(points),
            tuple(Condition(REPEATED, RepeatedQueries(engine, _VIEWS), level) for level in averaged),
        )

    @property
    def protected(self) -> tuple[Condition, ...]:
        """All conditions except the originals."""
        return (*self.points, *self.repeated)

    @property
    def asked(self) -> tuple[Condition, ...]:
        """The conditions in which a chat model may be asked, originals first."""
        return (self.originals, *self.points)
