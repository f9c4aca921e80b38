"""A chat model whose loss is linear in the picture, so that estimates have an exact truth."""

from __future__ import annotations

import math

import pytest
import torch

from trainer.algorithms.interface import AnswerSpace, Records

SPACE = AnswerSpace(("a?", "b?"), ("no", "yes", "perhaps"), torch.tensor([[True] * 3, [True, True, False]]))
BATCH = 3
REFERENCES = torch.tensor([[0, 1], [2, -1], [1, 0]])


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def pictures(side=16):
    """Away from the ends of the range, so that no probe is clamped."""
    return 0.4 + 0.2 * torch.rand(BATCH, 3, side, side, generator=generator(7))


def slopes(side=16):
    """Gradient of a linear loss for each question."""
    return torch.randn(2, 3, side, side, generator=generator(8)) / side**2


def linear_answers(probes, gradients, images):
    """A chat model whose answer to the reference has exactly the probability of a linear loss around 1/2."""
    sizes = SPACE.sizes[probes.questions]
    moved = probes.images - images[probes.rows]
    losses = 0.5 + (moved * gradients[probes.questions]).sum(dim=(1, 2, 3))
    targets = torch.zeros(len(losses), 3)
    chosen = REFERENCES[probes.rows, probes.questions]
    targets[torch.arange(len(losses)), chosen] = torch.exp(-losses * sizes.log())
    return Records((probes.images * 255).byte(), probes.questions, targets)


def mean_gradient(gradients, references=REFERENCES):
    """True gradient of the mean loss over images of the mean over their questions, per image."""
    asked = (references >= 0).float()
    weights = asked / asked.sum(dim=1, keepdim=True)
    return torch.einsum("bq,qchw->bchw", weights, gradients)


def projected(code, images, gradients):
    """Per image, the part of a gradient that lies in the code's span."""
    size = code.size(images)
    columns = torch.stack(
        [code.displacement(images, unit.expand(len(images), -1)) for unit in torch.eye(size)], dim=1
    )
    inner = torch.einsum("bdchw,bchw->bd", columns, gradients)
    return torch.einsum("bd,bdchw->bchw", inner, columns)


def estimate(estimator, quota, *, seed, gradients, images):
    """Run one round and return the gradient of the batch's mean loss."""
    probes = estimator.propose(images, REFERENCES, quota, generator=generator(seed))
    assert len(probes.rows) <= quota
    if len(probes.rows):
        estimator.observe(linear_answers(probes, gradients, images), probes)
    variable = images.clone().requires_grad_()
    loss = estimator.loss(variable, REFERENCES, generator=generator()).mean()
    return torch.autograd.grad(loss, variable)[0] if loss.requires_grad else torch.zeros_like(images)


def assert_unbiased(draws, truth):
    """The mean of the draws has the truth's size along it, within four standard errors that a bias of 15 % exceeds."""
    along = torch.stack([(draw * truth).sum() / truth.square().sum() for draw in draws])
    error = float(along.std() / math.sqrt(len(along)))
    assert 4 * error < 0.15, "too few draws to see a bias"
    assert float(along.mean()) == pytest.approx(1, abs=4 * error)
    # And nothing across it: what remains is the draws' own spread.
    rest = torch.stack(draws).mean(dim=0) - truth
    expected = torch.stack(draws).var(dim=0).sum() / len(draws)
    assert float(rest.square().sum()) < 1.5 * float(expected)


def shared_truth(code, images, gradients):
    """Return the true gradient on a shared code: its mean over the images, for every image."""
    size = code.size(images)
    columns = torch.stack(
        [code.displacement(images, unit.expand(len(images), -1)) for unit in torch.eye(size)], dim=1
    )
    inner = torch.einsum("bdchw,bchw->d", columns, mean_gradient(gradients)) / BATCH
    return torch.einsum("d,bdchw->bchw", inner, columns) / BATCH
