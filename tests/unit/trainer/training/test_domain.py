"""Fit of the statistics by which unfamiliar pictures are told."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from langchain_vpp.engines import TorchEngine
from langchain_vpp.errors import DataError
from langchain_vpp.network.domain import Domain
from tests.untrained import small_protector
from trainer.training import domain as module
from trainer.training.domain import fit_domain, levels_of

pytestmark = [pytest.mark.trains]


def card(seed: int) -> Image.Image:
    """A bright band at the top of a dim picture, about where it always is."""
    generator = np.random.default_rng(seed)
    pixels = np.full((48, 64, 3), generator.integers(60, 90), dtype=np.int16)
    pixels[4 + int(generator.integers(4)) : 16] = generator.integers(180, 230)
    pixels += generator.integers(-6, 7, pixels.shape, dtype=np.int16)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def noise(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (48, 64, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def engine():
    return TorchEngine(small_protector(), digest="")


@pytest.fixture(scope="module")
def fitted(engine):
    kinds = {name: module.OTHER_KINDS[name] for name in ("turned by 180 degrees", "inverted")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "OTHER_KINDS", kinds | {"mirrored again": lambda image, _: image.copy()})
        return fit_domain(
            engine,
            [card(seed) for seed in range(60)],
            [card(seed) for seed in range(100, 140)],
            others={"noise": [noise(seed) for seed in range(20)]},
        )


def judged(fitted, engine, picture: Image.Image, level: float = 0.5) -> bool:
    return fitted.domain.is_familiar(engine.pooled(picture, level), level)


@pytest.mark.slow(seconds=2)
def test_new_pictures_of_the_domain_are_familiar_at_levels_that_were_not_looked_at(fitted, engine):
    covered = [
        not judged(fitted, engine, card(seed), level)
        for seed in range(200, 240)
        for level in (0.0, 0.31, 0.9)
    ]
    assert np.mean(covered) < 0.05


@pytest.mark.slow(seconds=1)
def test_pictures_of_other_kinds_are_told_those_that_nobody_fitted_too(fitted, engine):
    for change in (
        lambda image: image.rotate(180),
        lambda image: Image.eval(image, lambda value: 255 - value),
    ):
        assert np.mean([judged(fitted, engine, change(card(seed))) for seed in range(200, 220)]) < 0.1
    flat = [Image.new("RGB", (48, 64), (seed, 250 - seed, 90)) for seed in range(0, 250, 12)]
    assert not any(judged(fitted, engine, each) for each in flat)


def test_a_kind_that_can_not_be_told_is_named_and_harms_nothing(fitted):
    assert fitted.facts.alike == ("mirrored again",)
    assert set(fitted.facts.told_apart) == {"turned by 180 degrees", "inverted", "noise"}
    assert min(fitted.facts.told_apart.values()) > 0.9
    assert (fitted.facts.train, fitted.facts.val) == (60, 40)
    assert fitted.facts.covered < 0.03
    assert len(fitted.domain.statistics.directions) == 3


@pytest.mark.slow(seconds=1)
def test_the_same_pictures_give_the_same_bytes(engine, monkeypatch):
    monkeypatch.setattr(module, "OTHER_KINDS", {"inverted": module.OTHER_KINDS["inverted"]})
    one, other = (
        fit_domain(engine, [card(0), card(1), card(2)], [card(3), card(4)], seed=4) for _ in range(2)
    )
    assert one.domain.to_bytes() == other.domain.to_bytes()
    assert Domain.from_bytes(one.domain.to_bytes()).to_bytes() == one.domain.to_bytes()


def test_too_few_pictures_are_refused(engine):
    for train, val in (([card(0)], [card(1)]), ([card(0), card(1)], [])):
        with pytest.raises(DataError, match="no domain was fitted"):
            fit_domain(engine, train, val)


def test_levels_lie_close_wherever_the_network_changes_fast():
    knots = (0.0, 0.05, 0.1, 1.0)
    levels = levels_of(knots)
    assert levels[0] == 0.0
    assert levels[-1] == 1.0
    assert list(levels) == sorted(set(levels))
    network = np.interp(levels, np.linspace(0, 1, len(knots)), knots)
    assert np.diff(network).max() <= 0.13
    assert levels_of((0.0, 1.0)) == (0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0)
