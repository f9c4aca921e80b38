"""Random gradient-free estimates with critical directions."""

from __future__ import annotations

import math

import pytest
import torch

from tests.unit.trainer.algorithms.zeroth_order.linear_model import (
    BATCH,
    SPACE,
    assert_unbiased,
    estimate,
    mean_gradient,
    pictures,
    shared_truth,
    slopes,
)
from trainer.algorithms.zeroth_order import OperatorCode, RGFSettings, SharedRGF
from trainer.runtime.precision import cpu_precision


@pytest.mark.slow(seconds=5)
def test_rgf_recovers_a_linear_gradient_in_expectation_whatever_its_memory():
    images, gradients, code = pictures(), slopes(), OperatorCode(8)
    draws = []
    for seed in range(800):
        estimator = SharedRGF(SPACE, code, RGFSettings(batch=BATCH, radius=0.02, directions=4, images=None))
        for turn in range(2):
            draw = estimate(estimator, 24, seed=2 * seed + turn, gradients=gradients, images=images)
        draws.append(draw)
    assert_unbiased(draws, shared_truth(code, images, gradients))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_rgf_with_as_many_directions_as_the_code_is_exact_in_any_arithmetic(precision):
    images, code = pictures(8), OperatorCode(8)
    gradients = slopes(8)[:1].expand(2, -1, -1, -1)  # so that it does not matter which question is drawn
    estimator = SharedRGF(SPACE, code, RGFSettings(batch=BATCH, radius=0.02, directions=5, images=None))
    truth = shared_truth(code, images, gradients)
    for turn in range(3):  # with an empty memory, then with critical directions in it
        with cpu_precision(precision):
            found = estimate(estimator, 30, seed=turn, gradients=gradients, images=images)
        assert float((found - truth).norm() / truth.norm()) < 1e-3


def test_rgf_is_exact_along_its_priors_and_scales_up_the_rest():
    images, code = pictures(), OperatorCode(8)
    gradients = slopes()[:1].expand(2, -1, -1, -1)
    estimator = SharedRGF(SPACE, code, RGFSettings(batch=BATCH, radius=0.02, directions=6, images=None))
    for turn in range(4):
        found = estimate(estimator, 36, seed=turn, gradients=gradients, images=images)
    size, priors = code.size(images), estimator._priors
    assert priors == 3
    units = estimator._asked.directions / math.sqrt(size)
    assert torch.allclose(units @ units.T, torch.eye(6), atol=1e-5)
    columns = torch.stack([code.displacement(images, unit.expand(BATCH, -1)) for unit in units])
    slopes_along = torch.einsum("kbchw,bchw->k", columns, mean_gradient(gradients)) / BATCH
    weights = torch.tensor([1.0] * priors + [(size - priors) / (6 - priors)] * (6 - priors))
    expected = torch.einsum("k,kbchw->bchw", weights * slopes_along, columns) / BATCH
    assert torch.allclose(found, expected, atol=1e-5)


def test_estimates_on_a_shared_code_wait_for_their_queries_and_are_held_between():
    images, gradients = pictures(), slopes()
    estimator = SharedRGF(SPACE, OperatorCode(8), RGFSettings(batch=BATCH, directions=2, images=2))
    assert estimator.min_queries == 8
    assert float(estimate(estimator, 7, seed=0, gradients=gradients, images=images).abs().max()) == 0
    first = estimate(estimator, 8, seed=1, gradients=gradients, images=images)
    assert float(first.abs().max()) > 0
    assert torch.equal(estimate(estimator, 7, seed=2, gradients=gradients, images=images), first)
