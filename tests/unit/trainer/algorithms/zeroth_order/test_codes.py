"""The directions in which images are moved."""

from __future__ import annotations

import pytest
import torch

from tests.unit.trainer.algorithms.zeroth_order.linear_model import (
    BATCH,
    pictures,
)
from trainer.algorithms.zeroth_order import (
    BlockCode,
    OperatorCode,
)


@pytest.mark.parametrize("code", [BlockCode(8), OperatorCode(8)])
def test_a_codes_directions_are_orthonormal(code):
    images = pictures()
    size = code.size(images)
    columns = torch.stack([code.displacement(images[:1], unit[None]).flatten() for unit in torch.eye(size)])
    assert torch.allclose(columns @ columns.T, torch.eye(size), atol=1e-5)


def test_the_operators_do_what_they_are_called():
    images = pictures(8)
    amounts = torch.zeros(BATCH, 5)
    amounts[:, 3] = 0.1
    moved = images + OperatorCode(8).displacement(images, amounts)
    assert torch.allclose(moved.mean(dim=(2, 3)), images.mean(dim=(2, 3)), atol=1e-6)
    assert bool((moved.var(dim=(1, 2, 3)) > images.var(dim=(1, 2, 3))).all())
    amounts = torch.zeros(BATCH, 5)
    amounts[:, 4] = 0.5
    greyer = images + OperatorCode(8).displacement(images, amounts)
    assert bool((greyer.var(dim=1).mean(dim=(1, 2)) < images.var(dim=1).mean(dim=(1, 2))).all())


def test_a_flat_grey_picture_can_only_be_offset():
    flat = torch.full((1, 3, 8, 8), 0.5)
    amounts = torch.tensor([[0.0, 0.0, 0.0, 1.0, 1.0]])
    assert float(OperatorCode(8).displacement(flat, amounts).abs().max()) == 0


def test_a_code_refuses_sides_that_its_cells_do_not_divide():
    with pytest.raises(ValueError, match="do not divide"):
        BlockCode(7).size(pictures())
