"""Differences along a direction per image."""

from __future__ import annotations

import pytest
import torch

from tests.unit.trainer.algorithms.zeroth_order.linear_model import (
    BATCH,
    REFERENCES,
    SPACE,
    assert_unbiased,
    estimate,
    generator,
    mean_gradient,
    pictures,
    projected,
    slopes,
)
from trainer.algorithms.zeroth_order import (
    BlockCode,
    OperatorCode,
    PerImageDifferences,
)


def test_a_probe_changes_a_pixel_by_the_radius_and_stays_in_range():
    images = pictures()
    probes = PerImageDifferences(SPACE, BlockCode(8), radius=0.03).propose(
        images, REFERENCES, 6, generator=generator()
    )
    moved = probes.images - images[probes.rows]
    assert moved.square().mean(dim=(1, 2, 3)).sqrt().tolist() == pytest.approx([0.03] * 6, rel=1e-4)
    assert torch.allclose(moved[0], -moved[1], atol=1e-6)
    white = torch.ones_like(images)
    probes = PerImageDifferences(SPACE, BlockCode(8)).propose(white, REFERENCES, 6, generator=generator())
    assert float(probes.images.max()) == 1


@pytest.mark.slow(seconds=8)
@pytest.mark.parametrize(
    ("code", "quota", "count"), [(BlockCode(8), 2, 1800), (OperatorCode(8), 6, 800), (BlockCode(8), 10, 800)]
)
def test_per_image_differences_recover_a_linear_gradient_in_expectation(code, quota, count):
    images, gradients = pictures(), slopes()
    truth = projected(code, images, mean_gradient(gradients)) / BATCH
    estimator = PerImageDifferences(SPACE, code, radius=0.02)
    draws = [
        estimate(estimator, quota, seed=seed, gradients=gradients, images=images) for seed in range(count)
    ]
    assert_unbiased(draws, truth)


def test_images_that_were_not_asked_about_are_not_pulled():
    images, gradients = pictures(), slopes()
    estimator = PerImageDifferences(SPACE, BlockCode(8))
    found = estimate(estimator, 2, seed=0, gradients=gradients, images=images)
    assert int((found.abs().amax(dim=(1, 2, 3)) > 0).sum()) == 1
    assert float(estimate(estimator, 1, seed=0, gradients=gradients, images=images).abs().max()) == 0
