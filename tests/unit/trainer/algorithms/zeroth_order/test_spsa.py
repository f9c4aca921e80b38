"""Simultaneous perturbation of a displacement that the batch shares."""

from __future__ import annotations

import math

import pytest
import torch

from tests.unit.trainer.algorithms.zeroth_order.linear_model import (
    BATCH,
    REFERENCES,
    SPACE,
    assert_unbiased,
    estimate,
    generator,
    linear_answers,
    pictures,
    shared_truth,
    slopes,
)
from trainer.algorithms.zeroth_order import OperatorCode, SharedSPSA, SPSASettings


@pytest.mark.slow(seconds=4)
@pytest.mark.parametrize("perturbation", ["rademacher", "segmented"])
def test_spsa_recovers_a_linear_gradient_in_expectation(perturbation):
    images, gradients, code = pictures(), slopes(), OperatorCode(8)
    draws = []
    for seed in range(800):
        estimator = SharedSPSA(
            SPACE,
            code,
            SPSASettings(batch=BATCH, momentum=0.0, radius=0.02, directions=2, perturbation=perturbation),
        )
        draws.append(estimate(estimator, 12, seed=seed, gradients=gradients, images=images))
    assert_unbiased(draws, shared_truth(code, images, gradients))


def test_the_gradient_correction_is_the_published_recursion():
    code, images, gradients = OperatorCode(8), pictures(8), slopes(8)
    options = {"batch": BATCH, "directions": 1, "radius": 0.02, "radius_decay": 0.0, "gain_decay": 0.4}
    plain = SharedSPSA(SPACE, code, SPSASettings(momentum=0.0, **options | {"gain_decay": 0.0}))
    corrected = SharedSPSA(SPACE, code, SPSASettings(momentum=0.9, **options))
    average = 0
    for turn in range(3):
        own = estimate(plain, 6, seed=turn, gradients=gradients, images=images)
        average = 0.9 * average + own
        expected = (2 / (turn + 2)) ** 0.4 * (own + 0.9 * average)
        found = estimate(corrected, 6, seed=turn, gradients=gradients, images=images)
        assert torch.allclose(found, expected, atol=1e-6)


def test_spsa_has_the_published_settings_and_shrinks_its_radius():
    images = pictures()
    estimator = SharedSPSA(SPACE, OperatorCode(8), SPSASettings(batch=BATCH))
    assert estimator.min_queries == 2 * 5 * BATCH
    radii = []
    for turn in range(2):
        probes = estimator.propose(images, REFERENCES, 30, generator=generator(turn))
        moved = probes.images - images[probes.rows]
        radii.append(float(moved.square().mean().sqrt()))
        estimator.observe(linear_answers(probes, slopes(), images), probes)
    # Segmented uniform perturbations have a mean square of 7/12.
    assert radii[0] == pytest.approx(0.01 * math.sqrt(7 / 12), rel=0.05)
    assert radii[1] / radii[0] == pytest.approx(2**-0.1, rel=0.05)
