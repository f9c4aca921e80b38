"""The memory of critical gradients."""

from __future__ import annotations

import torch

from trainer.algorithms.zeroth_order import (
    CriticalGradients,
)


def test_critical_gradients_keep_the_largest_and_let_the_old_fade():
    memory = CriticalGradients(2, decay=0.5)
    for gradient in ([4.0, 0.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 0.5]):
        memory.add(torch.tensor(gradient))
    # Priorities 1, 1.5 and 0.5.
    assert memory.directions(5).tolist() == [[0, 1, 0], [1, 0, 0]]
    memory.add(torch.tensor([0.0, 0.0, 0.6]))  # against 0.5 and 0.75
    assert memory.directions(1).tolist() == [[0, 1, 0]]
    assert memory.directions(5).tolist() == [[0, 1, 0], [0, 0, 1]]


def test_critical_directions_are_orthonormal_and_dependent_gradients_give_none():
    memory = CriticalGradients(4, decay=1.0)
    assert not len(memory.directions(3))
    for gradient in ([3.0, 0.0, 0.0], [2.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0]):
        memory.add(torch.tensor(gradient))
    found = memory.directions(4)
    assert torch.allclose(found @ found.T, torch.eye(2), atol=1e-6)
