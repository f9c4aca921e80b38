"""Utility estimators by the names that settings give them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer.algorithms.critical_history import CriticalHistory
from trainer.algorithms.interface import NoQueries
from trainer.algorithms.surrogate import DistilledStudent, LabelOnlyStudent, StudentSettings
from trainer.algorithms.zeroth_order import (
    BlockCode,
    OperatorCode,
    PerImageDifferences,
    RGFSettings,
    SharedRGF,
    SharedSPSA,
    SPSASettings,
)

if TYPE_CHECKING:
    from trainer.algorithms.interface import AnswerSpace, LabelledImages, UtilityEstimator
    from trainer.training.config import TrainerConfig


def named_estimator(config: TrainerConfig, space: AnswerSpace, labelled: LabelledImages) -> UtilityEstimator:
    """Construct the estimator that the settings name.

    Args:
        config: Settings.
        space: Questions and answers.
        labelled: Training images with reference answers, for the student.
    """
    if config.estimator == "none":
        return NoQueries()
    if config.estimator not in {"student", "label-only"}:
        return named_zeroth_order(config, space)
    settings = StudentSettings(
        steps=config.student_steps,
        batch=config.student_batch,
        query_choice=config.query_choice,
        questions_per_call=config.questions_per_call,
        anchor=config.student_anchor,
        width=config.reader_width,
        ladder=config.student_ladder,
    )
    if config.estimator == "label-only":
        return LabelOnlyStudent(space, labelled, settings)
    history = CriticalHistory(config.history_capacity, replay=config.replay)
    return DistilledStudent(space, labelled, history, settings)


def named_zeroth_order(config: TrainerConfig, space: AnswerSpace) -> UtilityEstimator:
    """Construct the zeroth-order estimator that the settings name.

    Raises:
        ValueError: If they name another kind of estimator.
    """
    tuned = config.zeroth_order.model_dump(exclude_none=True)
    cell = tuned.pop("cell", 8)
    code = BlockCode(cell) if config.estimator == "zo-image" else OperatorCode(cell)
    match config.estimator:
        case "zo-image" | "zo-code":
            return PerImageDifferences(space, code, **tuned)
        case "spsa":
            return SharedSPSA(space, code, SPSASettings(config.batch, momentum=0.0, **tuned))
        case "spsa-gc":
            return SharedSPSA(space, code, SPSASettings(config.batch, **tuned))
        case "rgf":
            return SharedRGF(space, code, RGFSettings(config.batch, **tuned))
    raise ValueError(f"{config.estimator!r} is no zeroth-order estimator")
