"""Statistics of domains, for artifacts of networks that have learned nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from langchain_vpp.artifact import DomainFacts, save_domain
from langchain_vpp.network.domain import Domain, Statistics, describe

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pytest
    from PIL import Image

    from langchain_vpp.engines.learned import LearnedEngine

FACTS = DomainFacts(train=2, val=2, covered=0.0, told_apart={"inverted": 1.0}, alike=("mirrored",))


def domain_of(engine: LearnedEngine, familiar: Sequence[Image.Image]) -> Domain:
    """Statistics that know these pictures, and those that differ from them by less than a few grey levels."""
    levels = np.array([0.0, 1.0], dtype=np.float32)
    seen = [np.stack([describe(engine.pooled(each, float(level))) for each in familiar]) for level in levels]
    means = np.stack([each.mean(axis=0) for each in seen])
    scale = np.concatenate([each - mean for each, mean in zip(seen, means, strict=True)]).std(axis=0) + 0.05
    count = len(scale)
    statistics = Statistics(
        levels,
        means,
        scale,
        np.eye(1, count, dtype=np.float32),
        np.ones(1, dtype=np.float32),
        np.zeros((0, count), dtype=np.float32),
        np.zeros(2, dtype=np.float32),
        np.ones(2, dtype=np.float32),
        np.zeros(1, dtype=np.float32),
    )
    domain = Domain(statistics)
    known = max(
        domain.score(engine.pooled(each, level), level) for each in familiar for level in (0.0, 0.5, 1.0)
    )
    return Domain(statistics._replace(threshold=np.array([known + 0.5], dtype=np.float32)))


def give(folder: Path, familiar: Sequence[Image.Image]) -> str:
    """Give an artifact a domain of these pictures, and return its digest."""
    from langchain_vpp.artifact import load_engine

    engine: LearnedEngine = load_engine(folder)  # type: ignore[assignment]
    return save_domain(folder, domain_of(engine, familiar), FACTS)


def fit_to_few_pictures(patch: pytest.MonkeyPatch) -> None:
    """Have domains fitted to few pictures and against two other kinds.

    With all of them the fit takes longer than the rest of a run of a few steps. ``test_domain.py`` and the demo in full
    fit domains as users get them.
    """
    from trainer.training import domain

    patch.setattr(domain, "MOST", 20)
    kinds = ("turned by 180 degrees", "inverted")
    patch.setattr(domain, "OTHER_KINDS", {kind: domain.OTHER_KINDS[kind] for kind in kinds})
