"""Calibration of a trained protector: equal steps of the level, and presets."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from trainer.algorithms.pareto import spread_levels
from trainer.statistics import chance, wilson

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from langchain_vpp.artifact import FrontPoint
    from langchain_vpp.network.protector import Protector
    from trainer.algorithms.interface import UtilityEstimator
    from trainer.training.assessor import Assessor
    from trainer.training.fresh_attack import FreshAttack
    from trainer.training.validation import Validation

_NETWORK_LEVELS: Final = tuple(step / 16 for step in range(17))
"""Network levels at which the leak is measured."""
_KNOTS: Final = 9
_PRESET_LEVELS: Final = tuple(step / 20 for step in range(21))
_PRESET_UTILITY: Final = {"low": 0.985, "balanced": 0.95}
"""Share of the utility at level 0 that a preset keeps; the preset ``high`` is level 1."""
_BATCH: Final = 100


@torch.no_grad()
def leak_at(protector: Protector, assessor: Assessor, validation: Validation, level: float) -> float:
    """Measure the leak that an assessor finds in validation images protected at a network level.

    Returns:
        Scaled accuracy, 0 at chance and 1 where everything is read; see
        :meth:`~trainer.training.validation.Validation.leak`.
    """
    return validation.leak(_read(assessor, validation, level, protector.at_network_level))


def unread_attributes(
    assessor: Assessor, validation: Validation, attack: FreshAttack | None = None
) -> tuple[str, ...]:
    """Name the private attributes that an assessor can't read even from originals, or far worse than an attacker.

    A protector can't learn to hide them; see :meth:`~trainer.training.validation.Validation.unread`.
    """
    assessor.eval()
    names = list(assessor.attributes)
    with torch.no_grad():
        predicted = _read(assessor, validation, 0.0, lambda images, _: images)
    others = None if attack is None else attack.on_originals
    return tuple(names[number] for number in validation.unread(predicted, others))


@torch.no_grad()
def unanswered_questions(estimator: UtilityEstimator, validation: Validation) -> tuple[str, ...]:
    """Name the questions that an estimator answers no better than a guess even about originals.

    As long as it knows none, its gradient says nothing, and a protector turns everything to grey.
    """
    parts = []
    for images in torch.split(validation.images, _BATCH):
        posteriors = estimator.posteriors(images.float() / 255)
        if posteriors is None:
            return ()
        parts.append(posteriors.argmax(dim=-1))
    found = []
    for number, (answers, wanted) in enumerate(zip(torch.cat(parts).T, validation.references.T, strict=True)):
        known = wanted >= 0
        if not known.any():
            continue
        share = float((answers == wanted)[known].float().mean())
        if wilson(share, int(known.sum())).low <= chance(wanted):
            found.append(validation.space.questions[number])
    return tuple(found)


def _read(
    assessor: Assessor, validation: Validation, level: float, show: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    """Predict the classes, ``[N, A]``, of validation images as ``show`` gives them to the assessor."""
    predicted = []
    for images in torch.split(validation.images, _BATCH):
        levels = torch.full((len(images),), level)
        predicted.append(assessor(show(images.float() / 255, levels), levels).argmax(dim=-1))
    return torch.cat(predicted)


def level_knots(protector: Protector, assessor: Assessor, validation: Validation) -> tuple[float, ...]:
    """Find the network levels at which equal steps of the user's level are equal steps of leak.

    Returns:
        Values for :attr:`~langchain_vpp.network.config.ProtectorConfig.level_knots`.
    """
    leaks = [leak_at(protector, assessor, validation, level) for level in _NETWORK_LEVELS]
    return spread_levels(_NETWORK_LEVELS, leaks, _KNOTS)


def presets(
    protector: Protector,
    estimator: UtilityEstimator,
    validation: Validation,
    front: Sequence[FrontPoint],
) -> dict[str, float]:
    """Find the most private levels at which a given share of the utility at level 0 is still expected.

    The estimator says what to expect. If it can't, the measured front does, with straight lines between its points.

    Args:
        protector: Calibrated protector.
        estimator: Estimator of the run.
        validation: Validation split.
        front: Measured front; may be empty.

    Returns:
        Level of each preset; empty if neither the estimator nor a front says anything.
    """
    utility = _expected_utility(protector, estimator, validation)
    if utility is None and front:
        utility = _interpolated_utility(front)
    if utility is None:
        return {}
    found = {}
    for name, share in _PRESET_UTILITY.items():
        kept = [
            level for level, value in zip(_PRESET_LEVELS, utility, strict=True) if value >= share * utility[0]
        ]
        found[name] = max(kept, default=0.0)
    return found | {"high": 1.0}


def _interpolated_utility(front: Sequence[FrontPoint]) -> list[float]:
    """Utility at each preset level from a front; utility that rises with the level counts as noise."""
    falling = itertools.accumulate((point.utility for point in front), min)
    interpolated: list[float] = np.interp(
        _PRESET_LEVELS, [point.level for point in front], list(falling)
    ).tolist()
    return interpolated


def _expected_utility(
    protector: Protector, estimator: UtilityEstimator, validation: Validation
) -> list[float] | None:
    """Share of right answers that the estimator expects at each preset level; ``None`` if it expects none."""
    images, answers = validation.images, validation.references
    expected = []
    for level in _PRESET_LEVELS:
        right = []
        for start in range(0, len(images), _BATCH):
            batch = images[start : start + _BATCH].float() / 255
            with torch.no_grad():
                protected = protector(batch, torch.full((len(batch),), level))
            posteriors = estimator.posteriors(protected)
            if posteriors is None:
                return None
            wanted = answers[start : start + _BATCH]
            right.append((posteriors.argmax(dim=-1) == wanted)[wanted >= 0].float())
        expected.append(float(torch.cat(right).mean()))
    return expected
