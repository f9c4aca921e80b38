"""The moving average of the weights, and the digest of weights that training starts from."""

from __future__ import annotations

import torch
from torch import nn

from trainer.training.learners import average_weights, weights_digest


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(3, 2)


def test_the_average_begins_short_and_becomes_the_exponential_moving_average():
    subject = network()
    averaged = average_weights(subject, 0.6)
    expected = subject.weight.detach().clone()
    assert torch.equal(averaged.module.weight, expected)
    for step in range(40):
        with torch.no_grad():
            subject.weight.add_(torch.randn(2, 3))
        averaged.update_parameters(subject)
        decay = min(0.6, (step + 1) / (step + 10))
        expected = expected.lerp(subject.weight.detach(), 1 - decay)
        assert torch.equal(averaged.module.weight, expected)
    assert not averaged.module.weight.requires_grad


def test_a_restored_average_goes_on_as_if_it_had_not_been_interrupted():
    subject = network()
    averaged = average_weights(subject, 0.9)
    averaged.update_parameters(subject)
    restored = average_weights(network(), 0.9)
    restored.load_state_dict(averaged.state_dict())
    with torch.no_grad():
        subject.weight.add_(1)
    for each in (averaged, restored):
        each.update_parameters(subject)
    assert torch.equal(averaged.module.weight, restored.module.weight)


def test_the_digest_is_of_the_weights_alone():
    assert weights_digest(None) == ""
    assert weights_digest(network()) == weights_digest(network())
    other = network()
    nn.init.zeros_(other.bias)
    assert weights_digest(other) != weights_digest(network())
