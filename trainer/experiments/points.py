"""Points of a front on the sandbox, measured by :func:`trainer.evaluation.evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from langchain_vpp.errors import DataError
from trainer.evaluation import OURS, EvaluationSettings, evaluate
from trainer.evaluation.results import front_hypervolume
from trainer.experiments.regimes import REGIMES
from trainer.sandbox.drawing.scenes import SCENE_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from langchain_vpp.engines import Engine
    from trainer.data.dataset import Dataset
    from trainer.experiments.regimes import Regime


class Point(NamedTuple):
    """Leak and utility at one level, scaled to 0 at chance and 1 on originals."""

    level: float
    leak: float
    utility: float


def measure(
    source: Path | Engine,
    dataset: Dataset,
    levels: Sequence[float],
    *,
    attacker_images: int,
    seed: int,
    ledger: Path,
    regime: Regime | None = None,
    questions: int | None = None,
) -> tuple[Point, ...]:
    """Measure a protector with a fresh attacker, and with all questions to the sandbox's chat model.

    Args:
        source: An artifact's folder, or any engine.
        dataset: Drawn scenes.
        levels: Levels of the protector.
        attacker_images: Train images that the attacker adapts to at each level.
        seed: Seed of the attacker.
        ledger: File for the queries of this measurement alone.
        regime: Chat model to measure with, and the utility that counts as 1; the sandbox's own if not given.
        questions: (Image, question) pairs at each level; all of the test split if not given.

    Returns:
        Points by rising level.

    Raises:
        DataError: If nothing can be read, or nothing answered, even from originals.
    """
    regime = regime or REGIMES["labels"]
    every = sum(len(example.tasks) for example in dataset.split("test"))
    settings = EvaluationSettings(
        levels=tuple(levels),
        baselines={},
        seed=seed,
        resolution=None if isinstance(source, Path) else SCENE_SIZE,  # an artifact's own
        train_images=attacker_images,
        original_images=len(dataset.split("train")),
        classifiers=("small",),
        cold=(),
        queries_per_point=every if questions is None else questions,
        query_originals=regime.answers_originals,  # drawings show nobody
    )
    report = evaluate(source, dataset, regime.judge(), settings, ledger=ledger)
    points = [
        Point(point.level, point.leak.value, point.utility.value)
        for point in report.of(OURS)
        if point.leak and point.utility
    ]
    if len(points) < len(levels):
        raise DataError(
            "no question can be answered even from originals, so nothing was measured. Draw more images."
        )
    return tuple(points)


def points_hypervolume(points: Iterable[Point]) -> float:
    """Compute the area that points dominate; see :func:`~trainer.evaluation.results.front_hypervolume`."""
    return front_hypervolume((point.leak, point.utility) for point in points)
